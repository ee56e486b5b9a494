"""What holds of a cluster and what is waited for, one sentence each. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from caravan_api.readmodel import ClusterView
from caravan_shared.contracts.states import ClusterPhase, Verdict


class Holds(StrEnum):
    """Whether a condition does; as the page says it."""

    YES = "yes"
    NOT_YET = "not yet"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that has to hold of a cluster in use."""

    name: str
    holds: Holds
    why: str
    since: datetime | None = None


def conditions(view: ClusterView) -> list[Condition]:
    """All of them, in the order in which they come to hold."""
    return [*_machines(view), _endpoint(view), _joined(view), _health(view), *_besides(view)]


def _machines(view: ClusterView) -> Iterator[Condition]:
    nodes = view.nodes
    yield Condition("Machines run", _reached(nodes.made, nodes.wanted), f"{nodes.made} of {nodes.wanted}")
    if nodes.failed:
        yield Condition("No machine failed", Holds.NO, f"{nodes.failed} failed")


def _endpoint(view: ClusterView) -> Condition:
    endpoint = view.endpoint
    if endpoint is None:
        return Condition("Endpoint answers", Holds.NOT_YET, "it has no name yet")
    address = f"{endpoint.host}:{endpoint.port}"
    if not endpoint.addresses:
        return Condition("Endpoint answers", Holds.NOT_YET, f"{address} waits for the first control plane")
    where = endpoint.virtual_ip or ", ".join(endpoint.addresses)
    return Condition("Endpoint answers", Holds.YES, f"{address} at {where}")


def _joined(view: ClusterView) -> Condition:
    nodes = view.nodes
    return Condition("Nodes have joined", _reached(nodes.joined, nodes.wanted), f"{nodes.joined} of {nodes.wanted}")


def _health(view: ClusterView) -> Condition:
    health = view.health
    if health is None or health.verdict is Verdict.UNKNOWN:
        return Condition("Healthy", Holds.NOT_YET, health.reason if health else "not looked at yet")
    holds = Holds.YES if health.verdict is Verdict.HEALTHY else Holds.NO
    return Condition("Healthy", holds, health.reason, health.since)


def _besides(view: ClusterView) -> Iterator[Condition]:
    """What is told only where it is out of the ordinary."""
    if view.replacing:
        yield Condition("Nodes stay", Holds.NOT_YET, f"to be replaced: {', '.join(view.replacing)}")
    if view.spec.paused:
        yield Condition("Work goes on", Holds.NO, "it is paused until somebody resumes it")
    if view.phase is ClusterPhase.DELETING:
        yield Condition("All is gone", Holds.NOT_YET, view.step.text if view.step else "it is being deleted")


def _reached(number: int, wanted: int) -> Holds:
    return Holds.YES if number == wanted else Holds.NOT_YET
