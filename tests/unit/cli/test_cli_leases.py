"""`caravan lease`: taking one, standing in the queue, and what is left behind when that is given up."""

import os
import signal
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from caravan_cli import client as client_module
from caravan_cli import durations, lease_access, queueing
from caravan_cli.main import app
from caravan_cli.queueing import Place, is_news
from tests.support.rest import FakeApi, problem

LEASE = "0190f6f0-5b7c-7000-8000-000000000001"
CLUSTER = "0190f6f0-5b7c-7000-8000-000000000002"
TAKE = "POST /v1/pools/ci/leases"
LOOK = f"GET /v1/leases/{LEASE}"
RETURN = f"DELETE /v1/leases/{LEASE}"
ACCESS = f"POST /v1/clusters/{CLUSTER}/kubeconfig"
ISSUED = {"grant_id": "g", "kubeconfig": "kind: Config\n", "expires_at": "2036-01-01T01:00:00Z"}


def lease(**changes: Any) -> dict[str, Any]:
    return {
        "id": LEASE,
        "pool": "ci",
        "team": "default",
        "holder": "alice",
        "state": "Held",
        "purpose": "issue 17",
        "labels": {"commit": "1a2b3c"},
        "asked_at": "2036-01-01T00:00:00Z",
        "lasts_s": 3600,
        "position": None,
        "estimate_s": None,
        "granted_at": "2036-01-01T00:00:00Z",
        "ends_at": "2036-01-01T01:00:00Z",
        "heartbeat_s": None,
        "cluster_id": CLUSTER,
        "cluster": "ci-x7k2p",
        "ended_at": None,
        "end_reason": None,
        **changes,
    }


def waiting(position: int, estimate_s: float | None = None) -> dict[str, Any]:
    nothing = dict.fromkeys(("granted_at", "ends_at", "cluster_id", "cluster"))
    return lease(state="Waiting", position=position, estimate_s=estimate_s, **nothing)


