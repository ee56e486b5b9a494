"""The cloud API over real HTTP: orders, pages, quota, power, faults, and what a restart keeps."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from caravan_sandbox.app import Sandbox
from tests.support.authority import VERSION, Authority
from tests.support.eventually import eventually
from tests.support.sandbox import CloudClient, restarted, sandbox_settings


async def test_ordered_machine_becomes_active_with_an_address_of_its_own(cloud: CloudClient) -> None:
    await cloud.create("a", "b", tags={"caravan-cluster": "c"})

    async def both_active() -> bool:
        return all(machine["state"] == "active" for machine in (await cloud.machines()).values())

    await eventually(both_active)
    addresses = {machine["address"] for machine in (await cloud.machines()).values()}
    assert len(addresses) == 2
    assert all(address.startswith("127.") for address in addresses)


async def test_names_are_not_unique(cloud: CloudClient) -> None:
    first, second = await cloud.create("same", "same")
    assert first["id"] != second["id"]


async def test_find_by_all_tags_in_pages(cloud: CloudClient) -> None:
    for number in range(3):
        await cloud.create(f"a-{number}", tags={"cluster": "a", "set": "w"})
    await cloud.create("b", tags={"cluster": "b", "set": "w"})
    _, first = await cloud.call("GET", "/v1/machines", tag="cluster=a", limit=2)
    assert len(first["machines"]) == 2
    _, second = await cloud.call("GET", "/v1/machines", tag="cluster=a", limit=2, after=first["next"])
    names = {machine["name"] for page in (first, second) for machine in page["machines"]}
    assert names == {"a-0", "a-1", "a-2"}
    assert second["next"] is None


async def test_quota_refuses_the_whole_order_and_says_what_is_free(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with Sandbox(sandbox_settings(tmp_path, machines_limit=3)).running() as sandbox:
        cloud = CloudClient(sandbox.url, http)
        await cloud.create("a")
        status, body = await cloud.call("POST", "/v1/machines", {"names": ["b"] * 3, "machine_type": "small"})
        assert status == 403
        assert body["error"] | {"message": ""} == {
            "code": "quota_exceeded",
            "resource": "machines",
            "need": 3,
            "free": 2,
            "message": "",
        }
        assert list(await cloud.machines()) == ["a"]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"names": ["a"], "machine_type": "huge"}, "unknown_machine_type"),
        ({"names": [], "machine_type": "small"}, "bad_request"),
        ({"names": ["a"] * 101, "machine_type": "small"}, "bad_request"),
        ({"names": ["a"], "machine_type": "small", "color": "red"}, "bad_request"),
    ],
)
async def test_order_that_makes_no_sense_is_refused(cloud: CloudClient, order: dict[str, object], code: str) -> None:
    status, body = await cloud.call("POST", "/v1/machines", order)
    assert (status, body["error"]["code"]) == (400, code)


async def test_wrong_token_is_refused_and_answers_are_labelled(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    async with http.get(sandbox.url + "/v1/cloud", headers={"Authorization": "Bearer wrong"}) as response:
        assert response.status == 401
        assert response.headers["X-Caravan-Simulated"] == "true"


async def test_deleted_machine_leaves_the_list_and_unknown_ids_are_fine(cloud: CloudClient) -> None:
    (machine,) = await cloud.create("a")
    status, _ = await cloud.call("POST", "/v1/machines/delete", {"ids": [machine["id"], "never-was"]})
    assert status == 202

    async def gone() -> bool:
        return not await cloud.machines()

    await eventually(gone)


async def test_lost_reply_leaves_the_machine_made(cloud: CloudClient) -> None:
    await cloud.call("POST", "/v1/faults", {"kind": "create_lost_reply"})
    with pytest.raises(aiohttp.ClientError):
        await cloud.create("a")
    assert list(await cloud.machines()) == ["a"]


async def test_create_error_makes_nothing(cloud: CloudClient) -> None:
    await cloud.call("POST", "/v1/faults", {"kind": "create_error"})
    status, _ = await cloud.call("POST", "/v1/machines", {"names": ["a"], "machine_type": "small"})
    assert status == 503
    assert not await cloud.machines()


async def test_ordered_unavailability_strikes_as_often_as_ordered(cloud: CloudClient) -> None:
    await cloud.call("POST", "/v1/faults", {"kind": "api_503", "times": 2})
    statuses = [(await cloud.call("GET", "/v1/cloud"))[0] for _ in range(3)]
    assert statuses == [503, 503, 200]


async def test_machine_error_ends_in_error_with_its_reason(cloud: CloudClient) -> None:
    await cloud.call("POST", "/v1/faults", {"kind": "machine_error", "name": "bad"})
    await cloud.create("good", "bad")

    async def settled() -> bool:
        machines = await cloud.machines()
        return (machines["good"]["state"], machines["bad"]["state"]) == ("active", "error")

    await eventually(settled)
    assert "did not boot" in (await cloud.machines())["bad"]["fault"]


async def test_calls_are_counted_by_route(cloud: CloudClient) -> None:
    (machine,) = await cloud.create("a")
    await cloud.machines()
    await cloud.try_to_run(machine["id"], "inspect")
    _, calls = await cloud.call("GET", "/v1/calls")
    assert calls == {"POST /v1/machines": 1, "GET /v1/machines": 1, "POST /v1/machines/{id}/commands": 1}


async def test_console_of_a_machine_that_does_not_run_says_why(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with Sandbox(sandbox_settings(tmp_path, vm_boot_s=0.1)).running() as sandbox:
        cloud = CloudClient(sandbox.url, http)
        (machine,) = await cloud.create("a")
        status, body = await cloud.try_to_run(machine["id"], "inspect")
        assert (status, body["error"]["code"]) == (409, "not_booted")
        await asyncio.sleep(0.2)
        await cloud.run(machine["id"], "inspect")
        await cloud.call("POST", f"/v1/machines/{machine['id']}/power", {"on": False})
        status, body = await cloud.try_to_run(machine["id"], "inspect")
        assert (status, body["error"]["code"]) == (409, "powered_off")
        status, _ = await cloud.try_to_run("never-was", "inspect")
        assert status == 404


async def test_machines_that_were_booting_boot_after_a_restart(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    first = Sandbox(sandbox_settings(tmp_path, vm_boot_s=0.3))
    async with first.running():
        cloud = CloudClient(first.url, http)
        (ordered,) = await cloud.create("a", tags={"k": "v"})
    second = restarted(first, http_port=0)
    async with second.running():
        cloud = CloudClient(second.url, http)
        assert (await cloud.machines())["a"]["state"] == "building"

        async def active() -> bool:
            return bool((await cloud.machines())["a"]["state"] == "active")

        await eventually(active)
        assert (await cloud.machines())["a"]["id"] == ordered["id"]


async def test_worker_ordered_before_a_restart_joins_after_it(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    first, authority = Sandbox(sandbox_settings(tmp_path)), Authority()
    async with first.running():
        cloud = CloudClient(first.url, http)
        await cloud.create("cp", "w", user_data=authority.user_data())
    second = restarted(first)
    async with second.running():
        cloud = CloudClient(second.url, http)
        machine = (await cloud.machines())["cp"]["id"]
        await cloud.run(machine, "install", version=VERSION)
        await cloud.run(machine, "kubeadm-init", config=authority.init_config("cp"), pki=authority.pki())
        await eventually(lambda: all(machine.node for machine in second.cloud.machines.values()))
