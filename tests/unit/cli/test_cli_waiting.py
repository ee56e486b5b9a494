"""Waiting for a cluster, and showing how it comes along."""

import io

import httpx
import pytest
from rich.console import Console

from caravan_cli import sse
from caravan_cli.client import Client
from caravan_cli.context import Target
from caravan_cli.errors import CliError, TimedOut
from caravan_cli.progress import Bars, Lines, progress_on
from caravan_cli.views import Cluster
from caravan_cli.waiting import ClusterFailed, until_deleted, until_healthy, until_settled
from tests.support.rest import FakeApi, cluster, entry, problem, stream

ID = cluster()["id"]
NOW = f"GET /v1/clusters/{ID}"
EVENTS = f"GET /v1/clusters/{ID}/events"
MAKING = {"wanted": 2, "made": 1, "joined": 0, "creating": 1, "leaving": 0, "failed": 0}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are opened again at once."""
    monkeypatch.setattr(sse, "FIRST_PAUSE_S", 0.0)


class _Screen:
    """What progress printed."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.progress = Lines(Console(file=self._file, width=200))

    @property
    def lines(self) -> list[str]:
        return self._file.getvalue().splitlines()


@pytest.fixture
def fake() -> FakeApi:
    """An API that answers nothing yet."""
    return FakeApi()


@pytest.fixture
def api(fake: FakeApi) -> Client:
    """A client of it."""
    return Client(Target("http://caravan.test", None, None, "a test"), transport=fake)


def _view(**changes: object) -> Cluster:
    return Cluster.model_validate(cluster(**changes))


def test_waits_through_the_stream_until_ready_and_tells_what_happens(fake: FakeApi, api: Client) -> None:
    fake.on(NOW, cluster(phase="Provisioning", node_sets=[{"name": "workers", "role": "worker", **MAKING}]))
    fake.on(EVENTS, stream(("timeline", entry(1, "Machines run: 2")), ("cluster", cluster(phase="Ready"))))
    screen = _Screen()
    settled = until_settled(api, _view(phase="Requested"), screen.progress, timeout_s=5)
    assert settled.phase == "Ready"
    assert screen.lines == [
        "demo Provisioning: workers 1 made, 0 joined of 2",
        "Machines run: 2",
        "demo Ready: control-plane 1 made, 1 joined of 1, workers 2 made, 2 joined of 2",
    ]


def test_ready_at_an_older_generation_is_not_what_was_asked_for(fake: FakeApi, api: Client) -> None:
    fake.on(NOW, cluster(generation=1))
    fake.on(EVENTS, stream(("cluster", cluster(generation=2, phase="Updating")), ("cluster", cluster(generation=2))))
    assert until_settled(api, _view(generation=2), _Screen().progress, timeout_s=5).generation == 2


def test_ready_is_not_enough_while_nodes_are_leaving(fake: FakeApi, api: Client) -> None:
    leaving = {"name": "workers", "role": "worker", **MAKING, "leaving": 1}
    fake.on(NOW, cluster(node_sets=[leaving]), cluster())
    fake.on(EVENTS, stream())
    assert until_settled(api, _view(), _Screen().progress, timeout_s=5).node_sets[0].leaving == 0


def test_failure_ends_the_wait_and_says_who_can_fix_it(fake: FakeApi, api: Client) -> None:
    failure = {"reason": "quota exceeded", "who_can_fix": "operator", "retry_helps": True}
    fake.on(NOW, cluster(phase="Failed", failure=failure))
    fake.on(EVENTS, stream())
    with pytest.raises(ClusterFailed, match="quota exceeded") as raised:
        until_settled(api, _view(), _Screen().progress, timeout_s=5)
    assert raised.value.problem
    assert raised.value.problem.who_can_fix == "operator"


def test_time_limit_ends_the_wait(fake: FakeApi, api: Client) -> None:
    fake.on(NOW, cluster(phase="Provisioning"))
    fake.on(EVENTS, stream())
    with pytest.raises(TimedOut, match="goes on"):
        until_settled(api, _view(), _Screen().progress, timeout_s=0)


def test_api_that_restarts_does_not_end_the_wait(fake: FakeApi, api: Client) -> None:
    fake.on(NOW, cluster(phase="Provisioning"), cluster())
    fake.on(EVENTS, stream(), httpx.Response(502), stream())
    assert until_settled(api, _view(), _Screen().progress, timeout_s=5).phase == "Ready"


def test_waiting_for_a_cluster_that_someone_deletes_ends(fake: FakeApi, api: Client) -> None:
    fake.on(NOW, cluster(phase="Deleting"))
    fake.on(EVENTS, stream())
    with pytest.raises(CliError, match="being deleted"):
        until_settled(api, _view(), _Screen().progress, timeout_s=5)


def test_healthy_means_every_node_too(fake: FakeApi, api: Client) -> None:
    counts = {"wanted": 3, "made": 3, "joined": 3, "ready": 2}
    unknown = {"verdict": "Unknown", "reason": "not asked yet", "since": "2026-01-01T00:00:00Z"}
    fake.on(NOW, cluster(health=unknown))
    fake.on(EVENTS, stream(("cluster", cluster(nodes=counts)), ("cluster", cluster())))
    assert until_healthy(api, _view(), _Screen().progress, timeout_s=5).nodes.ready == 3


@pytest.mark.parametrize("gone", [cluster(phase="Deleted"), problem(404, "Not found")])
def test_deletion_is_over_when_the_cluster_is_gone(
    fake: FakeApi, api: Client, gone: dict[str, object] | httpx.Response
) -> None:
    fake.on(NOW, cluster(phase="Deleting"), gone)
    fake.on(EVENTS, stream())
    fake.on("GET /v1/clusters/demo", cluster(phase="Deleted"), problem(404, "Not found"))
    until_deleted(api, _view(phase="Deleting"), _Screen().progress, timeout_s=5)


def test_terminal_gets_a_bar_for_each_node_set_and_a_pipe_gets_lines() -> None:
    assert isinstance(progress_on(Console(file=io.StringIO())), Lines)
    file = io.StringIO()
    bars = progress_on(Console(file=file, force_terminal=True, width=100))
    assert isinstance(bars, Bars)
    with bars:
        bars.now(_view(phase="Bootstrapping", step={"text": "ensure it joins", "at": "2026-01-01T00:00:00Z"}))
    assert all(text in file.getvalue() for text in ("Bootstrapping", "control-plane", "workers", "ensure it joins"))
