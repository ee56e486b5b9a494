"""One local stack for all end-to-end tests: every process real, the far end the sandbox."""

from collections.abc import AsyncIterator, Iterator

import pytest

from caravan_cli.up import Stack
from tests.support.api import FAST_SANDBOX, Api
from tests.support.otlp import Collector, collecting


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """What all services of the stack send their traces to."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """A running stack with a quick sandbox; faults in it are mended before the test that made them ends."""
    traced = {
        "CARAVAN_OTLP_ENDPOINT": collector.endpoint,
        "CARAVAN_API_TRACE_URL": "https://traces.example.org/trace/{trace_id}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",  # milliseconds until spans are sent
    }
    with Stack(tmp_path_factory.mktemp("stack"), ports="auto", env=FAST_SANDBOX | traced) as running:
        yield running


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[Api]:
    """The stack's REST API."""
    async with Api(stack) as client:
        yield client
