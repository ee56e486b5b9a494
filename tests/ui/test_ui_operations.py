"""Pools, leases, access, machines, dead letters, the audit, settings: as people see and use them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.api import SMALL, Api
from tests.support.eventually import eventually
from tests.ui.conftest import WAITS_MS, Window, look

pytestmark = pytest.mark.ui

expect.set_options(timeout=WAITS_MS)

CHOOSE_AT_ONCE = """([label, option]) => new MutationObserver((_, observer) => {
    const select = document.querySelector(`select[aria-label="${label}"]`);
    if (!select) return;
    observer.disconnect();
    select.value = option;
    select.dispatchEvent(new Event("change", { bubbles: true }));
}).observe(document.body, { childList: true, subtree: true })"""


async def test_a_lease_is_taken_extended_and_given_back_while_another_window_sees_it(
    windows: Callable[..., Any], api: Api
) -> None:
    pool = await api.insist("POST", "/pools", {"name": "ci", "spec": {"template": SMALL, "spares": 1, "max_size": 2}})

    async def has_a_spare() -> bool:
        return bool((await api.call("GET", "/pools/ci"))["clusters"]["ready"])

    await eventually(has_a_spare, within=60, saying="a spare")
    here, there = await windows(), await windows()
    watched = await there.open("/pools")
    await expect(watched.locator(f"#pool-{pool['id']}")).to_contain_text("1 ready")
    await look(watched, "pools")

    page = await here.open(f"/pools/{pool['id']}")
    await page.get_by_label("What for").fill("e2e of main")
    await page.get_by_label("Labels").fill("commit=4f2a91c\njob=build-1482")
    await page.get_by_role("button", name="Take a lease").click()
    await expect(page.get_by_text("You have the cluster")).to_be_visible()
    await expect(page.get_by_text("commit=4f2a91c")).to_be_visible()
    await expect(watched.locator(f"#pool-{pool['id']}")).to_contain_text("1 leased")
    lease = re.sub(r"[?#].*", "", page.url).rsplit("/", 1)[-1]

    await page.get_by_label("Have it end later, by").select_option("1800")
    await page.get_by_role("button", name="Extend").click()
    await expect(page.get_by_text("The lease ends at")).to_be_visible()
    await look(page, "lease")
    for _ in range(3):
        await api.call("POST", "/pools/ci/leases", {"purpose": "nightly"})
    listed = await there.open("/leases")
    await expect(listed.get_by_text("nightly").first).to_be_visible()
    await look(listed, "leases")
    await look(await there.open(f"/pools/{pool['id']}"), "pool")

    await _sure(page, "Give it back", say_no=True)
    assert (await api.call("GET", f"/leases/{lease}"))["state"] == "Held"
    await _sure(page, "Give it back")
    await expect(page.locator("#lease")).to_contain_text("Ended")


async def test_a_pool_is_asked_for_changed_and_let_go_with_the_mouse(window: Window) -> None:
    page = await window.open("/pools")
    await page.get_by_role("link", name="New pool").click()
    await page.get_by_label("Name", exact=True).fill("By Mouse")
    await expect(page.get_by_text("not a DNS label")).to_be_visible()
    await page.get_by_label("Name", exact=True).fill("by-mouse")
    await page.locator("#spares").fill("0")
    await page.get_by_role("button", name="Add a time").click()
    await page.get_by_label("To hour").fill("7")
    await expect(page.get_by_text("from_hour must be before to_hour")).to_be_visible()
    await look(page, "pool-form")
    await page.get_by_role("button", name="Remove time 1").click()
    await expect(page.get_by_label("To hour")).to_have_count(0)
    await page.get_by_role("button", name="Create by-mouse").click()
    await expect(page.get_by_text("by-mouse makes its first clusters.")).to_be_visible()
    await page.get_by_role("link", name="Change").click()
    await page.get_by_label("Clusters at most").fill("7")
    await page.get_by_role("button", name="Change by-mouse").click()
    await expect(page.locator("#pool")).to_contain_text("7")
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_label("to confirm").fill("by-mouse")
    await page.get_by_role("button", name="Delete for good").click()
    await expect(page.get_by_text("by-mouse is being deleted.")).to_be_visible()


async def test_access_is_seen_and_taken_back(window: Window, api: Api) -> None:
    cluster = await api.create("accessed", SMALL)
    await api.until_ready(cluster["id"], nodes=3)
    await api.insist("POST", "/clusters/accessed/kubeconfig", {"role": "viewer"})

    async def is_told() -> bool:
        return bool((await api.call("GET", "/clusters/accessed/grants"))["items"])

    await eventually(is_told, within=30, saying="the grant is heard of")
    page = await window.open("/grants")
    row = page.get_by_role("row").filter(has_text="accessed")
    await expect(row.get_by_text("open", exact=True)).to_be_visible()
    await look(page, "access")
    await _sure(page, "Take back", at=row)
    await expect(row.get_by_text("taken back")).to_be_visible()


async def test_settings_are_changed_and_the_audit_says_by_whom(window: Window) -> None:
    page = await window.open("/settings/members")
    await page.get_by_label("Name").fill("alice@example.org")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_role("rowheader", name="alice@example.org")).to_be_visible()
    await page.get_by_label("Role of alice@example.org").select_option("owner")
    await expect(page.get_by_text("alice@example.org is owner in default")).to_be_visible()
    await look(page, "settings-members")

    page = await window.open("/settings/quotas")
    await page.locator("#quota-default").get_by_label("Nodes").fill("200")
    await page.locator("#quota-default").get_by_role("button", name="Save").click()
    await expect(page.locator("#team-default dl")).to_contain_text("/200")
    await look(page, "settings-quotas")

    page = await window.open("/settings/tokens")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.locator("#issued code")).to_contain_text("caravan_")
    await look(page, "settings-tokens")

    page = await window.open("/settings/notifications")
    await page.get_by_label("Name").fill("on-call")
    await page.get_by_label("URL of an incoming webhook").fill("https://hooks.slack.com/services/T0/B0/X")
    await page.get_by_role("button", name="Have it told").click()
    await expect(page.get_by_role("heading", name="on-call")).to_be_visible()
    await look(page, "settings-notifications")

    page = await window.open("/audit")
    await page.get_by_label("Kind").select_option("team")
    await expect(page.locator("#list ins").get_by_text("200")).to_be_visible()
    await page.get_by_label("Kind").select_option("")
    await look(page, "audit")


async def test_what_appears_on_a_page_heeds_whoever_uses_it_in_the_same_moment(window: Window) -> None:
    page = await window.open("/settings/members")
    await page.evaluate(CHOOSE_AT_ONCE, ["Role of quick@example.org", "viewer"])
    await page.get_by_label("Name").fill("quick@example.org")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_text("quick@example.org is viewer in default")).to_be_visible()


async def _sure(page: Page, button: str, *, at: Locator | None = None, say_no: bool = False) -> None:
    """Press a button, of a part of the page if one is named, that asks whether one is sure; and answer."""
    await (at or page.locator("main")).get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    answer = dialog.get_by_role("button", name="No, leave it") if say_no else dialog.locator("[data-confirm-yes]")
    await answer.click()
    await expect(dialog).to_be_hidden()
