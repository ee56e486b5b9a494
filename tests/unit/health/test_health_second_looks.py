"""Asking another replica: whom, in how many messages, and what becomes of questions that nobody answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from caravan_health.observation import Kind, Observation
from caravan_health.onlooker import sorted_out
from caravan_health.second_looks import Ask, Others
from caravan_health.target import Target
from caravan_health.verdict import Elsewhere, Policy, SecondLook, unasked
from caravan_health.vigil import Vigil
from caravan_shared.contracts.requests import AskSecondLooks, SecondLooks
from caravan_shared.plumbing.errors import Retry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MISS, ANSWER = Observation(Kind.TIMEOUT, "does not answer in time"), Observation(Kind.OK)


@asynccontextmanager
async def others(ask: Ask, *live: str) -> AsyncIterator[Others]:
    asking = Others(ask, "one")
    asking.live_now(("one", *live))
    running = asyncio.create_task(asking.run())
    yield asking
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_clusters_that_fall_silent_together_are_a_few_questions() -> None:
    asked: list[tuple[str, tuple[UUID, ...]]] = []

    async def ask(replica: str, question: AskSecondLooks) -> SecondLooks:
        asked.append((replica, question.cluster_ids))
        return SecondLooks(silent=question.cluster_ids)

    clusters = [uuid4() for _ in range(300)]
    async with others(ask, "two", "three") as asking:
        said = await asyncio.gather(*(asking.look(cluster_id) for cluster_id in clusters))
    assert {second and second.answers for second in said} == {False}
    assert {replica for replica, _ in asked} == {"two", "three"}
    assert len(asked) <= 4
    assert sorted(cluster_id for _, ids in asked for cluster_id in ids) == sorted(clusters)


async def test_each_cluster_gets_the_word_that_was_said_of_it() -> None:
    seen, silent, unknown = uuid4(), uuid4(), uuid4()

    async def ask(_: str, __: AskSecondLooks) -> SecondLooks:
        return SecondLooks(answering=(seen,), silent=(silent,))

    async with others(ask, "two") as asking:
        said = await asyncio.gather(*(asking.look(cluster_id) for cluster_id in (seen, silent, unknown)))
    assert said == [SecondLook("one", "two", answers=True), SecondLook("one", "two", answers=False), None]


async def test_replica_that_does_not_answer_gives_no_word() -> None:
    async def ask(_: str, __: AskSecondLooks) -> SecondLooks:
        raise Retry("it is not there")

    async with others(ask, "two") as asking:
        assert await asking.look(uuid4()) is None


async def test_replica_that_is_alone_asks_nobody() -> None:
    async def ask(_: str, __: AskSecondLooks) -> SecondLooks:
        raise AssertionError

    assert await Others(ask, "one").look(uuid4()) is None


def test_whoever_answers_is_there_and_an_unfit_look_says_nothing() -> None:
    well, unwell, refusing, gone, unfit = (uuid4() for _ in range(5))
    said = sorted_out(
        {
            well: ANSWER,
            unwell: Observation(Kind.COMPONENT_NOT_READY, "answers 500", ("etcd",)),
            refusing: Observation(Kind.AUTH, "it refuses our credentials (401)"),
            gone: MISS,
            unfit: Observation(Kind.MONITOR_UNFIT, "its event loop ran late"),
        }
    )
    assert said == SecondLooks(answering=(well, unwell, refusing), silent=(gone,))


def vigil() -> Vigil:
    return Vigil(Target(uuid4(), 1, "api.example", 6443, ("10.0.0.1",), ""), unasked(NOW), {})


def test_another_replica_is_asked_at_the_first_miss_and_once_a_round_from_then_on() -> None:
    cluster, policy = vigil(), Policy()
    assert not cluster.wants_second_look(ANSWER, NOW, policy)
    assert cluster.wants_second_look(MISS, NOW, policy)
    cluster.elsewhere = cluster.elsewhere.is_asked()
    assert not cluster.wants_second_look(MISS, NOW, policy)
    cluster.heard_elsewhere(None, NOW)
    assert not cluster.wants_second_look(MISS, NOW + timedelta(seconds=1), policy)
    assert cluster.wants_second_look(MISS, NOW + timedelta(seconds=policy.probe_every_s), policy)


def test_word_that_it_answers_is_asked_for_again_soon_since_the_cluster_may_be_dying_just_now() -> None:
    cluster, policy = vigil(), Policy()
    cluster.elsewhere = cluster.elsewhere.is_asked()
    cluster.heard_elsewhere(SecondLook("one", "two", answers=True), NOW)
    assert cluster.wants_second_look(MISS, NOW + timedelta(seconds=policy.recheck_s), policy)


def test_word_that_comes_after_the_cluster_answered_here_is_forgotten() -> None:
    cluster = vigil()
    cluster.elsewhere = cluster.elsewhere.is_asked()
    cluster.saw(ANSWER, NOW, Policy())
    cluster.heard_elsewhere(SecondLook("one", "two", answers=False), NOW)
    assert cluster.elsewhere == Elsewhere()
    assert not cluster.is_slow()
