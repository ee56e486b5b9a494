"""Runs of real playbooks by the real ansible-runner: how they end, what they leave, what they never leave."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from caravan_bootstrapper import inventory
from caravan_bootstrapper.records import Outcome
from caravan_bootstrapper.runner import Order, Runner, runs_root
from caravan_bootstrapper.views import Play, RunState
from tests.support.eventually import eventually

CANARY = "canary-4d1f7b9a-2c60"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
HOSTS = {"all": {"hosts": {"one": LOCAL, "two": LOCAL}}}


class Bench:
    """A runner with playbooks of the test's own."""

    def __init__(self, folder: Path, timeout_s: float = 60.0) -> None:
        self.playbooks, self.root = folder / "playbooks", folder / "runs"
        self.playbooks.mkdir(exist_ok=True)
        (self.playbooks / "ansible.cfg").write_text("[defaults]\n")
        self.runner = Runner(self.playbooks, self.root, max_runs=2, timeout_s=timeout_s)
        self.steps: list[tuple[str, int]] = []
        self.printed = ""

    def order(self, tasks: str, **given: object) -> Order:
        """An order to run these tasks on every host."""
        indented = tasks.replace("\n", "\n    ")
        (self.playbooks / "site.yml").write_text(
            f"- hosts: all\n  gather_facts: false\n  tasks:\n    {indented.strip()}\n"
        )
        order = {"inventory": inventory.to_yaml(HOSTS), "secrets": {}, **given}
        return Order(run_id=uuid4(), play=Play.SITE, **order)  # type: ignore[arg-type]

    async def run(self, order: Order) -> Outcome:
        """Run it, noting the steps and what was printed."""
        return await self.runner.run(order, lambda step, number: self.steps.append((step, number)), self._print)

    def _print(self, text: str) -> None:
        self.printed += text


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.runner.close()


async def test_run_succeeds_and_tells_each_step_once(bench: Bench) -> None:
    outcome = await bench.run(
        bench.order("""
- name: Ensure the first thing
  ansible.builtin.debug: {msg: hello}
- name: Ensure the second thing
  ansible.builtin.debug: {msg: hello}
""")
    )
    assert outcome.state is RunState.SUCCEEDED
    assert outcome.failure is None
    assert bench.steps == [("ensure the first thing", 1), ("ensure the second thing", 2)]


async def test_what_ansible_prints_is_told_without_the_secrets_of_the_run(bench: Bench) -> None:
    tasks = f"""
- name: Ensure the first thing
  ansible.builtin.debug: {{msg: it is {CANARY} and nobody said no_log}}
- name: Ensure the second thing
  ansible.builtin.fail: {{msg: the disk is full}}
"""
    await bench.run(bench.order(tasks, secrets={"token": f'[{{"token": "{CANARY}"}}]'}))
    assert CANARY not in bench.printed
    assert "it is [hidden] and nobody said no_log" in bench.printed
    assert bench.printed.index("TASK [Ensure the first thing]") < bench.printed.index("the disk is full")
    assert "PLAY RECAP" in bench.printed
    assert "\x1b" not in bench.printed


async def test_failure_under_no_log_is_told_by_the_rescue(bench: Bench) -> None:
    outcome = await bench.run(
        bench.order(f"""
- name: Ensure the node has joined
  block:
    - name: Ensure the node has joined
      ansible.builtin.fail: {{msg: "{CANARY}"}}
      no_log: true
  rescue:
    - name: Ensure the reason is told
      ansible.builtin.fail: {{msg: the token has expired}}
""")
    )
    first, _, rest = (outcome.failure or "").partition(" ")
    assert first in {"one", "two"}  # both fail; either may be told first
    assert rest == "(and 1 more): failed to ensure the node has joined: the token has expired"


async def test_playbook_that_is_none_fails_with_ansibles_own_words(bench: Bench) -> None:
    order = bench.order("- name: Ensure nothing\n  no_such_module_anywhere: {}")
    outcome = await bench.run(order)
    assert outcome.state is RunState.FAILED
    assert outcome.failure


async def test_run_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    bench = Bench(tmp_path, timeout_s=4.0)
    outcome = await bench.run(bench.order("- name: Ensure patience\n  ansible.builtin.command: sleep 4711.5"))
    assert outcome.state is RunState.FAILED
    assert outcome.failure
    assert outcome.failure.startswith("site took longer than 4 s; it was to ")
    assert not _sleepers("4711.5")


