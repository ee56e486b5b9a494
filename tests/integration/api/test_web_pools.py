"""Pools asked for, changed and let go in a browser, judged as over REST."""

from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.browsers import OWN_PAGE, browser
from tests.integration.api.conftest import Stack, fresh

HTMX = {**OWN_PAGE, "HX-Request": "true"}
FORM = {
    "version": "1.34.2",
    "cloud": "sandbox",
    "topology": "stacked",
    "control_plane.count": "1",
    "control_plane.machine_type": "medium",
    "workers.0.name": "workers",
    "workers.0.count": "2",
    "workers.0.machine_type": "large",
    "spares": "0",
    "max_size": "4",
    "lease_h": "1",
    "max_lease_h": "8",
    "shared_with": "builds",
}


async def test_a_pool_is_asked_for_changed_and_let_go(stack: Stack) -> None:
    name = fresh("pool")
    async with browser(stack) as admin:
        form = await admin.get("/pools/new", params=FORM)
        assert 'value="large"' in form.text, "the machines that the cloud offers"
        made = await admin.post("/pools/new", data={**FORM, "name": name}, headers=HTMX)
        assert made.status_code == 204, made.text
        path = made.headers["hx-redirect"]
        pool = (await stack.http.get(f"/v1/pools/{name}")).json()
        spec = pool["spec"]
        assert (spec["max_size"], spec["lease_s"], spec["shared_with"]) == (4, 3600, ["builds"])
        assert spec["template"]["workers"][0]["machine_type"] == "large"

        form = await admin.get(f"{path}/change")
        assert "1.34.2" in form.text
        spell = {
            f"schedule.0.{part}": text for part, text in (("days", "sat,sun"), ("spares", "0"), ("from_hour", "0"))
        }
        changed = {**FORM, "spares": "2", **spell}
        answer = await admin.post(f"{path}/change", params={"etag": pool["etag"]}, data=changed, headers=HTMX)
        assert answer.status_code == 204, answer.text
        spec = (await stack.http.get(f"/v1/pools/{name}")).json()["spec"]
        assert (spec["spares"], spec["schedule"][0]["days"]) == (2, ["sat", "sun"])
        stale = await admin.post(f"{path}/change", params={"etag": pool["etag"]}, data=FORM, headers=HTMX)
        assert stale.status_code == 412

        odd = await admin.post(f"{path}/delete", data={"confirm": "something else"}, headers=HTMX)
        assert odd.status_code == 422
        gone = await admin.post(f"{path}/delete", data={"confirm": name}, headers=HTMX)
        assert gone.status_code == 204
        assert "open-delete" not in (await admin.get(path)).text


async def test_what_is_wrong_with_a_pool_is_told_at_its_field(stack: Stack) -> None:
    wrong = {
        "name": "No Name",
        "spares": "many",
        "max_lease_h": "soon",
        "shared_with": "No-Team",
        "schedule.0.days": "mon",
        "schedule.0.from_hour": "25",
        "schedule.0.spares": "1",
        "workers.0.count": "-1",
    }
    async with browser(stack) as admin:
        judged = await admin.get("/pools/new", params={**FORM, **wrong})
        refused = await admin.post("/pools/new", data={**FORM, **wrong}, headers=HTMX)
    for page in (judged, refused):
        assert page.status_code == 200
        for field in ("name", "spares", "max_lease_h", "schedule.0.from_hour", "workers.0.count"):
            there = page.text.split(f'id="{field}-problem"')[1].split("</div>")[0]
            assert "invalid-feedback" in there, field
    both = {"schedule.0.days": "mon", "schedule.0.from_hour": "9", "schedule.0.to_hour": "8", "schedule.0.spares": "1"}
    async with browser(stack) as admin:
        page = await admin.get("/pools/new", params={**FORM, "name": "fine", **both})
    assert "From_hour must be before to_hour" in page.text
    assert (await stack.http.get("/v1/pools/No%20Name")).status_code == 404


async def test_rows_come_and_go_in_the_form_of_a_pool(stack: Stack) -> None:
    async with browser(stack) as admin:
        spell = await admin.get("/pools/new", params={**FORM, "add": "spell"})
        row = await admin.get("/pools/new", params={**FORM, "add": "workers"})
        less = await admin.get("/pools/new", params={**FORM, "remove": "workers.0"})
    assert 'name="schedule.0.from_hour"' in spell.text
    assert 'value="workers-2"' in row.text
    assert 'name="workers.0.name"' not in less.text


async def test_only_its_team_is_offered_to_change_a_pool_that_is_shared(stack: Stack) -> None:
    spec = {"template": ClusterSpec.example, "spares": 0, "shared_with": ["*"]}
    pool = (await stack.http.post("/v1/pools", json={"name": fresh("pool"), "spec": spec})).json()
    path = f"/pools/{pool['id']}"
    async with browser(stack, await stack.token(fresh("web"), fresh("team"), role="owner")) as taker:
        page = await taker.get(path)
        assert (page.status_code, "/change" in page.text, "open-delete" in page.text) == (200, False, False)
        assert (await taker.get(f"{path}/change")).status_code == 403
        assert (await taker.post(f"{path}/delete", data={"confirm": pool["name"]}, headers=HTMX)).status_code == 403
    await stack.http.delete(f"/v1/pools/{pool['id']}")
