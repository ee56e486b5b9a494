"""A local stack with an inventory as a cloud, and hosts in containers for it."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from caravan_cli.up import Stack
from tests.support.api import Api
from tests.support.ssh_hosts import missing

ENV = {
    "CARAVAN_PROVISIONER_CLOUDS": json.dumps({"metal": {"kind": "static"}}),
    "CARAVAN_PROVISIONER_OFFERS_EVERY_S": "2",
    "CARAVAN_BOOTSTRAPPER_MACHINE_TRIES": "1",
    "CARAVAN_BOOTSTRAPPER_GRACE_S": "1",
}


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack."""
    if reason := missing():
        pytest.skip(f"INVENTORIES ARE NOT TESTED ON REAL HOSTS HERE: {reason}")
    with Stack(tmp_path_factory.mktemp("stack"), ports="auto", env=ENV) as running:
        yield running


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[Api]:
    """Its REST API."""
    async with Api(stack) as client:
        yield client
