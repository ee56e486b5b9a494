"""The tables of notifications."""

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field

from caravan_api.store import Table
from caravan_shared.plumbing.database import COUNTED_ID, UtcDateTime
from caravan_shared.plumbing.sealed_columns import sealed


def url_context(team: str, name: str) -> str:
    """What a rule's URL is sealed for."""
    return f"notification/{team}/{name}"


class NotificationRule(Table, table=True):
    """What a team wants told, and where; and how well that goes."""

    team: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    product: str
    url: str = Field(sa_column_kwargs=sealed(lambda row: url_context(row.team, row.name)))
    """The webhook's, sealed: whoever has it can write to the channel."""
    target: str
    """SHA-256 of the URL: rules with one target share its pace."""
    channel: str | None = None
    occasions: list[str] = Field(sa_type=JSON)
    pool: str | None = None
    cluster: str | None = None
    created_by: str
    updated_at: datetime = Field(sa_type=UtcDateTime)
    # How it goes.
    next_try_at: datetime = Field(sa_type=UtcDateTime)
    tries: int = 0
    told_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    problem: str | None = None
    stopped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Since when nothing is told any more, because of that problem."""


class Notification(Table, table=True):
    """Something that a rule caught and that is not told yet."""

    id: int | None = Field(default=None, primary_key=True, sa_type=COUNTED_ID)
    team: str = Field(index=True)
    rule: str
    occasion: str
    about: str
    text: str
    at: datetime = Field(sa_type=UtcDateTime)


class NotificationTarget(Table, table=True):
    """How much may be written to a target now: replicas share it."""

    sha256: str = Field(primary_key=True)
    tokens: float
    at: datetime = Field(sa_type=UtcDateTime)
    held_until: datetime = Field(sa_type=UtcDateTime)
