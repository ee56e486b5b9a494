"""Questions between services: answered under seal, and an error arrives as the error it was."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.requests import AskKubeconfig, AskWellbeing, Kubeconfig, Wellbeing
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.requests import answer, ask
from caravan_shared.plumbing.sealing import CannotOpen, KeyRing
from tests.support.nats import NatsServer
from tests.support.service import Example

QUESTION = AskKubeconfig(cluster_id=uuid4(), user="alice", role="viewer", ttl_s=3600)
ANSWER = Kubeconfig(grant_id=uuid4(), kubeconfig="a secret token", expires_at=datetime(2026, 1, 1, tzinfo=UTC))

Handler = Callable[[AskKubeconfig], Awaitable[Kubeconfig]]


@dataclass
class Two:
    """A service that answers with what `handler` does, and one that asks."""

    owner: Bus
    asker: Bus
    keys: KeyRing
    handler: Handler

    async def handle(self, question: AskKubeconfig) -> Kubeconfig:
        return await self.handler(question)

    async def ask(self, keys: KeyRing | None = None) -> Kubeconfig:
        return await ask(self.asker, keys or self.keys, QUESTION, Kubeconfig)


@pytest.fixture
async def two(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Two]:
    async def give(question: AskKubeconfig) -> Kubeconfig:
        assert question == QUESTION
        return ANSWER

    two = Two(Bus(nats_server.url, "dns", 1), Bus(nats_server.url, "api", 1), KeyRing.load(tmp_path / "k.json"), give)
    answer(two.owner, two.keys, AskKubeconfig, two.handle)
    await two.owner.start()
    await two.asker.start()
    yield two
    await two.asker.stop()
    await two.owner.stop()


def raises(error: Exception) -> Handler:
    async def handler(question: AskKubeconfig) -> Kubeconfig:
        raise error

    return handler


async def test_answer_arrives_as_it_was_given(two: Two) -> None:
    assert await two.ask() == ANSWER


async def test_reply_is_sealed_on_the_wire(two: Two, outsider: Bus) -> None:
    sniffer = await outsider.client.subscribe("_INBOX.>")
    await outsider.client.flush()
    await two.ask()
    body = (await sniffer.next_msg(timeout=5)).data
    await sniffer.unsubscribe()
    assert list(json.loads(body)) == ["sealed"]
    assert b"secret" not in body


async def test_sealed_reply_does_not_open_without_the_key(two: Two, tmp_path: Path) -> None:
    with pytest.raises(CannotOpen):
        await two.ask(KeyRing.load(tmp_path / "other.json"))


async def test_retry_arrives_as_a_retry_with_its_delay(two: Two) -> None:
    two.handler = raises(Retry("the cluster is not up yet", after=7.5))
    with pytest.raises(Retry, match="the cluster is not up yet") as error:
        await two.ask()
    assert error.value.after == 7.5


async def test_give_up_arrives_with_who_can_fix_it(two: Two) -> None:
    two.handler = raises(GiveUp("no such role", who_can_fix=WhoCanFix.USER))
    with pytest.raises(GiveUp, match="no such role") as error:
        await two.ask()
    assert error.value.who_can_fix is WhoCanFix.USER


async def test_defect_on_the_other_side_is_a_retry_that_tells_no_details(two: Two) -> None:
    two.handler = raises(ValueError("password=hunter2"))
    with pytest.raises(Retry, match="dns failed to answer") as error:
        await two.ask()
    assert "hunter2" not in str(error.value)


async def test_nobody_there_is_a_retry_at_once(outsider: Bus, tmp_path: Path) -> None:
    with pytest.raises(Retry, match="dns is not there to answer"):
        await ask(outsider, KeyRing.load(tmp_path / "k.json"), QUESTION, Kubeconfig)


async def test_silence_is_a_retry(two: Two) -> None:
    nobody = await two.asker.client.subscribe("rpc.mute.question")

    class Mute(AskKubeconfig):
        subject = "rpc.mute.question"
        timeout_s = 0.2

    with pytest.raises(Retry, match="mute did not answer"):
        await ask(two.asker, two.keys, Mute(**QUESTION.model_dump()), Kubeconfig)
    await nobody.unsubscribe()


async def test_malformed_question_does_not_stop_the_answers(two: Two) -> None:
    for body in (b"{", b"\xff\xfe", b"[]"):
        await two.asker.client.publish(AskKubeconfig.subject, body)
    assert await two.ask() == ANSWER


async def test_replicas_share_the_questions(two: Two, nats_server: NatsServer) -> None:
    asked = []

    async def count(question: AskKubeconfig) -> Kubeconfig:
        asked.append(question)
        return ANSWER

    two.handler = count
    replica = Bus(nats_server.url, "dns", 1)
    answer(replica, two.keys, AskKubeconfig, count)
    await replica.start()
    for _ in range(10):
        await two.ask()
    await replica.stop()
    assert len(asked) == 10


async def test_every_replica_is_asked_and_those_that_answer_in_time_are_heard(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    replicas = [
        Example(tmp_path / name, nats_server.url, instance=name, key_ring=tmp_path / "keys.json") for name in "ab"
    ]
    async with replicas[0].running(), replicas[1].running():
        answers = await replicas[0].service.ask_all(AskWellbeing(), Wellbeing)
    assert sorted((each.service, each.instance) for each in answers) == [("example", "a"), ("example", "b")]
    assert not any(each.store_problem for each in answers)
    assert all(each.disk_free_bytes > 0 for each in answers)


async def test_question_to_one_replica_reaches_that_one_whatever_it_is_called(
    two: Two, nats_server: NatsServer
) -> None:
    replicas = {name: Bus(nats_server.url, "dns", 1) for name in ("pod-1.dns > *", "pod-2")}
    asked = []

    def answers_as(name: str) -> Handler:
        async def give(_: AskKubeconfig) -> Kubeconfig:
            asked.append(name)
            return ANSWER

        return give

    for name, bus in replicas.items():
        answer(bus, two.keys, AskKubeconfig, answers_as(name), replica=name)
        await bus.start()
    for name in replicas:
        assert await ask(two.asker, two.keys, QUESTION, Kubeconfig, replica=name) == ANSWER
    assert asked == list(replicas)
    with pytest.raises(Retry, match="dns's replica pod-3 is not there to answer"):
        await ask(two.asker, two.keys, QUESTION, Kubeconfig, replica="pod-3")
    for bus in replicas.values():
        await bus.stop()
