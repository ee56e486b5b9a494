"""Make a repeated request one operation: the key is stored with the operation, in its transaction.

As in the IETF draft "The Idempotency-Key HTTP Header Field": the same key with another request is refused. Only what
succeeded is remembered; what was refused changed nothing, so it may be tried again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, tuple_, update
from sqlmodel import col, select
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

    @property
    def identity(self) -> tuple[str, str, str]:
        """What is its own among all keys, whatever the request."""
        return self.caller.team, self.caller.user, self.key

    async def claim(self, tx: AsyncSession, now: datetime) -> Answer | None:
        """Claim the key for this transaction, or return the answer that it got before. Raises `KeyReused`.

        A concurrent request with the same key waits here until the first one has ended.
        """
        (earlier,) = await claim_each(tx, [self], now)
        if isinstance(earlier, KeyReused):
            raise earlier
        return earlier

    async def remember(self, tx: AsyncSession, answer: Answer) -> None:
        """Keep the answer beside the key."""
        await remember_each(tx, [(self, answer)])


_COLUMNS = ("team", "user", "key")
_IS_ONE_OF = tuple_(IdempotencyKey.team, IdempotencyKey.user, IdempotencyKey.key).in_(bindparam("keys", expanding=True))
_CLAIMED = select(IdempotencyKey).where(_IS_ONE_OF).with_for_update().execution_options(populate_existing=True)
_RELEASING = delete(IdempotencyKey).where(_IS_ONE_OF).execution_options(synchronize_session=False)
_REMEMBERING = update(IdempotencyKey)  # by what is its primary key among the parameters


async def claim_each(tx: AsyncSession, keys: Sequence[Key], now: datetime) -> Sequence[Answer | KeyReused | None]:
    """`Key.claim` for several of different identity."""
    if not keys:
        return ()
    identities = sorted(key.identity for key in keys)  # in one order, or two who claim the same would deadlock
    fresh = {"status": 0, "body": {}, "etag": "", "created_at": now}
    sha256 = {key.identity: key.request_sha256 for key in keys}
    rows = [{**_named(each), "request_sha256": sha256[each], **fresh} for each in identities]
    await upsert(tx, IdempotencyKey, rows, key=_COLUMNS, update=[])
    claimed = await tx.exec(_CLAIMED, params={"keys": identities})
    known = {(row.team, row.user, row.key): row for row in claimed}
    return [_earlier(key, known[key.identity]) for key in keys]


async def remember_each(tx: AsyncSession, answers: Sequence[tuple[Key, Answer]]) -> None:
    """`Key.remember` for several."""
    if answers:
        rows = [{**_named(key.identity), **asdict(answer)} for key, answer in answers]
        await tx.exec(_REMEMBERING, params=rows)


async def release_each(tx: AsyncSession, keys: Sequence[Key]) -> None:
    """Undo the claims of requests that were refused, where others of their transaction were not."""
    if keys:
        await tx.exec(_RELEASING, params={"keys": sorted(key.identity for key in keys)})


def _named(identity: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(_COLUMNS, identity, strict=True))


def _earlier(key: Key, known: IdempotencyKey) -> Answer | KeyReused | None:
    if known.request_sha256 != key.request_sha256:
        return KeyReused("choose a new Idempotency-Key for a new request")
    return Answer(known.status, known.body, known.etag) if known.status else None


def fingerprint(method: str, path: str, request: Any) -> str:
    """A hash that tells one request from another, whatever the order of its fields."""
    canonical = json.dumps([method, path, request], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


async def forget_keys(tx: AsyncSession, before: datetime) -> None:
    """Drop the keys from before that moment."""
    await tx.exec(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < before))
