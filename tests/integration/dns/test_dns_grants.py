"""Kubeconfigs handed out and taken back, against a door with a kube-apiserver's TLS."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import yaml
from kubernetes.aio import client, config

from caravan_dns.errors import ClusterUnreachable
from caravan_dns.settings import Settings
from caravan_shared.contracts.events import KubeconfigIssued, KubeconfigRevoked
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.requests import AskKubeconfig, AskRevoke, Kubeconfig, Revoked
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.service import Service
from tests.integration.dns.conftest import Apiserver, Around, Subject, Told, authority
from tests.support.eventually import eventually


async def granted(cluster: Subject, user: str = "alice", role: str = "viewer", ttl_s: int = 60) -> Kubeconfig:
    request = AskKubeconfig(cluster_id=cluster.id, user=user, role=role, ttl_s=ttl_s)
    return await cluster.around.ask(request, Kubeconfig)


async def revoke(cluster: Subject, grant: Kubeconfig) -> None:
    await cluster.around.ask(AskRevoke(cluster_id=cluster.id, grant_id=grant.grant_id), Revoked)


async def test_kubernetes_client_gets_in_as_the_user_and_in_the_grants_group(
    apiserver: Apiserver, cluster: Subject
) -> None:
    grant = await granted(cluster)
    api = await config.new_client_from_config_dict(yaml.safe_load(grant.kubeconfig))
    async with api:
        version = await client.VersionApi(api).get_code(_request_timeout=5)
    assert version.git_version == "v1.34.2"
    assert apiserver.callers[-1] == ("alice", f"caravan:grant:{grant.grant_id}")


@pytest.mark.parametrize(("role", "expected"), [("viewer", "view"), ("editor", "edit"), ("admin", "cluster-admin")])
async def test_grants_group_is_bound_to_the_role_before_the_kubeconfig_is_out(
    apiserver: Apiserver, cluster: Subject, told: Told, role: str, expected: str
) -> None:
    grant = await granted(cluster, role=role)
    binding = apiserver.bindings[f"caravan-grant-{grant.grant_id}"]
    assert binding["roleRef"]["name"] == expected
    assert [subject["name"] for subject in binding["subjects"]] == [f"caravan:grant:{grant.grant_id}"]
    assert apiserver.callers == [("caravan-dns", "system:masters")]
    issued = await told.until(KubeconfigIssued, cluster)
    assert (issued.user, issued.role, issued.expires_at) == ("alice", role, grant.expires_at)


@pytest.mark.parametrize(("asked_s", "given_s"), [(0, 3600), (60, 60), (8 * 3600, 8 * 3600), (10**9, 8 * 3600)])
async def test_lifetime_is_an_hour_by_default_and_eight_at_most(
    apiserver: Apiserver, cluster: Subject, asked_s: int, given_s: int
) -> None:
    lifetime = (await granted(cluster, ttl_s=asked_s)).expires_at - datetime.now(UTC)
    assert given_s - 5 <= lifetime.total_seconds() <= given_s


@pytest.mark.parametrize(("user", "ttl_s"), [("system:admin", 60), ("alice\nbob", 60), ("a" * 65, 60), ("alice", -1)])
async def test_hostile_requests_are_refused_before_anything_happens(
    apiserver: Apiserver, cluster: Subject, told: Told, user: str, ttl_s: int
) -> None:
    with pytest.raises(GiveUp) as refused:
        await granted(cluster, user=user, ttl_s=ttl_s)
    assert refused.value.who_can_fix is WhoCanFix.USER
    assert not apiserver.callers
    assert await told.of(KubeconfigIssued, cluster) == []


async def test_revoked_grant_loses_its_binding_and_twice_is_fine(
    apiserver: Apiserver, cluster: Subject, told: Told
) -> None:
    grant, other = await granted(cluster), await granted(cluster, user="bob")
    await revoke(cluster, grant)
    await revoke(cluster, grant)
    assert list(apiserver.bindings) == [f"caravan-grant-{other.grant_id}"]
    revoked = await told.of(KubeconfigRevoked, cluster)
    assert [(event.grant_id, event.user) for event in revoked] == [(grant.grant_id, "alice")]


async def test_unknown_grant_cannot_be_revoked(apiserver: Apiserver, cluster: Subject) -> None:
    with pytest.raises(GiveUp, match="no grant"):
        await cluster.around.ask(AskRevoke(cluster_id=cluster.id, grant_id=uuid4()), Revoked)


async def test_expired_grant_loses_its_binding_by_itself(apiserver: Apiserver, cluster: Subject, told: Told) -> None:
    await granted(cluster, ttl_s=1)
    assert apiserver.bindings
    await eventually(lambda: not apiserver.bindings)
    assert await told.of(KubeconfigRevoked, cluster) == []


async def test_unreachable_cluster_is_a_plain_sentence_and_no_grant(
    apiserver: Apiserver, cluster: Subject, told: Told
) -> None:
    await apiserver.stop()
    with pytest.raises(Retry, match=f"the kube-apiserver of {cluster.host} can't be reached"):
        await granted(cluster)
    assert await told.of(KubeconfigIssued, cluster) == []


async def test_revocation_asked_while_the_cluster_is_away_is_done_when_it_is_back(
    apiserver: Apiserver, cluster: Subject, told: Told, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caravan_dns.grants.CLOSE_AGAIN_S", 0.2)
    grant = await granted(cluster)
    apiserver.answer_with = 503
    with pytest.raises(Retry, match="503"):
        await revoke(cluster, grant)
    assert await told.of(KubeconfigRevoked, cluster) == []
    apiserver.answer_with = None
    await told.until(KubeconfigRevoked, cluster)
    assert not apiserver.bindings


async def test_binding_made_by_an_attempt_that_failed_is_cleared_away(
    apiserver: Apiserver, cluster: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caravan_dns import bindings

    really_bind = bindings.bind

    async def lost_reply(*arguments: object) -> None:
        await really_bind(*arguments)  # type: ignore[arg-type]
        raise ClusterUnreachable(cluster.host, "the reply was lost")

    monkeypatch.setattr(bindings, "bind", lost_reply)
    with pytest.raises(Retry, match="the reply was lost"):
        await granted(cluster)
    assert apiserver.callers
    await eventually(lambda: not apiserver.bindings)


async def test_another_control_plane_is_asked_when_one_is_down(
    apiserver: Apiserver, cluster: Subject, told: Told, service: Service
) -> None:
    await cluster.around.say(cluster.ready(n1="127.0.0.1", n2="127.0.0.2"))
    await cluster.around.say(cluster.joined(1, 2))
    await told.addresses(cluster, "127.0.0.1", "127.0.0.2")
    assert isinstance(service.settings, Settings)
    await apiserver.stop()
    await apiserver.start("127.0.0.2", service.settings.apiserver_port)
    await granted(cluster)


async def test_cluster_that_refuses_us_is_the_operators_to_mend(apiserver: Apiserver, cluster: Subject) -> None:
    apiserver.answer_with = 403
    with pytest.raises(GiveUp, match="403") as refused:
        await granted(cluster)
    assert refused.value.who_can_fix is WhoCanFix.OPERATOR


async def test_stranger_on_a_cluster_address_is_not_talked_to(
    apiserver: Apiserver, cluster: Subject, around: Around, told: Told, service: Service
) -> None:
    stranger = Subject(around)
    await around.say(stranger.requested())
    pki = await eventually(lambda: authority(around, stranger))
    assert isinstance(service.settings, Settings)
    await apiserver.stop()
    impostor = Apiserver(pki, cluster.host)
    await impostor.start("127.0.0.1", service.settings.apiserver_port)
    with pytest.raises(Retry, match="can't be reached"):
        await granted(cluster)
    assert not impostor.callers
    await impostor.stop()


async def test_no_access_before_there_is_a_control_plane(around: Around, cluster: Subject, service: Service) -> None:
    await around.say(cluster.requested())
    await eventually(lambda: authority(around, cluster))
    with pytest.raises(Retry, match="no control plane yet"):
        await granted(cluster)


async def test_grants_are_told_again_with_everything_else(apiserver: Apiserver, cluster: Subject, told: Told) -> None:
    kept, taken = await asyncio.gather(granted(cluster), granted(cluster, user="bob"))
    await revoke(cluster, taken)
    before = len(await told.of(KubeconfigIssued, cluster))
    await cluster.around.say(cluster.requested(announcement=2))

    async def told_again() -> bool:
        again = (await told.of(KubeconfigIssued, cluster))[before:]
        return {event.grant_id for event in again} == {kept.grant_id, taken.grant_id}

    await eventually(told_again)
    assert {event.grant_id for event in await told.of(KubeconfigRevoked, cluster)} == {taken.grant_id}
