"""Tell in one sentence what an event means to the people who own the cluster. Pure.

Only news is told: the recorder asks for a sentence when an event changed something, so a fact that is said again
adds none.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import singledispatch
from typing import Any

from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.spec import ClusterSpec, RepairMode


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a cluster's timeline; `data` is what a program needs of it."""

    kind: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


def utc(moment: datetime) -> str:
    """A moment for people, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def how_many(nodes: Sequence[Any]) -> str:
    """Nodes in words, by set: `1 node of control-plane, 2 nodes of workers`."""
    sets = Counter(node.node_set for node in nodes)
    return ", ".join(f"{count} node{'s' * (count > 1)} of {name}" for name, count in sorted(sets.items()))


def change_sentence(user: str, before: ClusterSpec, after: ClusterSpec) -> str:
    """Who changed what of a cluster's spec, in a sentence."""
    if before.model_copy(update={"paused": after.paused}) == after:
        return f"{user} {'paused' if after.paused else 'resumed'} the cluster"
    if before.model_copy(update={"repair": after.repair}) == after:
        return (
            f"{user} switched repair of the cluster's nodes {'off' if after.repair is RepairMode.OFF else 'on again'}"
        )
    paused = ", which stays paused" if before.paused and after.paused else ""
    return f"{user} changed the cluster: {after.node_count()} nodes with Kubernetes {after.version}{paused}"


def removed(nodes: Sequence[Any]) -> Entry | None:
    """The sentence for nodes whose machines are gone."""
    return Entry("machines", f"Removed: {how_many(nodes)}", _nodes(nodes)) if nodes else None


def _nodes(nodes: Sequence[Any]) -> dict[str, Any]:
    return {"node_sets": dict(Counter(node.node_set for node in nodes))}


@singledispatch
def entry(event: Event, news: Sequence[Any]) -> Entry | None:
    """The sentence for an event, or None if it is no news for people. `news` are the event's nodes that it moved."""
    return None


_on: Callable[..., Any] = entry.register


@_on
def _(_event: e.NodesCreating, news: Sequence[Any]) -> Entry | None:
    return Entry("machines", f"Machines are being made: {how_many(news)}", _nodes(news)) if news else None


@_on
def _(_event: e.NodesReady, news: Sequence[Any]) -> Entry | None:
    return Entry("machines", f"Machines run: {how_many(news)}", _nodes(news)) if news else None


@_on
def _(event: e.NodesFailed, news: Sequence[Any]) -> Entry | None:
    if not news and not event.gave_up:
        return None
    nodes = news or event.nodes
    reason = nodes[0].reason if nodes else "no machine could be made"
    end = "; no more tries until someone retries" if event.gave_up else ""
    return Entry("failure", f"Machines failed: {how_many(nodes)}: {reason}{end}", _nodes(nodes))


@_on
def _(_event: e.NodesLeaving, news: Sequence[Any]) -> Entry | None:
    return Entry("machines", f"Leaving: {how_many(news)}", _nodes(news)) if news else None


@_on
def _(_event: e.NodesRemoved, news: Sequence[Any]) -> Entry | None:
    return removed(news)


@_on
def _(event: e.NodesPowerChanged, _news: Sequence[Any]) -> Entry | None:
    if event.trouble:
        todo = "stopped" if event.asleep else "started"
        return Entry("power", f"Its machines cannot be {todo}: {event.trouble}; a retry tries again")
    if not event.complete:
        return None
    if event.asleep:
        return Entry("power", f"All {event.stopped} machines are stopped")
    return Entry(
        "power", f"{event.stopped} machines did not start again" if event.stopped else "All machines run again"
    )


@_on
def _(_event: e.NodesRepairHeld, news: Sequence[Any]) -> Entry | None:
    held = [node for node in news if node.reason]
    if not held:
        return None
    which = held[0].name if len(held) == 1 else how_many(held)
    return Entry("held", f"Not replaced yet: {which}: {held[0].reason}", {**_nodes(held), "node": held[0].name})


@_on
def _(event: e.NodesJoined, news: Sequence[Any]) -> Entry | None:
    text = f"Joined with {event.version}: {how_many(news)}"
    return Entry("joined", text, {**_nodes(news), "version": event.version}) if news else None


@_on
def _(event: e.BootstrapStarted, _news: Sequence[Any]) -> Entry | None:
    return Entry("bootstrap", f"Bootstrapping starts on {event.first_node}", {"generation": event.generation})


@_on
def _(event: e.BootstrapProgress, _news: Sequence[Any]) -> Entry | None:
    return Entry("bootstrap", f"{event.play}: {event.step}", {"run_id": str(event.run_id), "step": event.step_number})


@_on
def _(event: e.BootstrapDone, _news: Sequence[Any]) -> Entry | None:
    data = {"generation": event.generation, "version": event.version}
    return Entry("bootstrap", f"All {event.nodes} nodes have joined and run {event.version}", data)


@_on
def _(event: e.BootstrapFailed, _news: Sequence[Any]) -> Entry | None:
    data = {"generation": event.generation, "who_can_fix": event.who_can_fix}
    if event.run_id:
        data["run_id"] = str(event.run_id)
    return Entry("failure", f"Bootstrapping failed: {event.reason}", data)


@_on
def _(event: e.BootstrapHeld, _news: Sequence[Any]) -> Entry | None:
    return Entry("held", f"Held back: {event.reason}") if event.reason else None


@_on
def _(event: e.EndpointIssued, _news: Sequence[Any]) -> Entry | None:
    addresses = ", ".join(event.addresses) or "no address yet"
    data = {"addresses": list(event.addresses), "virtual_ip": event.virtual_ip}
    if event.virtual_ip:
        who = f"where {' or '.join(event.addresses)} answers" if event.addresses else "where nobody answers yet"
        return Entry("endpoint", f"{event.host}:{event.port} points at {event.virtual_ip}, {who}", data)
    return Entry("endpoint", f"{event.host}:{event.port} points at {addresses}", data)


@_on
def _(_event: e.EndpointWithdrawn, _news: Sequence[Any]) -> Entry | None:
    return Entry("endpoint", "The name is withdrawn and all credentials are void")


@_on
def _(event: e.EndpointFailed, _news: Sequence[Any]) -> Entry | None:
    return Entry("failure", f"The name could not be set: {event.reason}", {"who_can_fix": event.who_can_fix})


@_on
def _(event: e.HealthChanged, _news: Sequence[Any]) -> Entry | None:
    data = {"verdict": event.verdict, "nodes_ready": event.nodes_ready, "nodes_seen": event.nodes_seen}
    return Entry("health", f"{event.verdict}: {event.reason}", data)


@_on
def _(_event: e.NodesHealthChanged, news: Sequence[Any]) -> Entry | None:
    if not news:
        return None
    verdicts = Counter(str(node.verdict) for node in news)
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    text = f"{news[0].name} is {news[0].verdict}: {news[0].reason}" if len(news) == 1 else f"Nodes: {told}"
    return Entry("health", text, {"verdicts": dict(verdicts)})


@_on
def _(event: e.KubeconfigIssued, _news: Sequence[Any]) -> Entry | None:
    text = f"{event.user} was granted access as {event.role} until {utc(event.expires_at)}"
    return Entry("access", text, {"grant_id": str(event.grant_id), "user": event.user, "role": event.role})


@_on
def _(event: e.KubeconfigRevoked, _news: Sequence[Any]) -> Entry | None:
    text = f"The access of {event.user} was revoked"
    return Entry("access", text, {"grant_id": str(event.grant_id), "user": event.user})
