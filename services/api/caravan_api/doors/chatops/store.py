"""The chat door's tables: who is who, codes to become so, what was heard already, what is answered later."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, text
from sqlmodel import Field

from caravan_api.store import Table
from caravan_shared.plumbing.database import UtcDateTime
from caravan_shared.plumbing.sealed_columns import sealed

_OPEN = text("ended_at IS NULL")


class ChatUser(Table, table=True):
    """Somebody in a chat who is a user of ours, in one team. What they may do there is their membership's."""

    integration: str = Field(primary_key=True)
    workspace: str = Field(primary_key=True)
    chat_user: str = Field(primary_key=True)
    id: UUID = Field(unique=True)
    chat_name: str
    """As the chat called them then: for people."""
    user: str = Field(index=True)
    team: str
    linked_at: datetime = Field(sa_type=UtcDateTime)


class LinkCode(Table, table=True):
    """A code that somebody in a chat was given, kept as its SHA-256; who confirms it first is who they are."""

    sha256: str = Field(primary_key=True)
    integration: str
    workspace: str
    chat_user: str
    chat_name: str
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class HeardRequest(Table, table=True):
    """A request that was served: its repetition is refused, by every replica."""

    integration: str = Field(primary_key=True)
    once: str = Field(primary_key=True)
    heard_at: datetime = Field(sa_type=UtcDateTime, index=True)


def url_context(reply_id: UUID) -> str:
    """What the URL for a reply is sealed for."""
    return f"chat-reply/{reply_id}"


class ChatReply(Table, table=True):
    """An answer that is sent when it can be: at once, or when a lease has left its queue."""

    __table_args__ = (Index("ix_chatreply_open", "next_try_at", sqlite_where=_OPEN, postgresql_where=_OPEN),)
    id: UUID = Field(primary_key=True)
    integration: str
    chat_user: str
    url: str = Field(sa_column_kwargs=sealed(lambda row: url_context(row.id)))
    """Sealed: whoever has it can write to the chat."""
    lease_id: UUID | None = None
    """The lease that it waits for; None: `body` is ready."""
    body: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    """When the product takes it no more."""
    next_try_at: datetime = Field(sa_type=UtcDateTime)
    tries: int = 0
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    problem: str | None = None
    """Why it was given up, or not taken yet."""
