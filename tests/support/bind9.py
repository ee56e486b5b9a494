"""A real bind9 on loopback that serves caravan.test and takes signed updates, for as long as a test needs it."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.support.nats import accepts, free_port

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
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start with empty zones and wait until it accepts connections."""
        binary = named()
        assert binary, "named is not installed"
        for zone in ("caravan.test", "fixed.test"):
            (self._folder / f"{zone}.db").write_text(_ZONE)
        config = self._folder / "named.conf"
        config.write_text(_CONFIG.format(folder=self._folder, port=self.port, key_name=KEY_NAME, secret=SECRET))
        with (self._folder / "named.log").open("ab") as log:
            self._process = subprocess.Popen([binary, "-g", "-n", "1", "-c", config], stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not accepts(self.port):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError((self._folder / "named.log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
