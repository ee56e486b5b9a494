"""Start and stop the provider, turn its keys, and get tokens from it as any client would."""

import base64
import hashlib
import json
import secrets
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.oidc.browser import walk_to
from tests.support.oidc.certificate import LOOPBACK
from tests.support.oidc.setup import CODE_CLIENT, Setup
from tests.support.ports import accepts, free_port

_CHECKOUT = Path(__file__).resolve().parents[3]
_STARTS_WITHIN_S = 30.0
_CALLBACK = "http://127.0.0.1:1/callback"  # nobody listens there: the code is read from the address

USERS: Mapping[str, Mapping[str, Any]] = {
    "alice": {"email": "Alice@Example.org", "email_verified": True, "groups": ["platform", "oncall"]},
    "mallory": {"email": "alice@example.org", "email_verified": False},
    "ghost": {},
}


class Provider:
    """One provider; `stop` and `start` keep its address, as a restart would."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str = LOOPBACK,
        authority: Path | None = None,
        certificate: Path | None = None,
    ) -> None:
        self._folder = folder
        port = free_port()
        self._setup = Setup(
            issuer=f"http{'s' if certificate else ''}://{host}:{port}",
            host=host,
            port=port,
            store=str(folder / "provider.sqlite"),
            keys=(new_key(),),
            claims=USERS,
            certificate=str(certificate) if certificate else None,
        )
        self._tls = ssl.create_default_context(cafile=authority)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        """Its address, which is its name."""
        return self._setup.issuer

    def start(self, **changes: Any) -> None:
        """Start, with another setup from now on if there are changes, and wait until it accepts connections."""
        self._setup = replace(self._setup, **changes)
        self._folder.mkdir(parents=True, exist_ok=True)
        file, log_file = self._folder / "setup.json", self._folder / "provider.log"
        file.write_text(json.dumps(asdict(self._setup)))
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.oidc.site", file], cwd=_CHECKOUT, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not accepts(self._setup.port, self._setup.host):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError(log_file.read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def restart(self, **changes: Any) -> None:
        """Stop, and start with changes."""
        self.stop()
        self.start(**changes)

    def rotate(self, *, withdraw: bool) -> None:
        """Sign with a new key; the old one is still published unless it is withdrawn."""
        self.restart(keys=(new_key(), *(() if withdraw else self._setup.keys)))

    def id_token(self, user: str = "alice", client: str = CODE_CLIENT) -> str:
        """An ID token, got by authorization code and PKCE."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": _CALLBACK,
            "scope": "openid email",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        callback = walk_to(_CALLBACK, f"{self.issuer}/authorize/?{urlencode(asked)}", user, tls=self._tls)
        told = parse_qs(urlsplit(callback).query)
        assert told["state"] == [state]
        answer = httpx.post(
            f"{self.issuer}/token/",
            data={
                "grant_type": "authorization_code",
                "client_id": client,
                "code": told["code"][0],
                "redirect_uri": _CALLBACK,
                "code_verifier": verifier,
            },
            verify=self._tls,
        )
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["id_token"]
        return token


def new_key() -> str:
    """An RSA key as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
