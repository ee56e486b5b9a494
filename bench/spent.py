"""CPU seconds that a local stack has spent, from /proc: user and system, with the children that were waited for."""

from dataclasses import dataclass

import psutil

from caravan_bootstrapper.runner import runs_root
from caravan_bootstrapper.settings import Settings
from caravan_cli.up import Stack
from caravan_cli.up.parts import PARTS, SERVICES


@dataclass(frozen=True)
class Spent:
    """Since the stack began. The bootstrapper's part has Ansible in it, and Ansible's connections."""

    parts: dict[str, float]

    @property
    def controller(self) -> float:
        """What making nodes of machines costs."""
        return self.parts["bootstrapper"]

    @property
    def services(self) -> float:
        """All five services."""
        return sum(self.parts[part] for part in SERVICES)

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent({part: seconds - before.parts[part] for part, seconds in self.parts.items()})


class Meter:
    """Reads one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._runs = str(runs_root(Settings().runs_dir, stack.state_dir, Settings().instance))
        self._connections: dict[tuple[int, float], float] = {}

    def read(self) -> Spent:
        """What was spent so far."""
        times = {part: psutil.Process(self._stack.pid(part)).cpu_times() for part in PARTS}
        spent = {part: one.user + one.system + one.children_user + one.children_system for part, one in times.items()}
        return Spent(spent | {"bootstrapper": spent["bootstrapper"] + self._of_connections()})

    def _of_connections(self) -> float:
        """SSH's masters outlive their Ansible by a minute and have no parent, so they are looked for by their runs."""
        for process in psutil.process_iter():
            try:
                if process.name() == "ssh" and self._runs in " ".join(process.cmdline()):
                    times = process.cpu_times()
                    self._connections[process.pid, process.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return sum(self._connections.values())