async def test_cancelled_run_ends_with_its_children(bench: Bench) -> None:
    order = bench.order("- name: Ensure patience\n  ansible.builtin.command: sleep 4712.5")
    running = asyncio.create_task(bench.run(order))
    await eventually(lambda: _sleepers("4712.5"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not _sleepers("4712.5")
    assert list(bench.root.iterdir()) == []


async def test_secret_is_a_private_file_during_the_run_and_nowhere_afterwards(bench: Bench, tmp_path: Path) -> None:
    order = bench.order(
        """
- name: Ensure the secret can be read
  ansible.builtin.shell: "stat -c '%a' {{ secret_file }} > {{ seen_file }}; sleep 1"
  changed_when: true
  run_once: true
"""
    )
    secret_file = bench.runner.secrets_dir(order.run_id) / "token"
    hosts = {"all": {**HOSTS["all"], "vars": {"secret_file": str(secret_file), "seen_file": str(tmp_path / "mode")}}}
    order = Order(order.run_id, Play.SITE, inventory.to_yaml(hosts), {}, {"token": CANARY})
    running = asyncio.create_task(bench.run(order))
    await eventually(lambda: (tmp_path / "mode").exists() and (tmp_path / "mode").read_text())
    holders = [path for path in bench.root.rglob("*") if path.is_file() and CANARY in path.read_text(errors="replace")]
    assert holders == [secret_file]
    outcome = await running
    assert outcome.state is RunState.SUCCEEDED
    assert (tmp_path / "mode").read_text().strip() == "600"
    assert list(bench.root.iterdir()) == []
    assert CANARY not in repr(order)


async def test_failure_names_host_task_and_reason_and_user_text_in_it_stays_text(bench: Bench, tmp_path: Path) -> None:
    hostile = "{{ lookup('ansible.builtin.pipe', 'touch " + str(tmp_path / "owned") + "') }}"
    hosts = {"all": {"hosts": {"one": {**LOCAL, "kubeadm_labels": [["team", hostile]]}}}}
    outcome = await bench.run(
        bench.order(
            """
- name: Ensure the label is used
  ansible.builtin.fail: {msg: "{{ kubeadm_labels | map('join', '=') | join(',') }}"}
""",
            inventory=inventory.to_yaml(hosts),
        )
    )
    assert outcome.failure == f"one: failed to ensure the label is used: team={hostile}"
    assert not (tmp_path / "owned").exists()


async def test_runs_share_what_was_packed_for_the_machines_and_leave_nothing_of_it(bench: Bench) -> None:
    packed = bench.root.with_name("runs-packed")
    hosts = inventory.to_yaml({"all": {"hosts": {"one": LOCAL}}})
    tasks = f"- name: Ensure a module runs\n  ansible.builtin.command: echo {CANARY}"
    found = []
    for _ in range(2):
        assert (await bench.run(bench.order(tasks, inventory=hosts))).state is RunState.SUCCEEDED
        found.append({path: path.stat().st_mtime_ns for path in packed.glob("*ansible*command*")})
    assert found[0]
    assert found[0] == found[1]
    assert packed.stat().st_mode & 0o077 == 0
    assert not any(CANARY.encode() in path.read_bytes() for path in found[0])
    bench.runner.close()
    assert not packed.exists()


async def test_our_own_settings_are_not_in_ansibles_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_SANDBOX_TOKEN", CANARY)
    outcome = await bench.run(
        bench.order("""
- name: Ensure the environment is clean
  ansible.builtin.fail: {msg: "found [{{ lookup('ansible.builtin.env', 'CARAVAN_SANDBOX_TOKEN') }}]"}
""")
    )
    assert outcome.failure is not None
    assert outcome.failure.endswith("found []")


async def test_leftovers_of_a_dead_process_are_ended_and_removed(bench: Bench) -> None:
    directory = bench.root / str(uuid4())
    directory.mkdir(parents=True)
    (directory / "secret").write_text(CANARY)
    packed = bench.root.with_name("runs-packed")
    packed.mkdir()
    code = "import subprocess; subprocess.run(['sleep', '4713.5'])"
    orphan = subprocess.Popen([sys.executable, "-c", code, str(directory / "hosts.yml")], start_new_session=True)
    await eventually(lambda: _sleepers("4713.5"))
    bench.runner.clear_leftovers()
    orphan.wait(5)
    assert not _sleepers("4713.5")
    assert list(bench.root.iterdir()) == []
    assert not packed.exists()


def test_replicas_keep_their_runs_apart(tmp_path: Path) -> None:
    roots = {runs_root(tmp_path, tmp_path / state, instance) for state in ("a", "b") for instance in ("1", "2")}
    assert len(roots) == 4


def test_without_a_tmpfs_runs_are_kept_in_the_state_directory(tmp_path: Path) -> None:
    assert runs_root(tmp_path / "missing", tmp_path / "state", "default").parent == tmp_path / "state"


def _sleepers(seconds: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", seconds]]
