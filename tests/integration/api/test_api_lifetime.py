"""A cluster that lives for so long: its owners are warned, and then it is deleted; unless somebody extends its life."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from caravan_api.store import Cluster
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import Stack, fresh
from tests.support.eventually import eventually


async def _texts(stack: Stack, cluster: str) -> list[str]:
    return [entry["text"] for entry in (await stack.http.get(f"/v1/clusters/{cluster}/timeline")).json()["items"]]


async def _passes(stack: Stack, cluster: str, seconds: float) -> None:
    """As if so much of its life had passed."""
    async with stack.service.db.transaction() as tx:
        row = await tx.get_one(Cluster, UUID(cluster))
        assert row.expires_at is not None
        assert row.lifetime_said_at is not None
        row.expires_at -= timedelta(seconds=seconds)
        row.lifetime_said_at -= timedelta(seconds=seconds)
        tx.add(row)
    stack.service.wake(cluster)


async def test_a_cluster_is_deleted_when_its_life_is_over_and_not_before_its_owners_are_warned(stack: Stack) -> None:
    body = {"name": fresh(), "spec": ClusterSpec.example, "lifetime_s": 7200}
    cluster = (await stack.http.post("/v1/clusters", json=body)).json()
    left = datetime.fromisoformat(cluster["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=7100) < left <= timedelta(seconds=7200)
    await _passes(stack, cluster["id"], 6700)

    async def warned() -> bool:
        return any("unless someone extends its life" in text for text in await _texts(stack, cluster["id"]))

    await eventually(warned)
    assert (await stack.get(cluster))["phase"] != "Deleting"
    await _passes(stack, cluster["id"], 600)
    await stack.phase(cluster, "Deleting")
    assert "its lifetime asked to delete the cluster: it ended" in await _texts(stack, cluster["id"])
    gone = await stack.http.put(f"/v1/clusters/{cluster['id']}/lifetime", json={"lifetime_s": 60})
    assert gone.status_code == 409


async def test_a_life_can_be_made_longer_and_endless(stack: Stack) -> None:
    cluster = await stack.create()
    assert cluster["expires_at"] is None
    path = f"/v1/clusters/{cluster['id']}/lifetime"
    limited = (await stack.http.put(path, json={"lifetime_s": 3600})).json()
    longer = (await stack.http.put(path, json={"lifetime_s": 7200})).json()
    assert limited["expires_at"] < longer["expires_at"]
    assert limited["etag"] != longer["etag"]
    endless = (await stack.http.put(path, json={"lifetime_s": None})).json()
    assert endless["expires_at"] is None
    assert (await stack.http.put(path, json={"lifetime_s": 5})).status_code == 422
    assert (await stack.http.put(path, json={})).status_code == 422
