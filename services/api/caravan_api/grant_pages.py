"""The order that grants are listed in, and how they are divided into pages: the same for one cluster's and for all."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_
from sqlmodel import col

from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.store import Grant

first_heard = func.coalesce(col(Grant.issued_at), col(Grant.revoked_at))
"""When a grant was first heard of: its end may be told before its beginning."""


def newest_first(statement: Any, after: str | None) -> Any:
    """A statement about grants, in their order, from behind that cursor. Raises `Malformed` for a strange one."""
    if after:
        at, grant_id = decode_cursor(after, datetime, UUID)
        statement = statement.where(or_(first_heard < at, (first_heard == at) & (col(Grant.grant_id) < grant_id)))
    return statement.order_by(first_heard.desc(), col(Grant.grant_id).desc())


def cursor_of(last: Grant) -> str:
    """The cursor of the page behind this grant."""
    heard = last.issued_at or last.revoked_at
    assert heard, "a grant is there because one of both was heard"
    return encode_cursor(heard, last.grant_id)
