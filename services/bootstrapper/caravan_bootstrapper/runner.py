"""Run one playbook with ansible-runner and say how it ended. The only file that knows ansible-runner.

Each run has a directory of its own, on a tmpfs where there is one: inventory, variables, and secrets as files that only
our user can read. It is removed whatever happens; what Ansible prints is handed on, without the secrets of the run.
ansible-runner blocks, so it has threads of its own here.
"""

import asyncio
import contextvars
import hashlib
import os
import shlex
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import ansible_runner
import psutil
from opentelemetry.trace import SpanKind

from caravan_bootstrapper import inventory, logs, playbook, processes
from caravan_bootstrapper.events import EventReader, last_line
from caravan_bootstrapper.metrics import RUN_SECONDS, RUNS, RUNS_IN_FLIGHT, RUNS_MOST
from caravan_bootstrapper.progress import OnPrint, OnStep
from caravan_bootstrapper.records import Outcome
from caravan_bootstrapper.task_spans import TaskSpans
from caravan_bootstrapper.views import Play, RunState
from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.log import get_logger

LOOK_EVERY_S = 1  # seconds between ansible-runner's looks at cancel and timeout while Ansible is silent

log = get_logger(__name__)


@dataclass(frozen=True)
class Order:
    """One playbook run. `variables` reach Ansible's command line: only numbers and role names of ours belong there."""

    run_id: UUID
    play: Play
    inventory: str
    variables: dict[str, str | int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """File name → content, below `secrets_dir`."""
    files: dict[str, str] = field(default_factory=dict, repr=False)
    """File name → content, below the folder that `secrets_dir` is in. What is secret in it is one of `secrets`, too."""
    within_s: float | None = None
    """Seconds after which it is ended; None: the runner's own limit."""


class Runner:
    """Runs playbooks, up to `max_runs` at a time."""

    def __init__(self, playbooks_dir: Path, root: Path, *, max_runs: int, timeout_s: float) -> None:
        self._playbooks, self._root, self._timeout_s = playbooks_dir, root, timeout_s
        self._packed = root.with_name(f"{root.name}-packed")
        self._threads = ThreadPoolExecutor(max_workers=max_runs, thread_name_prefix="run")
        RUNS_MOST.set(max_runs)

    def secrets_dir(self, run_id: UUID) -> Path:
        """Where the secrets of a run will be."""
        return self._directory(run_id) / "secrets"

    async def run(self, order: Order, on_step: OnStep, on_print: OnPrint) -> Outcome:
        """Run to the end. `on_step` and `on_print` are called in the event loop, before this returns.

        Cancelling the task that waits here ends the run, within seconds and with everything it started.
        """
        about = {"caravan.run.id": str(order.run_id), "ansible.playbook": order.play.value}
        with tracing.step(f"run {order.play}", SpanKind.INTERNAL, about):
            with RUNS_IN_FLIGHT.labels(order.play).track_inprogress(), RUN_SECONDS.labels(order.play).time():
                outcome = await self._in_thread(order, on_step, on_print)
            RUNS.labels(order.play, outcome.state.lower()).inc()
            if outcome.state is RunState.FAILED:
                tracing.fail(outcome.failure or "")
            return outcome

    async def _in_thread(self, order: Order, on_step: OnStep, on_print: OnPrint) -> Outcome:
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()
        reader = EventReader(lambda step, number: loop.call_soon_threadsafe(on_step, step, number))
        words = logs.words_of(text for name, text in order.secrets.items() if name != inventory.KNOWN_HOSTS)

        def printed(output: str) -> None:
            loop.call_soon_threadsafe(on_print, logs.without_secrets(logs.plain(output), words))

        in_trace = contextvars.copy_context()
        work = loop.run_in_executor(self._threads, in_trace.run, self._execute, order, reader, printed, cancelled)
        cancellation: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled.set()
                cancellation = error
        if cancellation:
            raise cancellation
        return work.result()

    def clear_leftovers(self) -> None:
        """End what runs of a dead predecessor left at work, and remove their files. Call before the first run."""
        _remove(self._packed)  # its playbooks may have been of another version
        _make_private(self._root)
        for directory in self._root.iterdir():
            ended = processes.end(processes.of_run(directory, list(psutil.process_iter())))
            shutil.rmtree(directory)
            log.warning("removed what a dead run left behind", run=directory.name, processes_ended=ended)

    def close(self) -> None:
        """Take no more runs, and leave nothing on the tmpfs."""
        self._threads.shutdown(wait=False)
        _remove(self._packed)
        if self._root.is_dir() and not any(self._root.iterdir()):
            self._root.rmdir()

    def _directory(self, run_id: UUID) -> Path:
        return self._root / str(run_id)

    def _execute(self, order: Order, reader: EventReader, printed: OnPrint, cancelled: threading.Event) -> Outcome:
        directory = self._directory(order.run_id)
        try:
            self._write(directory, order)
            return self._ansible(directory, order, reader, printed, cancelled)
        finally:
            _remove(directory)

    def _write(self, directory: Path, order: Order) -> None:
        _make_private(self._root)
        _make_private(self._packed)
        for made in (directory, directory / "secrets", directory / "tmp"):
            made.mkdir(mode=0o700)
        for name, content in {"hosts.yml": order.inventory, **order.files}.items():
            _write_private(directory / name, content)
        for name, content in order.secrets.items():
            _write_private(directory / "secrets" / name, content)

    def _ansible(
        self, directory: Path, order: Order, reader: EventReader, printed: OnPrint, cancelled: threading.Event
    ) -> Outcome:
        limit_s = order.within_s or self._timeout_s
        watch, tasks = _Watch(directory, cancelled, limit_s), TaskSpans()

        def handle(event: dict[str, Any]) -> bool:
            reader.read(event)
            tasks.read(event)
            if output := event.get("stdout"):
                printed(f"{output}\n")
            return False  # True would keep every event in a file

        result = ansible_runner.run(
            private_data_dir=str(directory),
            binary=sys.executable,
            cmdline=shlex.join(["-P", "-m", playbook.__name__, str(self._playbooks / f"{order.play}.yml")]),
            inventory=str(directory / "hosts.yml"),
            extravars=dict(order.variables),
            envvars=self._environment(directory),
            settings={"pexpect_timeout": LOOK_EVERY_S},
            event_handler=handle,
            cancel_callback=watch.must_end,
            quiet=True,
        )
        tasks.end()
        watch.end_survivors()
        if cancelled.is_set() and result.status != "successful":
            return Outcome(RunState.CANCELLED, "cancelled")
        if watch.timed_out:
            at = reader.step or "begin"
            return Outcome(RunState.FAILED, f"{order.play} took longer than {limit_s:g} s; it was to {at}")
        if result.status == "successful":
            return Outcome(RunState.SUCCEEDED)
        with result.stdout as output:
            return Outcome(RunState.FAILED, reader.sentence() or last_line(output.read()), reader.by_host())

    def _environment(self, directory: Path) -> dict[str, str]:
        """Ansible's own paths; and none of our settings, for ansible-runner writes its environment to a file."""
        hidden = {name: "" for name in os.environ if name.startswith("CARAVAN_")}
        return hidden | {
            playbook.PACKED: str(self._packed),
            "ANSIBLE_CONFIG": str(self._playbooks / "ansible.cfg"),
            # ansible-runner turns it off for whoever does not say this, whatever ansible.cfg says; and then Ansible
            # puts StrictHostKeyChecking=no before our own options, of which ssh takes the first.
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_HOME": str(directory / "tmp"),
            "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"),
        }


