"""The streams and consumers on the server are as declared, whatever was there before."""

import pytest
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import NotFoundError

from caravan_shared.contracts.events import EVENTS, BootstrapDone
from caravan_shared.contracts.public import TOLD
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.envelope import Heard
from caravan_shared.plumbing.streams import DEAD, FACTS, PROGRESS, Kept, Subscription, ensure_topology, intake_stream
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.service import Example, done, tell

SUBSCRIPTION = Subscription("example", BootstrapDone.subject)


async def subjects(bus: Bus, stream: str) -> list[str]:
    return (await bus.js.stream_info(stream)).config.subjects or []


async def test_every_event_has_a_stream_to_be_stored_in(outsider: Bus) -> None:
    await ensure_topology(outsider.js, [], 1, Kept())
    for event in EVENTS.values():
        await outsider.publish(event.model_validate(event.example).published_on(), b"{}", {})
    assert (await outsider.js.stream_info(FACTS)).state.messages == len(EVENTS) - len(TOLD)
    assert (await outsider.js.stream_info(PROGRESS)).state.messages == len(TOLD)


async def test_what_teams_are_told_is_kept_by_whoever_tells_it_and_within_its_limits(
    nats_server: NatsServer, outsider: Bus
) -> None:
    with pytest.raises(NotFoundError):
        await outsider.js.stream_info(PROGRESS)
    teller = Bus(nats_server.url, "teller", 1, progress=Kept(for_s=3600, max_bytes=64 * 1024))
    await teller.start()
    for number in range(100):
        await teller.publish("progress.builds.cluster.ended", b"x" * 1024, {"Nats-Msg-Id": str(number)})
    await teller.stop()
    info = await outsider.js.stream_info(PROGRESS)
    assert (info.config.subjects, info.config.max_age) == (["progress.>"], 3600)
    assert info.state.bytes <= 64 * 1024
    assert info.state.last_seq == 100, "the oldest went, and nothing was refused"


async def test_subscribing_does_not_widen_a_stream(nats_server: NatsServer, outsider: Bus) -> None:
    before = await subjects(outsider, FACTS), await subjects(outsider, DEAD)
    bus = Bus(nats_server.url, "widener", 1)

    async def receive(heard: Heard[BootstrapDone]) -> None: ...

    bus.subscribe(BootstrapDone, receive, subject="dead.>", stream=DEAD)
    bus.subscribe(BootstrapDone, receive, subject=BootstrapDone.subject)
    await bus.start()
    await bus.stop()
    assert (await subjects(outsider, FACTS), await subjects(outsider, DEAD)) == before
    assert before[1] == ["dead.>"]


async def test_team_has_an_intake_stream_of_its_own(outsider: Bus) -> None:
    teams = [Subscription("api", f"intake.{team}.cluster.requested", intake_stream(team)) for team in ("a", "b")]
    await ensure_topology(outsider.js, teams, 1)
    assert await subjects(outsider, "INTAKE_a") == ["intake.a.>"]
    await outsider.publish("intake.a.cluster.requested", b"{}", {"Nats-Msg-Id": "1"})
    await outsider.publish("intake.b.cluster.requested", b"{}", {"Nats-Msg-Id": "1"})
    for team in ("a", "b"):
        assert (await outsider.js.stream_info(intake_stream(team))).state.messages == 1


@pytest.mark.parametrize(
    "drift",
    [{"ack_wait": 3.0}, {"max_deliver": 2}, {"max_ack_pending": 1}, {"filter_subject": "nodes.>"}],
    ids=lambda drift: next(iter(drift)),
)
async def test_consumer_that_drifted_is_repaired_at_start(
    example: Example, outsider: Bus, drift: dict[str, object]
) -> None:
    drifted = ConsumerConfig(**{**vars(SUBSCRIPTION.config()), **drift})
    await outsider.js.add_consumer(FACTS, drifted)
    async with example.running():
        found = (await outsider.js.consumer_info(FACTS, SUBSCRIPTION.durable)).config
        wanted = SUBSCRIPTION.config()
        for field in ("ack_wait", "max_deliver", "max_ack_pending", "filter_subject"):
            assert getattr(found, field) == getattr(wanted, field)
        await tell(outsider, done(1))
        assert await eventually(example.numbers) == [1]


async def test_stream_that_drifted_is_repaired_at_start(
    nats_server: NatsServer, outsider: Bus, example: Example
) -> None:
    found = (await outsider.js.stream_info(FACTS)).config
    await outsider.js.update_stream(
        StreamConfig(**{**vars(found), "subjects": ["nodes.>"], "max_age": 60.0, "duplicate_window": 30.0})
    )
    async with example.running():
        mended = (await outsider.js.stream_info(FACTS)).config
    assert (mended.subjects, mended.max_age, mended.duplicate_window) == (found.subjects, 24 * 3600, 120)


async def test_second_start_changes_nothing(nats_server: NatsServer, outsider: Bus) -> None:
    first = await ensure_topology(outsider.js, [SUBSCRIPTION], 1)
    before = await outsider.js.stream_info(FACTS)
    assert await ensure_topology(outsider.js, [SUBSCRIPTION], 1) == first
    assert (await outsider.js.stream_info(FACTS)).config == before.config


async def test_epoch_survives_a_restart_and_changes_with_the_store(nats_server: NatsServer, outsider: Bus) -> None:
    first = outsider.epoch
    nats_server.stop()
    await eventually(lambda: not outsider.connected)
    nats_server.start()
    await eventually(lambda: outsider.connected)
    assert await ensure_topology(outsider.js, [], 1) == first
    nats_server.wipe()
    await eventually(lambda: outsider.epoch != first, saying="the bus notices the new store")
