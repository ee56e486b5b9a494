"""Clusters' JSON as text, written once for each state of theirs that somebody looks at.

A fleet is looked at far more often than it changes; and to read a cluster's row and to write it as JSON takes many
times as long as to ask which state it is in. What is shown follows from the row alone, and `validator_of` names its
state. So a door first asks for the states of the clusters meant, and here the rows are read only of those whose text is
not at hand.
"""

from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.readmodel import TraceView, cluster_detail, cluster_view, validator_of
from caravan_api.store import Cluster

_state = attrgetter("generation", "revision", "change")  # what a validator is made of
_MOST = 5_000  # clusters; some 2 KB each on a list, 5 KB each on a page of its own


class Seen(NamedTuple):
    """A cluster and the state that it is in, named as its columns."""

    id: UUID
    team: str
    name: str
    created_at: datetime
    generation: int
    revision: int
    change: int


SEEN = tuple(getattr(Cluster, name) for name in Seen._fields)
"""The columns."""


class Texts:
    """The last text of each of `most` things, with the state that it tells of. What was not read for longest goes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._texts: dict[UUID, tuple[object, str]] = {}

    def of(self, thing: UUID, state: object) -> str | None:
        """Its text in that state; None if that is not at hand."""
        found = self._texts.get(thing)
        if found is None or found[0] != state:
            return None
        self._texts[thing] = self._texts.pop(thing)  # the last one now: a dict is in the order of insertion
        return found[1]

    def keep(self, thing: UUID, state: object, text: str) -> str:
        """Have it at hand from now on."""
        self._texts.pop(thing, None)
        self._texts[thing] = state, text
        if len(self._texts) > self._most:
            del self._texts[next(iter(self._texts))]
        return text


class Written:
    """The texts of one api process."""

    def __init__(self) -> None:
        self._views, self._details = Texts(_MOST), Texts(_MOST)

    async def views(self, session: AsyncSession, clusters: Iterable[Seen]) -> list[str]:
        """A `ClusterView` of each, in this order. One that changes meanwhile is told as it is then."""
        texts = {each.id: self._views.of(each.id, _state(each)) for each in clusters}
        if unwritten := [cluster for cluster, text in texts.items() if text is None]:
            for row in (await session.exec(select(Cluster).where(col(Cluster.id).in_(unwritten)))).all():
                texts[row.id] = self._views.keep(row.id, _state(row), cluster_view(row).model_dump_json())
        return [text for text in texts.values() if text is not None]

    async def detail(self, session: AsyncSession, cluster: Seen, trace: TraceView | None) -> tuple[str, str]:
        """A `ClusterDetail`, and the validator of the state that it tells of."""
        text = self._details.of(cluster.id, (_state(cluster), trace))
        if text is not None:
            return text, validator_of(cluster)
        row = await session.get_one(Cluster, cluster.id)
        text = self._details.keep(row.id, (_state(row), trace), cluster_detail(row, trace).model_dump_json())
        return text, validator_of(row)
