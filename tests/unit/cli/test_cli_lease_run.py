"""`caravan lease run` with real commands: what they find, what is passed on to them, and that the lease goes back."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from caravan_cli import child, lease_access, lease_keeper, queueing
from caravan_cli import client as client_module
from caravan_cli.main import app
from caravan_cli.views import TakenLease
from tests.support.rest import FakeApi, problem

LEASE = "0190f6f0-5b7c-7000-8000-000000000001"
CLUSTER = "0190f6f0-5b7c-7000-8000-000000000002"
TAKE = "POST /v1/pools/ci/leases"
BEAT = f"POST /v1/leases/{LEASE}/heartbeat"
RETURN = f"DELETE /v1/leases/{LEASE}"
ACCESS = f"POST /v1/clusters/{CLUSTER}/kubeconfig"
PATIENCE_S = 10.0  # far more than anything here takes


def kubeconfig(text: str = "first", expires_at: str = "2036-01-01T01:00:00Z") -> dict[str, Any]:
    return {"grant_id": "g", "kubeconfig": f"{text}\n", "expires_at": expires_at}


def lease(**changes: Any) -> dict[str, Any]:
    return {
        "id": LEASE,
        "pool": "ci",
        "team": "default",
        "holder": "alice",
        "state": "Held",
        "asked_at": "2036-01-01T00:00:00Z",
        "lasts_s": 3600,
        "granted_at": "2036-01-01T00:00:00Z",
        "ends_at": "2036-01-01T01:00:00Z",
        "heartbeat_s": 10,
        "cluster_id": CLUSTER,
        "cluster": "ci-x7k2p",
        **changes,
    }


ENDED = lease(state="Ended", end_reason="alice gave it back")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is repeated is repeated at once; heartbeats come a hundred times as often as they need to."""
    monkeypatch.setattr(client_module, "PAUSES_S", (0.0,))
    monkeypatch.setattr(queueing, "LEAST_PAUSE_S", 0.0)
    monkeypatch.setattr(queueing, "RETURN_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(lease_access, "ISSUE_PAUSES_S", (0.0,))
    monkeypatch.setattr(lease_keeper, "BEATS", 200)


@pytest.fixture
def api() -> FakeApi:
    """An API with a spare that is ready."""
    api = FakeApi()
    api.on(TAKE, lease(kubeconfig=kubeconfig()))
    api.on(BEAT, lease())
    api.on(RETURN, ENDED)
    return api


def run(api: FakeApi, script: str, *flags: str) -> Result:
    return caravan(api, *flags, "--", "sh", "-c", script)


def caravan(api: FakeApi, *words: str) -> Result:
    target = ["--url", "http://caravan.test", "--token", "t"]
    return CliRunner().invoke(app, [*target, "lease", "run", "--pool", "ci", *words], obj=api)


def sent(api: FakeApi, route: str) -> list[httpx.Request]:
    return [request for request in api.requests if f"{request.method} {request.url.path}" == route]


def wait_for(condition: str) -> str:
    """Shell that goes on once a condition holds, and ends with 99 if it never does."""
    return f"n=0; until {condition}; do n=$((n+1)); [ $n -lt 500 ] || exit 99; sleep 0.02; done"


def once_there(file: Path, act: Callable[[], None]) -> threading.Thread:
    """Act as soon as a file exists."""

    def wait_and_act() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait_and_act, daemon=True)
    thread.start()
    return thread


