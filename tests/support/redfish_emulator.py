"""The process behind `redfish`: OpenStack's sushy-emulator with its fake driver, and what real BMCs do and it does not.

    python -m tests.support.redfish_emulator <its configuration, a Python file> <port> <a JSON file: see `Meddling`>

The Redfish, TLS and authentication are the emulator's. Meddled with is what it has no switch for: which resets it says
it takes, which of them it refuses, answers that are lost after it obeyed, and how long a change of power takes.
"""

import json
import random
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import flask

_RESETS = "ResetType@Redfish.AllowableValues"


class Meddling(TypedDict, total=False):
    """Read anew for each request."""

    allowed: list[str]
    """The resets that each system says it takes."""
    refused: list[str]
    """Those that it refuses whatever it says."""
    loses: list[str]
    """Those that it carries out and gives no answer to."""
    listed: list[str]
    """The only systems that the collection shows."""


def main() -> None:
    """Serve until ended."""
    from sushy_tools.emulator.main import app  # here, because it warns of what it imports, and tests take no warnings

    config, port, meddling = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    random.randint = lambda a, b: a  # it waits one second, and not up to eleven
    app.configure(config_file=str(config))
    app.before_request(lambda: _refuse(_read(meddling)))
    app.after_request(_meddler(lambda: _read(meddling)))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(app.config["SUSHY_EMULATOR_SSL_CERT"], app.config["SUSHY_EMULATOR_SSL_KEY"])
    app.run(host="127.0.0.1", port=port, ssl_context=tls)


def _read(meddling: Path) -> Meddling:
    found: Meddling = json.loads(meddling.read_text())
    return found


def _reset() -> str | None:
    if not flask.request.path.endswith("ComputerSystem.Reset"):
        return None
    return str((flask.request.get_json() or {}).get("ResetType"))


def _refuse(now: Meddling) -> Any:
    reset = _reset()
    if reset in now.get("refused", ()):
        message = f"{reset} goes not with the system's state"
        severity = {"MessageId": "Base.1.0.ActionNotSupported", "Message": message, "Severity": "Warning"}
        return {"error": {"code": "Base.1.0.GeneralError", "@Message.ExtendedInfo": [severity]}}, 409
    return None


def _meddler(read: Callable[[], Meddling]) -> Callable[[flask.Response], flask.Response]:
    def meddle(response: flask.Response) -> flask.Response:
        now = read()
        if _reset() in now.get("loses", ()):
            flask.request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        body = response.get_json(silent=True)
        if isinstance(body, dict) and "allowed" in now and "Actions" in body:
            body["Actions"]["#ComputerSystem.Reset"][_RESETS] = now["allowed"]
            response.set_data(json.dumps(body))
        if isinstance(body, dict) and "listed" in now and "Members" in body:
            paths = tuple(f"/{system}" for system in now["listed"])
            body["Members"] = [each for each in body["Members"] if each["@odata.id"].endswith(paths)]
            response.set_data(json.dumps(body))
        return response

    return meddle


if __name__ == "__main__":
    main()
