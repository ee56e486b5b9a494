"""The whole local stack: real nats-server, real services, the sandbox; driven by the command as a person would."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import nats
import psutil
import pytest
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from caravan_cli.up import Ports, Stack, StackTaken
from caravan_cli.up.parts import PARTS
from tests.support.eventually import eventually

QUICK = {f"CARAVAN_SANDBOX_{name}": "0" for name in ("VM_BOOT_S", "INIT_S", "JOIN_S", "DELETE_S")}

SAID: list[str] = []
"""What the stack told a person."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for all tests of this file."""
    with Stack(tmp_path_factory.mktemp("stack"), ports="auto", env=QUICK, say=SAID.append) as running:
        yield running


def _caravan(stack: Stack, *words: str) -> Result:
    return CliRunner().invoke(app, ["--url", stack.url, "--token", stack.token, *words])


def test_second_start_in_the_same_directory_is_refused_and_harms_nothing(stack: Stack) -> None:
    second = Stack(stack.state_dir, ports="auto")
    with pytest.raises(StackTaken, match="running in"):
        second.start()
    second.stop()
    assert all(stack.pid(part) for part in PARTS)
    assert json.loads((stack.state_dir / "processes.json").read_text()).keys() == set(PARTS)


def test_command_finds_the_stack_through_its_credentials(stack: Stack) -> None:
    done = CliRunner().invoke(app, ["whoami", "-o", "json"], env={"CARAVAN_STATE_DIR": str(stack.state_dir)})
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["role"] == "admin"


def test_cluster_is_made_scaled_and_deleted_on_the_command_line(stack: Stack) -> None:
    made = _caravan(stack, "cluster", "create", "main-job", "--workers", "1", "--wait", "--timeout", "60")
    assert made.exit_code == 0, made.output
    assert "joined of 1" in made.stderr
    scaled = _caravan(stack, "cluster", "scale", "main-job", "workers=2", "--wait", "--timeout", "60", "-o", "json")
    assert scaled.exit_code == 0, scaled.output
    assert json.loads(scaled.stdout)["nodes"]["joined"] == 3
    assert "kind: Config" in _caravan(stack, "cluster", "kubeconfig", "main-job").stdout
    assert "(simulated)" in _caravan(stack, "cluster", "describe", "main-job").stdout
    gone = _caravan(stack, "cluster", "delete", "main-job", "--yes", "--wait", "--timeout", "60")
    assert gone.exit_code == 0, gone.output
    assert _caravan(stack, "cluster", "get", "main-job").exit_code == 3


async def test_team_asks_and_is_answered_with_its_own_credentials_and_reaches_nothing_else(stack: Stack) -> None:
    team = await nats.connect(stack.accounts.team_url("default"), error_cb=_ignore)
    try:
        answers = await team.subscribe("progress.default.cluster.*")
        request = {"request_id": "build-1", "name": "by-event", "spec": {"version": "1.34.2", "workers": []}}
        stored = await team.jetstream().publish("cluster.requested", json.dumps(request).encode())
        assert stored.stream == "INTAKE_default"
        answer = await answers.next_msg(10)
        assert answer.subject == "progress.default.cluster.accepted"
        assert json.loads(answer.data)["name"] == "by-event"
        for subject in ("$JS.API.STREAM.NAMES", "rpc.dns.kubeconfig"):
            with pytest.raises(nats.errors.TimeoutError):  # the server refuses to take it, and says so beside
                await team.request(subject, b"{}", timeout=1)
    finally:
        await team.close()


async def test_team_that_is_made_while_the_stack_runs_asks_from_an_account_of_its_own(stack: Stack) -> None:
    made = _caravan(stack, "team", "create", "payments")
    assert made.exit_code == 0, made.output
    with stack.tended():
        await eventually(lambda: "payments" in stack.accounts.credentials.teams, saying="an account for payments")
        await eventually(lambda: _is_answered(stack, "payments"), saying="payments is heard and answered")
    assert any("payments has an account" in sentence for sentence in SAID)


async def _is_answered(stack: Stack, team: str) -> bool:
    """Whether a request from a team's account is; not before nats-server has wholly taken that in."""
    try:
        client = await nats.connect(stack.accounts.team_url(team), allow_reconnect=False, error_cb=_ignore)
    except (nats.errors.Error, OSError):  # refused: politely, or by a closed connection
        return False
    try:
        answers = await client.subscribe(f"progress.{team}.cluster.*")
        request = {"request_id": "build-1", "name": f"by-{team}", "spec": {"version": "1.34.2", "workers": []}}
        await client.jetstream().publish("cluster.requested", json.dumps(request).encode())
        await answers.next_msg(5)
    except nats.errors.Error:
        return False
    else:
        return True
    finally:
        await client.close()


async def _ignore(_refusal: Exception) -> None:
    """nats-py logs what the server refuses; here it is what is asked for."""


def test_crashed_service_is_started_again_and_says_so(stack: Stack) -> None:
    before = stack.pid("health")
    stack.kill("health")
    with stack.tended():
        deadline = time.monotonic() + 30
        while stack.pid("health") is None and time.monotonic() < deadline:
            time.sleep(0.05)
    stack.wait_ready(["health"])
    assert stack.pid("health") not in {None, before}
    assert any("health ended with code -9" in sentence for sentence in SAID)


def test_stack_is_as_it_was_after_a_stop_and_a_start(stack: Stack) -> None:
    layout, pids = stack.layout, [stack.pid(part) for part in PARTS]
    names = _caravan(stack, "cluster", "list", "-o", "name").stdout
    stack.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)
    stack.start()
    assert stack.layout == layout
    assert _caravan(stack, "cluster", "list", "-o", "name").stdout == names


def test_port_that_another_program_has_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        stack = Stack(tmp_path, ports=Ports(api=port), network="127.127.0.0/16")
        with pytest.raises(StackTaken, match=rf"{port} \(api\)"):
            stack.start()


def test_two_stacks_do_not_share_a_network(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path, ports=Ports.free(), network=stack.layout.network)
    with pytest.raises(StackTaken, match="network"):
        other.start()
