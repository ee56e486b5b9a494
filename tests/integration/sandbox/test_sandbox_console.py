"""What kubeadm's stand-in does on machines: init, join, upgrade, leave; each command twice is once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from caravan_sandbox.app import Sandbox
from caravan_sandbox.kube.resources import NODES
from tests.support.authority import VERSION, Authority
from tests.support.eventually import eventually
from tests.support.sandbox import Made

Nodes = Callable[[], set[str]]


@pytest.fixture
def nodes(sandbox: Sandbox, empty: Made) -> Nodes:
    """The names of the cluster's nodes, on call."""

    def names() -> set[str]:
        cluster = sandbox.membership.clusters[empty.authority.ca_hash]
        return {body["metadata"]["name"] for body in cluster.collection(NODES).bodies()}

    return names


async def test_init_and_joins_make_the_nodes(made: Made, nodes: Nodes) -> None:
    assert nodes() == {"cp-1", "w-1", "w-2"}
    inspected = await made.cloud.run(made.ids["w-1"], "inspect")
    assert inspected["result"] == {
        "os": "Caravan sandbox (simulated)",
        "cpus": 4,
        "memory_mib": 8192,
        "kubelet_version": VERSION,
        "member": True,
    }


async def test_every_command_run_twice_changes_nothing_the_second_time(made: Made) -> None:
    pki, first = made.authority.pki(), made.ids["cp-1"]
    manifest = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {b: c}}"
    commands: list[tuple[str, dict[str, Any]]] = [
        ("install", {"version": VERSION}),
        ("kubeadm-init", {"config": made.authority.init_config("cp-1"), "pki": pki}),
        ("apply", {"manifests": manifest}),
        ("drain", {"node": "w-1"}),
        ("remove-node", {"node": "w-1"}),
        ("upgrade", {"version": VERSION}),
    ]
    for command, arguments in commands:
        await made.cloud.run(first, command, **arguments)
        assert (await made.cloud.run(first, command, **arguments))["changed"] is False, command


async def test_two_inits_at_once_make_one_cluster(empty: Made) -> None:
    await empty.add_machines("cp-1")
    await empty.cloud.run(empty.ids["cp-1"], "install", version=VERSION)
    arguments = {"config": empty.authority.init_config("cp-1"), "pki": empty.authority.pki()}
    both = [empty.cloud.run(empty.ids["cp-1"], "kubeadm-init", **arguments) for _ in range(2)]
    assert sorted(outcome["changed"] for outcome in await asyncio.gather(*both)) == [False, True]


async def test_init_on_a_second_machine_of_a_living_cluster_is_refused(made: Made) -> None:
    await made.add_machines("cp-2")
    await made.cloud.run(made.ids["cp-2"], "install", version=VERSION)
    arguments = {"config": made.authority.init_config("cp-2"), "pki": made.authority.pki()}
    status, body = await made.cloud.try_to_run(made.ids["cp-2"], "kubeadm-init", **arguments)
    assert (status, body["error"]["code"]) == (422, "kubeadm_failed")


async def test_init_without_kubelet_is_refused(empty: Made) -> None:
    await empty.add_machines("cp-1")
    arguments = {"config": empty.authority.init_config("cp-1"), "pki": empty.authority.pki()}
    status, body = await empty.cloud.try_to_run(empty.ids["cp-1"], "kubeadm-init", **arguments)
    assert (status, body["error"]["message"]) == (422, "kubeadm and kubelet are not installed")


@pytest.mark.parametrize("token", ["abcdef.ffffffffffffffff", "ffffff.0123456789abcdef"])
async def test_join_with_a_wrong_token_is_refused(made: Made, token: str) -> None:
    await made.add_machines("w-3")
    await made.cloud.run(made.ids["w-3"], "install", version=VERSION)
    config = made.authority.join_config(token=token)
    status, body = await made.cloud.try_to_run(made.ids["w-3"], "kubeadm-join", config=config)
    assert status == 422
    assert "token is unknown or has expired" in body["error"]["message"]


async def test_join_that_pins_another_ca_is_refused(made: Made) -> None:
    await made.add_machines("w-3")
    await made.cloud.run(made.ids["w-3"], "install", version=VERSION)
    config = Authority(host=made.authority.host).join_config()
    status, body = await made.cloud.try_to_run(made.ids["w-3"], "kubeadm-join", config=config)
    assert status == 422
    assert "none of its public keys is pinned" in body["error"]["message"]


