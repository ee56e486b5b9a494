"""What Ansible printed in a run, kept so that people can read why it failed: bounded, without secrets, in pieces.

Secrets stand under no_log in the playbooks; `without_secrets` is there for the task that forgets it. A log is text and
its places are counted in characters. Of a long one the beginning goes first: what failed stands at the end.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlmodel import delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper.store import LogPiece, Run
from caravan_shared.plumbing.database import upsert

HIDDEN = "[hidden]"

_SHORTEST_SECRET = 16  # characters; a join token has 23, a line of a key 64, and shorter words stand in honest text
_BETWEEN_SECRETS = re.compile(r"""[\s"',:{}\[\]]+|\\n""")
_STEERING = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_pieces: Any = LogPiece
_runs: Any = Run


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a log begins, as far as it is kept, and where it ends."""

    first: int = 0
    end: int = 0


# --- pure ---


def plain(output: str) -> str:
    """What a terminal was told, as text that every database takes: no colours, no control characters."""
    return _STEERING.sub("", output).encode("utf-8", "replace").decode()


def words_of(secrets: Iterable[str]) -> list[str]:
    """What must not be printed of these contents of files: each of their longer words, longest first."""
    words = {word for secret in secrets for word in _BETWEEN_SECRETS.split(secret) if len(word) >= _SHORTEST_SECRET}
    return sorted(words, key=len, reverse=True)


def without_secrets(text: str, words: Iterable[str]) -> str:
    """The text with `HIDDEN` in place of each of these words."""
    for word in words:  # far quicker than one pattern of all of them: most are not there
        text = text.replace(word, HIDDEN)
    return text


def start_of(extent: Extent, offset: int | None, limit: int) -> int:
    """Where a page of `limit` characters begins that shall begin at `offset`; None: that is to be the last one."""
    wanted = extent.end - limit if offset is None else offset
    return min(max(wanted, extent.first), extent.end)


# --- in the store ---


async def keep(tx: AsyncSession, run_id: UUID, start: int, text: str, most: int) -> None:
    """Store what was printed from `start` on; of the whole log, the last `most` characters stay.

    Storing it again, with more, takes the place of the first time. Of a run that was forgotten, nothing is kept.
    """
    if await tx.get(Run, run_id) is None:
        return
    end = start + len(text)
    if len(text) > most:
        start, text = end - most, text[-most:]
    row = {"run_id": run_id, "start": start, "ending": end, "text": text}
    await upsert(tx, LogPiece, [row], key=("run_id", "start"), update=("ending", "text"))
    if end > most:
        await tx.exec(delete(LogPiece).where(_pieces.run_id == run_id, _pieces.ending <= end - most))


async def forget_older(tx: AsyncSession, cluster_id: UUID, newest: int) -> None:
    """Keep the logs of a cluster's `newest` runs alone."""
    older = select(_runs.id).where(_runs.cluster_id == cluster_id).order_by(_runs.created_at.desc()).offset(newest)
    await tx.exec(delete(LogPiece).where(_pieces.run_id.in_(older)))


async def forget_all(tx: AsyncSession, cluster_id: UUID) -> None:
    """Keep nothing of a cluster."""
    await tx.exec(delete(LogPiece).where(_pieces.run_id.in_(select(_runs.id).where(_runs.cluster_id == cluster_id))))


async def extent(session: AsyncSession, run_id: UUID) -> Extent:
    """How much of a run's log there is."""
    ends = select(func.min(_pieces.start), func.max(_pieces.ending)).where(_pieces.run_id == run_id)
    first, end = (await session.exec(ends)).one()
    return Extent(first or 0, end or 0)


async def read(session: AsyncSession, run_id: UUID, start: int, limit: int) -> str:
    """Up to `limit` characters of a log from `start` on, which lies within it."""
    there = _pieces.run_id == run_id, _pieces.ending > start, _pieces.start < start + limit
    pieces = (await session.exec(select(LogPiece).where(*there).order_by(_pieces.start))).all()
    return "".join(piece.text[max(start - piece.start, 0) :] for piece in pieces)[:limit]
