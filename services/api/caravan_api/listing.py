"""Which clusters a list shows, in which order and how they are divided into pages: one answer for every door."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, select, tuple_
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.pools.reach import is_within_reach
from caravan_api.store import Cluster
from caravan_shared.contracts.states import ClusterPhase, Verdict

PART_OF_NAME = r"^[a-z0-9-]{0,32}$"
"""What a name may be searched by."""


class Sort(StrEnum):
    """The order of a list; a minus turns it round."""

    NAME = "name"
    NAME_DOWN = "-name"
    AGE = "created_at"
    AGE_DOWN = "-created_at"

    @property
    def column(self) -> Any:
        """The column sorted by."""
        return col(Cluster.name) if self.by_name else col(Cluster.created_at)

    @property
    def by_name(self) -> bool:
        """True for an order by name, False for one by age."""
        return self.value.endswith("name")

    @property
    def descends(self) -> bool:
        """True for the greatest first."""
        return self.value.startswith("-")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; None is everything. Deleted clusters only with their phase."""

    team: str | None = None
    """The team whose clusters are meant, with those that it leases."""
    phase: ClusterPhase | None = None
    health: Verdict | None = None
    version: str | None = None
    cloud: str | None = None
    q: str | None = None
    """Part of a name."""

    @property
    def narrow(self) -> bool:
        """True if anything besides the team is asked for."""
        return any(getattr(self, each.name) for each in fields(self) if each.name != "team")

    def conditions(self) -> list[ColumnElement[bool] | bool]:
        """The conditions on a cluster's row."""
        wanted = {Cluster.phase: self.phase, Cluster.verdict: self.health, Cluster.version: self.version}
        wanted[Cluster.cloud] = self.cloud
        conditions: list[ColumnElement[bool] | bool] = [
            column == value for column, value in wanted.items() if value is not None
        ]
        if self.team is not None:
            conditions.append(is_within_reach(self.team, owner=Cluster.team, cluster=Cluster.id))
        if self.phase is not ClusterPhase.DELETED:
            conditions.append(col(Cluster.deleted_at).is_(None))
        if self.q:
            conditions.append(col(Cluster.name).contains(self.q, autoescape=True))
        return conditions


_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Listed(Generic[_Row]):
    """One page of a list, and the cursor of the next one."""

    clusters: Sequence[_Row]
    next: str | None


async def columns_of(
    session: AsyncSession, columns: tuple[Any, ...], filters: Filters, sort: Sort, size: int, after: str | None = None
) -> Listed[Any]:
    """The page after that cursor, as rows of these columns, name, age and id among them: whole rows are twice the work.

    Raises `Malformed` for a strange cursor.
    """
    rows = (await (await session.connection()).execute(_asking(columns, filters, sort, size, after))).all()
    return Listed(rows[:size], _cursor(rows[size - 1], sort) if len(rows) > size else None)


@lru_cache(maxsize=256)
def _asking(columns: tuple[Any, ...], filters: Filters, sort: Sort, size: int, after: str | None) -> Any:
    """The statement for a page and one row more. Kept: who looks at a list looks again, and building takes longer."""
    keys = (sort.column, col(Cluster.id))
    statement: Any = select(*columns)
    statement = statement.where(*filters.conditions())
    if after:  # compared as a row, by which an index leads to where the page begins
        position = decode_cursor(after, str if sort.by_name else datetime, UUID)
        statement = statement.where(tuple_(*keys) < position if sort.descends else tuple_(*keys) > position)
    return statement.order_by(*(key.desc() if sort.descends else key.asc() for key in keys)).limit(size + 1)


def _cursor(last: Any, sort: Sort) -> str:
    return encode_cursor(last.name if sort.by_name else last.created_at, last.id)