ENDED = lease(state="Ended", ended_at="2036-01-01T00:30:00Z", end_reason="alice left the queue")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is repeated is repeated at once."""
    monkeypatch.setattr(client_module, "PAUSES_S", (0.0,))
    monkeypatch.setattr(queueing, "LEAST_PAUSE_S", 0.0)
    monkeypatch.setattr(queueing, "RETURN_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(lease_access, "ISSUE_PAUSES_S", (0.0,))


@pytest.fixture
def api() -> FakeApi:
    """An API with a spare that is ready."""
    api = FakeApi()
    api.on(TAKE, lease())
    api.on(RETURN, ENDED)
    api.on(ACCESS, ISSUED)
    return api


def caravan(api: FakeApi, *words: str) -> Result:
    return CliRunner().invoke(app, ["--url", "http://caravan.test", "--token", "t", "lease", *words], obj=api)


def sent(api: FakeApi, route: str) -> list[httpx.Request]:
    return [request for request in api.requests if f"{request.method} {request.url.path}" == route]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("3600", 3600), ("1h30m", 5400), ("0", 0)],
)
def test_duration_is_read_as_people_write_it(text: str, seconds: int) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "-5", "1.5h", "30m1h", "1h30", " 1h", "٣s", "٣"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        durations.parse(text)


def test_take_says_all_that_was_told_and_shows_cluster_id_and_end(api: FakeApi) -> None:
    words = ("--for", "2h", "--purpose", "issue 17", "--label", "commit=1a2b3c", "--heartbeat", "5m")
    done = caravan(api, "take", "ci", *words)
    assert done.exit_code == 0, done.output
    assert api.bodies(TAKE) == [
        {
            "lasts_s": 7200,
            "purpose": "issue 17",
            "labels": {"commit": "1a2b3c"},
            "heartbeat_s": 300,
            "wait": True,
        }
    ]
    assert all(text in done.stdout for text in (LEASE, "ci-x7k2p", "Held"))
    assert all(text in done.stderr for text in ("ci-x7k2p is yours until 203", f"caravan lease return {LEASE}"))
    assert len(api.requests) == 1, "one call where a spare is ready"


def test_two_clusters_are_never_taken_for_one_wish(api: FakeApi) -> None:
    api.on(TAKE, httpx.Response(503), httpx.Response(201, json=lease()))
    assert caravan(api, "take", "ci", "-o", "name").stdout == f"{LEASE}\n"
    assert len({request.headers["Idempotency-Key"] for request in sent(api, TAKE)}) == 1
    assert len(sent(api, TAKE)) == 2


@pytest.mark.parametrize(
    "words",
    [
        ("take", "ci", "--for", "2x"),
        ("take", "ci", "--timeout", "soon"),
        ("take", "ci", "--label", "commit"),
        ("take", "ci", "--role", "god"),
        ("take", "ci", "--kubeconfig", "/does/not/exist/file"),
        ("take", "ci", "--kubeconfig", "-", "-o", "json"),
        ("list", "--mine", "--holder", "bob"),
        ("get", "not-an-id"),
        ("return", LEASE, "--keep", "long"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_sent(api: FakeApi, words: tuple[str, ...]) -> None:
    assert caravan(api, *words).exit_code == 2
    assert api.requests == []


def test_pool_without_a_ready_spare_is_an_error_for_whoever_does_not_wait(api: FakeApi) -> None:
    api.on(TAKE, problem(409, "Conflict", detail="no spare of the pool ci is ready", retry_helps=True))
    done = caravan(api, "take", "ci", "--no-wait")
    assert done.exit_code == 5
    assert api.bodies(TAKE)[0]["wait"] is False
    assert "Trying again may help" in done.stderr


def test_queue_is_waited_in_and_each_new_place_told_once(api: FakeApi) -> None:
    api.on(TAKE, waiting(2, 600.0))
    api.on(LOOK, waiting(2, 599.0), problem(503, "Restarting"), waiting(1, 250.0), lease())
    done = caravan(api, "take", "ci", "-o", "name")
    assert (done.exit_code, done.stdout) == (0, f"{LEASE}\n"), done.output
    told = [line for line in done.stderr.splitlines() if "queue" in line]
    assert len(told) == 2
    assert "place 2, your turn in about 10m0s" in told[0]
    assert "place 1, your turn in about 4m10s" in told[1]
    assert {request.url.params["wait_s"] for request in sent(api, LOOK)} == {"30"}


def test_api_that_is_away_for_a_while_costs_no_place_in_the_queue(api: FakeApi) -> None:
    api.on(TAKE, waiting(1))
    api.on(LOOK, *[problem(503, "Restarting")] * 7, lease())
    done = caravan(api, "take", "ci")
    assert done.exit_code == 0, done.output
    assert sent(api, RETURN) == []
    assert "cannot be told" in done.stderr


@pytest.mark.parametrize(
    ("seen", "is_new"),
    [
        (Place(3, 570.0, 30.0), False),
        (Place(3, 480.0, 30.0), False),
        (Place(3, 400.0, 30.0), True),
        (Place(3, 900.0, 30.0), True),
        (Place(3, None, 30.0), True),
        (Place(2, 570.0, 30.0), True),
    ],
)
def test_news_is_another_place_or_an_estimate_that_moved_much(seen: Place, *, is_new: bool) -> None:
    assert is_news(Place(3, 600.0, 0.0), seen) is is_new


def test_turn_that_stays_overdue_is_no_news() -> None:
    assert not is_news(Place(1, 0.0, 0.0), Place(1, 0.0, 300.0))
    assert not is_news(Place(1, None, 0.0), Place(1, None, 300.0))
    assert is_news(None, Place(1, None, 0.0))


def test_wait_that_takes_too_long_gives_the_lease_back(api: FakeApi) -> None:
    api.on(TAKE, waiting(1))
    api.on(LOOK, waiting(1))
    done = caravan(api, "take", "ci", "--timeout", "0")
    assert done.exit_code == 8
    assert len(sent(api, RETURN)) == 1
    assert "alice left the queue" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_in_the_queue_gives_the_lease_back(api: FakeApi, number: signal.Signals) -> None:
    def interrupted(_request: httpx.Request) -> httpx.Response:
        os.kill(os.getpid(), number)
        return httpx.Response(200, json=waiting(1))

    before = signal.getsignal(number)
    api.on(TAKE, waiting(1))
    api.on(LOOK, interrupted)
    done = caravan(api, "take", "ci", "--timeout", "5s")
    assert done.exit_code == 128 + number
    assert len(sent(api, RETURN)) == 1
    assert "alice left the queue" in done.stderr
    assert signal.getsignal(number) is before


def test_interrupt_while_asking_says_that_a_lease_may_have_been_taken(api: FakeApi) -> None:
    def interrupted(_request: httpx.Request) -> httpx.Response:
        os.kill(os.getpid(), signal.SIGINT)
        return httpx.Response(201, json=lease())

    api.on(TAKE, interrupted)
    done = caravan(api, "take", "ci")
    assert done.exit_code == 130
    assert "caravan lease list --mine" in done.stderr


def test_lease_that_ends_in_the_queue_says_why(api: FakeApi) -> None:
    api.on(TAKE, waiting(1))
    api.on(LOOK, lease(state="Ended", cluster=None, end_reason="the pool is being deleted"))
    done = caravan(api, "take", "ci")
    assert done.exit_code == 1
    assert "the pool is being deleted" in done.stderr
    assert sent(api, RETURN) == []


def test_kubeconfig_comes_with_the_lease_into_a_file_of_the_owners_alone(api: FakeApi, tmp_path: Path) -> None:
    api.on(TAKE, lease(kubeconfig=ISSUED, kubeconfig_problem=None))
    file = tmp_path / "ci.kubeconfig"
    done = caravan(api, "take", "ci", "--kubeconfig", str(file), "--role", "viewer", "-o", "json")
    assert done.exit_code == 0, done.output
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("kind: Config\n", 0o600)
    assert api.bodies(TAKE)[0]["kubeconfig"] == "viewer"
    assert "kind: Config" not in done.stdout, "the answer may be logged"
    assert len(api.requests) == 1


def test_kubeconfig_is_asked_for_where_the_lease_came_without(api: FakeApi) -> None:
    api.on(TAKE, waiting(1))
    api.on(LOOK, lease(lasts_s=10 * 3600))
    api.on(ACCESS, problem(503, "Busy"), ISSUED)
    done = caravan(api, "take", "ci", "--kubeconfig", "-")
    assert (done.exit_code, done.stdout) == (0, "kind: Config\n"), done.output
    assert api.bodies(ACCESS)[-1] == {"role": "admin", "ttl_s": 8 * 3600}, "the API issues none for longer"
    assert LEASE in done.stderr


def test_lease_without_its_kubeconfig_stays_and_is_told(api: FakeApi, tmp_path: Path) -> None:
    api.on(TAKE, lease(kubeconfig=None, kubeconfig_problem="dns is away"))
    api.on(ACCESS, problem(503, "Busy"))
    done = caravan(api, "take", "ci", "--kubeconfig", str(tmp_path / "x"))
    assert done.exit_code == 7
    assert LEASE in done.stdout
    assert "caravan cluster kubeconfig ci-x7k2p --role admin" in done.stderr
    assert sent(api, RETURN) == []


def test_list_hands_its_filters_to_the_api(api: FakeApi) -> None:
    held = {"items": [lease(), waiting(1)], "next": None}
    api.on("GET /v1/leases", held)
    api.on("GET /v1/whoami", {"user": "alice", "team": "default", "role": "developer"})
    heads, first, second = caravan(api, "list", "--pool", "ci", "--state", "held", "--mine").stdout.splitlines()
    assert dict(api.requests[-1].url.params) == {"limit": "500", "pool": "ci", "state": "Held", "holder": "alice"}
    assert heads.split() == ["ID", "POOL", "STATE", "CLUSTER", "HOLDER", "LEFT", "PURPOSE"]
    assert first.split()[:5] == [LEASE, "ci", "Held", "ci-x7k2p", "alice"]
    assert second.split()[2:6] == ["Waiting", "-", "alice", "-"]
    assert "commit=1a2b3c" in caravan(api, "list", "-o", "wide").stdout
    assert caravan(api, "list", "-o", "name").stdout == f"{LEASE}\n{LEASE}\n"


def test_get_shows_every_field(api: FakeApi) -> None:
    api.on(LOOK, lease())
    assert yaml.safe_load(caravan(api, "get", LEASE).stdout)["labels"] == {"commit": "1a2b3c"}


def test_extend_is_repeated_under_one_key_so_that_nothing_adds_up(api: FakeApi) -> None:
    route = f"POST /v1/leases/{LEASE}/extend"
    api.on(route, lease())
    assert "is yours until" in caravan(api, "extend", LEASE, "--for", "1h").stderr
    assert caravan(api, "extend", LEASE).exit_code == 0
    assert api.bodies(route) == [{"for_s": 3600}, {}]
    api.on(route, problem(503, "Busy"))
    assert caravan(api, "extend", LEASE).exit_code == 7
    keys = [request.headers["Idempotency-Key"] for request in sent(api, route)]
    assert len(keys) > 3
    assert len(set(keys)) == 3, "one a command"


def test_heartbeat_is_sent(api: FakeApi) -> None:
    api.on(f"POST /v1/leases/{LEASE}/heartbeat", lease(), problem(409, "Conflict", detail="the lease is over"))
    assert caravan(api, "heartbeat", LEASE).exit_code == 0
    assert caravan(api, "heartbeat", LEASE).exit_code == 5


def test_return_may_keep_the_cluster_and_says_how_to_look_into_it(api: FakeApi) -> None:
    api.on(RETURN, lease(state="Kept"), ENDED)
    kept = caravan(api, "return", LEASE, "--keep", "2h")
    assert api.requests[-1].url.params["keep_s"] == "7200"
    assert "caravan cluster kubeconfig ci-x7k2p --role admin" in kept.stderr
    done = caravan(api, "return", LEASE, "-o", "name")
    assert (done.exit_code, done.stdout) == (0, f"{LEASE}\n")
    assert "keep_s" not in api.requests[-1].url.params
