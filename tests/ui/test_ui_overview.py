"""From the login to the overview and the list, live: as people see it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from caravan_cli.up import Stack
from tests.support.api import SMALL, Api
from tests.ui.conftest import WAITS_MS, Window, look

pytestmark = pytest.mark.ui

expect.set_options(timeout=WAITS_MS)


async def test_somebody_logs_in_with_a_token_and_out_again(window: Window, stack: Stack) -> None:
    page = await window.open("/login?out=true")
    await look(page, "login")
    await page.get_by_label("Token", exact=True).fill("caravan_wrong")
    await page.get_by_role("button", name="Log in with a token").click()
    await expect(page.get_by_role("alert")).to_contain_text("opens nothing here")
    await page.get_by_label("Token", exact=True).fill(stack.token)
    await page.get_by_role("button", name="Log in with a token").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await page.get_by_role("button", name="log out").click()
    await expect(page.get_by_role("heading", name="Log in to Caravan")).to_be_visible()


async def test_the_theme_is_remembered(window: Window) -> None:
    page = await window.open("/")
    await page.get_by_role("button", name="Dark").click()
    await page.reload()
    assert await page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    await page.get_by_role("button", name="Light").click()
    assert await page.evaluate("document.documentElement.dataset.bsTheme") == "light"


async def test_two_windows_see_a_cluster_come_without_losing_what_is_typed(
    windows: Callable[..., Any], api: Api
) -> None:
    here, there = await windows(), await windows()
    overview, listed = await here.open("/"), await there.open("/clusters")
    await listed.get_by_role("searchbox").fill("see")
    asked = await api.create("seen", SMALL)
    await expect(overview.get_by_role("link", name="seen").first).to_be_visible()
    row = listed.locator(f"#c-{asked['id']}")
    await expect(row).to_contain_text("Ready")
    await expect(row).to_contain_text("Healthy")
    await expect(listed.get_by_role("searchbox")).to_be_focused()
    await expect(listed.get_by_role("searchbox")).to_have_value("see")
    await expect(listed).to_have_url(re.compile(r"/clusters\?q=see"))
    await expect(listed.locator("#list tbody tr")).to_have_count(1)
    await look(overview, "overview")
    await listed.get_by_role("searchbox").fill("")
    await expect(listed).not_to_have_url(re.compile(r"q=see"))
    await look(listed, "clusters")


async def test_a_cut_stream_shows_and_what_was_missed_is_there_afterwards(
    window: Window, stack: Stack, api: Api
) -> None:
    page = await window.open("/clusters")
    await expect(page.locator("#stream-note")).to_be_hidden()
    stack.kill("api")
    try:
        await expect(page.locator("#stream-note")).to_be_visible()
        await look(page, "stream-cut")
    finally:
        stack.restart("api")
    await api.create("meanwhile", SMALL)
    await expect(page.locator("#stream-note")).to_be_hidden()
    await expect(page.get_by_role("link", name="meanwhile")).to_be_visible()


async def test_a_list_is_narrowed_with_the_mouse_alone(window: Window, api: Api) -> None:
    await api.create("narrow", SMALL)
    page = await window.open("/clusters")
    await page.get_by_label("Health").select_option("Unreachable")
    await expect(page.get_by_role("heading", name="No cluster is like that")).to_be_visible()
    await page.get_by_role("link", name="Show all clusters").click()
    await expect(page.get_by_role("link", name="narrow")).to_be_visible()
    await page.get_by_role("link", name="Name").click()
    await expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "ascending")


async def test_a_wrong_address_is_explained(window: Window) -> None:
    page = await window.open("/clusters?sort=colour")
    await expect(page.get_by_text("Who can fix it")).to_be_visible()
    await look(page, "problem")
