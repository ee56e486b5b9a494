"""The door of inventories, with the provisioner's own desk behind it: admins alone, all or nothing, nothing twice."""

from typing import Any
from uuid import UUID, uuid4

from caravan_api.access import Role
from caravan_provisioner.clouds.static_inventory import InventoryMachine
from caravan_shared.contracts.bmc import bmc_context
from caravan_shared.plumbing.database import Database
from tests.integration.api.conftest import Stack
from tests.support.inventory import entry, work_once

PATH = "/v1/machines"
PASSWORD = "canary-of-the-bmc"


def given(number: int, **changes: Any) -> dict[str, Any]:
    return {**entry(number).model_dump(mode="json"), **changes}


async def take_in(stack: Stack, *rows: Any, **headers: str) -> Any:
    return await stack.http.post(PATH, json={"machines": list(rows)}, headers=headers)


async def test_every_problem_of_every_row_is_told_and_nothing_is_taken_in(stack: Stack, inventory: Database) -> None:
    assert (await take_in(stack, given(1))).status_code == 201
    rows = (
        given(2, address="10.0.0.300", cpus=0, colour="red"),
        given(3, address="10.1.0.1"),
        given(4, host_keys=[]),
        given(5, cloud="mettal"),
        "no machine",
        given(6),
    )
    refused = await take_in(stack, *rows)
    assert (refused.status_code, refused.headers["Content-Type"]) == (422, "application/problem+json")
    told = [problem["field"] for problem in refused.json()["problems"]]
    assert sorted(told) == [
        "machines.0.address",
        "machines.0.colour",
        "machines.0.cpus",
        "machines.1.address",
        "machines.2.host_keys",
        "machines.3.cloud",
        "machines.4",
    ]
    assert [item["name"] for item in (await stack.http.get(PATH)).json()["items"]] == ["rack-0001"]
    assert (await take_in(stack)).status_code == 422


async def test_repeated_import_is_one(stack: Stack, inventory: Database) -> None:
    key = f"key-{uuid4()}"
    first = await take_in(stack, given(1), given(2), **{"Idempotency-Key": key})
    await work_once(inventory)
    again = await take_in(stack, given(1), given(2), **{"Idempotency-Key": key})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json(), "the answer that it got before"
    other = await take_in(stack, given(3), **{"Idempotency-Key": key})
    assert (other.status_code, other.json()["title"]) == (422, "Idempotency-Key used for another request")
    assert [item["state"] for item in (await take_in(stack, given(1))).json()["items"]] == ["Available"]


async def test_machine_is_changed_let_out_and_removed_by_whoever_knows_its_state(
    stack: Stack, inventory: Database
) -> None:
    await take_in(stack, given(1))
    await work_once(inventory, lambda machine: "it is silent")
    seen = await stack.http.get(f"{PATH}/rack-0001")
    assert (seen.json()["state"], seen.json()["reason"]) == ("Quarantined", "it is silent")
    etag = seen.headers["ETag"]
    assert (await stack.http.patch(f"{PATH}/rack-0001", json={"cpus": 4})).status_code == 428
    changed = await stack.http.patch(f"{PATH}/rack-0001", json={"cpus": 4}, headers={"If-Match": etag})
    assert (changed.status_code, changed.json()["cpus"]) == (200, 4)
    stale = await stack.http.patch(f"{PATH}/rack-0001", json={"cpus": 8}, headers={"If-Match": etag})
    assert stale.status_code == 412
    now = {"If-Match": changed.headers["ETag"]}
    wrong = await stack.http.patch(f"{PATH}/rack-0001", json={"cpus": 0, "name": "other"}, headers=now)
    assert [problem["field"] for problem in wrong.json()["problems"]] == ["cpus"]
    renamed = await stack.http.patch(f"{PATH}/rack-0001", json={"name": "other"}, headers=now)
    assert [problem["field"] for problem in renamed.json()["problems"]] == ["name"]
    released = await stack.http.post(f"{PATH}/rack-0001/release", json={"wipe": True})
    assert (released.status_code, released.json()["state"]) == (202, "Cleaning")
    assert (await stack.http.delete(f"{PATH}/rack-0001")).status_code == 409
    await work_once(inventory)
    assert (await stack.http.post(f"{PATH}/rack-0001/release", json={})).status_code == 409
    assert (await stack.http.delete(f"{PATH}/rack-0001")).status_code == 204
    assert (await stack.http.get(f"{PATH}/rack-0001")).status_code == 404


