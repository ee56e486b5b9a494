"""Bring one cluster a step closer to what was asked for: look, decide, act, look again. A table of contents."""

import asyncio
from datetime import datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper import ledger, records, store, tokens
from caravan_bootstrapper.decide import decide
from caravan_bootstrapper.errors import ApiserverUnreachable
from caravan_bootstrapper.members import Endpoint, Members
from caravan_bootstrapper.runs import Runs
from caravan_bootstrapper.steps import (
    Abandon,
    CancelRuns,
    EnsureTokens,
    LookAtMembers,
    MarkInterrupted,
    NameFirst,
    Policy,
    Rest,
    SayAgain,
    SayDone,
    SayDrained,
    SayHeld,
    StartRun,
    Step,
    Tell,
)
from caravan_bootstrapper.views import ClusterView, Play
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.reconciler import Turn
from caravan_shared.plumbing.sealing import KeyRing

log = get_logger(__name__)

SHARE_OF_TIME = 0.1  # listing nodes may take this share of the time between looks


class Bootstrapping:
    """Acts on what `decide` says."""

    def __init__(self, policy: Policy, runs: Runs, members: Members, keys: KeyRing) -> None:
        self._policy, self._runs, self._members, self._keys = policy, runs, members, keys
        self._next_look: dict[UUID, float] = {}

    async def reconcile(self, turn: Turn) -> float | None:
        """Take every step that can be taken now; return in how many seconds to come back."""
        while True:
            async with turn.reading() as session:
                seen = await store.view(session, UUID(turn.key), self._runs.is_alive)
            if seen is None:
                self._next_look.pop(UUID(turn.key), None)
                return None
            step = decide(seen, turn.now(), self._policy)
            if isinstance(step, Rest):
                return step.after
            if isinstance(step, LookAtMembers):
                wait = await self._look(turn, seen, step)
                if wait is not None:
                    return wait
                continue
            if isinstance(step, CancelRuns):
                for run_id in step.runs:
                    self._runs.cancel(run_id)
                return None  # the end of each run wakes us
            await self._take(turn, seen, step)

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """Somebody we asked gave up; then we have to as well."""
        async with turn.reading() as session:
            seen = await store.view(session, UUID(turn.key), self._runs.is_alive)
        if seen is not None:
            async with turn.transaction() as tx:
                await ledger.abandon(tx, seen, Abandon(error.reason, error.who_can_fix), turn.now())

    async def _take(self, turn: Turn, seen: ClusterView, step: Step) -> None:
        if isinstance(step, StartRun):
            return await self._start(turn, seen, step)
        if isinstance(step, EnsureTokens):
            return await self._ensure_tokens(turn, seen)
        async with turn.transaction() as tx:
            await write(tx, seen, step, turn.now())
        return None

    async def _start(self, turn: Turn, seen: ClusterView, step: StartRun) -> None:
        async with turn.transaction() as tx:
            if step.play in (Play.SITE, Play.ADD_NODES):
                for node_set in sorted({node.node_set for node in step.nodes}):
                    await tokens.current(tx, self._keys, seen.cluster_id, node_set, turn.now())
            untold = bool(await tokens.not_ensured(tx, self._keys, seen.cluster_id))
            again = await store.was_tried(tx, seen.cluster_id, Play.SITE)
        if step.play is Play.ADD_NODES and untold:
            return  # a new token: the running cluster has to know it before anybody joins with it
        if step.play is Play.SITE and untold and again:
            await self._ensure_tokens_if_it_answers(turn, seen)
        async with turn.transaction() as tx:
            run = await records.open_run(tx, seen, step, self._runs.owner, turn.now())
        self._runs.launch(run)

    async def _ensure_tokens_if_it_answers(self, turn: Turn, seen: ClusterView) -> None:
        """A control plane that an earlier run started knows no token that is younger than it."""
        try:
            await self._ensure_tokens(turn, seen)
        except ApiserverUnreachable as error:
            log.info("the repeated run starts without having told its tokens", reason=error.reason)

    async def _ensure_tokens(self, turn: Turn, seen: ClusterView) -> None:
        async with turn.reading() as session:
            untold = await tokens.not_ensured(session, self._keys, seen.cluster_id)
        for token, expires_at in untold:
            await self._members.put_secret(_endpoint(seen), tokens.secret(token, expires_at))
        async with turn.transaction() as tx:
            await tokens.mark_ensured(tx, [token for token, _ in untold])

    async def _look(self, turn: Turn, seen: ClusterView, step: LookAtMembers) -> float | None:
        """Seconds until the next look; None if there were news, and so something else to decide."""
        clock = asyncio.get_running_loop().time
        began = clock()
        if (early := self._next_look.get(seen.cluster_id, 0.0) - began) > 0:
            return early
        wait = step.then
        try:
            listed = await self._members.versions(_endpoint(seen))
        except ApiserverUnreachable as error:
            wait = step.then if seen.set_up_at is None else max(step.then, error.after)
            listed = {}
        wait = max(wait, (clock() - began) / SHARE_OF_TIME)
        self._next_look[seen.cluster_id] = clock() + wait
        if not listed:
            return wait
        async with turn.transaction() as tx:
            news = await ledger.record_members(tx, seen, listed)
        return None if news else wait


async def write(tx: AsyncSession, seen: ClusterView, step: Step, now: datetime) -> None:
    """The steps that are a change of the store and a word to the others, and nothing else."""
    match step:
        case MarkInterrupted(runs):
            await records.interrupt(tx, runs, now)
        case SayAgain():
            await ledger.say_again(tx, seen)
        case NameFirst(node):
            await ledger.name_first(tx, seen, node)
        case SayDrained(nodes):
            await ledger.drained(tx, seen.cluster_id, nodes)
        case SayDone(nodes):
            await ledger.done(tx, seen, nodes)
        case Tell():
            await ledger.tell(tx, seen, step)
        case SayHeld(reason):
            await ledger.held(tx, seen, reason)
        case Abandon():
            await ledger.abandon(tx, seen, step, now)
        case _:
            raise AssertionError(f"{step} is not a step that is only written")


def _endpoint(seen: ClusterView) -> Endpoint:
    return Endpoint(seen.cluster_id, seen.endpoint_host, seen.endpoint_port, seen.endpoint_addresses)
