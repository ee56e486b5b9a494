"""What the api has been told about a cluster, folded into one small value.

Facts come doubled, late and in any order. Each field therefore keeps either a maximum or the telling with the highest
sequence of its source, so that the same tellings in any order give the same `Facts`. Pure.
"""

from collections.abc import Callable
from datetime import datetime
from functools import singledispatch
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event, WhoCanFix
from caravan_shared.contracts.states import Verdict


class Value(BaseModel):
    """A frozen piece of what was told."""

    model_config = ConfigDict(frozen=True)


class Mark(Value):
    """How far a service got: the highest generation it finished, and the sequence it said so with."""

    generation: int = 0
    sequence: int = 0


class Version(Value):
    """The Kubernetes version that runs, by the bootstrapper's highest `bootstrap.done`."""

    number: str
    sequence: int


class Step(Value):
    """The last step that a Run reached."""

    text: str
    at: datetime
    sequence: int


class Endpoint(Value):
    """Where the kube-apiserver is reached, as dns said last."""

    host: str
    port: int
    addresses: tuple[str, ...]
    virtual_ip: str | None = None
    resolvable: bool
    sequence: int


class Failure(Value):
    """A service gave up. `generation` is None where the failure is not of one generation."""

    source: str
    generation: int | None
    reason: str
    who_can_fix: WhoCanFix
    at: datetime
    sequence: int


class Health(Value):
    """health's verdict on the whole cluster."""

    verdict: Verdict
    reason: str
    since: datetime
    sequence: int


class Remaining(Value):
    """How many machines the cloud still had when the provisioner last counted, after deletion was asked for."""

    machines: int
    sequence: int


class Held(Value):
    """What waits for the maintenance window, as the bootstrapper said last; empty: nothing any more."""

    text: str
    sequence: int


class Power(Value):
    """How far the cluster's machines are stopped or started, as the provisioner said last."""

    generation: int
    asleep: bool
    running: int
    stopped: int
    complete: bool
    trouble: str | None = None
    sequence: int

    @property
    def total(self) -> int:
        """Machines that run or are stopped."""
        return self.running + self.stopped


class Facts(Value):
    """All that was told about one cluster as a whole. Nodes have rows of their own."""

    nodes_heard: bool = False
    machines: Mark = Mark()
    started: bool = False
    done: Mark = Mark()
    version: Version | None = None
    step: Step | None = None
    endpoint: Endpoint | None = None
    addressed: bool = False
    """The endpoint had an address once: it stays true, so that a Ready cluster never goes back to being made."""
    withdrawn: bool = False
    remaining: Remaining | None = None
    health: Health | None = None
    answered_at: datetime | None = None
    """When health last said that the kube-apiserver answers."""
    power: Power | None = None
    held: Held | None = None
    provisioner_failure: Failure | None = None
    bootstrapper_failure: Failure | None = None
    dns_failure: Failure | None = None

    def failures(self) -> tuple[Failure, ...]:
        """The last time each service gave up, whether it still counts or not."""
        all_of_them = (self.provisioner_failure, self.bootstrapper_failure, self.dns_failure)
        return tuple(failure for failure in all_of_them if failure)


def visible(facts: Facts) -> Any:
    """What people can see of the facts: without what says only when and how often something was told."""
    return _without_bookkeeping(facts.model_dump(mode="json"))


def _without_bookkeeping(dumped: Any) -> Any:
    if not isinstance(dumped, dict):
        return dumped
    bookkeeping = ("sequence", "at", "answered_at")
    return {key: _without_bookkeeping(value) for key, value in dumped.items() if key not in bookkeeping}


class Telling(Value):
    """How a fact came: its source's sequence, when it was said, and since when the cluster is to be deleted."""

    sequence: int
    at: datetime
    deletion_asked_at: datetime | None = None

    def is_about_deletion(self) -> bool:
        """True for what was said after deletion was asked for: what was gone before may have come back since."""
        return self.deletion_asked_at is not None and self.at >= self.deletion_asked_at


V = TypeVar("V", Step, Endpoint, Failure, Health, Held, Power, Remaining, Version)


def _newer(old: V | None, new: V) -> V:
    return new if old is None or new.sequence > old.sequence else old


def _furthest(old: Mark, generation: int, telling: Telling) -> Mark:
    new = Mark(generation=generation, sequence=telling.sequence)
    return max(old, new, key=lambda mark: (mark.generation, mark.sequence))


@singledispatch
def changes(event: Event, _facts: Facts, _telling: Telling) -> dict[str, Any]:
    """Which fields of `Facts` an event changes, and to what. Events about nodes alone change none."""
    return {}


def fold(facts: Facts, event: Event, telling: Telling) -> Facts:
    """Return the facts with one more telling in them; the same value when it says nothing new."""
    update = changes(event, facts, telling)
    return facts.model_copy(update=update) if update else facts


_on: Callable[..., Any] = changes.register


