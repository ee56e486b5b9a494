"""Catch what teams want told, in the transaction in which it happens: nothing is told that was rolled back or lost.

It hangs on the session, as the audit does, so that no way to change a lease or a cluster can forget it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, inspect
from sqlmodel import Session, select

from caravan_api.decide.notifications import Occasion
from caravan_api.notifications.store import Notification, NotificationRule
from caravan_api.pools.store import Lease, Pool
from caravan_api.store import Cluster, Table
from caravan_api.timeline import utc
from caravan_shared.contracts.states import ClusterPhase, LeaseState, Verdict
from caravan_shared.plumbing.database import before_flush

_UNWELL = (Verdict.DEGRADED.value, Verdict.UNREACHABLE.value)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A column whose change to one of these values is an occasion."""

    column: str
    to: tuple[object, ...]
    occasion: Occasion
    text: Callable[[Any], str]


_WATCHED: Mapping[type[Table], Sequence[_Watched]] = {
    Lease: (
        _Watched(
            "state",
            (LeaseState.HELD.value,),
            Occasion.LEASE_GRANTED,
            lambda lease: f"{lease.holder} got {lease.cluster} of the pool {lease.pool} until {utc(lease.ends_at)}",
        ),
        _Watched(
            "warned",
            (True,),
            Occasion.LEASE_ENDING,
            lambda lease: f"The lease of {lease.cluster} by {lease.holder} ends at {utc(lease.ends_at)}",
        ),
    ),
    Cluster: (
        _Watched(
            "phase",
            (ClusterPhase.FAILED.value,),
            Occasion.CLUSTER_FAILED,
            lambda cluster: f"{cluster.name} failed: {(cluster.failure or {}).get('reason', 'no reason is known')}",
        ),
        _Watched(
            "verdict",
            _UNWELL,
            Occasion.CLUSTER_UNHEALTHY,
            lambda cluster: f"{cluster.name} is {cluster.verdict}: {cluster.facts['health']['reason']}",
        ),
        _Watched(
            "expiry_told",
            (True,),
            Occasion.CLUSTER_EXPIRING,
            lambda cluster: f"{cluster.name} is deleted at {utc(cluster.expires_at)} unless someone extends its life",
        ),
    ),
}

_RULES_OF = select(NotificationRule).where(
    NotificationRule.team == bindparam("team"),
    NotificationRule.stopped_at == None,  # noqa: E711  # SQL's IS NULL
)
"""Built once: every lease asks it, and building takes longer than asking."""


def watch() -> None:
    """Have what happens from now on caught; once for all stores of this process."""
    before_flush(_catch)


def _catch(session: Session, *_: object) -> None:
    rules_of: dict[str, Sequence[NotificationRule]] = {}
    for row in (*session.new, *session.dirty):
        for watched in _WATCHED.get(type(row), ()):
            if _became(row, watched):
                if row.team not in rules_of:
                    rules_of[row.team] = session.exec(_RULES_OF, params={"team": row.team}).all()
                session.add_all(_caught(session, row, watched, rules_of[row.team]))


def _became(row: Any, watched: _Watched) -> bool:
    history = inspect(row).attrs[watched.column].history
    return bool(history.added) and history.added[0] in watched.to and history.added[0] not in (history.deleted or ())


def _caught(
    session: Session, row: Any, watched: _Watched, rules_of_team: Sequence[NotificationRule]
) -> list[Notification]:
    rules = [rule for rule in rules_of_team if watched.occasion in rule.occasions]
    if not rules:
        return []
    pool, cluster = _names(session, row)
    now = datetime.now(UTC)
    return [
        Notification(
            team=row.team,
            rule=rule.name,
            occasion=watched.occasion.value,
            about=cluster,
            text=watched.text(row),
            at=now,
        )
        for rule in rules
        if rule.pool in (None, pool) and rule.cluster in (None, cluster)
    ]


def _names(session: Session, row: Lease | Cluster) -> tuple[str | None, str]:
    """The pool and the cluster that a row is about."""
    if isinstance(row, Lease):
        return row.pool, row.cluster or ""
    pool = session.get(Pool, row.pool_id) if row.pool_id else None
    return pool.name if pool else None, row.name
