"""Two replicas of health on one store and one nats-server: what one alone cannot reach is not Unreachable."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from yarl import URL

from caravan_health import onlooker, watch
from caravan_health.probe import Door, Prober
from caravan_health.settings import Settings
from caravan_health.shares import owner
from caravan_health.store import Replica
from caravan_shared.contracts.events import HealthChanged
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.service import Service
from tests.integration.health.conftest import Apiserver, Dns
from tests.integration.health.test_health_service import Subject, running, told, until
from tests.support.eventually import eventually
from tests.support.ports import free_port


class CutOff(Prober):
    """The prober of a replica without a way to its clusters: to each the network says that no host is there."""

    async def _get(self, door: Door, url: URL, at_most: int) -> tuple[int, bytes]:
        raise OSError(errno.EHOSTUNREACH, "No route to host")


@pytest.fixture
def patient(settings: Settings, postgres_url: str) -> Settings:
    """Verdicts come as soon as ever; a machine that is slow meanwhile is no trouble of the monitor's."""
    slow = {"max_lag_s": 60.0, "probe_timeout_s": 2.0, "stale_after_s": 60.0, "replica_silent_after_s": 60.0}
    return settings.model_copy(update={"database_url": postgres_url, **slow})


@pytest.fixture
def subject(around: Dns, apiserver: Apiserver) -> Subject:
    """A cluster that replica one watches."""
    cluster_id = next(each for each in iter(uuid4, None) if owner(each, ("one", "two")) == "one")
    return Subject(around, apiserver, cluster_id)


@asynccontextmanager
async def replica(settings: Settings, name: str) -> AsyncIterator[Service]:
    async with running(settings.model_copy(update={"instance": name, "http_port": free_port()})) as service:
        yield service


@asynccontextmanager
async def two_replicas(settings: Settings, cut_off: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """Both; the first is cut off from its clusters, not from the store and the others. Yields the second."""
    async with replica(settings, "two") as second:
        cut_off.setattr(watch, "Prober", CutOff)
        async with replica(settings, "one"):
            await eventually(lambda: _both_beat(second))
            yield second


async def _both_beat(service: Service) -> bool:
    async with service.db.reading() as session:
        return all([await session.get(Replica, name) for name in ("one", "two")])


async def test_cluster_that_only_its_watcher_cannot_reach_is_unknown_and_says_whose_network_it_is(
    patient: Settings, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_replicas(patient, monkeypatch) as service:
        await subject.is_made("w-1")

        async def explained() -> HealthChanged | None:
            said = (await told(service, subject, HealthChanged))[-1:]
            return next((event for event in said if "replica two" in event.reason), None)

        event = await eventually(explained)
        assert event.verdict is Verdict.UNKNOWN
        assert event.reason == (
            "it answers health's replica two, but not its replica one: no host answers there; "
            "the network of one is probably at fault"
        )
        asked = len(subject.apiserver.asked)
        await eventually(lambda: len(subject.apiserver.asked) >= asked + 5)  # that many second looks later:
        assert Verdict.UNREACHABLE not in {each.verdict for each in await told(service, subject, HealthChanged)}
        assert (await told(service, subject, HealthChanged))[-1] == event


async def test_cluster_that_no_replica_can_reach_is_unreachable(
    patient: Settings, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onlooker, "Prober", CutOff)
    async with two_replicas(patient, monkeypatch) as service:
        await subject.is_made("w-1")
        (event,) = await until(service, subject, Verdict.UNREACHABLE)
        assert event.reason == "no host answers there"
