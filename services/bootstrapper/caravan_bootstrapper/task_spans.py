"""What a trace shows of a run: a span for each task, from its start to the next one's. Names alone, never arguments.

Tasks follow each other (Ansible's linear strategy), each on all hosts; so one span a task, not one a host.
"""

from typing import Any

from opentelemetry.trace import Span, SpanKind

from caravan_shared.plumbing import tracing


class TaskSpans:
    """Takes ansible-runner's events one by one, below the span that was current when it was made."""

    def __init__(self) -> None:
        self._task: Span | None = None
        self._failed: set[str] = set()

    def read(self, event: dict[str, Any]) -> None:
        """Take one event in."""
        data = event.get("event_data") or {}
        match event.get("event"):
            case "playbook_on_task_start":
                self.end()
                role, _, task = str(data.get("name") or data.get("task") or "").rpartition(" : ")
                self._task = tracing.open_step(f"task {task}", SpanKind.INTERNAL, {"ansible.role": role})
            case "runner_on_failed" if not data.get("ignore_errors"):
                self._failed.add(str(data.get("host")))
            case "runner_on_unreachable":
                self._failed.add(str(data.get("host")))

    def end(self) -> None:
        """The present task is over, or the run is."""
        if self._task:
            if self._failed:
                tracing.mark_failed(self._task, f"failed on {', '.join(sorted(self._failed))}")
            self._task.end()
        self._task, self._failed = None, set()
