"""A monitor's process in trouble never says broken, and says within a minute that it is in trouble.

Health is a process of its own here, the clusters it looks at are this one's. What Prometheus would read of it is read;
the alert comes as late after that as deploy/observability has it.
"""

import asyncio
import random
import resource
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from caravan_cli.up.processes import Process
from caravan_health.app import MIGRATIONS
from caravan_health.store import Table
from caravan_shared.contracts.events import HealthChanged
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.database import Database
from tests.integration.health.conftest import Apiserver, Dns, apiserver, around, authority
from tests.integration.health.test_health_service import Subject
from tests.promises.sizes import FLEETS_WITHOUT_FILES, LOOKS_OF_A_STARVED_MONITOR
from tests.promises.trial import Trial
from tests.support.eventually import eventually
from tests.support.outbox import said
from tests.support.ports import free_port
from tests.support.process import start
from tests.support.store import opened
from tests.support.trouble import starved

__all__ = ["apiserver", "around", "authority"]  # fixtures of health's own tests

OBSERVABILITY = Path(__file__).parents[2] / "deploy" / "observability"
FLEET = 100
A_TENTH = 0.1
SHARE_OF_NEED = 0.2
"""Of what it has at ease: a tenth of a CPU may be enough, as much work done at once takes half of it."""
AT_EASE_S = 5.0
QUICK = {"probe_every_s": 0.2, "recheck_s": 0.5, "unreachable_every_s": 0.5, "stale_after_s": 6.0, "nodes_every": 1}
"""For this fleet about a quarter of a CPU. A look's time limit is the usual one: the clusters are this process's, and
slow where the machine is."""
SHORTEST_S, LONGEST_S = 12.0, 30.0
"""Trouble lasts so long."""
SCRAPE_EVERY_S = 1.0
PATIENCE_S = 180.0
TOLD_WITHIN_S = 60.0


@dataclass
class Monitor:
    """The process, and what it says."""

    process: Process
    db: Database
    http: httpx.AsyncClient
    """One connection, kept open: as Prometheus does."""
    _said: defaultdict[UUID, list[HealthChanged]] = field(default_factory=lambda: defaultdict(list))

    @property
    def cpu_s(self) -> float:
        """CPU seconds that it has had."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    async def share_of_a_cpu(self, during_s: float) -> float:
        """What it has of one in the next so many seconds."""
        cpu_s, began = self.cpu_s, time.monotonic()
        await asyncio.sleep(during_s)
        return (self.cpu_s - cpu_s) / (time.monotonic() - began)

    async def metric(self, name: str) -> float:
        """A metric's value, over all its labels."""
        text = (await self.http.get("/metrics")).text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name == name)

    async def said(self) -> Mapping[UUID, list[HealthChanged]]:
        """Of each cluster, in order. Only what is new is read: the clusters' answers wait while this process reads."""
        for event in await said(self.db, HealthChanged, skip=sum(map(len, self._said.values()))):
            self._said[event.cluster_id].append(event)
        return self._said

    async def is_well(self) -> bool:
        """It is fit, and every cluster Healthy."""
        said = await self.said()
        all_healthy = len(said) == FLEET and all(each[-1].verdict is Verdict.HEALTHY for each in said.values())
        return all_healthy and await self.metric("caravan_health_monitor_fit") == 1

    async def until_well(self) -> None:
        """Wait for that."""
        await eventually(self.is_well, within=PATIENCE_S, every=0.5, saying="the monitor is well, all are Healthy")

    async def says_that_it_is_unfit(self, for_s: float) -> float:
        """Look at it for so many seconds, in which it is in trouble; after how many of them an alert came at latest."""
        began, unfit_after = time.monotonic(), float("inf")
        while (passed := time.monotonic() - began) < for_s:
            fit = await self.metric("caravan_health_monitor_fit")
            assert not (fit and unfit_after < passed), (
                f"it called itself fit again in its trouble, after {passed:.0f} s"
            )
            if not fit:
                unfit_after = min(unfit_after, time.monotonic() - began)
            await asyncio.sleep(SCRAPE_EVERY_S)
        return unfit_after + _alert_after_s()


