"""Write down what others said of nodes, whether or not they are known here yet: the handlers' half of the tables."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_provisioner.store import NodeNews, NodeRow
from caravan_shared.contracts.facts import NodeVerdict
from caravan_shared.plumbing.database import upsert

_KEY = ("cluster_id", "name")
_NO_VERDICT = {"verdict": None, "verdict_reason": None, "verdict_since": None, "verdict_sequence": 0}


async def mark_drained(tx: AsyncSession, cluster_id: UUID, names: Iterable[str], at: datetime) -> None:
    """Note that these nodes are out of their cluster."""
    await tx.exec(
        update(NodeRow)
        .where(
            col(NodeRow.cluster_id) == cluster_id, col(NodeRow.name).in_(list(names)), col(NodeRow.drained_at).is_(None)
        )
        .values(drained_at=at)
    )


async def mark_joined(tx: AsyncSession, cluster_id: UUID, names: Iterable[str], at: datetime) -> None:
    """Note that these nodes are members of their cluster; the first telling counts."""
    rows = [{"cluster_id": cluster_id, "name": name, "joined_at": at, "heard_at": at} for name in names]
    await upsert(tx, NodeNews, [_NO_VERDICT | row for row in rows], key=_KEY, update=())
    named = col(NodeNews.cluster_id) == cluster_id, col(NodeNews.name).in_([row["name"] for row in rows])
    await tx.exec(update(NodeNews).where(*named, col(NodeNews.joined_at).is_(None)).values(joined_at=at))


async def mark_verdicts(
    tx: AsyncSession, cluster_id: UUID, verdicts: Iterable[NodeVerdict], sequence: int, at: datetime
) -> None:
    """Note what health believes of these nodes, unless a later telling came before."""
    told = {verdict.name: verdict for verdict in verdicts}
    named = col(NodeNews.cluster_id) == cluster_id, col(NodeNews.name).in_(list(told))
    newer = set(await tx.exec(select(NodeNews.name).where(*named, col(NodeNews.verdict_sequence) > sequence)))
    rows = [
        {
            "cluster_id": cluster_id,
            "name": name,
            "verdict": verdict.verdict.value,
            "verdict_reason": verdict.reason,
            "verdict_since": verdict.since,
            "verdict_sequence": sequence,
            "heard_at": at,
        }
        for name, verdict in told.items()
        if name not in newer
    ]
    await upsert(tx, NodeNews, rows, key=_KEY, update=[*_NO_VERDICT, "heard_at"])
