"""Take leases for many requests at once: those that come while one transaction runs share the next one.

Each is answered by itself, when that is committed, and is audited and traced as what it is. One that is refused leaves
no trace, and its Idempotency-Key free.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.audit.actor import Actor, actor
from caravan_api.idempotency import Answer, Key, claim_each, release_each, remember_each
from caravan_api.pools.finding import Sought, candidates
from caravan_api.pools.leases import Leases, Take, Wish
from caravan_api.pools.store import Lease, Pool
from caravan_api.pools.views import waiting_views
from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.gathering import Gathering
from caravan_shared.plumbing.tracing import Carrier


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a lease; made where it came in."""

    sought: Sought
    wish: Wish
    key: Key | None = None
    """Its Idempotency-Key, if it has one."""
    by: Actor = field(default_factory=actor)
    trace: Carrier = field(default_factory=tracing.current)

    def take(self, pools: Sequence[Pool]) -> Take | CaravanError:
        """What is taken, of these pools; or why nothing is."""
        try:
            pool = self.sought.among(pools)
        except CaravanError as refused:
            return refused
        return Take(pool, self.sought.taking_team(pool), self.sought.caller.user, self.wish, self.by, self.trace)


class Takes:
    """Answers requests for leases."""

    def __init__(self, db: Database, clock: Clock, leases: Leases) -> None:
        self._db, self._clock, self._leases = db, clock, leases
        # A repetition waits for the request that it repeats, and gets its answer.
        self._gathering = Gathering(self._answers, lambda asked: asked.key.identity if asked.key else None)

    async def ask(self, asked: Asked) -> Answer:
        """The lease, as JSON. Raises what it is refused with."""
        return await self._gathering.ask(asked)

    async def _answers(self, asked: Sequence[Asked]) -> Sequence[Answer | CaravanError]:
        async with self._db.transaction() as tx:
            keys = [each.key for each in asked if each.key]
            earlier = dict(zip(keys, await claim_each(tx, keys, self._clock.now()), strict=True))
            known = [earlier[each.key] if each.key else None for each in asked]
            fresh = [each for each, answer in zip(asked, known, strict=True) if answer is None]
            answers = await self._taken(tx, fresh)
            await _settle(tx, [(each.key, answer) for each, answer in zip(fresh, answers, strict=True) if each.key])
            of_fresh = iter(answers)
            return [answer or next(of_fresh) for answer in known]

    async def _taken(self, tx: AsyncSession, asked: Sequence[Asked]) -> Sequence[Answer | CaravanError]:
        pools = await candidates(tx, [each.sought for each in asked])
        found = [each.take(pools) for each in asked]
        takes = [take for take in found if isinstance(take, Take)]
        outcomes = await self._leases.take_each(tx, takes)
        answers = await self._told(
            tx, [(take.pool, lease) for take, lease in zip(takes, outcomes, strict=True) if isinstance(lease, Lease)]
        )
        of_takes = iter(outcome if isinstance(outcome, CaravanError) else answers[outcome.id] for outcome in outcomes)
        return [each if isinstance(each, CaravanError) else next(of_takes) for each in found]

    async def _told(self, tx: AsyncSession, taken: Sequence[tuple[Pool, Lease]]) -> dict[UUID, Answer]:
        """The answers that leases are told with."""
        pools = {pool.id: pool for pool, _ in taken}
        of_pools: dict[UUID, list[Lease]] = defaultdict(list)
        for pool, lease in taken:
            of_pools[pool.id].append(lease)
        now = self._clock.now()
        views = [
            view
            for pool_id, leases in of_pools.items()
            for view in await waiting_views(tx, pools[pool_id], leases, now)
        ]
        return {view.id: Answer(201, view.model_dump(mode="json"), "") for view in views}


async def _settle(tx: AsyncSession, answers: Sequence[tuple[Key, Answer | CaravanError]]) -> None:
    """Remember what succeeded; what was refused changed nothing, so it may be tried again."""
    await remember_each(tx, [(key, answer) for key, answer in answers if isinstance(answer, Answer)])
    await release_each(tx, [key for key, answer in answers if isinstance(answer, CaravanError)])