def signalled(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_exit_code_of_the_command_is_ours_and_the_lease_goes_back(api: FakeApi, script: str, code: int) -> None:
    done = run(api, script)
    assert done.exit_code == code, done.output
    assert len(sent(api, RETURN)) == 1
    assert "alice gave it back" in done.stderr


def test_command_finds_a_kubeconfig_of_its_own_that_is_gone_afterwards(api: FakeApi, tmp_path: Path) -> None:
    found = tmp_path / "found"
    words = '"$KUBECONFIG" "$(cat "$KUBECONFIG")" "$(stat -c %a "$KUBECONFIG")" "$CARAVAN_LEASE" "$CARAVAN_CLUSTER"'
    assert run(api, f"printf '%s\\n' {words} > {found}", "--role", "editor").exit_code == 0
    path, *rest = found.read_text().splitlines()
    assert rest == ["first", "600", LEASE, "ci-x7k2p"]
    assert not Path(path).parent.exists()
    assert api.bodies(TAKE)[0]["kubeconfig"] == "editor"


def test_lease_is_taken_as_told_with_a_heartbeat_and_under_one_key(api: FakeApi) -> None:
    api.on(TAKE, httpx.Response(503), httpx.Response(201, json=lease(kubeconfig=kubeconfig())))
    done = run(api, "true", "--for", "1h", "--purpose", "e2e", "--label", "commit=1a2b3c")
    assert done.exit_code == 0, done.output
    assert api.bodies(TAKE)[1] == {
        "lasts_s": 3600,
        "purpose": "e2e",
        "labels": {"commit": "1a2b3c"},
        "heartbeat_s": 120,
        "kubeconfig": "admin",
        "wait": True,
    }
    assert len({request.headers["Idempotency-Key"] for request in sent(api, TAKE)}) == 1


def test_options_after_the_command_are_its_own(api: FakeApi, tmp_path: Path) -> None:
    assert caravan(api, "touch", "--reference", "/etc/passwd", str(tmp_path / "made")).exit_code == 0
    assert (tmp_path / "made").exists()


def test_misspelt_command_costs_nobody_a_cluster(api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "script"
    file.write_text("exit 0\n")
    assert caravan(api, "--", "no-such-command-here").exit_code == 127
    assert caravan(api, "--", str(tmp_path / "nothing")).exit_code == 127
    assert caravan(api, "--", str(file)).exit_code == 126
    assert api.requests == []


@pytest.mark.parametrize(("first_line", "code"), [("#!/no/such/interpreter", 127), ("\x7fELF", 126)])
def test_command_that_cannot_be_started_gives_the_lease_back(
    api: FakeApi, tmp_path: Path, first_line: str, code: int
) -> None:
    file = tmp_path / "script"
    file.write_text(f"{first_line}\n")
    file.chmod(0o755)
    assert caravan(api, "--keep-on-failure", "2h", "--", str(file)).exit_code == code
    (returned,) = sent(api, RETURN)
    assert "keep_s" not in returned.url.params, "nothing ran, so there is nothing to look into"


def test_lease_that_cannot_be_taken_runs_nothing(api: FakeApi, tmp_path: Path) -> None:
    api.on(TAKE, problem(404, "Not found"))
    assert run(api, f"touch {tmp_path}/ran").exit_code == 3
    assert not (tmp_path / "ran").exists()
    assert sent(api, RETURN) == []


def test_lease_without_a_kubeconfig_goes_back(api: FakeApi, tmp_path: Path) -> None:
    api.on(TAKE, lease(kubeconfig=None, kubeconfig_problem="dns is away"))
    api.on(ACCESS, problem(503, "Busy"))
    assert run(api, f"touch {tmp_path}/ran").exit_code == 7
    assert not (tmp_path / "ran").exists()
    assert len(sent(api, RETURN)) == 1


def test_queue_is_waited_in_and_left_on_a_signal(api: FakeApi, tmp_path: Path) -> None:
    def terminated(_request: httpx.Request) -> httpx.Response:
        os.kill(os.getpid(), signal.SIGTERM)
        return httpx.Response(200, json=lease())

    api.on(TAKE, lease(state="Waiting", position=1, cluster=None, cluster_id=None, ends_at=None))
    api.on(f"GET /v1/leases/{LEASE}", terminated)
    assert run(api, f"touch {tmp_path}/ran").exit_code == 143
    assert not (tmp_path / "ran").exists()
    assert len(sent(api, RETURN)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_reaches_the_command_once_and_the_lease_goes_back_unkept(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(child, "in_foreground", lambda: False)  # whatever these tests run in
    ready, got = tmp_path / "ready", tmp_path / "got"
    once_there(ready, signalled(number))
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo {name} >> {got}' {name}; touch {ready}; {wait_for(f'[ -e {got} ]')}; sleep 0.1; exit 7"
    done = run(api, script, "--keep-on-failure", "2h")
    assert done.exit_code == 7, done.output
    assert got.read_text() == f"{name}\n"
    (returned,) = sent(api, RETURN)
    assert "keep_s" not in returned.url.params, "it did not fail, it was told to end"


def test_command_that_dies_of_a_signal_ends_with_128_and_its_number(api: FakeApi, tmp_path: Path) -> None:
    once_there(tmp_path / "ready", signalled(signal.SIGTERM))
    assert run(api, f"touch {tmp_path}/ready; exec sleep 30").exit_code == 143
    assert len(sent(api, RETURN)) == 1


def test_command_has_a_process_group_of_its_own_but_in_the_foreground_of_a_terminal(tmp_path: Path) -> None:
    script = f"cut -d' ' -f5 /proc/$$/stat > {tmp_path}/group; echo $$ > {tmp_path}/pid"
    child.run(["sh", "-c", script], os.environ, in_foreground=False)
    assert (tmp_path / "group").read_text() == (tmp_path / "pid").read_text()
    child.run(["sh", "-c", script], os.environ, in_foreground=True)
    assert (tmp_path / "group").read_text() == f"{os.getpgrp()}\n"


def test_ctrl_c_of_a_terminal_is_not_passed_on_as_it_reached_the_command_already(tmp_path: Path) -> None:
    ready, got, go = tmp_path / "ready", tmp_path / "got", tmp_path / "go"

    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # no terminal sends it: this one is passed on

    once_there(ready, press)
    traps = f"trap 'echo INT >> {got}' INT; trap 'echo TERM >> {got}; touch {go}' TERM"
    script = f"{traps}; touch {ready}; {wait_for(f'[ -e {go} ]')}; sleep 0.1"
    ended = child.run(["sh", "-c", script], os.environ, in_foreground=True)
    assert got.read_text() == "TERM\n"
    assert ended.interrupted


def test_heartbeats_are_sent_while_the_command_runs(api: FakeApi, tmp_path: Path) -> None:
    def third(_request: httpx.Request) -> httpx.Response:
        (tmp_path / "third").touch()
        return httpx.Response(200, json=lease())

    api.on(BEAT, lease(), lease(), third)
    assert run(api, wait_for(f"[ -e {tmp_path}/third ]")).exit_code == 0
    beats = len(sent(api, BEAT))
    assert beats >= 3
    time.sleep(0.1)
    assert len(sent(api, BEAT)) == beats, "and none after it"


def test_heartbeat_that_fails_is_a_warning_and_tried_again(api: FakeApi, tmp_path: Path) -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    def through(_request: httpx.Request) -> httpx.Response:
        (tmp_path / "through").touch()
        return httpx.Response(200, json=lease())

    api.on(BEAT, lost, problem(500, "Broken"), through)
    done = run(api, wait_for(f"[ -e {tmp_path}/through ]"))
    assert done.exit_code == 0, done.output
    assert done.stderr.count("Warning: no heartbeat") == 1
    assert "no route" in done.stderr


def test_lease_that_is_over_is_told_once_and_the_command_runs_on(api: FakeApi, tmp_path: Path) -> None:
    def over(_request: httpx.Request) -> httpx.Response:
        (tmp_path / "over").touch()
        return problem(409, "Conflict", detail="the lease is over: its time was up")

    api.on(BEAT, over)
    done = run(api, f"{wait_for(f'[ -e {tmp_path}/over ]')}; sleep 0.2; exit 4")
    assert done.exit_code == 4
    assert done.stderr.count("LOST") == 1
    assert "its time was up" in done.stderr
    assert len(sent(api, BEAT)) == 1


def test_kubeconfig_is_renewed_in_place_where_the_lease_outlives_it(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_access, "RENEW_AT", 0.0)
    late = {"ends_at": "2036-01-01T02:00:00Z"}
    api.on(TAKE, lease(kubeconfig=kubeconfig(), **late))
    api.on(BEAT, lease(**late))
    api.on(ACCESS, problem(500, "Broken"), kubeconfig("second", expires_at="2036-01-01T03:00:00Z"))
    monkeypatch.setattr(lease_access, "RENEW_AGAIN", 0.0)
    done = run(api, wait_for('grep -q second "$KUBECONFIG"'))
    assert done.exit_code == 0, done.output
    assert api.bodies(ACCESS) == [{"role": "admin", "ttl_s": 2 * 3600}] * 2
    assert "Warning: no new kubeconfig" in done.stderr


def test_kubeconfig_that_outlives_its_lease_is_left_alone() -> None:
    held = TakenLease.model_validate(lease(kubeconfig=kubeconfig()))
    assert held.kubeconfig
    access = lease_access.Access(held.kubeconfig, lifetime_s=3600, at=100.0)
    assert lease_access.renewal_due_at(held, access) is None
    longer = TakenLease.model_validate(lease(ends_at="2036-01-01T01:00:01Z"))
    assert lease_access.renewal_due_at(longer, access) == 100.0 + 0.75 * 3600


@pytest.mark.parametrize(("script", "keep_s"), [("exit 1", "7200"), ("exit 0", None)])
def test_cluster_is_kept_for_a_look_only_if_the_command_failed(api: FakeApi, script: str, keep_s: str | None) -> None:
    api.on(RETURN, lease(state="Kept") if keep_s else ENDED)
    done = run(api, script, "--keep-on-failure", "2h")
    (returned,) = sent(api, RETURN)
    assert returned.url.params.get("keep_s") == keep_s
    assert ("is kept until" in done.stderr) is bool(keep_s)


def test_lease_goes_back_without_being_kept_where_the_pool_does_not_allow_that(api: FakeApi) -> None:
    api.on(RETURN, problem(422, "Malformed request", detail="7200 s is longer than the 60 s"), ENDED)
    done = run(api, "exit 1", "--keep-on-failure", "2h")
    assert done.exit_code == 1
    assert [request.url.params.get("keep_s") for request in sent(api, RETURN)] == ["7200", None]
    assert "not kept" in done.stderr


def test_lease_that_cannot_be_given_back_is_named_and_the_exit_code_stays_the_commands(api: FakeApi) -> None:
    api.on(RETURN, problem(500, "Broken"))
    done = run(api, "exit 3")
    assert done.exit_code == 3
    assert len(sent(api, RETURN)) == 3
    assert f"caravan lease return {LEASE}" in done.stderr
    assert "10s after its last heartbeat" in done.stderr
