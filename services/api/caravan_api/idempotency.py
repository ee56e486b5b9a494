"""Make a repeated request one operation: the key is stored with the operation, in its transaction.

As in the IETF draft "The Idempotency-Key HTTP Header Field": the same key with another request is refused. Only what
succeeded is remembered; what was refused changed nothing, so it may be tried again.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller
from caravan_api.errors import KeyReused
from caravan_api.store import IdempotencyKey
from caravan_shared.plumbing.database import upsert


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered."""

    status: int
    body: dict[str, Any]
    etag: str


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's Idempotency-Key and the request it came with."""

    caller: Caller
    key: str
    request_sha256: str

    async def claim(self, tx: AsyncSession, now: datetime) -> Answer | None:
        """Claim the key for this transaction, or return the answer that it got before. Raises `KeyReused`.

        A concurrent request with the same key waits here until the first one has ended.
        """
        row = {"team": self.caller.team, "user": self.caller.user, "key": self.key}
        fresh = {**row, "request_sha256": self.request_sha256, "status": 0, "body": {}, "etag": "", "created_at": now}
        await upsert(tx, IdempotencyKey, [fresh], key=list(row), update=[])
        known = await tx.get_one(IdempotencyKey, tuple(row.values()), with_for_update=True)
        if known.request_sha256 != self.request_sha256:
            raise KeyReused("choose a new Idempotency-Key for a new request")
        return Answer(known.status, known.body, known.etag) if known.status else None

    async def remember(self, tx: AsyncSession, answer: Answer) -> None:
        """Keep the answer beside the key."""
        known = await tx.get_one(IdempotencyKey, (self.caller.team, self.caller.user, self.key))
        known.status, known.body, known.etag = answer.status, answer.body, answer.etag
        tx.add(known)


def fingerprint(method: str, path: str, request: Any) -> str:
    """A hash that tells one request from another, whatever the order of its fields."""
    canonical = json.dumps([method, path, request], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


async def forget_keys(tx: AsyncSession, before: datetime) -> None:
    """Drop the keys from before that moment."""
    await tx.exec(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < before))
