"""The probing loop against real TLS servers: outages are found, the monitor's own trouble is not one."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from caravan_health.app import monitor_for
from caravan_health.beliefs import Change
from caravan_health.credentials import Credentials
from caravan_health.settings import Settings
from caravan_health.verdict import unasked
from caravan_health.watch import Watch
from caravan_shared.contracts.requests import AskClientCertificate, ClientCertificate
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.errors import Retry
from tests.integration.health.conftest import Apiserver, Watching, nobody_else, watching
from tests.support.eventually import eventually
from tests.support.tls import Authority


@pytest.fixture
async def watched(settings: Settings, authority: Authority) -> AsyncIterator[Watching]:
    async with watching(settings, authority.for_health()) as running:
        yield running


async def test_cluster_and_its_nodes_are_healthy_at_the_first_word(apiserver: Apiserver, watched: Watching) -> None:
    target = apiserver.target(nodes=frozenset({"w-1", "w-2"}))
    watched.follow(target)
    await watched.until(Verdict.HEALTHY, target)
    assert watched.said == [(target.cluster_id, Verdict.HEALTHY)]
    assert watched.nodes == {"w-1": Verdict.HEALTHY, "w-2": Verdict.HEALTHY}


async def test_killed_apiserver_is_unreachable_its_nodes_unknown_and_both_recover(
    apiserver: Apiserver, watched: Watching
) -> None:
    target = apiserver.target(nodes=frozenset({"w-1"}))
    watched.follow(target)
    await watched.until(Verdict.HEALTHY, target)
    await apiserver.stop()
    await watched.until(Verdict.UNREACHABLE, target)
    assert watched.nodes == {"w-1": Verdict.UNKNOWN}
    await apiserver.restart()
    await watched.until(Verdict.HEALTHY, target)
    await eventually(lambda: watched.nodes == {"w-1": Verdict.HEALTHY})
    verdicts = [verdict for _, verdict in watched.said]
    assert verdicts == [Verdict.HEALTHY, Verdict.UNREACHABLE, Verdict.HEALTHY]


@pytest.mark.parametrize(
    ("habit", "verdict"),
    [
        ("hangs", Verdict.UNREACHABLE),
        ("trickles", Verdict.UNREACHABLE),
        ("greets", Verdict.UNREACHABLE),
        ("etcd down", Verdict.DEGRADED),
        ("refuses us", Verdict.UNKNOWN),
    ],
)
async def test_cluster_that_turns_bad_is_told_as_it_is(
    apiserver: Apiserver, watched: Watching, habit: str, verdict: Verdict
) -> None:
    target = apiserver.target()
    watched.follow(target)
    await watched.until(Verdict.HEALTHY, target)
    apiserver.habit = habit
    await watched.until(verdict, target)


async def test_unwell_node_degrades_the_cluster(apiserver: Apiserver, watched: Watching) -> None:
    target = apiserver.target(nodes=frozenset({"w-1", "w-2"}))
    watched.follow(target)
    await watched.until(Verdict.HEALTHY, target)
    apiserver.nodes["w-2"] = {"Ready": "Unknown"}
    await watched.until(Verdict.DEGRADED, target)
    assert watched.nodes["w-2"] is Verdict.UNREACHABLE


async def test_stalled_event_loop_is_never_an_outage(apiserver: Apiserver, watched: Watching) -> None:
    target = apiserver.target()
    watched.follow(target)
    await watched.until(Verdict.HEALTHY, target)
    ends = time.monotonic() + 2
    while time.monotonic() < ends:
        time.sleep(0.5)  # longer than the looks' time limit: each that was under way times out
        await asyncio.sleep(0.02)
    assert not watched.ever(Verdict.UNREACHABLE)
    await watched.until(Verdict.HEALTHY, target)


async def test_monitor_that_cannot_reach_even_itself_says_unknown(
    apiserver: Apiserver, watched: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = apiserver.target()
    watched.follow(target)
    await watched.until(Verdict.HEALTHY, target)
    monkeypatch.setattr(watched.monitor._canary, "trouble", lambda now: "its canary does not answer in time")
    await apiserver.stop()
    await watched.until(Verdict.UNKNOWN, target)
    assert not watched.ever(Verdict.UNREACHABLE)


async def test_fleet_that_falls_silent_together_is_unknown_never_unreachable(
    apiserver: Apiserver, watched: Watching
) -> None:
    targets = [apiserver.target() for _ in range(12)]
    watched.follow(*targets)
    await watched.until(Verdict.HEALTHY, *targets)
    await apiserver.stop()
    await watched.until(Verdict.UNKNOWN, *targets)
    assert not watched.ever(Verdict.UNREACHABLE)
    await apiserver.restart()
    await watched.until(Verdict.HEALTHY, *targets)


async def test_no_file_left_to_present_a_certificate_with_is_the_monitors_trouble(
    apiserver: Apiserver, watched: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    targets = [apiserver.target() for _ in range(3)]
    with monkeypatch.context() as without:
        without.setattr("caravan_health.probe.os.pipe", none_left)
        watched.follow(*targets)
        await asyncio.sleep(1)
    await watched.until(Verdict.HEALTHY, *targets)
    assert not watched.ever(Verdict.UNREACHABLE)


async def test_lost_third_of_the_fleet_is_unreachable_the_rest_stays_healthy(
    apiserver: Apiserver, authority: Authority, watched: Watching
) -> None:
    doomed = Apiserver(authority)
    await doomed.restart()
    well, lost = [apiserver.target() for _ in range(20)], [doomed.target() for _ in range(10)]
    watched.follow(*well, *lost)
    await watched.until(Verdict.HEALTHY, *well, *lost)
    await doomed.stop()
    await watched.until(Verdict.UNREACHABLE, *lost)
    assert len(watched.said) == 40  # once each, and once more for each of the lost: nobody flaps


async def test_hanging_clusters_hold_nobody_up(settings: Settings, authority: Authority, apiserver: Apiserver) -> None:
    hanging = Apiserver(authority, habit="hangs")
    await hanging.restart()
    narrow = settings.model_copy(update={"looks_at_once": 4, "mass_failure_share": 2.0})
    async with watching(narrow, authority.for_health()) as watched:
        well, stuck = [apiserver.target() for _ in range(10)], [hanging.target() for _ in range(8)]
        watched.follow(*stuck)
        await watched.until(Verdict.UNREACHABLE, *stuck, within=20)
        watched.follow(*well)
        await watched.until(Verdict.HEALTHY, *well)
        before, started = len(apiserver.asked), time.monotonic()
        await asyncio.sleep(1)
        looks = (len(apiserver.asked) - before) / (time.monotonic() - started)
    assert looks > 10 / settings.probe_every_s * 0.8
    await hanging.stop()


async def test_malformed_ca_is_our_trouble_and_stops_nobody_else(apiserver: Apiserver, watched: Watching) -> None:
    broken, well = replace(apiserver.target(), ca_certificate="no PEM"), apiserver.target()
    watched.follow(broken, well)
    await watched.until(Verdict.HEALTHY, well)
    await eventually(lambda: (broken.cluster_id, Verdict.UNKNOWN) in watched.said)
    watched.watch.retarget(replace(broken, version=2, ca_certificate=apiserver.authority.ca_cert))
    await watched.until(Verdict.HEALTHY, broken)


async def test_cluster_that_dies_while_its_nodes_are_listed_is_found(apiserver: Apiserver, watched: Watching) -> None:
    apiserver.habit = "lists for ever"
    target = apiserver.target()
    watched.follow(target)
    await eventually(lambda: any("nodes" in path for path in apiserver.asked))
    await apiserver.stop()
    await watched.until(Verdict.UNREACHABLE, target)


async def test_dropped_cluster_is_asked_no_more(apiserver: Apiserver, watched: Watching) -> None:
    target = apiserver.target()
    watched.follow(target)
    await watched.until(Verdict.HEALTHY, target)
    watched.watch.drop(target.cluster_id)
    await asyncio.sleep(0.1)
    before = len(apiserver.asked)
    await asyncio.sleep(0.7)
    assert len(apiserver.asked) == before


async def test_cluster_is_asked_even_while_dns_has_no_certificate(settings: Settings, apiserver: Apiserver) -> None:
    async def ask(_: AskClientCertificate, __: type[ClientCertificate]) -> ClientCertificate:
        raise Retry("dns is not there to answer")

    monitor, clock, said = monitor_for(settings), SystemClock(), list[Change]()
    watch = Watch(settings, monitor, Credentials(ask, clock), clock, lambda _, change: said.append(change), nobody_else)
    running = asyncio.gather(monitor.run(), watch.run())
    await asyncio.sleep(0.1)
    port = apiserver.port
    await apiserver.stop()
    watch.follow(Apiserver(apiserver.authority, port=port).target(), unasked(clock.now()), {}, 0.0)
    await eventually(lambda: said and said[-1].belief and said[-1].belief.verdict is Verdict.UNREACHABLE)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
