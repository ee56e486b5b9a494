"""Our own modules as processes, forked from one that has imported them: milliseconds, where an import takes seconds.

The fork server is multiprocessing's. It starts with the first fork, imports all of Caravan once, and ends with the last
of its processes; these share the memory of what it imported.
"""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock

from setproctitle import setproctitle

from caravan_cli.up.parts import SANDBOX, SERVICES, module

_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(["__main__", *(f"{module(part)}.__main__" for part in (SANDBOX, *SERVICES)), __name__])
_one_at_a_time = Lock()
"""Held for each start and look: a start has multiprocessing look at all its processes, and an end is read only once."""


class Fork:
    """A module that runs as `python -m module` does. In use like `subprocess.Popen`, as far as it goes.

    It is ended with the process that started it, unless that is killed.
    """

    def __init__(self, name: str, log: Path, env: Mapping[str, str]) -> None:
        log.touch()  # whoever reads it need not wait for the process
        self._process = _SERVER.Process(target=_become, args=(name, log, dict(env)), name=name, daemon=True)
        with _one_at_a_time:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with _one_at_a_time:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code once it ended; subprocess.TimeoutExpired after `timeout` seconds."""
        wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing, once it ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def _become(name: str, log: Path, env: Mapping[str, str]) -> None:
    gc.freeze()  # what was imported is there to stay: looking for garbage among it would only unshare its memory
    os.setsid()
    setproctitle(name)  # before the environment goes, beside which the title stands
    out = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(out, sys.stdout.fileno())
    os.dup2(out, sys.stderr.fileno())
    os.close(out)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[:] = [name]
    import_module(f"{name}.__main__").main()
