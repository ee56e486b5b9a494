"""Forms of those who own and run things, over HTTP: members, quotas, notifications, access, dead letters."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.browsers import OWN_PAGE, browser
from tests.integration.api.conftest import Stack, fresh
from tests.support.eventually import eventually

WEBHOOK = "https://hooks.slack.com/services/T0/B0/X"
_HTMX = {**OWN_PAGE, "HX-Request": "true"}


async def sent(client: httpx.AsyncClient, path: str, **form: Any) -> httpx.Response:
    return await client.post(path, data=form, headers=_HTMX)


def said(answer: httpx.Response) -> str:
    """What the page says of an action."""
    assert answer.status_code == 204, answer.text
    events = json.loads(answer.headers["hx-trigger"])
    return str((events.get("caravan:toast") or events["caravan:toast-there"])["text"])


@pytest.fixture
async def owner(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of an owner of a team of its own."""
    async with browser(stack, await stack.token(fresh("owner"), fresh("team"), role="owner")) as one:
        yield one


@pytest.mark.usefixtures("dns")
async def test_a_member_is_added_changed_and_taken_out(owner: httpx.AsyncClient) -> None:
    name = fresh("m") + "@example.org"
    assert f"{name} is developer" in said(
        await sent(owner, "/settings/members", kind="user", name=f" {name} ", role="developer")
    )
    assert name in (await owner.get("/settings/members")).text
    assert "is viewer" in said(await sent(owner, "/settings/members", kind="user", name=name, role="viewer"))
    too_high = await sent(owner, "/settings/members", kind="user", name=name, role="admin")
    assert too_high.status_code == 403
    assert "is out" in said(await sent(owner, "/settings/members/remove", kind="user", name=name))
    assert name not in (await owner.get("/settings/members")).text
    gone = await sent(owner, "/settings/members/remove", kind="user", name=name)
    assert gone.status_code == 404


async def test_a_team_is_made_and_its_quota_changed_by_admins_alone(stack: Stack, owner: httpx.AsyncClient) -> None:
    team = fresh("quota")
    async with browser(stack) as admin:
        assert team in said(await sent(admin, "/settings/quotas", name=team, max_clusters="3", max_nodes=""))
        limits = (await stack.http.get(f"/v1/teams/{team}")).json()
        assert (limits["max_clusters"], limits["max_nodes"]) == (3, None)
        said(await sent(admin, f"/settings/quotas/{team}", max_clusters="", max_nodes="20", max_leases="0"))
        limits = (await stack.http.get(f"/v1/teams/{team}")).json()
        assert (limits["max_clusters"], limits["max_nodes"], limits["max_leases"]) == (None, 20, 0)
        odd = await sent(admin, f"/settings/quotas/{team}", max_nodes="many")
        assert (odd.status_code, "max_nodes" in odd.headers["hx-trigger"]) == (422, True)
    assert (await sent(owner, f"/settings/quotas/{team}", max_nodes="9999")).status_code == 403
    assert (await stack.http.get(f"/v1/teams/{team}")).json()["max_nodes"] == 20


async def test_a_notification_is_set_and_removed_and_its_address_never_shown(owner: httpx.AsyncClient) -> None:
    rule = {"name": "pager", "product": "slack", "url": WEBHOOK, "occasions": ["lease-ending", "cluster-failed"]}
    assert "pager" in said(await sent(owner, "/settings/notifications", **rule))
    page = (await owner.get("/settings/notifications")).text
    assert "rule-pager" in page
    assert WEBHOOK not in page
    nothing = await sent(owner, "/settings/notifications", **{**rule, "occasions": []})
    assert (nothing.status_code, "occasions" in nothing.headers["hx-trigger"]) == (422, True)
    elsewhere = await sent(owner, "/settings/notifications", **{**rule, "url": "https://example.org/x"})
    assert elsewhere.status_code == 422
    assert "no more" in said(await sent(owner, "/settings/notifications/remove", name="pager"))
    assert "rule-pager" not in (await owner.get("/settings/notifications")).text


async def test_one_access_is_taken_back_from_the_list(stack: Stack, dns: list[Any]) -> None:
    cluster = await stack.make_ready(await stack.create())
    made = await stack.http.post(f"/v1/clusters/{cluster['id']}/kubeconfig", json={"role": "viewer"})
    grant = made.json()["grant_id"]
    async with browser(stack) as admin:
        path = f"/grants/{cluster['id']}/{grant}/revoke"
        assert path in (await admin.get("/grants")).text
        assert "Taken back" in said(await sent(admin, path))
    assert dns[-1].grant_id == UUID(grant)
    async with browser(stack, await stack.token(fresh("web"), role="viewer")) as viewer:
        assert "/revoke" not in (await viewer.get("/grants")).text


@pytest.mark.usefixtures("dns")
async def test_all_that_somebody_holds_is_taken_back_at_once(stack: Stack) -> None:
    async with browser(stack) as admin:
        user = fresh("leaver")
        assert f"0 kubeconfigs of {user} taken back" in said(await sent(admin, "/grants/revoke", user=user))
        assert (await sent(admin, "/grants/revoke", user="")).status_code == 422


async def test_a_dead_letter_is_looked_at_mended_and_delivered(stack: Stack) -> None:
    name, team, mark = fresh(), "builds", uuid4().hex
    subject = f"intake.{team}.cluster.requested"
    await stack.service.bus.js.publish(subject, f"{mark} <b>".encode())
    (number,) = await eventually(lambda: _letters(stack, mark), saying="the letter is put aside")
    async with browser(stack) as admin:
        page = (await admin.get(f"/dead-letters/{number}")).text
        assert f"{mark} &lt;b&gt;" in page
        assert subject in page
        request = {"request_id": str(uuid4()), "name": name, "spec": ClusterSpec.example}
        mended = await sent(admin, f"/dead-letters/{number}/mended", body=json.dumps(request))
        assert "Delivered again" in said(mended)
        assert (await admin.get(f"/dead-letters/{number}")).status_code == 404
        assert (await sent(admin, f"/dead-letters/{number}/replay")).status_code == 404

    async def is_made() -> bool:
        return (await stack.http.get(f"/v1/clusters/{name}", params={"team": team})).status_code == 200

    await eventually(is_made, saying="the mended request is admitted")


async def test_a_dead_letter_that_is_delivered_as_it_was_comes_back_if_it_fails_again(stack: Stack) -> None:
    mark = uuid4().hex
    await stack.service.bus.js.publish("intake.builds.cluster.requested", f"{mark} <".encode())
    (first,) = await eventually(lambda: _letters(stack, mark), saying="the letter is put aside")
    async with browser(stack) as admin:
        assert "Delivered again" in said(await sent(admin, f"/dead-letters/{first}/replay"))

    async def is_back() -> bool:
        return await _letters(stack, mark) not in ([], [first])

    await eventually(is_back, saying="it is put aside anew")


async def _letters(stack: Stack, mark: str) -> list[str]:
    """The dead letters that hold it; other tests leave more than a page of theirs."""
    items = (await stack.http.get("/v1/dead-letters", params={"limit": 500})).json()["items"]
    return [str(item["id"]) for item in items if mark in item["body"]]