async def test_control_plane_joins_with_the_pki_only(made: Made, nodes: Nodes) -> None:
    await made.add_machines("cp-2")
    await made.cloud.run(made.ids["cp-2"], "install", version=VERSION)
    config = made.authority.join_config(control_plane=True, name="cp-2")
    status, _ = await made.cloud.try_to_run(made.ids["cp-2"], "kubeadm-join", config=config)
    assert status == 422
    await made.cloud.run(made.ids["cp-2"], "kubeadm-join", config=config, pki=made.authority.pki())
    assert "cp-2" in nodes()


async def test_deleting_a_machine_keeps_its_node_until_it_is_removed(
    made: Made, nodes: Nodes, sandbox: Sandbox
) -> None:
    await made.cloud.call("POST", "/v1/machines/delete", {"ids": [made.ids["w-1"]]})
    await eventually(lambda: made.ids["w-1"] not in sandbox.cloud.machines)
    assert "w-1" in nodes()
    await made.cloud.run(made.ids["cp-1"], "remove-node", node="w-1")
    assert "w-1" not in nodes()


async def test_cluster_is_gone_with_its_last_control_plane(made: Made, sandbox: Sandbox) -> None:
    await made.cloud.call("POST", "/v1/machines/delete", {"ids": list(made.ids.values())})
    await eventually(lambda: not sandbox.membership.clusters)


async def test_removing_the_last_etcd_member_is_refused(made: Made) -> None:
    status, body = await made.cloud.try_to_run(made.ids["cp-1"], "remove-node", node="cp-1")
    assert (status, body["error"]["code"]) == (422, "kubeadm_failed")


async def test_upgrade_goes_control_plane_first_and_one_minor_at_a_time(made: Made, sandbox: Sandbox) -> None:
    first, worker = made.ids["cp-1"], made.ids["w-1"]
    assert (await made.cloud.try_to_run(worker, "upgrade", version="1.35.0"))[0] == 422
    assert (await made.cloud.try_to_run(first, "upgrade", version="1.36.0"))[0] == 422
    await made.cloud.run(first, "upgrade", version="1.35.0")
    await made.cloud.run(worker, "upgrade", version="1.35.0")
    cluster = sandbox.membership.clusters[made.authority.ca_hash]
    versions = {
        b["metadata"]["name"]: b["status"]["nodeInfo"]["kubeletVersion"] for b in cluster.collection(NODES).bodies()
    }
    assert versions == {"cp-1": "v1.35.0", "w-1": "v1.35.0", "w-2": f"v{VERSION}"}


async def test_reset_machine_is_no_member_and_can_join_again(made: Made) -> None:
    assert (await made.cloud.run(made.ids["w-1"], "reset"))["changed"] is True
    assert (await made.cloud.run(made.ids["w-1"], "inspect"))["result"]["member"] is False
    joined = await made.cloud.run(made.ids["w-1"], "kubeadm-join", config=made.authority.join_config())
    assert joined["changed"] is True


async def test_external_etcd_has_to_be_there_first(empty: Made, nodes: Nodes) -> None:
    await empty.add_machines("cp-1", "etcd-1")
    await empty.cloud.run(empty.ids["cp-1"], "install", version=VERSION)
    address = empty.addresses["etcd-1"]
    etcd = {"external": {"endpoints": [f"https://{address}:2379"]}}
    arguments = {"config": empty.authority.init_config("cp-1", etcd=etcd), "pki": empty.authority.pki()}
    status, body = await empty.cloud.try_to_run(empty.ids["cp-1"], "kubeadm-init", **arguments)
    assert status == 422
    assert "etcd does not answer" in body["error"]["message"]
    await empty.cloud.run(empty.ids["etcd-1"], "etcd", pki=empty.authority.pki(), members=[address])
    await empty.cloud.run(empty.ids["cp-1"], "kubeadm-init", **arguments)
    assert nodes() == {"cp-1"}


@pytest.mark.parametrize(
    ("command", "code"),
    [("dance", "unknown_command"), ("apply", "bad_arguments"), ("kubeadm-join", "bad_arguments")],
)
async def test_command_without_sense_is_refused(made: Made, command: str, code: str) -> None:
    status, body = await made.cloud.try_to_run(made.ids["cp-1"], command)
    assert (status, body["error"]["code"]) == (422, code)
