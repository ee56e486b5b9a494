"""One supervisor a state directory: a lock while it lives, and a list of its processes in case it is killed."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

from caravan_cli.up.errors import StackTaken
from caravan_cli.up.processes import Process, Stray, is_same

LOCK = "lock"
PROCESSES = "processes.json"


class Claim:
    """The state directory is ours while this is held. The kernel lets go of the lock when the supervisor ends."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._lock: int | None = None

    @property
    def held(self) -> bool:
        """Whether the directory is ours."""
        return self._lock is not None

    def take(self) -> None:
        """Lock the directory, making it if need be; StackTaken where another supervisor has it."""
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._state_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode().strip()
            os.close(lock)
            raise StackTaken(
                f"A local stack is running in {self._state_dir} already (process {holder or 'unknown'}). "
                "Use that one, stop it, or choose another directory with --state-dir."
            ) from None
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def give_back(self) -> None:
        """Let the next one have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def note(self, processes: Mapping[str, Process]) -> None:
        """Remember what runs, so that a later supervisor can end what a killed one left."""
        running = {name: (each.pid, each.born) for name, each in processes.items() if each.ended() is None}
        draft = self._state_dir / f"{PROCESSES}.new"
        draft.write_text(json.dumps(running))
        draft.replace(self._state_dir / PROCESSES)

    def strays(self) -> dict[str, Stray]:
        """What a killed supervisor left running, by part."""
        path = self._state_dir / PROCESSES
        noted = json.loads(path.read_text()) if path.exists() else {}
        return {name: Stray(pid, born) for name, (pid, born) in noted.items() if born and is_same(pid, born)}
