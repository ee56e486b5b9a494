"""Signals that ask this command to end, where something must be put right first.

SIGQUIT is left as it is: the way out for whoever does not want to wait for that.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILLED_BY = 128  # plus the signal's number is the exit code, as shells have it

Handler = Callable[[int, FrameType | None], object] | signal.Handlers


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """The signals go to `handler` in the block; those that are ignored already stay so, as `nohup` wants it."""
    before = {number: signal.getsignal(number) for number in ENDINGS}
    before = {number: earlier for number, earlier in before.items() if earlier is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def raised() -> Iterator[None]:
    """The signals raise `Interrupted` in the block, and what leaves it becomes the exit code."""
    try:
        with handled_by(_raise):
            yield
    except Interrupted as interrupted:
        raise typer.Exit(KILLED_BY + interrupted.number) from interrupted


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)
