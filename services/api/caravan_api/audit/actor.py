"""On whose behalf something is done right now: doors say it, the audit writes it down."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import inspect

from caravan_api.store import Table


class Door(StrEnum):
    """How a wish came in."""

    REST = "rest"
    WEB = "web"
    EVENT = "event"
    CHAT = "chat"
    ITSELF = "itself"
    """Nobody's wish: what was agreed before took its course."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who does something. `trace_id` finds the request in the logs; empty where there is none."""

    user: str
    door: Door
    trace_id: str = ""


CARAVAN = Actor("caravan", Door.ITSELF)
_SIGNED_BY = "signed_by"
_actor: ContextVar[Actor] = ContextVar("actor", default=CARAVAN)


def act_as(actor: Actor) -> None:
    """Whatever this task does from now on is on behalf of `actor`."""
    _actor.set(actor)


@contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    """Whatever is done within is on behalf of `actor`: for tasks that serve one after the other."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> Actor:
    """On whose behalf things are done now."""
    return _actor.get()


def sign(row: Table, by: Actor) -> None:
    """Whatever is asked of this row from now on is on behalf of `by`: for what serves several people at once."""
    inspect(row).info[_SIGNED_BY] = by


def actor_of(row: Table) -> Actor:
    """On whose behalf the row is changed."""
    signed_by: Actor | None = inspect(row).info.get(_SIGNED_BY)
    return signed_by or actor()
