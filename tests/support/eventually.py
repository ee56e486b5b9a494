"""Wait for something that becomes true by itself."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    look: Callable[[], Awaitable[T | None]], *, within: float = ..., every: float = ..., saying: str = ...
) -> T: ...


@overload
async def eventually(
    look: Callable[[], T | None], *, within: float = ..., every: float = ..., saying: str = ...
) -> T: ...


async def eventually(look: Callable[[], Any], *, within: float = 30.0, every: float = 0.05, saying: str = "") -> Any:
    """Call `look` until what it returns is true, and return that; fail with the last value after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        value = look()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(
                f"not within {within} s: {saying or inspect.getsource(look).strip()} (last: {value!r})"
            )
        await asyncio.sleep(every)
