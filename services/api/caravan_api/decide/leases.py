"""Decide when a lease ends, and when its holder is warned. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from caravan_api.decide.endings import warning_at
from caravan_shared.contracts.states import LeaseState


@dataclass(frozen=True, slots=True)
class Live:
    """A lease that is not over, as far as its end depends on it."""

    state: LeaseState
    heard_at: datetime
    """When its holder was last heard of, and could have been: a time without an api is nobody's silence."""
    heartbeat_s: int | None = None
    granted_at: datetime | None = None
    ends_at: datetime | None = None
    warned: bool = False


def why_over(lease: Live, now: datetime) -> str | None:
    """Why a lease is over; None while it is not."""
    if lease.ends_at and lease.ends_at <= now:
        return "its time was up"
    silent_at = _silent_at(lease)
    return f"its holder was not heard of for {lease.heartbeat_s} s" if silent_at and silent_at <= now else None


def warns(lease: Live, now: datetime) -> bool:
    """True if its holder is to be told now that it ends soon."""
    warned_at = _warned_at(lease)
    return warned_at is not None and warned_at <= now


def next_look(lease: Live) -> datetime | None:
    """When something about the lease is next to be done if nobody does anything; None: never."""
    moments = (lease.ends_at, _warned_at(lease), _silent_at(lease))
    return min((moment for moment in moments if moment), default=None)


def _silent_at(lease: Live) -> datetime | None:
    """When it ends unless its holder is heard of. Kept clusters are watched by nobody's job."""
    if lease.heartbeat_s is None or lease.state is LeaseState.KEPT:
        return None
    return lease.heard_at + timedelta(seconds=lease.heartbeat_s)


def _warned_at(lease: Live) -> datetime | None:
    if lease.state is not LeaseState.HELD or lease.warned or lease.granted_at is None or lease.ends_at is None:
        return None
    return warning_at(lease.granted_at, lease.ends_at)
