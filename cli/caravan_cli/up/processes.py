"""One process of the stack: in a session of its own, its output in a log file, ended by its id and no other way."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from caravan_cli.up.forks import Fork

LOG_LIMIT_BYTES = 10 * 1024 * 1024  # then the log moves to <name>.log.1 and the one before is gone
TAIL_BYTES = 16 * 1024
BIRTH_TOLERANCE_S = 0.05  # the kernel counts in hundredths


@dataclass(frozen=True)
class Module:
    """One of ours, to run as `python -m name`."""

    name: str


@dataclass(frozen=True)
class Program:
    """What to run as a part of the stack, and where it says that it is ready (None: when its port accepts)."""

    name: str
    runs: Module | Sequence[str]
    """Or a command and its arguments."""
    port: int
    ready_path: str | None


class Process:
    """A program that runs, or ran."""

    def __init__(self, program: Program, log: Path, env: Mapping[str, str]) -> None:
        self.program, self.log = program, log
        rotate(log)
        self._popen = _start(program.runs, log, env)
        self.born = birth(self.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._popen.poll()

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        self._popen.terminate()

    def read_again(self) -> None:
        """Have it read its configuration again: SIGHUP, which nats-server takes so."""
        self._popen.send_signal(signal.SIGHUP)

    def stop(self, within_s: float) -> None:
        """Ask it to end, then make it."""
        if self.ended() is not None:
            return
        _end(self.pid, within_s, self._wait)

    def kill(self) -> None:
        """End it as a crash would: at once, and only this process."""
        self._popen.kill()
        self._popen.wait()

    def _wait(self, timeout_s: float) -> bool:
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def _start(runs: Module | Sequence[str], log: Path, env: Mapping[str, str]) -> Fork | subprocess.Popen[bytes]:
    """Start it in a session of its own: Ctrl-C goes to the supervisor alone, which then ends its processes in order."""
    if isinstance(runs, Module):
        return Fork(runs.name, log, env)
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603  # nats-server
            list(runs), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(env), start_new_session=True
        )


def birth(pid: int) -> float | None:
    """When the process of this id was made (epoch seconds); None if there is none, or only a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_same(pid: int, born: float) -> bool:
    """Whether the process of this id is the one that was born then: ids are used again."""
    now = birth(pid)
    return now is not None and abs(now - born) < BIRTH_TOLERANCE_S


class Stray:
    """A process that a killed supervisor left behind: nobody's child, known by its id and its birth."""

    def __init__(self, pid: int, born: float) -> None:
        self.pid, self.born = pid, born

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting, if it is still that process."""
        if is_same(self.pid, self.born):
            _send(self.pid, signal.SIGTERM)

    def stop(self, within_s: float) -> None:
        """Ask it to end, then make it, if it is still that process."""
        if is_same(self.pid, self.born):
            _end(self.pid, within_s, self._wait)

    def _wait(self, timeout_s: float) -> bool:
        try:
            process = psutil.Process(self.pid)
            if is_same(self.pid, self.born):
                process.wait(timeout_s)
        except psutil.NoSuchProcess:
            return True
        except psutil.TimeoutExpired:
            return False
        return True


def _end(pid: int, within_s: float, wait: Callable[[float], bool]) -> None:
    """SIGTERM, and after `within_s` seconds SIGKILL, also for what it started in turn."""
    _send(pid, signal.SIGTERM)
    if wait(within_s):
        return
    children = _children(pid)
    _send(pid, signal.SIGKILL)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    wait(within_s)
    psutil.wait_procs(children, timeout=within_s)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def rotate(log: Path) -> None:
    """Move a log that has grown too large aside. The writer appends, so it goes on at the file's new beginning."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)


def tail(log: Path, lines: int) -> str:
    """The last lines of a log; empty where there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _children(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []
