"""Conclude a cluster's phase, failure and step from what is wanted and what was told. Pure: no network, no clock."""

from dataclasses import dataclass
from datetime import datetime

from caravan_api.decide.facts import Facts, Failure, Mark
from caravan_shared.contracts.states import ClusterPhase


@dataclass(frozen=True, slots=True)
class Wanted:
    """What people asked of a cluster, as far as its phase depends on it."""

    generation: int
    retried_at: datetime | None = None
    deletion_asked_at: datetime | None = None
    replacing: bool = False
    """Nodes are to be replaced."""
    asleep: bool = False
    power_generation: int = 0
    """How often it was put to sleep or woken."""
    woken_at: datetime | None = None
    """When it was last woken, if that was its last change of power."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How far the cluster is, and what holds it up."""

    phase: ClusterPhase
    failure: Failure | None = None


def conclude(wanted: Wanted, facts: Facts) -> Conclusion:
    """Say how far a cluster is. A failure while deleting is told beside the phase: deletion goes on."""
    failure = standing_failure(wanted, facts)
    if wanted.deletion_asked_at is not None:
        gone = is_gone(facts)
        return Conclusion(ClusterPhase.DELETED if gone else ClusterPhase.DELETING, None if gone else failure)
    if failure:
        return Conclusion(ClusterPhase.FAILED, failure)
    if wanted.asleep:
        return Conclusion(ClusterPhase.HIBERNATED if _has_power_as_wanted(wanted, facts) else ClusterPhase.HIBERNATING)
    if _is_waking(wanted, facts):
        return Conclusion(ClusterPhase.WAKING)
    phase = _phase_without_failure(wanted.generation, facts)
    if phase is ClusterPhase.READY and wanted.replacing:
        phase = ClusterPhase.UPDATING
    return Conclusion(phase)


def _phase_without_failure(generation: int, facts: Facts) -> ClusterPhase:
    has_addresses = facts.endpoint is not None and bool(facts.endpoint.addresses)
    if min(facts.machines.generation, facts.done.generation) >= generation and has_addresses:
        return ClusterPhase.READY
    if min(facts.machines.generation, facts.done.generation) >= 1 and facts.addressed:
        return ClusterPhase.UPDATING
    if facts.started or facts.machines.generation >= generation:
        return ClusterPhase.BOOTSTRAPPING
    return ClusterPhase.PROVISIONING if facts.nodes_heard else ClusterPhase.REQUESTED


def _is_waking(wanted: Wanted, facts: Facts) -> bool:
    """Until its machines run and its kube-apiserver has answered since; once is enough."""
    if wanted.woken_at is None:
        return False
    answers = facts.answered_at is not None and facts.answered_at >= wanted.woken_at
    return not (answers and _has_power_as_wanted(wanted, facts))


def _has_power_as_wanted(wanted: Wanted, facts: Facts) -> bool:
    power = facts.power
    return power is not None and power.complete and power.generation >= wanted.power_generation


def is_gone(facts: Facts) -> bool:
    """True once no machine is left and the name is withdrawn."""
    return facts.withdrawn and facts.remaining is not None and facts.remaining.machines == 0


def standing_failure(wanted: Wanted, facts: Facts) -> Failure | None:
    """The oldest failure that nothing has lifted: no retry, no newer generation, no success said after it."""
    standing = [failure for failure in facts.failures() if _stands(failure, wanted, facts)]
    return min(standing, key=lambda failure: failure.at, default=None)


def _stands(failure: Failure, wanted: Wanted, facts: Facts) -> bool:
    asked_again = (moment for moment in (wanted.retried_at, wanted.deletion_asked_at) if moment)
    if any(failure.at <= moment for moment in asked_again):
        return False
    if failure.generation is not None and failure.generation < wanted.generation:
        return False
    return not _succeeded_since(failure, facts)


def _succeeded_since(failure: Failure, facts: Facts) -> bool:
    """True if the service that gave up said afterwards that it got there. Sequences of one source are comparable."""
    if failure.source == "dns":
        return facts.endpoint is not None and facts.endpoint.sequence > failure.sequence
    mark: Mark = facts.machines if failure.source == "provisioner" else facts.done
    return mark.sequence > failure.sequence and mark.generation >= (failure.generation or 0)