async def test_pages_follow_each_other_by_name(stack: Stack, inventory: Database) -> None:
    await take_in(stack, *(given(number) for number in range(5)))
    names: list[str] = []
    query = {"limit": "2", "cloud": "metal"}
    while True:
        page = (await stack.http.get(PATH, params=query)).json()
        names += [item["name"] for item in page["items"]]
        if not page["next"]:
            break
        query["after"] = page["next"]
    assert names == [f"rack-000{number}" for number in range(5)]


async def test_password_of_a_bmc_is_sealed_at_the_door_and_shown_to_nobody(stack: Stack, inventory: Database) -> None:
    bmc = {"address": "10.9.0.1", "user": "operator", "password": PASSWORD}
    taken = await take_in(stack, given(1, bmc=bmc))
    assert taken.status_code == 201
    told = taken.json()["items"][0]["bmc"]
    assert {key: value for key, value in told.items() if value} == {"address": "10.9.0.1", "user": "operator"}
    shown = (await stack.http.get(f"{PATH}/rack-0001")).text
    assert '"has_bmc_password":true' in shown
    assert PASSWORD not in taken.text + shown
    async with inventory.reading() as session:
        row = await session.get_one(InventoryMachine, UUID(taken.json()["items"][0]["id"]))
    assert row.sealed_bmc_password
    assert stack.service.keys.open(row.sealed_bmc_password, bmc_context("rack-0001")) == PASSWORD


async def test_whether_a_machines_power_can_be_had_is_told_with_what_it_lacks(
    stack: Stack, inventory: Database
) -> None:
    whole = {"address": "redfish://10.9.0.1/redfish/v1/Systems/1", "user": "operator", "password": PASSWORD}
    taken = await take_in(stack, given(1), given(2, bmc={"address": "10.9.0.2"}), given(3, bmc=whole))
    assert [(item["has_power"], item["power_problem"]) for item in taken.json()["items"]] == [
        (False, "rack-0001 has no BMC in the inventory"),
        (False, "the BMC of rack-0002 has no user and no password in the inventory"),
        (True, None),
    ]


async def test_bmc_that_cannot_be_asked_is_refused_before_anything_is_taken_in(
    stack: Stack, inventory: Database
) -> None:
    both = {"fingerprint": "ab" * 32, "disable_certificate_verification": True}
    refused = await take_in(
        stack,
        given(1, bmc={"address": "http://10.9.0.1"}),
        given(2, bmc={"address": "https://10.9.0.2/admin"}),
        given(3, bmc={"address": "10.9.0.3", **both}),
    )
    assert refused.status_code == 422
    told = {problem["field"]: problem["problem"] for problem in refused.json()["problems"]}
    assert "https://" in told["machines.0.bmc.address"]
    assert "/admin is no system" in told["machines.1.bmc"]
    assert "one of the two" in told["machines.2.bmc"]
    assert (await stack.http.get(PATH)).json()["items"] == []


async def test_password_of_a_bmc_does_not_follow_it_to_another_address(stack: Stack, inventory: Database) -> None:
    bmc = {"address": "10.9.0.1", "user": "operator", "password": PASSWORD}
    await take_in(stack, given(1, bmc=bmc))

    async def change(**bmc: Any) -> Any:
        etag = (await stack.http.get(f"{PATH}/rack-0001")).headers["ETag"]
        return await stack.http.patch(f"{PATH}/rack-0001", json={"bmc": bmc or None}, headers={"If-Match": etag})

    refused = await change(address="10.9.0.2")
    assert [problem["field"] for problem in refused.json()["problems"]] == ["bmc.password"]
    assert (await change(fingerprint="ab" * 32)).json()["has_power"], "the same BMC, which keeps its password"
    assert (await change(address="10.9.0.2", password=PASSWORD)).json()["has_power"]
    gone = (await change()).json()
    assert (gone["bmc"], gone["has_bmc_password"]) == (None, False)


async def test_inventories_are_for_admins_alone(stack: Stack, inventory: Database) -> None:
    await take_in(stack, given(1))
    calls: list[tuple[str, str, Any]] = [
        ("GET", PATH, None),
        ("POST", PATH, {"machines": [given(2)]}),
        ("GET", f"{PATH}/rack-0001", None),
        ("PATCH", f"{PATH}/rack-0001", {"cpus": 1}),
        ("DELETE", f"{PATH}/rack-0001", None),
        ("POST", f"{PATH}/rack-0001/release", {}),
        ("GET", "/v1/clouds/metal/operator-key", None),
    ]
    for role in (Role.VIEWER, Role.DEVELOPER):
        async with stack.speaking_as(role) as http:
            for method, path, body in calls:
                assert (await http.request(method, path, json=body)).status_code == 403, (role, method, path)
    assert (await stack.http.get("/v1/clouds/metal/operator-key")).json()["public"].startswith("ssh-ed25519 ")
