"""Replacing nodes, pausing, draining: what is asked of the API, and what is shown of it."""

import io

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from caravan_cli.render import node_row, phase_text
from caravan_cli.views import Cluster, Node
from tests.support.rest import FakeApi, cluster, entry, stream

PATH = "/v1/clusters/demo"
CHANGE = f"PATCH {PATH}"
NODE = "demo-workers-k3x9-1"
REPLACE = f"POST {PATH}/nodes/{NODE}/replace"
PAUSED = {"version": "1.34.2", "cloud": "sandbox", "paused": True}


@pytest.fixture
def api() -> FakeApi:
    """An API with one Ready cluster."""
    api = FakeApi()
    api.on(f"GET {PATH}", cluster())
    api.on(CHANGE, cluster(generation=2))
    return api


def caravan(api: FakeApi, *words: str) -> Result:
    return CliRunner().invoke(app, ["--url", "http://caravan.test", "--token", "t", "cluster", *words], obj=api)


def test_node_is_replaced_with_a_reason_and_safely_asked_again(api: FakeApi) -> None:
    api.on(REPLACE, httpx.Response(503), cluster(replacing=[NODE]))
    done = caravan(api, "replace-node", "demo", NODE, "--reason", "slow disk", "-o", "name")
    assert (done.exit_code, done.stdout) == (0, "demo\n"), done.output
    assert api.bodies(REPLACE) == [{"reason": "slow disk"}] * 2
    keys = {request.headers["Idempotency-Key"] for request in api.requests if request.method == "POST"}
    assert len(keys) == 1


def test_replacing_that_waits_ends_when_the_node_is_gone_and_its_set_is_full(api: FakeApi) -> None:
    replacing = cluster(phase="Updating", replacing=[NODE])
    short = {**cluster()["node_sets"][1], "joined": 1}
    api.on(REPLACE, replacing)
    api.on(f"GET /v1/clusters/{replacing['id']}", replacing)
    told = (
        ("cluster", cluster(node_sets=[short])),
        ("timeline", entry(1, "Joined with 1.34.2: 1 node of workers")),
        ("cluster", cluster()),
    )
    api.on(f"GET /v1/clusters/{replacing['id']}/events", stream(*told))
    done = caravan(api, "replace-node", "demo", NODE, "--wait")
    assert done.exit_code == 0, done.output
    assert "Joined with 1.34.2" in done.stderr


@pytest.mark.parametrize(
    ("words", "patch"),
    [
        (("pause", "demo"), {"paused": True}),
        (("resume", "demo"), {"paused": False}),
        (("repair", "demo", "off"), {"repair": "off"}),
        (("drain", "demo", "--drain-timeout", "60"), {"drain": {"timeout_s": 60}}),
        (("drain", "demo", "--no-force-drain"), {"drain": {"force": False}}),
        (("upgrade", "demo", "1.35.1", "--force-drain"), {"version": "1.35.1", "drain": {"force": True}}),
        (("upgrade", "demo", "1.35.1"), {"version": "1.35.1"}),
        (("upgrade", "demo", "1.35.1", "--now"), {"version": "1.35.1", "maintenance": {"at_once": "1.35.1"}}),
        (("maintenance", "demo", "--any-time"), {"maintenance": {"windows": []}}),
        (
            ("maintenance", "demo", "--window", "sat,sun 02:00 4h Europe/Berlin", "--window", "daily 23:30 90m"),
            {
                "maintenance": {
                    "windows": [
                        {"days": ["sat", "sun"], "start": "02:00", "duration_s": 14_400, "timezone": "Europe/Berlin"},
                        {"start": "23:30", "duration_s": 5400},
                    ]
                }
            },
        ),
    ],
)
def test_command_changes_the_spec_and_nothing_else(
    api: FakeApi, words: tuple[str, ...], patch: dict[str, object]
) -> None:
    done = caravan(api, *words)
    assert done.exit_code == 0, done.output
    assert api.bodies(CHANGE) == [{"spec": patch}]
    assert api.requests[-1].headers["If-Match"] == cluster()["etag"]


@pytest.mark.parametrize(
    ("lasts", "asked", "told"),
    [("8h", 28_800, "is deleted at 2026-01-01 08:00"), ("90", 90, "is deleted at"), ("forever", None, "stays")],
)
def test_lifetime_counts_from_now_and_may_have_no_end(api: FakeApi, lasts: str, asked: int | None, told: str) -> None:
    route = f"PUT {PATH}/lifetime"
    api.on(route, cluster(expires_at=asked and "2026-01-01T08:00:00Z"))
    done = caravan(api, "lifetime", "demo", lasts)
    assert done.exit_code == 0, done.output
    assert api.bodies(route) == [{"lifetime_s": asked}]
    assert told in done.stderr


