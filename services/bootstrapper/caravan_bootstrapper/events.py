"""What Ansible tells while it runs, read into two things: the step it is at, and a sentence about what failed. Pure."""

import re
from collections.abc import Callable
from typing import Any

LONGEST_REASON = 1_000  # characters; the log of the machine has the rest
_OTHER_KEY = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class EventReader:
    """Takes ansible-runner's events one by one; `on_step(name, number)` is called for every new step."""

    def __init__(self, on_step: Callable[[str, int], object]) -> None:
        self._on_step = on_step
        self.step: str | None = None
        self.number = 0
        self._failed: dict[str, tuple[str, str | None]] = {}
        self._unreachable: dict[str, str] = {}

    def read(self, event: dict[str, Any]) -> None:
        """Take one event in."""
        data = event.get("event_data") or {}
        match event.get("event"):
            case "playbook_on_task_start":
                self._start(str(data.get("name") or data.get("task") or ""))
            case "runner_on_failed" if not data.get("ignore_errors"):
                self._fail(str(data.get("host")), _as_step(str(data.get("task"))), _message(data.get("res")))
            case "runner_on_unreachable":
                self._unreachable[str(data.get("host"))] = _why_unreachable(_message(data.get("res")))

    def sentence(self) -> str | None:
        """What failed, where, and what was said about it; None if nothing was told of."""
        by_host = self.by_host()
        if not by_host:
            return None
        host, sentence = next(iter(by_host.items()))
        more = f" (and {len(by_host) - 1} more)" if len(by_host) > 1 else ""
        return f"{host}{more}{sentence.removeprefix(host)}"

    def by_host(self) -> dict[str, str]:
        """What failed on each host, as a sentence that begins with its name; failures before silences."""
        failed = {
            host: f"{host}: failed to {task}: {message or 'no reason was given'}"
            for host, (task, message) in self._failed.items()
        }
        silent = {host: f"{host} cannot be reached: {message}" for host, message in self._unreachable.items()}
        return failed | {host: sentence for host, sentence in silent.items() if host not in failed}

    def _start(self, name: str) -> None:
        step = _as_step(name)
        if not step.startswith("ensure ") or step == self.step:
            return  # one of Ansible's own tasks, such as checking a role's arguments
        self.step, self.number = step, self.number + 1
        self._on_step(self.step, self.number)

    def _fail(self, host: str, task: str, message: str | None) -> None:
        earlier = self._failed.get(host)
        if earlier and earlier[1] is None:
            task = earlier[0]  # a rescue tells the reason that no_log had hidden
        self._failed[host] = (task, message)


def last_line(output: str) -> str:
    """The last line with something in it; what Ansible says when it does not even begin."""
    lines = [line.strip() for line in _ANSI.sub("", output).splitlines() if line.strip()]
    return lines[-1][:LONGEST_REASON] if lines else "Ansible ended without a word"


def _as_step(name: str) -> str:
    """`sandbox : Ensure etcd runs` → `ensure etcd runs`: which role it is in is of no interest to a user."""
    task = name.rpartition(" : ")[2]
    return task[:1].lower() + task[1:]


def _why_unreachable(message: str | None) -> str:
    """ssh shouts over many lines where a host key is not the one that was told."""
    if message and _OTHER_KEY.search(message):
        return "its SSH host key is not the one that was told; another machine may stand in its place"
    return message or "no answer"


def _message(result: Any) -> str | None:
    """What the failing task said; None where no_log hides it."""
    if not isinstance(result, dict) or "censored" in result:
        return None
    text = result.get("msg") or result.get("stderr") or result.get("stdout") or result.get("reason")
    return _ANSI.sub("", str(text)).strip()[:LONGEST_REASON] if text else None
