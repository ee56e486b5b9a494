"""One local stack for all end-to-end tests: every process real, the far end the sandbox."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.api import FAST_SANDBOX, Api

from caravan_cli.up import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with a quick sandbox; faults in it are mended before the test that made them ends."""
    with Stack(tmp_path_factory.mktemp("stack"), ports="auto", env=FAST_SANDBOX) as running:
        yield running


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[Api]:
    """The stack's REST API."""
    async with Api(stack) as client:
        yield client
