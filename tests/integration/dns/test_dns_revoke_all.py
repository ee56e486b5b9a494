"""All access of a person taken back at once: also what is being made, and what can't be reached."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from caravan_dns import bindings
from caravan_dns.errors import ZoneUnreachable
from caravan_dns.settings import Settings
from caravan_dns.zones.embedded import EmbeddedZone
from caravan_shared.contracts.events import KubeconfigIssued, KubeconfigRevoked
from caravan_shared.contracts.requests import AskRevokeAll, RevokedAll
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.service import Service
from tests.integration.dns.conftest import Apiserver, Around, Subject, Told, authority
from tests.integration.dns.test_dns_grants import granted
from tests.support.eventually import eventually


async def revoke_all(around: Around, user: str = "alice", team: str | None = "default") -> RevokedAll:
    return await around.ask(AskRevokeAll(user=user, team=team), RevokedAll)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be removed is tried again at once, and a cluster that is silent holds nobody up for long."""
    monkeypatch.setattr("caravan_dns.grants.CLOSE_AGAIN_S", 0.2)


@pytest.fixture
async def others(around: Around, told: Told, service: Service) -> AsyncIterator[tuple[Subject, Apiserver]]:
    """A cluster of another team, on an address of its own."""
    cluster = Subject(around)
    await around.say(cluster.requested().model_copy(update={"team": "others"}))
    await around.say(cluster.started(1, "127.0.0.3"))
    await told.addresses(cluster, "127.0.0.3")
    pki = await authority(around, cluster)
    assert pki
    assert isinstance(service.settings, Settings)
    apiserver = Apiserver(pki, cluster.host.replace(".default.", ".others."))
    await apiserver.start("127.0.0.3", service.settings.apiserver_port)
    yield cluster, apiserver
    await apiserver.stop()


async def test_all_of_one_person_goes_and_nothing_of_anyone_else(
    apiserver: Apiserver, cluster: Subject, around: Around, told: Told
) -> None:
    hers = {(await granted(cluster, role=role)).grant_id for role in ("viewer", "admin")}
    his = await granted(cluster, user="bob")
    taken = await revoke_all(around)
    assert {(item.grant_id, item.cluster_id, item.pending) for item in taken.items} == {
        (grant, cluster.id, None) for grant in hers
    }
    assert list(apiserver.bindings) == [f"caravan-grant-{his.grant_id}"]
    assert {event.grant_id for event in await told.of(KubeconfigRevoked, cluster)} == hers
    assert (await revoke_all(around)).items == (), "asking again finds nothing left"


async def test_a_team_is_left_alone_unless_all_are_meant(
    apiserver: Apiserver, cluster: Subject, around: Around, others: tuple[Subject, Apiserver]
) -> None:
    elsewhere, theirs = others
    await granted(cluster)
    grant = await granted(elsewhere)
    await revoke_all(around, team="default")
    assert (len(apiserver.bindings), len(theirs.bindings)) == (0, 1)
    taken = await revoke_all(around, team=None)
    assert [(item.cluster_id, item.grant_id) for item in taken.items] == [(elsewhere.id, grant.grant_id)]
    assert not theirs.bindings


async def test_clusters_that_the_team_only_leases_are_let_go_of_as_well(
    apiserver: Apiserver, cluster: Subject, around: Around, others: tuple[Subject, Apiserver]
) -> None:
    elsewhere, theirs = others
    mine, leased, his = await granted(cluster), await granted(elsewhere), await granted(elsewhere, user="bob")
    asked = AskRevokeAll(user="alice", team="default", clusters=(elsewhere.id,))
    taken = await around.ask(asked, RevokedAll)
    assert {item.grant_id for item in taken.items} == {mine.grant_id, leased.grant_id}
    assert not apiserver.bindings
    assert list(theirs.bindings) == [f"caravan-grant-{his.grant_id}"]


async def test_silent_cluster_is_told_as_pending_and_lets_go_when_it_is_back(
    apiserver: Apiserver, cluster: Subject, around: Around, told: Told, others: tuple[Subject, Apiserver]
) -> None:
    elsewhere, theirs = others
    grant, other = await granted(cluster), await granted(elsewhere)
    apiserver.answer_with = 503
    taken = {item.grant_id: item.pending for item in (await revoke_all(around, team=None)).items}
    assert taken.keys() == {grant.grant_id, other.grant_id}
    assert "503" in (taken[grant.grant_id] or "")
    assert taken[other.grant_id] is None, "one that is silent holds no other up"
    assert not theirs.bindings
    again = (await revoke_all(around, team=None)).items
    assert [item.grant_id for item in again if item.pending] == [grant.grant_id]
    apiserver.answer_with = None
    await told.until(KubeconfigRevoked, cluster)
    assert not apiserver.bindings


async def test_access_that_is_being_made_is_not_handed_out(
    apiserver: Apiserver, cluster: Subject, around: Around, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_bind, binding, revoked = bindings.bind, asyncio.Event(), asyncio.Event()

    async def slow_bind(*arguments: object) -> None:
        binding.set()
        await revoked.wait()
        await really_bind(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bindings, "bind", slow_bind)
    asking = asyncio.create_task(granted(cluster))
    await binding.wait()
    (item,) = (await revoke_all(around)).items
    assert "not handed out" in (item.pending or "")
    revoked.set()
    with pytest.raises(GiveUp, match="was revoked while"):
        await asking
    await eventually(lambda: not apiserver.bindings)
    assert (await revoke_all(around)).items == ()
    assert await told.of(KubeconfigIssued, cluster) == []
    assert await told.of(KubeconfigRevoked, cluster) == [], "nobody ever had it"


async def test_access_that_a_killed_process_left_half_made_is_cleared_away(
    apiserver: Apiserver, cluster: Subject, around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_bind, bound, buried = bindings.bind, asyncio.Event(), asyncio.Event()

    async def bind_and_die(*arguments: object) -> None:
        await really_bind(*arguments)  # type: ignore[arg-type]
        bound.set()
        await buried.wait()  # or the service would wait for it when it stops
        raise ConnectionError

    monkeypatch.setattr(bindings, "bind", bind_and_die)
    monkeypatch.setattr("caravan_dns.grants.MADE_WITHIN", timedelta(seconds=0.5))
    asking = asyncio.create_task(granted(cluster))
    await bound.wait()
    await revoke_all(around)
    await eventually(lambda: not apiserver.bindings)
    asking.cancel()
    buried.set()


async def test_zone_that_is_away_keeps_no_revoked_access_open(
    apiserver: Apiserver, cluster: Subject, around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    await granted(cluster)
    apiserver.answer_with = 503
    await revoke_all(around)

    async def away(*_asked: object) -> bool:
        raise ZoneUnreachable("ns.test", "it is away")

    monkeypatch.setattr(EmbeddedZone, "ensure", away)
    apiserver.answer_with = None
    await eventually(lambda: not apiserver.bindings)


async def test_cluster_on_its_way_out_lets_go_as_well(apiserver: Apiserver, cluster: Subject, around: Around) -> None:
    await granted(cluster)
    apiserver.answer_with = 503
    await around.say(cluster.deletion_requested())
    (item,) = (await revoke_all(around)).items
    assert item.pending
    apiserver.answer_with = None
    await eventually(lambda: not apiserver.bindings)
