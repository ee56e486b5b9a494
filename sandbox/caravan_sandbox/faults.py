"""Trouble on demand and by chance: what a test can switch on to see how callers cope.

| kind | what happens | narrowed by |
|---|---|---|
| `api_503` | any cloud call is answered 503 with Retry-After, nothing done | |
| `create_error` | a create is answered 503, nothing made | |
| `create_lost_reply` | a create is done, then the connection drops | |
| `reboot_lost_reply` | a reboot is done, then the connection drops | `name` |
| `machine_locked` | a reboot is answered 409, nothing done | `name` |
| `machine_error` | a machine ends in state error | `name` |
| `command_error` | a console command is answered 422 | `machine`, `command` |
| `apiserver_hang` | the kube-apiserver accepts a request and never answers | `address`, `machine`, `endpoint` |
| `apiserver_503` | the kube-apiserver answers 503 | `address`, `machine`, `endpoint` |
| `readyz_failure` | the check named `component` fails on /readyz, /livez, /healthz | as above |
"""

import random
from dataclasses import dataclass, field
from enum import StrEnum

from caravan_sandbox.settings import Settings


class FaultKind(StrEnum):
    """The kinds of the table above."""

    API_503 = "api_503"
    CREATE_ERROR = "create_error"
    CREATE_LOST_REPLY = "create_lost_reply"
    REBOOT_LOST_REPLY = "reboot_lost_reply"
    MACHINE_LOCKED = "machine_locked"
    MACHINE_ERROR = "machine_error"
    COMMAND_ERROR = "command_error"
    APISERVER_HANG = "apiserver_hang"
    APISERVER_503 = "apiserver_503"
    READYZ_FAILURE = "readyz_failure"


@dataclass
class Fault:
    """One ordered fault: it strikes `times` times (None: until cleared), where all of `where` agrees."""

    kind: FaultKind
    times: int | None = 1
    where: dict[str, str] = field(default_factory=dict)

    def strikes(self, facts: dict[str, str]) -> bool:
        """Whether the facts of a call agree with everything this fault names."""
        return all(facts.get(name) == value for name, value in self.where.items() if name != "component")


class Faults:
    """The faults in force: ordered ones first, then chance by the settings' rates."""

    def __init__(self, settings: Settings, chance: random.Random) -> None:
        self.ordered: list[Fault] = []
        self._chance = chance
        self._rates = {
            FaultKind.CREATE_ERROR: settings.create_error_rate,
            FaultKind.CREATE_LOST_REPLY: settings.lost_reply_rate,
            FaultKind.MACHINE_ERROR: settings.machine_error_rate,
        }

    def order(self, fault: Fault) -> None:
        """Put a fault in force."""
        self.ordered.append(fault)

    def clear(self) -> None:
        """Lift every ordered fault."""
        self.ordered.clear()

    def take(self, kind: FaultKind, **facts: str) -> Fault | None:
        """The fault of this kind that strikes now, used up by one; None where all is well."""
        if not self.ordered and not self._rates.get(kind):
            return None
        for fault in self.ordered:
            if fault.kind is kind and fault.strikes(facts):
                self._use(fault)
                return fault
        if self._chance.random() < self._rates.get(kind, 0.0):
            return Fault(kind)
        return None

    def failing_components(self, **facts: str) -> set[str]:
        """The health checks that fail now; each ordered failure is used up by one."""
        failing = [f for f in self.ordered if f.kind is FaultKind.READYZ_FAILURE and f.strikes(facts)]
        for fault in failing:
            self._use(fault)
        return {fault.where.get("component", "etcd") for fault in failing}

    def _use(self, fault: Fault) -> None:
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.ordered.remove(fault)
