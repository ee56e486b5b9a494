"""The simulated kube-apiserver through the kubernetes client, sync and aio, and over plain HTTPS."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes
import kubernetes.aio
import pytest
from kubernetes.aio import config as aio_config

from tests.support.authority import TOKEN, Authority
from tests.support.eventually import eventually
from tests.support.sandbox import Made

HEALTH_ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "caravan:health"}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [get, list, watch]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "caravan:health"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "caravan:health"}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "caravan:health"}
"""


class Client:
    """Plain HTTPS with a client certificate, or none."""

    def __init__(self, http: aiohttp.ClientSession, authority: Authority, folder: Path, *who: str) -> None:
        self._http, self._host = http, authority.host
        self._context = ssl.create_default_context(cadata=authority.ca_cert)
        if who:
            file = folder / f"{who[0]}.pem"
            file.write_text("".join(authority.client(*who)))
            self._context.load_cert_chain(file)
        self._port = authority.port

    async def call(self, address: str, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
        """Status and body: JSON if it is, else text."""
        url = f"https://{address}:{self._port}{path}"
        arguments = {"ssl": self._context, "server_hostname": self._host, **options}
        async with self._http.request(method, url, **arguments) as response:
            as_json = response.content_type == "application/json"
            return response.status, await (response.json() if as_json else response.text())


@pytest.fixture
def admin(made: Made, http: aiohttp.ClientSession, tmp_path: Path) -> Client:
    """A member of system:masters."""
    return Client(http, made.authority, tmp_path, "admin", "system:masters")


@pytest.fixture
def nobody(made: Made, http: aiohttp.ClientSession, tmp_path: Path) -> Client:
    """No credentials."""
    return Client(http, made.authority, tmp_path)


async def test_sync_client_reads_pages_and_patches(made: Made) -> None:
    def use() -> None:
        with kubernetes.config.new_client_from_config_dict(made.authority.kubeconfig(made.address)) as api:
            core: Any = kubernetes.client.CoreV1Api(api)
            first = core.list_node(limit=2)
            rest = core.list_node(limit=2, _continue=first.metadata._continue)
            assert [node.metadata.name for node in (*first.items, *rest.items)] == ["cp-1", "w-1", "w-2"]
            assert kubernetes.client.VersionApi(api).get_code().git_version == "v1.34.2+caravan-sandbox"
            core.patch_node("w-1", {"spec": {"unschedulable": True}})
            assert core.read_node("w-1").spec.unschedulable is True
            core.delete_node("w-1")
            with pytest.raises(kubernetes.client.ApiException) as refused:
                core.read_node("w-1")
            assert refused.value.status == 404
            lease: Any = kubernetes.client.CoordinationV1Api(api).read_namespaced_lease("w-2", "kube-node-lease")
            assert datetime.now(UTC) - lease.spec.renew_time < timedelta(seconds=10)
            assert core.list_pod_for_all_namespaces().items[0].metadata.name == "coredns-cp-1"

    await asyncio.to_thread(use)


async def test_aio_client_manages_grants_and_they_count_at_once(made: Made) -> None:
    admin = await aio_config.new_client_from_config_dict(made.authority.kubeconfig(made.address))
    bob = await aio_config.new_client_from_config_dict(
        made.authority.kubeconfig(made.address, "bob", "caravan:grant:1")
    )
    async with admin, bob:
        rbac, core = kubernetes.aio.client.RbacAuthorizationV1Api(admin), kubernetes.aio.client.CoreV1Api(bob)
        with pytest.raises(kubernetes.aio.client.ApiException) as refused:
            await core.list_pod_for_all_namespaces()
        assert refused.value.status == 403
        binding: Any = {
            "metadata": {"name": "caravan-grant-1"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "caravan:grant:1"}],
        }
        await rbac.create_cluster_role_binding(binding)
        assert (await core.list_pod_for_all_namespaces()).items
        with pytest.raises(kubernetes.aio.client.ApiException) as refused:
            await core.delete_node("w-1")
        assert refused.value.status == 403
        with pytest.raises(kubernetes.aio.client.ApiException) as refused:
            await rbac.create_cluster_role_binding(binding)
        assert refused.value.status == 409
        await rbac.delete_cluster_role_binding("caravan-grant-1")
        with pytest.raises(kubernetes.aio.client.ApiException) as refused:
            await core.list_pod_for_all_namespaces()
        assert refused.value.status == 403