@pytest.fixture
async def monitor(tmp_path: Path, nats_url: str, around: Dns, apiserver: Apiserver) -> AsyncIterator[Monitor]:
    """One that is well, with a fleet of healthy clusters to look at."""
    port = free_port()
    process = start(
        "health",
        tmp_path / "health.log",
        {"state_dir": tmp_path, "nats_url": nats_url, "http_port": port, **QUICK},
    )
    url = f"sqlite+aiosqlite:///{tmp_path}/health.db"
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http:
            await eventually(lambda: _answers(http), within=PATIENCE_S, saying="health answers")
            for _ in range(FLEET):
                await Subject(around, apiserver, uuid4()).is_made("w-1", "w-2")
            async with opened(Database(url, Table.metadata, MIGRATIONS)) as db:
                monitor = Monitor(process, db, http)
                await monitor.until_well()
                yield monitor
    finally:
        process.stop(10)


@pytest.mark.promises(LOOKS_OF_A_STARVED_MONITOR)
async def test_a_monitor_with_a_tenth_of_a_cpu_calls_no_healthy_cluster_unreachable_and_says_so(
    trial: Trial, monitor: Monitor
) -> None:
    """`alert_after_s`: the latest alert about it, in seconds after its trouble began; `share`: what it had of a CPU."""
    need = await monitor.share_of_a_cpu(AT_EASE_S)
    share = min(A_TENTH, SHARE_OF_NEED * need)  # slices of a few milliseconds, which come out longer
    latest, most = 0.0, 0.0
    while trial.goes_on:
        looks, for_s = await monitor.metric("caravan_health_looks_total"), _how_long(trial.dice)
        async with starved(monitor.process.pid, share):
            alert_after_s, had = await asyncio.gather(
                monitor.says_that_it_is_unfit(for_s), monitor.share_of_a_cpu(for_s)
            )
            trial.did(int(await monitor.metric("caravan_health_looks_total") - looks))
        latest, most = max(latest, alert_after_s), max(most, had)
        assert most < min(1.5 * A_TENTH, need / 2), "it had more than it was to have"
        await _was_told_rightly(monitor, latest)
    trial.figures |= {"alert_after_s": latest, "share": most}


@pytest.mark.promises(FLEETS_WITHOUT_FILES)
async def test_a_monitor_without_file_descriptors_calls_no_healthy_cluster_unreachable_and_says_so(
    trial: Trial, monitor: Monitor, apiserver: Apiserver
) -> None:
    """It has none left when every connection that it had is broken; in some cycles there are a few."""
    latest = 0.0
    while trial.goes_on:
        with _files_at_most(monitor.process.pid, trial.dice.choice((3, 40, 60))):
            await apiserver.stop()
            await apiserver.restart()
            latest = max(latest, await monitor.says_that_it_is_unfit(_how_long(trial.dice)))
        await _was_told_rightly(monitor, latest)
        trial.did(FLEET)
    trial.figures["alert_after_s"] = latest


async def _was_told_rightly(monitor: Monitor, alert_after_s: float) -> None:
    assert alert_after_s <= TOLD_WITHIN_S, f"the alert came after {alert_after_s:.0f} s"
    await monitor.until_well()
    wrong = {
        event.reason
        for said in (await monitor.said()).values()
        for event in said
        if event.verdict is Verdict.UNREACHABLE
    }
    assert not wrong, "healthy clusters were called Unreachable"


def _how_long(dice: random.Random) -> float:
    return dice.uniform(SHORTEST_S, LONGEST_S)


@contextmanager
def _files_at_most(pid: int, most: int) -> Iterator[None]:
    """The process opens no file whose number would be higher; those that it has, it keeps."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def _alert_after_s() -> float:
    """Seconds at most from the moment that a monitor calls itself unfit to the alert: read, looked at twice, told."""
    prometheus = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())["global"]
    rules = yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"][0]["rules"]
    (pending,) = (rule["for"] for rule in rules if rule["alert"] == "CaravanMonitorUnfit")
    return sum(map(_seconds, (prometheus["scrape_interval"], prometheus["evaluation_interval"], pending)))


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/livez")).is_success
    except httpx.TransportError:
        return False
