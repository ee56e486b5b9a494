"""Read a page of a Kubernetes list item by item, so that the event loop gets its turn between them.

A real node is 10 to 15 KB of JSON (labels, images), so 1,000 of them would stop the event loop for about 0.1 s if
decoded at once. `bench/probes.py` measures it.
"""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from caravan_health.errors import NotAKubeApiserver

_ITEMS = re.compile(r'"items"\s*:\s*(null|\[\s*)')
_BETWEEN = re.compile(r"\s*[,\]]\s*")
_CONTINUE = re.compile(r'"continue"\s*:\s*"([^"]*)"')
_ITEMS_A_TURN = 50  # about 4 ms of decoding
_decode = json.JSONDecoder().raw_decode

R = TypeVar("R")
Read = Callable[[dict[str, Any]], R]
"""What to take from one item."""


async def read_page(text: str, read: Read[R]) -> tuple[list[R], str]:
    """The readings of one page of a list, and the `continue` token of the next page (empty: that was all)."""
    items = _ITEMS.search(text)
    if not items:
        raise NotAKubeApiserver("its list has no items")
    readings: list[R] = []
    try:
        end = await _read_items(text, items.end(), read, readings) if items[1] != "null" else items.end()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAKubeApiserver("its list cannot be read") from error
    onward = _CONTINUE.search(text, 0, items.start()) or _CONTINUE.search(text, end)
    return readings, onward[1] if onward else ""


async def _read_items(text: str, position: int, read: Read[R], readings: list[R]) -> int:
    while not text.startswith("]", position):
        item, position = _decode(text, position)
        readings.append(read(item))
        if len(readings) % _ITEMS_A_TURN == 0:
            await asyncio.sleep(0)
        between = _BETWEEN.match(text, position)
        if not between:
            raise ValueError("neither a comma nor the end after an item")
        if "]" in between[0]:
            return between.end()
        position = between.end()
    return position
