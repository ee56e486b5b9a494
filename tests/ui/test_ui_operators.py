"""What those who run Caravan see: machines that stand there already, and messages that no service could take."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import pytest
from playwright.async_api import expect

from caravan_cli.up import Stack
from tests.support.api import FAST_SANDBOX, Api
from tests.support.eventually import eventually
from tests.support.inventory import entry
from tests.ui.conftest import WAITS_MS, Window, look

pytestmark = pytest.mark.ui

expect.set_options(timeout=WAITS_MS)

SILENT = tuple(enumerate((9, 13)))
"""Machines at ports where nobody listens ("discard" and "daytime"): a check of one fails at once."""

SOON_MS = 5_000  # far less than the minute after which a page looks anew by itself


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with an inventory, which gives up on a machine after one try."""
    env = {
        **FAST_SANDBOX,
        "CARAVAN_PROVISIONER_CLOUDS": json.dumps({"metal": {"kind": "static"}}),
        "CARAVAN_BOOTSTRAPPER_MACHINE_TRIES": "1",
    }
    with Stack(tmp_path_factory.mktemp("operators"), ports="auto", env=env) as running:
        yield running


@pytest.fixture
async def team(stack: Stack) -> AsyncIterator[Any]:
    """A team at its own account of the bus."""
    client = await nats.connect(stack.accounts.team_url("default"))
    yield client
    await client.close()


async def test_a_machine_that_is_silent_is_seen_in_quarantine_without_a_reload(window: Window, api: Api) -> None:
    page = await window.open("/machines")
    await expect(page.get_by_role("heading", name="No machines")).to_be_visible()
    machines = [entry(number, address="127.0.0.1", ssh_port=port, labels={"rack": "1"}) for number, port in SILENT]
    await api.insist("POST", "/machines", {"machines": [each.model_dump(mode="json") for each in machines]})

    async def is_in_quarantine() -> bool:
        return bool((await api.call("GET", "/machines/rack-0000"))["state"] == "Quarantined")

    await eventually(is_in_quarantine, within=90, saying="the machine's check fails")
    row = page.locator("#machine-rack-0000")
    await expect(row).to_contain_text("Quarantined", timeout=SOON_MS)
    await expect(row.get_by_role("button", name="Check and let out")).to_be_visible()
    await look(page, "machines")


async def test_a_dead_letter_is_seen_without_a_reload_and_mended(window: Window, team: Any) -> None:
    page = await window.open("/dead-letters")
    await expect(page.get_by_role("heading", name="No dead letters")).to_be_visible()
    await team.jetstream().publish("cluster.requested", b'{"request_id": "build-4711", "name": ')
    await expect(page.get_by_role("link", name="cluster.requested")).to_be_visible()
    await look(page, "dead-letters")
    await page.get_by_role("link", name="Look and mend").click()
    await expect(page.get_by_label("Body")).to_have_value('{"request_id": "build-4711", "name": ')
    await look(page, "dead-letter")
    await page.get_by_label("Body").fill('{"request_id": "build-4711", "name": "x", "spec": {"version": "1.0.0"}}')
    await page.get_by_role("button", name="Deliver with this body").click()
    await page.get_by_role("button", name="Deliver it").click()
    await expect(page.get_by_text("Delivered again to api")).to_be_visible()
    await expect(page.get_by_role("heading", name="No dead letters")).to_be_visible()
