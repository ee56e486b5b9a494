"""compose.yaml makes an installation that does the whole main job."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import dns.message
import dns.query
import httpx
import pytest

from tests.images.conftest import Installation, installed
from tests.support.eventually import eventually

SERVICES = ["api", "provisioner", "bootstrapper", "health", "dns"]

pytestmark = [pytest.mark.images, pytest.mark.usefixtures("needs")]


@pytest.fixture(scope="module")
def running(needs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """With a sandbox and one NATS server."""
    yield from installed(tmp_path_factory.mktemp("compose"))


def test_the_demo_is_done_on_it(running: Installation) -> None:
    assert "Done." in running.caravan("demo", "--running")


def test_a_clusters_name_stands_in_the_zone_while_it_lives(running: Installation) -> None:
    running.caravan("cluster", "create", "named", "--workers", "0", "--wait", "--timeout", "300")
    assert _addresses(running, "named.default.caravan.test.")
    running.caravan("cluster", "delete", "named", "--yes", "--wait", "--timeout", "300")
    assert not _addresses(running, "named.default.caravan.test.")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_runs_without_privileges_on_a_root_that_it_cannot_write(running: Installation, service: str) -> None:
    def inside(script: str) -> str:
        return running.compose("exec", "--no-TTY", service, "sh", "-c", script, check=False)

    assert inside("id -u").split() == ["10001"]
    assert inside("grep CapEff /proc/1/status").split()[1].strip("0") == ""
    assert "Read-only file system" in inside("touch /opt/caravan/of-a-test")
    assert inside("touch /tmp/of-a-test && echo written").split() == ["written"]


async def test_services_that_lost_their_database_are_not_ready_and_recover(running: Installation) -> None:
    def not_ready() -> list[str]:
        return [name for name in SERVICES if running.compose("exec", "--no-TTY", name, "answers", check=False)]

    running.compose("stop", "--timeout", "5", "postgres")
    assert not_ready() == SERVICES
    running.compose("start", "postgres")
    await eventually(lambda: not not_ready(), within=240, every=2, saying="all are ready again")


def test_a_store_is_of_the_newest_version_already_where_it_is_migrated_again(running: Installation) -> None:
    said = running.compose("run", "--rm", "--no-deps", "--no-TTY", "dns", "migrate")
    assert "the store is of the newest version" in said


async def test_prometheus_reads_every_service_and_evaluates_the_alerts(running: Installation) -> None:
    """The rest of its profile, Grafana and Jaeger, is in no archive that stand-ins are made from."""
    running.compose("--profile", "observability", "up", "--detach", "--no-deps", "prometheus")
    port = int(running.env["CARAVAN_PROMETHEUS_PUBLISHED_PORT"])
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as prometheus:

        async def is_ready() -> bool:
            with suppress(httpx.TransportError):  # Docker's proxy listens before Prometheus does
                return (await prometheus.get("/-/ready")).is_success
            return False

        async def read() -> bool:
            targets = (await prometheus.get("/api/v1/targets")).json()["data"]["activeTargets"]
            up = {each["labels"]["job"] for each in targets if each["health"] == "up"}
            return up == {f"caravan-{service}" for service in SERVICES}

        async def evaluated() -> bool:
            groups = (await prometheus.get("/api/v1/rules")).json()["data"]["groups"]
            return bool(groups) and all(rule["health"] == "ok" for group in groups for rule in group["rules"])

        await eventually(is_ready, within=120, every=1)
        await eventually(read, within=120, every=1)
        await eventually(evaluated, within=120, every=1)


def _addresses(running: Installation, name: str) -> list[str]:
    query = dns.message.make_query(name, "A")
    answer = dns.query.udp(
        query, socket.gethostbyname("localhost"), port=int(running.env["CARAVAN_ZONE_PUBLISHED_PORT"]), timeout=5
    )
    return [str(record) for each in answer.answer for record in each]
