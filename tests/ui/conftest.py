"""A sandbox stack, and browsers that look at it: Debian's Chromium, driven by Playwright.

Each test that shows a screen calls `look`, which leaves its picture in `.screenshots/`, light and dark, and fails where
axe finds something serious.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright

from caravan_cli.up import Stack
from tests.support.api import FAST_SANDBOX, Api

CHECKOUT = Path(__file__).resolve().parents[2]
SCREENSHOTS = CHECKOUT / ".screenshots"
AXE = CHECKOUT / "services/api/node_modules/axe-core/axe.min.js"

DESK, PHONE = ViewportSize(width=1400, height=900), ViewportSize(width=390, height=844)
WAITS_MS = 20_000
"""For what a page waits for: a cluster of the quick sandbox takes some seconds, on a busy machine more."""


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with a quick sandbox, which starts again what a test kills."""
    with Stack(tmp_path_factory.mktemp("stack"), ports="auto", env=FAST_SANDBOX) as running:
        yield running


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[Api]:
    """The stack's REST API: another person, in another window."""
    async with Api(stack) as client:
        yield client


@pytest.fixture(scope="package")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("Chromium is missing: apt install chromium")
    async with async_playwright() as playwright:
        # Root, as in CI, has no sandbox for it; what it opens is our own pages alone.
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        await browser.close()


class Window:
    """A person's browser window, with a session of its own."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context, self.page, self.url = context, page, url
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)

    async def open(self, path: str) -> Page:
        """Go to a page, and wait until it is live."""
        await self.page.goto(self.url + path)
        return self.page

    def _listen(self, message: Any) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            self.complaints.append(message.text)


@pytest.fixture
async def windows(chromium: Browser, stack: Stack) -> AsyncIterator[Callable[..., Any]]:
    """Opens windows; none may have complained of an error or of a refused script when the test ends."""
    opened: list[Window] = []

    async def window(**settings: Any) -> Window:
        context = await chromium.new_context(**{"viewport": DESK, "color_scheme": "light", **settings})
        context.set_default_timeout(WAITS_MS)
        opened.append(Window(context, await context.new_page(), stack.url))
        return opened[-1]

    yield window
    complaints = [complaint for each in opened for complaint in each.complaints]
    for each in opened:
        await each.context.close()
    assert complaints == []


@pytest.fixture
async def window(windows: Callable[..., Any]) -> Window:
    """One window."""
    one: Window = await windows()
    return one


async def look(page: Page, name: str) -> None:
    """Take pictures of the screen that is open, on a desk and a phone, light and dark; axe finds nothing serious."""
    SCREENSHOTS.mkdir(exist_ok=True)
    before = await page.evaluate("document.documentElement.dataset.bsTheme")
    for theme in ("light", "dark"):
        await page.evaluate("theme => { document.documentElement.dataset.bsTheme = theme }", theme)
        for kind, size in (("desk", DESK), ("phone", PHONE)):
            await page.set_viewport_size(size)
            await page.screenshot(
                path=SCREENSHOTS / f"{name}-{theme}-{kind}.png", full_page=True, animations="disabled"
            )
        await page.set_viewport_size(DESK)
        assert await serious_findings(page) == [], (name, theme)
    await page.evaluate("theme => { document.documentElement.dataset.bsTheme = theme }", before)


async def serious_findings(page: Page) -> list[str]:
    """What axe finds on the page that keeps people from using it."""
    await page.evaluate(AXE.read_text())  # not a script of the page: its policy stays as it is
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
