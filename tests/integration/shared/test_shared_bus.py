"""The bus outlives its server, and says so when it does not."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from caravan_shared.contracts.events import BootstrapDone, ClusterDeleted
from caravan_shared.plumbing.backlog import Backlog
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.envelope import Heard
from caravan_shared.plumbing.errors import Retry
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.http import get
from tests.support.nats import NatsServer
from tests.support.service import Example, done, is_told, tell


async def test_messages_flow_again_after_the_server_restarted(example: Example, nats_server: NatsServer) -> None:
    async with example.running():
        bus = example.service.bus
        await tell(bus, done(1))
        assert await eventually(example.numbers) == [1]
        nats_server.stop()
        await eventually(lambda: not bus.connected)
        nats_server.start()
        await eventually(lambda: bus.connected)
        await tell(bus, done(2))
        await eventually(lambda: example.has_heard(2))


async def test_subscription_made_while_the_bus_runs_hears_what_was_said_before_and_after(
    example: Example, nats_server: NatsServer
) -> None:
    heard: list[str] = []

    async def receive(event: Heard[ClusterDeleted]) -> None:
        heard.append(event.event.name)

    def deleted(name: str) -> ClusterDeleted:
        return ClusterDeleted.model_validate({**ClusterDeleted.example, "name": name})

    async with example.running():
        bus = example.service.bus
        await tell(bus, deleted("before"))
        bus.subscribe(ClusterDeleted, receive, subject=ClusterDeleted.subject)
        await bus.begin()
        await tell(bus, deleted("after"), done(1))
        await eventually(lambda: sorted(heard) == ["after", "before"])
        assert await eventually(example.numbers) == [1], "what it heard from the start goes on, once"
        nats_server.wipe()
        await eventually(lambda: bus.connected)
        await eventually(lambda: is_told(bus, deleted("wiped"), "wiped"))
        await eventually(lambda: heard[2:] == ["wiped"])


async def test_service_waits_for_a_server_that_is_not_up_yet(example: Example, nats_server: NatsServer) -> None:
    nats_server.stop()
    asyncio.get_running_loop().call_later(1.0, nats_server.start)
    async with example.running():
        await tell(example.service.bus, done(1))
        assert await eventually(example.numbers) == [1]


async def test_publish_without_a_server_is_a_retry(
    outsider: Bus, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caravan_shared.plumbing.bus._PUBLISH_TIMEOUT_S", 0.2)
    nats_server.stop()
    with pytest.raises(Retry, match="NATS did not acknowledge"):
        await tell(outsider, done(1))
    nats_server.start()
    await eventually(lambda: outsider.connected)


async def test_bus_stops_while_its_server_is_away(nats_server: NatsServer) -> None:
    bus = Bus(nats_server.url, "example", 1)
    await bus.start()
    nats_server.stop()
    await eventually(lambda: not bus.connected)
    await asyncio.wait_for(bus.stop(), 5)


# nats-py lets go of connections that were refused without closing them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_bus_comes_back_to_a_server_that_refused_it_for_a_while(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    accounts = tmp_path / "accounts.conf"
    server = NatsServer(tmp_path / "nats", accounts)
    request.addfinalizer(server.stop)

    def starts_with(password: str) -> None:
        accounts.write_text(f"authorization {{ user: caravan, password: {password} }}\n")
        server.start()

    starts_with("right")
    bus = Bus(server.url_of("caravan", "right"), "example", 1)
    await bus.start()
    with capture_logs() as logs:
        server.stop()
        starts_with("wrong")
        await eventually(lambda: [each for each in logs if each["event"].startswith("NATS refuses us")])
    server.stop()
    starts_with("right")
    await eventually(lambda: bus.connected)
    await bus.stop()


async def test_unready_while_nats_is_away_and_ready_again_when_it_is_back(
    example: Example, nats_server: NatsServer
) -> None:
    async with example.running():
        assert (await get(example, "/readyz"))[0] == 200
        nats_server.stop()
        await eventually(lambda: _answers(example, "/readyz", 503))
        assert (await get(example, "/livez"))[0] == 200
        nats_server.start()
        await eventually(lambda: _answers(example, "/readyz", 200))


async def _answers(example: Example, path: str, status: int) -> bool:
    return (await get(example, path))[0] == status


async def test_closed_connection_fails_liveness_and_does_not_freeze_the_process(example: Example) -> None:
    async with example.running():
        assert await get(example, "/livez") == (200, "ok\n")
        await example.service.bus.client.close()
        assert await get(example, "/livez") == (503, "the NATS connection is closed for good\n")
        assert (await get(example, "/readyz"))[0] == 503


class Slow:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, heard: Heard[BootstrapDone]) -> None:
        await self.go_on.wait()


async def test_backlog_that_does_not_move_is_stuck_until_it_moves(nats_server: NatsServer) -> None:
    bus, clock, slow = Bus(nats_server.url, "example", 1), ManualClock(), Slow()
    bus.subscribe(BootstrapDone, slow, subject=BootstrapDone.subject)
    backlog = Backlog(bus, clock, 60)
    await bus.start()
    await tell(bus, *(done(number) for number in range(100)))
    await backlog.look()
    clock.advance(30)
    await backlog.look()
    assert backlog.stuck() == []
    clock.advance(31)
    await backlog.look()
    assert backlog.stuck() == ["example-bootstrap-done"]
    slow.go_on.set()
    await eventually(lambda: _moves(backlog))
    await bus.stop()


async def _moves(backlog: Backlog) -> bool:
    await backlog.look()
    return backlog.stuck() == []


async def test_backlog_that_moves_past_a_message_put_off_is_not_stuck(nats_server: NatsServer) -> None:
    bus, clock, hold = Bus(nats_server.url, "example", 1), ManualClock(), asyncio.Semaphore(0)

    async def receive(heard: Heard[BootstrapDone]) -> None:
        if heard.event.nodes == 0:
            raise Retry("its time has not come", after=300)
        await hold.acquire()

    bus.subscribe(BootstrapDone, receive, subject=BootstrapDone.subject)
    backlog = Backlog(bus, clock, 60)
    await bus.start()
    await tell(bus, *(done(number) for number in range(200)))
    for _ in range(3):
        await asyncio.sleep(0.3)
        await backlog.look()
        assert (await bus.js.consumer_info("FACTS", "example-bootstrap-done")).num_pending
        assert backlog.stuck() == []
        clock.advance(61)
        for _ in range(32):
            hold.release()
    for _ in range(200):
        hold.release()
    await bus.stop()


async def test_stuck_backlog_fails_liveness(
    tmp_path: Path, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caravan_shared.plumbing.backlog._LOOK_EVERY_S", 0.1)
    clock = ManualClock()
    example, slow = Example(tmp_path, nats_server.url, clock=clock), Slow()

    async def wait_then_note(heard: Heard[BootstrapDone], tx: object) -> None:
        await slow(heard)

    example.service.hears(BootstrapDone, wait_then_note)
    async with example.running():
        await tell(example.service.bus, *(done(number) for number in range(50)))
        await asyncio.sleep(0.5)
        assert (await get(example, "/livez"))[0] == 200
        clock.advance(61)
        await eventually(lambda: _answers(example, "/livez", 503))
        assert "example-bootstrap-done" in (await get(example, "/livez"))[1]
        slow.go_on.set()
        await eventually(lambda: _answers(example, "/livez", 200))


async def test_deleted_consumer_is_made_again(
    example: Example, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caravan_shared.plumbing.backlog._LOOK_EVERY_S", 0.1)
    async with example.running():
        await example.service.bus.js.delete_consumer("FACTS", "example-bootstrap-done")
        await tell(example.service.bus, done(1))
        assert await eventually(example.numbers) == [1]


async def test_missing_consumer_does_not_make_the_service_ask_without_a_pause(
    example: Example, nats_server: NatsServer
) -> None:
    async with example.running():
        bus = example.service.bus
        await bus.js.delete_consumer("FACTS", "example-bootstrap-done")
        before = bus.client.stats["out_msgs"]
        await asyncio.sleep(1.0)
        assert bus.client.stats["out_msgs"] - before < 50
