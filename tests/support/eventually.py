"""Wait for something that becomes true by itself."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    look: Callable[[], T | Awaitable[T]], *, within: float = 30.0, every: float = 0.05, saying: str = ""
) -> T:
    """Call `look` until what it returns is true, and return that; fail with the last value after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        value = look()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(
                f"not within {within} s: {saying or inspect.getsource(look).strip()} (last: {value!r})"
            )
        await asyncio.sleep(every)
