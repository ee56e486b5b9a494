"""The main job with the mouse, from the login to the kubeconfig; a cluster's page, live; who may only look."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.api import SMALL, Api
from tests.ui.conftest import WAITS_MS, Window, look

pytestmark = pytest.mark.ui

expect.set_options(timeout=WAITS_MS)


async def test_with_the_mouse_from_the_login_to_a_kubeconfig(window: Window) -> None:
    page = await window.open("/login?out=true")
    await page.get_by_role("button", name="Open the sandbox").click()
    await page.get_by_role("link", name="New cluster").first.click()
    await expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()
    await page.get_by_label("Name", exact=True).fill("Mouse")
    await expect(page.get_by_text("not a DNS label")).to_be_visible()
    await look(page, "create-wrong")
    await page.get_by_label("Name", exact=True).fill("mouse")
    await expect(page.get_by_text("not a DNS label")).to_have_count(0)
    await page.get_by_role("button", name="Add a worker set").click()
    await expect(page.get_by_text("4 nodes, ready in about")).to_be_visible()
    await page.get_by_role("button", name="Remove worker set 2").click()
    await expect(page.get_by_text("3 nodes, ready in about")).to_be_visible()
    await page.get_by_text("Network and advanced").click()
    await page.get_by_label("Pod network").select_option("flannel")
    await expect(page.get_by_label("Command")).to_contain_text("--cni flannel")
    await expect(page.get_by_label("Addresses of pods")).to_be_visible()
    await look(page, "create")
    await page.get_by_role("button", name="Create mouse").click()
    await expect(page.get_by_role("heading", name="mouse", exact=True)).to_be_visible()
    await expect(page.get_by_text("mouse is being made.")).to_be_visible()
    await look(page, "cluster-making")
    await expect(page.locator("#state")).to_contain_text("Ready")
    await expect(page.locator("#state")).to_contain_text("Healthy")
    await expect(page.locator("#health-chart canvas")).to_be_visible()
    await page.get_by_role("button", name="Kubeconfig").click()
    await page.get_by_label("Role").select_option("editor")
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download").click()
    download = await downloading.value
    assert download.suggested_filename == "mouse.kubeconfig"
    assert "kind: Config" in (await download.path()).read_text()
    await expect(page.locator("#access")).to_contain_text("editor")
    await expect(page.locator("#health-chart canvas")).to_be_visible()  # the page's news leave it alone
    await look(page, "cluster")


async def test_a_cluster_is_scaled_and_deleted_and_another_window_sees_it(
    windows: Callable[..., Any], api: Api
) -> None:
    asked = await api.create("scaled", SMALL)
    here, there = await windows(), await windows()
    page, other = await here.open(f"/clusters/{asked['id']}"), await there.open(f"/clusters/{asked['id']}")
    await expect(page.locator("#state")).to_contain_text("Ready")
    await page.get_by_role("button", name="Scale workers").click()
    await page.locator("#scale-workers").get_by_label("Nodes").fill("3")
    await page.locator("#scale-workers").get_by_role("button", name="Scale").click()
    await expect(page.locator("#scale-workers")).to_be_hidden()
    await expect(other.locator("#set-workers td").nth(1)).to_have_text("3")
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_label("to confirm").fill("scaled")
    await look(page, "cluster-delete")
    await page.get_by_role("button", name="Delete for good").click()
    await expect(other.locator("#state")).to_contain_text("Delet")
    await expect(other.get_by_role("button", name="Delete")).to_have_count(0)


async def test_who_may_only_look_sees_no_controls(windows: Callable[..., Any], api: Api) -> None:
    asked = await api.create("looked-at", SMALL)
    token = (await api.call("POST", "/tokens", {"user": "looker", "role": "viewer"}))["token"]
    viewer = await windows()
    page = await viewer.open("/login?out=true")
    await page.get_by_label("Token", exact=True).fill(token)
    await page.get_by_role("button", name="Log in with a token").click()
    await viewer.open(f"/clusters/{asked['id']}")
    await expect(page.locator("#state")).to_contain_text("Ready")
    for control in ("Delete", "Lifetime", "Upgrade", "Scale workers"):
        await expect(page.get_by_role("button", name=control)).to_have_count(0)
    await expect(page.get_by_role("button", name="Kubeconfig")).to_be_visible()


async def test_the_log_of_a_run_opens_on_the_page_and_stays_while_that_changes(window: Window, api: Api) -> None:
    asked = await api.create("logged", SMALL)
    await api.until_ready(asked["id"], nodes=3)
    page = await window.open(f"/clusters/{asked['id']}")
    await page.get_by_text("Log of this run").first.click()
    log = page.locator(".run-log pre").first
    await expect(log).to_contain_text("PLAY RECAP")
    async with page.expect_response(lambda answer: answer.url.endswith(asked["id"])):
        await page.evaluate("document.body.dispatchEvent(new CustomEvent('live:all'))")
    await expect(page.locator("#steps")).to_be_visible()
    await expect(log).to_contain_text("PLAY RECAP")
    await page.get_by_role("link", name="All runs").click()
    await page.get_by_text("Log of this run").first.click()
    await expect(log).to_contain_text("TASK [")
    await look(page, "cluster-runs")
