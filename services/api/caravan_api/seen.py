"""Which cluster an id or a name means to a team, and in which state it is: what most reads ask first, and together."""

from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BindParameter, bindparam, or_, select
from sqlmodel import col

from caravan_api.loader import Loader, padded
from caravan_api.pools.reach import leased_to
from caravan_api.pools.store import Lease
from caravan_api.store import Cluster
from caravan_shared.plumbing import traces
from caravan_shared.plumbing.database import Database


class Seen(NamedTuple):
    """A cluster and the state that it is in, named as its columns."""

    id: UUID
    team: str
    name: str
    created_at: datetime
    generation: int
    revision: int
    change: int
    simulated: bool


SEEN = tuple(getattr(Cluster, name) for name in Seen._fields)
"""The columns."""

state_of = attrgetter("generation", "revision", "change")
"""What a validator is made of."""

Meant = tuple[str | None, UUID | str]
"""A team, or None for whichever, and what it calls the cluster."""


class Seeing:
    """Looks at clusters, and at their traces, for all who ask at the same time."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._by_id, self._by_name = Loader[Meant, Seen](self._of_ids), Loader[Meant, Seen](self._of_names)
        self._traces = Loader[str, str](self._trace_ids)

    async def cluster(self, team: str | None, ref: UUID | str) -> Seen | None:
        """The cluster of that id, or the live one of that name, that a team has or leases; of two, the own one.

        An id may be looked for in all teams: None.
        """
        return await (self._by_id if isinstance(ref, UUID) else self._by_name).load((team, ref))

    async def trace_id(self, cluster_id: UUID) -> str | None:
        """The id of the newest request's trace; None: it has none."""
        return await self._traces.load(str(cluster_id))

    async def _of_ids(self, meant: Set[Meant]) -> Mapping[Meant, Seen]:
        rows = await self._rows(_OF_IDS, meant)
        return {(team, seen.id): seen for team, seen in _by_team(rows)}

    async def _of_names(self, meant: Set[Meant]) -> Mapping[Meant, Seen]:
        rows = await self._rows(_OF_NAMES, meant)
        return {(team, seen.name): seen for team, seen in _by_team(rows)}

    async def _rows(self, statement: Any, meant: Set[Meant]) -> Iterable[Any]:
        asked = {"teams": padded({team for team, _ in meant if team}), "refs": padded({ref for _, ref in meant})}
        async with self._db.reading() as session:
            return (await (await session.connection()).execute(statement, asked)).all()

    async def _trace_ids(self, keys: Set[str]) -> Mapping[str, str]:
        async with self._db.reading() as session:
            return await traces.ids_of(session, padded(keys))


def _by_team(rows: Iterable[Any]) -> Iterator[tuple[str | None, Seen]]:
    """Each cluster with those that it exists for, who has it last: in a dictionary the own one stands."""
    seen = [(row.lessee, Seen._make(row[:-1])) for row in rows]
    yield from seen
    for _, cluster in seen:
        yield None, cluster
        yield cluster.team, cluster


_TEAMS: BindParameter[Any] = bindparam("teams", expanding=True)
_REFS: BindParameter[Any] = bindparam("refs", expanding=True)
_SEEN = select(*SEEN, col(Lease.team).label("lessee")).outerjoin(Lease, leased_to(_TEAMS, Cluster.id))
_OF_IDS = _SEEN.where(col(Cluster.id).in_(_REFS))
_OF_NAMES = _SEEN.where(
    col(Cluster.name).in_(_REFS),
    col(Cluster.deleted_at).is_(None),
    or_(col(Cluster.team).in_(_TEAMS), col(Lease.team).is_not(None)),
)
