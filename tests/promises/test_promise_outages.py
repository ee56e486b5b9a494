"""Real outages are found: many clusters die at once among healthy ones, as the monitor looks at them by default."""

import asyncio
import time
from uuid import UUID

import pytest

from caravan_health.settings import Settings
from caravan_health.target import Target
from caravan_shared.contracts.states import Verdict
from tests.integration.health.conftest import Apiserver, Watching, apiserver, authority, watching
from tests.promises.sizes import OUTAGES
from tests.promises.trial import Trial
from tests.support.tls import Authority

__all__ = ["apiserver", "authority"]  # fixtures of health's own tests

HEALTHY_A_DEAD_ONE = 9
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.05


@pytest.mark.promises(OUTAGES)
async def test_clusters_that_die_at_once_are_told_and_no_other_is(
    trial: Trial, apiserver: Apiserver, authority: Authority
) -> None:
    """`p99_s` is how long the slowest but one of a hundred took; it is promised to be 10 at most."""
    doomed = Apiserver(authority)
    await doomed.restart()
    dying = [doomed.target() for _ in range(trial.asked)]
    others = [apiserver.target() for _ in range(HEALTHY_A_DEAD_ONE * trial.asked)]
    async with watching(Settings(), authority.for_health()) as watched:
        watched.follow(*dying, *others)
        await watched.until(Verdict.HEALTHY, *dying, *others, within=PATIENCE_S)
        await asyncio.sleep(trial.dice.uniform(0, Settings().probe_every_s))
        await doomed.stop()
        took = await _told(watched, dying)
        trial.did(len(took))
        await doomed.restart()
        await watched.until(Verdict.HEALTHY, *dying, within=PATIENCE_S)
        for target in dying:
            assert _verdicts(watched, target) == [Verdict.HEALTHY, Verdict.UNREACHABLE, Verdict.HEALTHY]
        for target in others:
            assert _verdicts(watched, target) == [Verdict.HEALTHY]
    await doomed.stop()
    trial.figures |= {"p50_s": _share(took, 0.5), "p99_s": _share(took, 0.99)}


async def _told(watched: Watching, dead: list[Target]) -> list[float]:
    """Seconds from now until each was called Unreachable, sorted."""
    began, took = time.monotonic(), dict[UUID, float]()
    async with asyncio.timeout(PATIENCE_S):
        while len(took) < len(dead):
            await asyncio.sleep(LOOK_EVERY_S)
            for target in dead:
                if watched.verdict(target) is Verdict.UNREACHABLE:
                    took.setdefault(target.cluster_id, time.monotonic() - began)
    return sorted(took.values())


def _verdicts(watched: Watching, target: Target) -> list[Verdict]:
    """What was said of one cluster, each change once."""
    return [verdict for cluster_id, verdict in watched.said if cluster_id == target.cluster_id]


def _share(values: list[float], share: float) -> float:
    return round(values[min(len(values) - 1, int(share * len(values)))], 2)
