"""Write the audit: every change of what people ask for, in the transaction that makes it.

It hangs on the session, not on the routes, so that no door and no new route can forget it. What a thing is asked to be
is named in `AUDITED`; what is merely observed is in the timeline. What another service changes for us is noted by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import insert, inspect
from sqlmodel import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.audit.actor import Actor, actor, actor_of
from caravan_api.audit.store import AuditEntry
from caravan_api.doors.chatops.store import ChatUser
from caravan_api.notifications.store import NotificationRule
from caravan_api.pools.store import Lease, Pool
from caravan_api.store import Cluster, Grant, Table, Token
from caravan_api.teams.store import Member, Team
from caravan_shared.plumbing.database import before_flush


class Action(StrEnum):
    """What was done to a thing."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Thing:
    """What an entry is about."""

    kind: str
    ref: str
    name: str
    team: str | None


@dataclass(frozen=True, slots=True)
class _Audited:
    kind: str
    wanted: tuple[str, ...]
    """The columns that hold what people ask for."""
    ref: str = "id"
    name: str = "name"
    ended_by: str | None = None
    """The column whose setting is the thing's end."""


AUDITED: Mapping[type[Table], _Audited] = {
    Cluster: _Audited(
        "cluster",
        ("spec", "expires_at", "retry", "asleep", "replacing", "deletion_asked_at"),
        ended_by="deletion_asked_at",
    ),
    Pool: _Audited("pool", ("spec", "deletion_asked_at"), ended_by="deletion_asked_at"),
    Lease: _Audited(
        "lease", ("holder", "state", "ends_at", "cluster", "ended_at", "end_reason"), name="pool", ended_by="ended_at"
    ),
    Grant: _Audited(
        "kubeconfig",
        ("grant_id", "user", "role", "expires_at", "revoked_at"),
        ref="cluster_id",
        name="user",
        ended_by="revoked_at",
    ),
    Token: _Audited(
        "token", ("user", "role", "scopes", "expires_at", "revoked_at"), name="user", ended_by="revoked_at"
    ),
    Team: _Audited("team", ("max_clusters", "max_nodes", "max_leases"), ref="name"),
    Member: _Audited("member", ("kind", "role"), ref="user", name="user"),
    ChatUser: _Audited("chat link", ("integration", "workspace", "chat_name", "user"), name="user"),
    NotificationRule: _Audited(
        "notification", ("product", "channel", "occasions", "pool", "cluster", "target"), ref="name"
    ),
}

_WRITING = insert(AuditEntry)


def watch() -> None:
    """Have every change from now on audited; once for all stores of this process."""
    before_flush(_audit)


def note(tx: AsyncSession, thing: Thing, action: Action, after: Mapping[str, Any]) -> None:
    """Write down what another service did for somebody."""
    tx.add(AuditEntry(**_entry(actor(), thing, action, {}, after)))


def _audit(session: Session, *_: object) -> None:
    entries = [
        entry
        for objects in (session.new, session.dirty, session.deleted)
        for row in objects
        if isinstance(row, Table) and (entry := _entry_of(session, row))
    ]
    if entries:  # past the session: it would ask the database for the number of each
        session.connection().execute(_WRITING, entries)


def _entry_of(session: Session, row: Table) -> dict[str, Any] | None:
    audited = AUDITED.get(type(row))
    if audited is None:
        return None
    before, after = _changes(row, audited.wanted)
    if row in session.deleted:
        action, before, after = Action.DELETE, {name: getattr(row, name) for name in audited.wanted}, {}
    elif row in session.new:
        action, before = Action.CREATE, {}
    elif not after:
        return None
    else:
        action = Action.DELETE if after.get(audited.ended_by or "") else Action.CHANGE
    ref, name = str(getattr(row, audited.ref)), str(getattr(row, audited.name))
    return _entry(actor_of(row), Thing(audited.kind, ref, name, _team(session, row)), action, before, after)


def _changes(row: Table, wanted: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The wanted columns that change: before, and after."""
    before, after = {}, {}
    for name in wanted:
        history = inspect(row).attrs[name].history
        if history.has_changes():
            before[name] = history.deleted[0] if history.deleted else None
            after[name] = history.added[0] if history.added else None
    return before, after


def _team(session: Session, row: Table) -> str | None:
    if isinstance(row, Grant):
        return session.get_one(Cluster, row.cluster_id).team
    if isinstance(row, Team):
        return row.name
    team: str = row.team  # type: ignore[attr-defined]  # all the others have one
    return team


def _entry(
    who: Actor, thing: Thing, action: Action, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC),
        "team": thing.team,
        "actor": who.user,
        "door": who.door.value,
        "trace_id": who.trace_id,
        "action": action.value,
        "kind": thing.kind,
        "ref": thing.ref,
        "name": thing.name,
        "before": to_jsonable_python(before),
        "after": to_jsonable_python(after),
    }
