"""A real nats-server with JetStream on loopback, started and stopped by the test that needs it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.ports import accepts, free_port

_STARTS_WITHIN_S = 10.0


class NatsServer:
    """One server with a store of its own. `stop`, `kill`, `wipe` and `start` keep the port, as a restart would.

    `accounts` is a file that its configuration includes; without one everybody may do everything. `more` is further
    configuration.
    """

    def __init__(self, folder: Path, accounts: Path | None = None, more: str = "") -> None:
        self._folder, self._accounts, self._more = folder, accounts, more
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def url_of(self, user: str, password: str) -> str:
        """Where that user connects."""
        return f"nats://{user}:{password}@127.0.0.1:{self.port}"

    def reload(self) -> None:
        """Have it read its configuration again, as an operator would, and wait until it has."""
        assert self._process is not None
        before = self._reloads()
        subprocess.run([_binary(), "--signal", f"reload={self._process.pid}"], check=True, capture_output=True)
        # Two signals that come together are one.
        ends_at = time.monotonic() + 20
        while self._reloads() == before:
            if time.monotonic() > ends_at:
                raise TimeoutError((self._folder / "nats.log").read_text())
            time.sleep(0.02)

    def _reloads(self) -> int:
        return (self._folder / "nats.log").read_text().count("Reloaded server configuration")

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        config = self._folder / "nats.conf"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self._folder / "store"}", sync_interval: always }}\n'
            + (f'include "{os.path.relpath(self._accounts, self._folder)}"\n' if self._accounts else "")
            + self._more
        )
        with (self._folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen([_binary(), "-c", config], stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError((self._folder / "nats.log").read_text())
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None

    def wipe(self) -> None:
        """Kill the server, lose everything it stored, start it again."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self._folder / "store", ignore_errors=True)
        self.start()


def _binary() -> Path:
    return Path(sys.executable).with_name("nats-server")
