"""Keyset pages: a cursor says after which item to go on, so items that come meanwhile shift nothing."""

import base64
import binascii
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from caravan_api.errors import Malformed
from caravan_shared.contracts.facts import FieldProblem

_READ: dict[type, Callable[[str], Any]] = {str: str, int: int, UUID: UUID, datetime: datetime.fromisoformat}


def encode_cursor(*position: str | int | UUID | datetime) -> str:
    """An opaque cursor for the position of a page's last item."""
    values = [value.isoformat() if isinstance(value, datetime) else str(value) for value in position]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The position in a cursor that holds values of these types. Raises `Malformed` for any other text."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        texts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        position = tuple(_read(text, kind) for text, kind in zip(texts, kinds, strict=True))
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        remedy = "use `next` of the page before, or leave it out"
        raise Malformed(
            [FieldProblem(field="after", problem="it is not a cursor of this list", remedy=remedy)]
        ) from error
    return position


def _read(text: Any, kind: type) -> Any:
    """One value, refused unless we could have put it in: databases take no NUL, no zoneless time, no 65-bit integer."""
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError("not a value of ours")
    value: Any = _READ[kind](text)
    if (isinstance(value, datetime) and value.tzinfo is None) or (isinstance(value, int) and not 0 <= value < 2**63):
        raise ValueError("not a value of ours")
    return value
