"""The screens of those who run things, over HTTP: what forms do, and who sees which controls."""

import httpx

from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.database import Database
from tests.integration.api.browsers import OWN_PAGE, browser
from tests.integration.api.conftest import Stack, fresh
from tests.support.inventory import entry, work_once


async def sent(client: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    return await client.post(path, data=form, headers={**OWN_PAGE, "HX-Request": "true"})


async def test_a_place_in_a_queue_is_taken_and_left(stack: Stack) -> None:
    spec = {"template": ClusterSpec.example, "spares": 0, "max_size": 1}
    pool = (await stack.http.post("/v1/pools", json={"name": fresh("pool"), "spec": spec})).json()
    async with browser(stack) as admin:
        odd = await sent(admin, f"/pools/{pool['id']}/leases", labels="no pair", wait="true")
        assert (odd.status_code, "labels" in odd.headers["hx-trigger"]) == (422, True)
        refused = await sent(admin, f"/pools/{pool['id']}/leases")
        assert refused.status_code == 409, "nobody asked to wait"
        taken = await sent(admin, f"/pools/{pool['id']}/leases", purpose="e2e", labels="commit=4f2a", wait="true")
        assert "You wait as number 1" in taken.headers["hx-trigger"]
        (lease,) = (await stack.http.get("/v1/leases", params={"pool": pool["name"]})).json()["items"]
        assert (lease["purpose"], lease["labels"]) == ("e2e", {"commit": "4f2a"})
        for path in (f"/pools/{pool['id']}", f"/leases/{lease['id']}", "/leases"):
            assert "e2e" in (await admin.get(path)).text
        assert "left the queue" in (await sent(admin, f"/leases/{lease['id']}/return")).headers["hx-trigger"]
    async with browser(stack, await stack.token(fresh("web"), role="viewer")) as viewer:
        assert "Take a lease" not in (await viewer.get(f"/pools/{pool['id']}")).text
    await stack.http.delete(f"/v1/pools/{pool['id']}")


async def test_a_machine_is_let_out_of_quarantine_as_it_was_seen(stack: Stack, inventory: Database) -> None:
    await stack.http.post("/v1/machines", json={"machines": [entry(1).model_dump(mode="json")]})
    await work_once(inventory, lambda _machine: "it is silent")
    async with browser(stack) as admin:
        listed = await admin.get("/machines", params={"state": "Quarantined"})
        assert "it is silent" in listed.text
        assert (await sent(admin, "/machines/rack-0001/release", etag='"0"')).status_code == 412
        etag = (await stack.http.get("/v1/machines/rack-0001")).json()["etag"]
        assert (await sent(admin, "/machines/rack-0001/release", etag=etag)).status_code == 204
        assert "No machine is like that" in (await admin.get("/machines", params={"state": "Quarantined"})).text


async def test_a_token_is_shown_once_and_the_audit_names_who_made_it(stack: Stack) -> None:
    user = fresh("web")
    async with browser(stack) as admin:
        made = await sent(admin, "/settings/tokens", user=user, role="viewer", lasts_s="86400")
        assert (made.status_code, "caravan_" in made.text) == (200, True)
        assert user in (listed := await admin.get("/settings/tokens")).text
        assert "caravan_" not in listed.text
        assert user in (await admin.get("/audit", params={"kind": "token", "since": "2020-01-01"})).text
        assert user not in (await admin.get("/audit", params={"kind": "token", "until": "2020-01-01"})).text
