"""An installation in which nothing was done yet: each screen says what to do first."""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from caravan_cli.up import Stack
from tests.support.api import FAST_SANDBOX
from tests.ui.conftest import WAITS_MS, Window, look

pytestmark = pytest.mark.ui

expect.set_options(timeout=WAITS_MS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that no other test has used."""
    with Stack(tmp_path_factory.mktemp("new"), ports="auto", env=FAST_SANDBOX) as running:
        yield running


async def test_the_sandbox_opens_by_itself_and_says_what_to_do_first(window: Window) -> None:
    page = await window.open("/")
    await expect(page.get_by_role("heading", name="No clusters yet")).to_be_visible()
    await expect(page.get_by_text("caravan cluster create demo")).to_be_visible()
    await expect(page.get_by_role("note")).to_contain_text("simulated")
    await look(page, "overview-empty")
    await window.open("/clusters")
    await look(page, "clusters-empty")


async def test_empty_screens_say_what_to_do_first(window: Window) -> None:
    for path, heading in (
        ("/pools", "No pools yet"),
        ("/leases", "Nobody has a lease"),
        ("/grants", "Nobody was given access yet"),
        ("/dead-letters", "No dead letters"),
        ("/settings/notifications", "Nothing is told to a chat"),
    ):
        page = await window.open(path)
        await expect(page.get_by_role("heading", name=heading)).to_be_visible()
        await look(page, f"{path.strip('/').replace('/', '-')}-empty")
