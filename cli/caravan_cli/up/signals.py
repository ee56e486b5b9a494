"""However the command is told to end, the stack is stopped first, and nothing interrupts that."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from caravan_cli.up.stack import Stack

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopped_at_the_end(stack: Stack) -> Iterator[None]:
    """SIGTERM and a closed terminal raise KeyboardInterrupt in the block, as Ctrl-C does; after it the stack stops."""
    before = {number: signal.signal(number, _interrupt) for number in _ENDINGS}
    try:
        yield
    finally:
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
