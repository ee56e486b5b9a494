"""Run somebody's command: its input and output are ours, our signals reach it once, its exit code is told.

In the foreground of a terminal the command stays in our process group: it may read from the terminal, Ctrl-Z stops us
both, and Ctrl-C reaches it by the terminal itself, so that we do not pass it on. Everywhere else it has a group of its
own: whoever signals our whole group, as `timeout` does, would else reach it twice, and a second SIGTERM or SIGINT makes
many tools end without tidying up.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from caravan_cli import interrupts
from caravan_cli.errors import CliError

LOOK_EVERY_S = 0.05  # whether the command has ended, or a signal has come; far below what a person notices
_FROM_TERMINAL = (signal.SIGINT, signal.SIGHUP)  # of those that end us: what a terminal sends to the whole group


class CommandNotFound(CliError):
    """There is no such command."""

    exit_code = 127
    meaning = "the command to be run was not found"


class CommandNotExecutable(CliError):
    """It is there, but cannot be run."""

    exit_code = 126
    meaning = "the command to be run is not executable"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, 128+N if signal N killed it, and whether we were asked to end it."""

    code: int
    interrupted: bool

    @property
    def failed(self) -> bool:
        """It failed by itself."""
        return self.code != 0 and not self.interrupted


def check(command: str) -> None:
    """Raise CommandNotFound or CommandNotExecutable for what cannot be run."""
    if shutil.which(command):
        return
    if os.sep in command and Path(command).exists():
        raise CommandNotExecutable(f"{command} is not executable.")
    raise CommandNotFound(f"There is no command {command}.")


def run(command: Sequence[str], env: Mapping[str, str], *, in_foreground: bool) -> Ended:
    """Run a command to its end. Raises as `check` does."""
    relay = _Relay(shares_group=in_foreground)
    with interrupts.handled_by(relay):
        try:
            process = subprocess.Popen(command, env=env, process_group=None if in_foreground else 0)  # noqa: S603 - theirs
        except FileNotFoundError as error:  # such as the interpreter that a script names
            raise CommandNotFound(f"{command[0]} cannot be run: {error.strerror}.") from error
        except OSError as error:
            raise CommandNotExecutable(f"{command[0]} cannot be run: {error.strerror}.") from error
        relay.attach(process)
        # Not `wait()`: Python runs signal handlers between its own steps only, and one whose signal came just before
        # the system call, or to another thread, would run when the command has ended.
        while (code := process.poll()) is None:
            time.sleep(LOOK_EVERY_S)
    return Ended(interrupts.KILLED_BY - code if code < 0 else code, interrupted=relay.was_signalled)


def in_foreground() -> bool:
    """Whether a terminal sends its Ctrl-C to our process group."""
    try:
        with open("/dev/tty") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


class _Relay:
    """Passes signals on; those that come before the command runs reach it as soon as it does."""

    def __init__(self, *, shares_group: bool) -> None:
        self._shares_group = shares_group
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self.was_signalled = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.was_signalled = True
        if self._shares_group and number in _FROM_TERMINAL:
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._send(self._process, number)

    def attach(self, process: subprocess.Popen[bytes]) -> None:
        """This is the command."""
        self._process = process
        for number in self._early:
            self._send(process, number)

    def _send(self, process: subprocess.Popen[bytes], number: int) -> None:
        if self._shares_group:
            process.send_signal(number)
        elif process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
