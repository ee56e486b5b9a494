"""The same service on PostgreSQL: one cluster's and one grant's whole life."""

import asyncio

import pytest

from caravan_shared.contracts.events import EndpointWithdrawn, KubeconfigRevoked
from caravan_shared.contracts.requests import AskKubeconfig, AskRevoke, AskRevokeAll, Kubeconfig, Revoked, RevokedAll
from tests.integration.dns.conftest import Apiserver, Around, Dns, Subject, Told


@pytest.fixture
def store_url(postgres_url: str) -> str:
    """A fresh database."""
    return postgres_url


async def test_cluster_lives_and_ends(dns: Dns, around: Around, cluster: Subject, told: Told) -> None:
    facts = (
        cluster.requested(),
        cluster.ready(n1="10.0.0.1", n2="10.0.0.2"),
        cluster.started(1, "10.0.0.1"),
        cluster.joined(1, 2),
    )
    await asyncio.gather(*(around.say(fact) for fact in facts * 2))
    await told.addresses(cluster, "10.0.0.1", "10.0.0.2")
    assert await dns.server.texts(cluster.host, "A") == {"10.0.0.1", "10.0.0.2"}
    await around.say(cluster.deletion_requested())
    await told.until(EndpointWithdrawn, cluster)
    assert await dns.server.texts(cluster.host, "A") == set()


async def test_grant_lives_and_ends(apiserver: Apiserver, cluster: Subject, around: Around, told: Told) -> None:
    request = AskKubeconfig(cluster_id=cluster.id, user="alice", role="admin", ttl_s=60)
    grant = await around.ask(request, Kubeconfig)
    assert apiserver.bindings
    await around.ask(AskRevoke(cluster_id=cluster.id, grant_id=grant.grant_id), Revoked)
    assert not apiserver.bindings
    assert (await told.until(KubeconfigRevoked, cluster)).grant_id == grant.grant_id


async def test_all_of_a_person_is_taken_back(
    apiserver: Apiserver, cluster: Subject, around: Around, told: Told
) -> None:
    request = AskKubeconfig(cluster_id=cluster.id, user="alice", role="admin", ttl_s=60)
    grants = {(await around.ask(request, Kubeconfig)).grant_id for _ in range(2)}
    taken = await around.ask(AskRevokeAll(user="alice", team="default"), RevokedAll)
    assert {item.grant_id for item in taken.items if not item.pending} == grants
    assert not apiserver.bindings