class _Watch:
    """Decides when a run must end, and ends what outlives it."""

    def __init__(self, directory: Path, cancelled: threading.Event, timeout_s: float) -> None:
        self._directory, self._cancelled = directory, cancelled
        self._until = time.monotonic() + timeout_s
        self._ended = False
        self.timed_out = False

    def must_end(self) -> bool:
        """ansible-runner asks this about once a second."""
        if not self._cancelled.is_set() and time.monotonic() < self._until:
            return False
        self.timed_out = not self._cancelled.is_set()
        if not self._ended:  # now, while their parents still lead to them; later they would hold the terminal open
            processes.end(processes.below_children(self._directory))
            self._ended = True
        return True

    def end_survivors(self) -> None:
        """End what was started while the others were being ended."""
        if self._ended:
            processes.end(processes.of_run(self._directory, list(psutil.process_iter())))


def runs_root(runs_dir: Path, state_dir: Path, instance: str) -> Path:
    """Where this replica's runs keep their files: one name a replica, so that whatever is found there is its own."""
    identity = hashlib.sha256(f"{state_dir}\0{instance}".encode()).hexdigest()[:12]
    if runs_dir.is_dir() and os.access(runs_dir, os.W_OK):
        return runs_dir / f"caravan-runs-{identity}"
    log.warning("runs keep their files, secrets included, on disk while they last", wanted=str(runs_dir))
    return state_dir / f"runs-{identity}"


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid() or directory.is_symlink():
        raise PermissionError(f"{directory} belongs to somebody else")
    directory.chmod(0o700)


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)


def _write_private(path: Path, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
