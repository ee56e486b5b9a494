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

from caravan_api.latest import Latest
from caravan_api.readmodel import TraceView, cluster_detail, cluster_view, validator_of
from caravan_api.store import Cluster

MOST = 5_000  # clusters; some 2 KB each on a list, 5 KB each on a page of its own
state_of = attrgetter("generation", "revision", "change")
"""What a validator is made of."""


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


class Written:
    """The texts of one api process."""

    def __init__(self) -> None:
        self._views, self._details = Latest[str](MOST), Latest[str](MOST)

    async def views(self, session: AsyncSession, clusters: Iterable[Seen]) -> dict[UUID, str]:
        """A `ClusterView` of each, by id and in this order.

        One that changes meanwhile is told as it is then, and one that is gone is left out.
        """
        texts = {each.id: self._views.of(each.id, state_of(each)) for each in clusters}
        if unwritten := [cluster for cluster, text in texts.items() if text is None]:
            for row in (await session.exec(select(Cluster).where(col(Cluster.id).in_(unwritten)))).all():
                texts[row.id] = self._views.keep(row.id, state_of(row), cluster_view(row).model_dump_json())
        return {cluster: text for cluster, text in texts.items() if text is not None}

    async def detail(self, session: AsyncSession, cluster: Seen, trace: TraceView | None) -> tuple[str, str]:
        """A `ClusterDetail`, and the validator of the state that it tells of."""
        text = self._details.of(cluster.id, (state_of(cluster), trace))
        if text is not None:
            return text, validator_of(cluster)
        row = await session.get_one(Cluster, cluster.id)
        text = self._details.keep(row.id, (state_of(row), trace), cluster_detail(row, trace).model_dump_json())
        return text, validator_of(row)
