"""Real processes: how they are ended, how strays are told from strangers, how logs stay small."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from caravan_cli.up import processes
from caravan_cli.up.claim import Claim
from caravan_cli.up.errors import StackTaken
from caravan_cli.up.processes import Module, Process, Program, Stray, birth, rotate, tail
from tests.support import process

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True);"
    "print(child.pid, flush=True); time.sleep(60)"
)

Start = Callable[[str], Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Python text as a process and waits until it has said something."""
    started: list[Process] = []

    def begin(code: str) -> Process:
        log = tmp_path / f"{len(started)}.log"
        process = Process(Program("test", [sys.executable, "-c", code], 0, None), log, os.environ)
        started.append(process)
        while not tail(log, 1):
            time.sleep(0.01)
        return process

    yield begin
    for each in started:
        each.kill()


def test_stop_asks_first(start: Start) -> None:
    process = start(
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print(1, flush=True); time.sleep(60)"
    )
    process.stop(within_s=10)
    assert process.ended() == 7


def test_stubborn_process_is_killed_with_what_it_started(start: Start) -> None:
    process = start(STUBBORN)
    child = int(tail(process.log, 1))
    process.stop(within_s=1)
    assert process.ended() == -9
    assert birth(child) is None


def test_ctrl_c_at_the_terminal_reaches_the_supervisor_alone(start: Start) -> None:
    assert os.getsid(start(SLEEPER).pid) != os.getsid(0)


def test_stray_is_ended_only_if_it_is_the_very_process(start: Start) -> None:
    process = start(SLEEPER)
    assert process.born is not None
    Stray(process.pid, process.born - 100).stop(within_s=5)
    assert process.ended() is None
    stray = Stray(process.pid, process.born)
    stray.ask_to_end()
    stray.stop(within_s=5)
    assert process.ended() is not None


def test_log_is_moved_aside_when_it_is_too_large_and_goes_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 100)
    process = start("import time\nfor n in range(1000): print('line', n, flush=True); time.sleep(0.01)")
    while process.log.stat().st_size <= 100:
        time.sleep(0.01)
    rotate(process.log)
    assert process.log.with_suffix(".log.1").read_text().startswith("line 0\n")
    while not (text := process.log.read_text()):
        time.sleep(0.01)
    assert text.startswith("line ")


def test_second_supervisor_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first, second = Claim(tmp_path), Claim(tmp_path)
    first.take()
    with pytest.raises(StackTaken, match=f"process {os.getpid()}"):
        second.take()
    first.give_back()
    second.take()
    second.give_back()


def test_lock_of_a_killed_supervisor_is_free_and_its_processes_are_known(tmp_path: Path, start: Start) -> None:
    code = f"""
import time
from pathlib import Path
from caravan_cli.up.claim import Claim
Claim(Path({str(tmp_path)!r})).take()
print("held", flush=True)
time.sleep(60)
"""
    held = start(code)
    claim = Claim(tmp_path)
    with pytest.raises(StackTaken):
        claim.take()
    held.kill()
    claim.take()
    left = start(SLEEPER)
    claim.note({"api": left, "dns": held})
    claim.give_back()
    strays = Claim(tmp_path).strays()
    assert {name: stray.pid for name, stray in strays.items()} == {"api": left.pid}


def test_zombie_counts_as_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert birth(child.pid) is None
    child.wait()


# --- our own modules, forked ---


@pytest.fixture
def fork(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts the sandbox with settings."""
    forked: list[Process] = []

    def begin(**settings: object) -> Process:
        told = {"state_dir": tmp_path, "http_port": 0, "network": "127.64.0.0/16", **settings}
        forked.append(process.start("sandbox", tmp_path / f"{len(forked)}.log", told))
        return forked[-1]

    yield begin
    for each in forked:
        each.kill()


def _says(running: Process, words: str) -> None:
    while words not in running.log.read_text():
        assert running.ended() is None
        time.sleep(0.01)


def test_module_of_ours_runs_under_its_own_name_in_a_session_of_its_own(fork: Callable[..., Process]) -> None:
    running = fork()
    _says(running, "simulated cloud listens")
    assert psutil.Process(running.pid).cmdline()[0] == "caravan_sandbox"
    assert os.getsid(running.pid) == running.pid
    running.stop(within_s=10)
    assert running.ended() == 0


def test_module_of_ours_knows_only_the_environment_it_was_given(
    fork: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fork()
    _says(first, "simulated cloud listens")
    monkeypatch.setenv("CARAVAN_SANDBOX_HTTP_PORT", "no number")  # told to the second by nobody but us
    second = Process(
        Program("sandbox", Module("caravan_sandbox"), 0, None), first.log.with_name("second.log"), os.environ
    )
    while second.ended() is None:
        time.sleep(0.01)
    assert second.ended() == 1
    assert "http_port" in second.log.read_text()


def test_killed_module_of_ours_has_ended_for_whoever_asks(fork: Callable[..., Process]) -> None:
    running = fork()
    _says(running, "simulated cloud listens")
    running.kill()
    assert running.ended() == -9
    running.kill()
    assert birth(running.pid) is None