async def test_watch_tells_every_change_once_and_in_order(made: Made) -> None:
    api = await aio_config.new_client_from_config_dict(made.authority.kubeconfig(made.address))
    async with api:
        core: Any = kubernetes.aio.client.CoreV1Api(api)
        version = (await core.list_node()).metadata.resource_version
        watch = kubernetes.aio.watch.Watch()
        seen = []

        async def read() -> None:
            async with watch.stream(core.list_node, resource_version=version, timeout_seconds=10) as events:
                async for event in events:
                    seen.append((event["type"], event["object"].metadata.name))
                    if len(seen) == 3:
                        return

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            await asyncio.sleep(0.1)
            await core.patch_node("w-1", {"metadata": {"labels": {"a": "b"}}})
            await core.delete_node("w-2")
            await made.cloud.run(made.ids["w-2"], "kubeadm-join", config=made.authority.join_config())
        assert seen == [("MODIFIED", "w-1"), ("DELETED", "w-2"), ("ADDED", "w-2")]


async def test_health_certificate_reads_nodes_and_nothing_else(
    made: Made, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await made.cloud.run(made.ids["cp-1"], "apply", manifests=HEALTH_ROLE)
    health = Client(http, made.authority, tmp_path, "health", "caravan:health")
    status, nodes = await health.call(made.address, "/api/v1/nodes")
    assert (status, len(nodes["items"])) == (200, 3)
    assert (await health.call(made.address, "/readyz"))[0] == 200
    assert (await health.call(made.address, "/api/v1/secrets"))[0] == 403
    assert (await health.call(made.address, "/api/v1/nodes/w-1", "DELETE"))[0] == 403


async def test_role_that_aggregates_to_view_lets_viewers_read_nodes(
    made: Made, http: aiohttp.ClientSession, tmp_path: Path, admin: Client
) -> None:
    viewer = Client(http, made.authority, tmp_path, "bob", "viewers")
    manifests = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: viewers}]
"""
    await made.cloud.run(made.ids["cp-1"], "apply", manifests=manifests)
    assert (await viewer.call(made.address, "/api/v1/nodes"))[0] == 403
    role = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nodes, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
rules: [{apiGroups: [""], resources: [nodes], verbs: [get, list, watch]}]
"""
    await made.cloud.run(made.ids["cp-1"], "apply", manifests=role)
    assert (await viewer.call(made.address, "/api/v1/nodes"))[0] == 200


@pytest.mark.parametrize("path", ["/version", "/livez", "/readyz", "/healthz"])
async def test_anonymous_may_ask_for_health_and_version(made: Made, nobody: Client, path: str) -> None:
    assert (await nobody.call(made.address, path))[0] == 200


@pytest.mark.parametrize(
    "path", ["/api", "/apis", "/api/v1", "/api/v1/nodes", "/api/v1/namespaces/kube-system/secrets"]
)
async def test_anonymous_may_ask_for_nothing_else(made: Made, nobody: Client, path: str) -> None:
    status, body = await nobody.call(made.address, path)
    assert (status, body["kind"], body["reason"]) == (403, "Status", "Forbidden")


async def test_bootstrap_token_authenticates_and_a_wrong_one_does_not(made: Made, nobody: Client) -> None:
    path, headers = "/api/v1/nodes/cp-1", {"Authorization": f"Bearer {TOKEN}"}
    assert (await nobody.call(made.address, path, headers=headers))[0] == 200
    status, body = await nobody.call(made.address, path, headers={"Authorization": "Bearer abcdef.wrongwrongwrong0"})
    assert (status, body["reason"]) == (401, "Unauthorized")


async def test_deleted_token_lets_nobody_join(made: Made, admin: Client) -> None:
    await admin.call(made.address, "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef", "DELETE")
    await made.add_machines("w-3")
    await made.cloud.run(made.ids["w-3"], "install", version="1.34.2")
    status, _ = await made.cloud.try_to_run(made.ids["w-3"], "kubeadm-join", config=made.authority.join_config())
    assert status == 422


