"""Clusters' JSON as text, written once for each state of theirs that somebody looks at.

A fleet is looked at far more often than it changes; and to read a cluster's row and to write it as JSON takes many
times as long as to ask which state it is in. What is shown follows from the row alone, and `validator_of` names its
state. So a door first asks for the states of the clusters meant, and here the rows are read only of those whose text is
not at hand.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlmodel import col, select

from caravan_api.latest import Latest
from caravan_api.readmodel import TraceView, cluster_detail, cluster_view, validator_of
from caravan_api.seen import Seen, state_of
from caravan_api.store import Cluster
from caravan_shared.plumbing.database import Database

MOST = 5_000  # clusters; some 2 KB each on a list, 5 KB each on a page of its own


class Written:
    """The texts of one api process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._views, self._details = Latest[str](MOST), Latest[str](MOST)

    async def views(self, clusters: Iterable[Seen]) -> dict[UUID, str]:
        """A `ClusterView` of each, by id and in this order.

        One that changes meanwhile is told as it is then, and one that is gone is left out.
        """
        texts = {each.id: self._views.of(each.id, state_of(each)) for each in clusters}
        if unwritten := [cluster for cluster, text in texts.items() if text is None]:
            async with self._db.reading() as session:
                rows = (await session.exec(select(Cluster).where(col(Cluster.id).in_(unwritten)))).all()
            for row in rows:
                texts[row.id] = self._views.keep(row.id, state_of(row), cluster_view(row).model_dump_json())
        return {cluster: text for cluster, text in texts.items() if text is not None}

    async def detail(self, cluster: Seen, trace: TraceView | None) -> tuple[str, str]:
        """A `ClusterDetail`, and the validator of the state that it tells of."""
        text = self._details.of(cluster.id, (state_of(cluster), trace))
        if text is not None:
            return text, validator_of(cluster)
        async with self._db.reading() as session:
            row = await session.get_one(Cluster, cluster.id)
        text = self._details.keep(row.id, (state_of(row), trace), cluster_detail(row, trace).model_dump_json())
        return text, validator_of(row)
