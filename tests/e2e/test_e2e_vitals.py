"""Every service tells how it is and what it listens to, by itself and without help from elsewhere."""

import re

import httpx
import pytest

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES


@pytest.mark.parametrize("service", SERVICES)
async def test_service_serves_its_vitals(stack: Stack, service: str) -> None:
    port = getattr(stack.layout.ports, service)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/livez", "/readyz"):
            assert (await client.get(path)).text == "ok\n"
        assert "caravan_deliveries_total" in (await client.get("/metrics")).text
        document = (await client.get("/asyncapi.json")).json()
        assert document["asyncapi"].startswith("3.")
        assert document["channels"]
        page = (await client.get("/asyncapi")).text
    assert not re.search(r"<script|(src|href)=[\"']?https?://", page), "a page must load nothing from elsewhere"
