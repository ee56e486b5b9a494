"""With three NATS servers, an installation goes on where one is lost."""

from collections.abc import Iterator

import pytest

from tests.images.conftest import Installation, installed

pytestmark = [pytest.mark.images, pytest.mark.usefixtures("needs")]


@pytest.fixture(scope="module")
def running(needs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """With a sandbox and three NATS servers."""
    yield from installed(tmp_path_factory.mktemp("nats-cluster"), "--nats-servers", "3")


@pytest.mark.parametrize("lost", ["nats-3", "nats"])
def test_a_cluster_is_made_while_one_server_is_lost(running: Installation, lost: str) -> None:
    running.compose("stop", "--timeout", "5", lost)
    running.caravan("cluster", "create", f"without-{lost}", "--wait", "--timeout", "300")
    running.compose("start", lost)
    running.compose("up", "--detach", "--wait", lost)
