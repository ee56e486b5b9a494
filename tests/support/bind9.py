"""A real bind9 on loopback that serves caravan.test and takes signed updates, for as long as a test needs it."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.ports import accepts, free_port

KEY_NAME = "caravan"
SECRET = "c2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXMsIHRlc3Q="
_STARTS_WITHIN_S = 10.0

_CONFIG = """
options {{
  directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile "{folder}/session.key";
  managed-keys-directory "{folder}"; lock-file none;
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; dnssec-validation no; notify no;
}};
controls {{ }};
key "{key_name}" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "caravan.test" {{
  type primary; file "{folder}/caravan.test.db"; update-policy {{ grant {key_name} zonesub ANY; }};
}};
zone "fixed.test" {{ type primary; file "{folder}/fixed.test.db"; }};
"""
_ZONE = """$TTL 5
@ IN SOA ns hostmaster 1 3600 600 86400 5
@ IN NS ns
ns IN A 127.0.0.1
"""


def named() -> str | None:
    """The bind9 server's binary, if it is installed."""
    return shutil.which("named", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Bind9:
    """One server with zones of its own: `caravan.test` takes updates, `fixed.test` takes none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._running = ExitStack()

    def start(self) -> None:
        """Start with empty zones and wait until it accepts connections."""
        for zone in ("caravan.test", "fixed.test"):
            (self._folder / f"{zone}.db").write_text(_ZONE)
        config = self._folder / "named.conf"
        config.write_text(_CONFIG.format(folder=self._folder, port=self.port, key_name=KEY_NAME, secret=SECRET))
        self._running.enter_context(_running(config, self._folder / "named.log", self.port))

    def stop(self) -> None:
        """End the process."""
        self._running.close()


_SECONDARY = """
options {{
  directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile "{folder}/session.key";
  managed-keys-directory "{folder}"; lock-file none;
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; dnssec-validation no; notify no;
}};
controls {{ }};
zone "{zone}" {{ type secondary; primaries {{ 127.0.0.1 port {primary}; }}; masterfile-format text; }};
"""


@contextmanager
def secondary(folder: Path, zone: str, primary: int) -> Iterator[int]:
    """A server on loopback that copies a zone from the server at port `primary`; yields its own port."""
    port = free_port()
    config = folder / "named.conf"
    config.write_text(_SECONDARY.format(folder=folder, port=port, zone=zone, primary=primary))
    with _running(config, folder / "named.log", port):
        yield port


@contextmanager
def _running(config: Path, log_file: Path, port: int) -> Iterator[None]:
    binary = named()
    assert binary, "named is not installed"
    with log_file.open("ab") as log:
        process = subprocess.Popen([binary, "-g", "-n", "1", "-c", config], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not accepts(port):
            if time.monotonic() > deadline or process.poll() is not None:
                raise TimeoutError(log_file.read_text())
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)
