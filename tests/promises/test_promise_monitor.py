"""A monitor in trouble never says broken, and a slow cluster starves no other: the prober against real TLS servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from caravan_health import metrics
from caravan_health.settings import Settings
from caravan_shared.contracts.states import Verdict
from tests.integration.health.conftest import Apiserver, Watching, apiserver, authority, watching
from tests.promises.sizes import FLEETS_OUT_OF_SIGHT, LOOKS_BESIDE_SLOW_CLUSTERS, LOOKS_OF_A_STALLED_MONITOR
from tests.promises.trial import Trial
from tests.support.tls import Authority

__all__ = ["apiserver", "authority"]  # fixtures of health's own tests

FLEET = 60
SLOW_SHARE = 0.3
BAD_HABITS = ("hangs", "hangs up", "trickles", "babbles", "speaks no HTTP", "redirects", "greets", "fails")
LONGEST_STALL_S = 0.6
"""Twice the time limit of a look: whatever was under way times out."""
PATIENCE_S = 60.0

QUICK = {
    "probe_every_s": 0.2,
    "recheck_s": 0.1,
    "unreachable_every_s": 0.3,
    "probe_timeout_s": 0.3,
    "stale_after_s": 1.2,
    "max_lag_s": 0.05,
}
"""A look has a fifth of its usual time, so a stall counts from a fifth of the usual on."""
USUAL_LOOK = {"probe_timeout_s": 1.5, "max_lag_s": 0.25}
"""For a fleet that comes back at once: this process is its kube-apiserver, too, and makes both ends' handshakes."""


@asynccontextmanager
async def _watched(authority: Authority, **settings: float) -> AsyncIterator[Watching]:
    async with watching(Settings.model_validate(QUICK | settings), authority.for_health()) as watched:
        yield watched


@pytest.mark.promises(LOOKS_OF_A_STALLED_MONITOR)
async def test_a_monitor_whose_event_loop_stalls_calls_no_healthy_cluster_unreachable(
    trial: Trial, apiserver: Apiserver, authority: Authority
) -> None:
    stalls = 0
    async with _watched(authority) as watched:
        targets = [apiserver.target() for _ in range(FLEET)]
        watched.follow(*targets)
        await watched.until(Verdict.HEALTHY, *targets, within=PATIENCE_S)
        while trial.goes_on:
            time.sleep(trial.dice.uniform(0, LONGEST_STALL_S))  # on the loop, on purpose
            stalls += 1
            await asyncio.sleep(trial.dice.uniform(0, 2))
            trial.did(len(apiserver.asked))
            apiserver.asked.clear()
        assert not watched.ever(Verdict.UNREACHABLE), "a healthy cluster was called Unreachable"
        await watched.until(Verdict.HEALTHY, *targets, within=PATIENCE_S)
    trial.figures["stalls"] = stalls


@pytest.mark.promises(FLEETS_OUT_OF_SIGHT)
async def test_a_monitor_that_is_cut_off_calls_no_cluster_unreachable(
    trial: Trial, apiserver: Apiserver, authority: Authority
) -> None:
    async with _watched(authority, **USUAL_LOOK) as watched:
        targets = [apiserver.target() for _ in range(FLEET)]
        watched.follow(*targets)
        while trial.goes_on:
            await watched.until(Verdict.HEALTHY, *targets, within=PATIENCE_S)
            assert not watched.ever(Verdict.UNREACHABLE), "a healthy cluster was called Unreachable"
            await asyncio.sleep(trial.dice.uniform(0, 0.5))
            await apiserver.stop()
            await watched.until(Verdict.UNKNOWN, *targets, within=PATIENCE_S)
            await apiserver.restart()
            apiserver.asked.clear()
            trial.did(len(targets))
        await watched.until(Verdict.HEALTHY, *targets, within=PATIENCE_S)
        assert not watched.ever(Verdict.UNREACHABLE), "a healthy cluster was called Unreachable"


@pytest.mark.promises(LOOKS_BESIDE_SLOW_CLUSTERS)
async def test_clusters_that_hang_trickle_babble_and_redirect_hold_up_no_look_at_the_others(
    trial: Trial, apiserver: Apiserver, authority: Authority
) -> None:
    bad = Apiserver(authority, habit="hangs")
    await bad.restart()
    async with _watched(authority) as watched:
        slow = [bad.target() for _ in range(int(FLEET * SLOW_SHARE))]
        well = [apiserver.target() for _ in range(FLEET - len(slow))]
        watched.follow(*slow, *well)
        await watched.until(Verdict.HEALTHY, *well, within=PATIENCE_S)
        with _punctual(trial):
            while trial.goes_on:
                bad.habit = trial.dice.choice(BAD_HABITS)
                await asyncio.sleep(trial.dice.uniform(0.2, 1))
                trial.did(len(apiserver.asked))
                apiserver.asked.clear()
        assert {watched.verdict(target) for target in well} == {Verdict.HEALTHY}
        condemned = {cluster_id for cluster_id, verdict in watched.said if verdict is Verdict.UNREACHABLE}
        assert not condemned & {target.cluster_id for target in well}
    await bad.stop()


@contextmanager
def _punctual(trial: Trial) -> Iterator[None]:
    """Of all looks meanwhile, 99 of 100 have to begin within a second of the time they were due."""
    all_before, late_before = _begun()
    yield
    begun, late = (now - before for now, before in zip(_begun(), (all_before, late_before), strict=True))
    trial.figures |= {"looks begun": begun, "begun after 1 s": late}
    assert late <= begun / 100


def _begun() -> tuple[float, float]:
    """How many looks have begun so far, and how many of them later than a second after they were due."""
    (metric,) = metrics.START_LAG_SECONDS.collect()
    samples = {(sample.name, sample.labels.get("le")): sample.value for sample in metric.samples}
    begun = samples["caravan_health_start_lag_seconds_count", None]
    return begun, begun - samples["caravan_health_start_lag_seconds_bucket", "1.0"]