def test_what_is_no_duration_is_refused_before_anything_is_sent(api: FakeApi) -> None:
    assert caravan(api, "lifetime", "demo", "soon").exit_code == 2
    assert api.requests == []


def test_drain_wants_to_know_how(api: FakeApi) -> None:
    done = caravan(api, "drain", "demo")
    assert (done.exit_code, "How?" in done.stderr) == (2, True)
    assert api.bodies(CHANGE) == []


def test_waiting_for_a_paused_cluster_ends_at_once_and_says_how_to_go_on(api: FakeApi) -> None:
    paused = cluster(phase="Updating", spec=PAUSED)
    api.on(f"PATCH {PATH}/node-sets/workers", paused)
    api.on(f"GET /v1/clusters/{paused['id']}", paused)
    api.on(f"GET /v1/clusters/{paused['id']}/events", stream())
    done = caravan(api, "scale", "demo", "workers=4", "--wait")
    assert done.exit_code == 1
    assert "caravan cluster resume demo" in done.stderr


def test_list_and_plan_say_that_a_cluster_is_paused(api: FakeApi) -> None:
    api.on("GET /v1/clusters", {"items": [cluster(spec=PAUSED)], "next": None})
    assert "Ready, Paused" in caravan(api, "list").stdout
    plan = {"action": "change", "paused": True, "upgrade": "1.32.9 → 1.33.6 → 1.34.2"}
    api.on("POST /v1/plans", plan)
    planned = caravan(api, "plan", "demo", "--version", "1.34.2").stdout
    assert "The cluster is paused" in planned
    assert "Upgrade: 1.32.9 → 1.33.6 → 1.34.2." in planned


def test_phase_is_shown_alone_where_nothing_is_paused() -> None:
    assert phase_text(Cluster.model_validate(cluster())).plain == "Ready"


def test_node_that_is_held_says_by_what() -> None:
    told = {"name": NODE, "node_set": "workers", "role": "worker", "state": "Joined", "held": "the cluster is paused"}
    screen = io.StringIO()
    Console(file=screen).print(*node_row(Node.model_validate(told)))
    assert "the cluster is paused" in screen.getvalue()


@pytest.mark.parametrize(
    "words",
    [(), ("--any-time", "--window", "daily 02:00 4h"), ("--window", "sat 02:00"), ("--window", "sat 02:00 long")],
)
def test_window_that_says_too_little_or_too_much_is_refused_here(api: FakeApi, words: tuple[str, ...]) -> None:
    done = caravan(api, "maintenance", "demo", *words)
    assert done.exit_code != 0
    assert api.bodies(CHANGE) == []


def test_hibernating_waits_until_all_machines_are_stopped(api: FakeApi) -> None:
    falls, sleeps = (cluster(phase=phase, asleep=True) for phase in ("Hibernating", "Hibernated"))
    path = f"/v1/clusters/{falls['id']}"
    api.on(f"POST {PATH}/hibernate", falls)
    api.on(f"GET {path}", falls)
    api.on(f"GET {path}/events", stream(("timeline", entry(1, "All 3 machines are stopped")), ("cluster", sleeps)))
    done = caravan(api, "hibernate", "demo", "--wait")
    assert done.exit_code == 0, done.output
    assert "All 3 machines are stopped" in done.stderr
    assert "Wake it with: caravan cluster wake demo" in done.stderr


def test_waking_waits_until_the_cluster_is_ready(api: FakeApi) -> None:
    waking = cluster(phase="Waking")
    path = f"/v1/clusters/{waking['id']}"
    api.on(f"POST {PATH}/wake", waking)
    api.on(f"GET {path}", waking)
    api.on(f"GET {path}/events", stream(("cluster", waking), ("cluster", cluster())))
    done = caravan(api, "wake", "demo", "--wait")
    assert done.exit_code == 0, done.output
    assert "Cluster demo is Ready" in done.stderr


def test_who_waits_for_a_cluster_that_is_put_to_sleep_is_told(api: FakeApi) -> None:
    waking = cluster(phase="Waking")
    path = f"/v1/clusters/{waking['id']}"
    api.on(f"POST {PATH}/wake", waking)
    api.on(f"GET {path}", waking)
    api.on(f"GET {path}/events", stream(("cluster", cluster(phase="Hibernating", asleep=True))))
    done = caravan(api, "wake", "demo", "--wait")
    assert done.exit_code != 0
    assert "is asleep. Go on with: caravan cluster wake demo" in done.stderr