@_on
def _(event: e.NodesCreating, _facts: Facts, _telling: Telling) -> dict[str, Any]:
    return {"nodes_heard": True}


@_on
def _(event: e.NodesReady, facts: Facts, telling: Telling) -> dict[str, Any]:
    if not event.complete:
        return {"nodes_heard": True}
    return {"nodes_heard": True, "machines": _furthest(facts.machines, event.generation, telling)}


@_on
def _(event: e.NodesFailed, facts: Facts, telling: Telling) -> dict[str, Any]:
    if not event.gave_up:
        return {"nodes_heard": True}
    users = [node for node in event.nodes if node.who_can_fix is WhoCanFix.USER]
    first = (users or list(event.nodes))[:1]
    failure = Failure(
        source="provisioner",
        generation=event.generation,
        reason=first[0].reason if first else "the machines could not be made",
        who_can_fix=first[0].who_can_fix if first else WhoCanFix.OPERATOR,
        at=telling.at,
        sequence=telling.sequence,
    )
    return {"nodes_heard": True, "provisioner_failure": _newer(facts.provisioner_failure, failure)}


@_on
def _(event: e.NodesRemoved, facts: Facts, telling: Telling) -> dict[str, Any]:
    if not telling.is_about_deletion():
        return {}
    remaining = Remaining(machines=event.remaining, sequence=telling.sequence)
    return {"remaining": _newer(facts.remaining, remaining)}


@_on
def _(event: e.NodesPowerChanged, facts: Facts, telling: Telling) -> dict[str, Any]:
    power = Power(
        generation=event.power_generation,
        asleep=event.asleep,
        running=event.running,
        stopped=event.stopped,
        complete=event.complete,
        trouble=event.trouble,
        sequence=telling.sequence,
    )
    return {"power": _newer(facts.power, power)}


@_on
def _(event: e.BootstrapStarted, _facts: Facts, _telling: Telling) -> dict[str, Any]:
    return {"started": True}


@_on
def _(event: e.BootstrapProgress, facts: Facts, telling: Telling) -> dict[str, Any]:
    step = Step(text=event.step, at=event.at, sequence=telling.sequence)
    return {"started": True, "step": _newer(facts.step, step)}


@_on
def _(event: e.NodesJoined, _facts: Facts, _telling: Telling) -> dict[str, Any]:
    return {"nodes_heard": True, "started": True}


@_on
def _(event: e.BootstrapDone, facts: Facts, telling: Telling) -> dict[str, Any]:
    version = Version(number=event.version, sequence=telling.sequence)
    return {
        "nodes_heard": True,
        "started": True,
        "done": _furthest(facts.done, event.generation, telling),
        "version": _newer(facts.version, version),
    }


@_on
def _(event: e.BootstrapFailed, facts: Facts, telling: Telling) -> dict[str, Any]:
    failure = Failure(
        source="bootstrapper",
        generation=event.generation,
        reason=event.reason,
        who_can_fix=event.who_can_fix,
        at=telling.at,
        sequence=telling.sequence,
    )
    return {"bootstrapper_failure": _newer(facts.bootstrapper_failure, failure)}


@_on
def _(event: e.BootstrapHeld, facts: Facts, telling: Telling) -> dict[str, Any]:
    return {"held": _newer(facts.held, Held(text=event.reason, sequence=telling.sequence))}


@_on
def _(event: e.EndpointIssued, facts: Facts, telling: Telling) -> dict[str, Any]:
    endpoint = Endpoint(
        host=event.host,
        port=event.port,
        addresses=event.addresses,
        virtual_ip=event.virtual_ip,
        resolvable=event.resolvable,
        sequence=telling.sequence,
    )
    return {
        "endpoint": _newer(facts.endpoint, endpoint),
        "addressed": facts.addressed or bool(event.addresses),
    }


@_on
def _(event: e.EndpointWithdrawn, _facts: Facts, telling: Telling) -> dict[str, Any]:
    return {"withdrawn": True} if telling.is_about_deletion() else {}


@_on
def _(event: e.EndpointFailed, facts: Facts, telling: Telling) -> dict[str, Any]:
    failure = Failure(
        source="dns",
        generation=None,
        reason=event.reason,
        who_can_fix=event.who_can_fix,
        at=telling.at,
        sequence=telling.sequence,
    )
    return {"dns_failure": _newer(facts.dns_failure, failure)}


@_on
def _(event: e.HealthChanged, facts: Facts, telling: Telling) -> dict[str, Any]:
    health = Health(verdict=event.verdict, reason=event.reason, since=event.since, sequence=telling.sequence)
    update: dict[str, Any] = {"health": _newer(facts.health, health)}
    if event.verdict in _ANSWERS:
        update["answered_at"] = max(facts.answered_at or telling.at, telling.at)
    return update


_ANSWERS = frozenset({Verdict.HEALTHY, Verdict.DEGRADED})