async def test_stranger_with_a_certificate_of_another_ca_is_turned_away(
    made: Made, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = tmp_path / "stranger.pem"
    file.write_text("".join(Authority().client("mallory", "system:masters")))
    stranger = Client(http, made.authority, tmp_path)
    stranger._context.load_cert_chain(file)
    with pytest.raises(aiohttp.ClientError):
        await stranger.call(made.address, "/api/v1/nodes")


async def test_switched_off_control_plane_stops_at_once_and_comes_back(made: Made, admin: Client) -> None:
    assert (await admin.call(made.address, "/readyz"))[0] == 200
    power = f"/v1/machines/{made.ids['cp-1']}/power"
    await made.cloud.call("POST", power, {"on": False})
    with pytest.raises(aiohttp.ClientError):
        await admin.call(made.address, "/readyz")
    await made.cloud.call("POST", power, {"on": True})

    async def answers() -> bool:
        try:
            return (await admin.call(made.address, "/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    await eventually(answers)


async def test_node_of_a_switched_off_machine_turns_unknown_and_recovers(made: Made, admin: Client) -> None:
    async def ready_is(status: str) -> bool:
        _, node = await admin.call(made.address, "/api/v1/nodes/w-1")
        ready = next(entry for entry in node["status"]["conditions"] if entry["type"] == "Ready")
        return bool(ready["status"] == status)

    power = f"/v1/machines/{made.ids['w-1']}/power"
    await made.cloud.call("POST", power, {"on": False})
    assert await ready_is("True")
    await eventually(lambda: ready_is("Unknown"))
    _, node = await admin.call(made.address, "/api/v1/nodes/w-1")
    assert "Kubelet stopped posting node status." in str(node["status"]["conditions"])
    await made.cloud.call("POST", power, {"on": True})
    await eventually(lambda: ready_is("True"))


async def test_lost_etcd_majority_refuses_writes_and_fails_the_etcd_check(made: Made, admin: Client) -> None:
    await made.add_control_plane("cp-2")
    await made.add_control_plane("cp-3")
    for name in ("cp-2", "cp-3"):
        await made.cloud.call("POST", f"/v1/machines/{made.ids[name]}/power", {"on": False})
    status, text = await admin.call(made.address, "/readyz?verbose")
    assert status == 500
    assert "[-]etcd failed: reason withheld" in text
    assert (await admin.call(made.address, "/api/v1/nodes/w-1", "DELETE"))[0] == 503


async def test_ordered_check_failure_shows_by_name(made: Made, nobody: Client) -> None:
    fault = {"kind": "readyz_failure", "component": "informer-sync", "address": made.address, "times": 1}
    await made.cloud.call("POST", "/v1/faults", fault)
    status, text = await nobody.call(made.address, "/readyz")
    assert (status, "[-]informer-sync failed" in text) == (500, True)
    assert (await nobody.call(made.address, "/readyz"))[0] == 200


async def test_hanging_apiserver_answers_nothing(made: Made, nobody: Client) -> None:
    await made.cloud.call("POST", "/v1/faults", {"kind": "apiserver_hang", "endpoint": made.authority.endpoint})
    with pytest.raises(TimeoutError):
        await nobody.call(made.address, "/readyz", timeout=aiohttp.ClientTimeout(total=0.2))
    assert (await nobody.call(made.address, "/readyz"))[0] == 200


async def test_stale_update_is_a_conflict(made: Made, admin: Client) -> None:
    path = "/api/v1/nodes/w-1"
    _, node = await admin.call(made.address, path)
    node["metadata"]["labels"]["a"] = "1"
    assert (await admin.call(made.address, path, "PUT", json=node))[0] == 200
    node["metadata"]["labels"]["a"] = "2"
    status, body = await admin.call(made.address, path, "PUT", json=node)
    assert (status, body["reason"]) == (409, "Conflict")


async def test_metadata_pages_carry_no_specs(made: Made, admin: Client) -> None:
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    _, page = await admin.call(made.address, "/api/v1/nodes?limit=2", headers=accept)
    assert page["kind"] == "PartialObjectMetadataList"
    assert [set(item) for item in page["items"]] == [{"kind", "apiVersion", "metadata"}] * 2
    assert page["metadata"]["continue"]
