"""A running sandbox without latencies, and a cluster in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from caravan_sandbox.app import Sandbox
from tests.support.authority import Authority
from tests.support.sandbox import CloudClient, Made, sandbox_settings


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """A sandbox of the test's own."""
    async with Sandbox(sandbox_settings(tmp_path / "state", node_grace_s=0.3)).running() as running:
        yield running


@pytest.fixture
def cloud(sandbox: Sandbox, http: aiohttp.ClientSession) -> CloudClient:
    """The sandbox's cloud API."""
    return CloudClient(sandbox.url, http)


@pytest.fixture
async def empty(cloud: CloudClient) -> Made:
    """No machine yet; the CA is there."""
    return Made(cloud, Authority())


@pytest.fixture
async def made(empty: Made) -> Made:
    """One control plane and two workers, all joined."""
    await empty.init("cp-1")
    await empty.add_workers("w-1", "w-2")
    return empty
