"""The phase: a pure function of what was told, whatever the order, and only ever a move that the table allows."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_api.decide.facts import Facts, Telling, fold
from caravan_api.decide.phase import Wanted, conclude
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.states import CLUSTER_MOVES, ClusterPhase, move

ID = UUID(e._CLUSTER)
START = datetime(2026, 1, 1, tzinfo=UTC)
CREATING = e.NodesCreating.model_validate(e.NodesCreating.example)
STARTED = e.BootstrapStarted.model_validate(e.BootstrapStarted.example)
WITHDRAWN = e.EndpointWithdrawn(cluster_id=ID)
ISSUED = e.EndpointIssued.model_validate(e.EndpointIssued.example)
HEALTHY = e.HealthChanged.model_validate(e.HealthChanged.example)
UNREACHABLE = e.HealthChanged.model_validate({**e.HealthChanged.example, "verdict": "Unreachable"})


def made(generation: int = 1, complete: bool = True) -> e.NodesReady:
    return e.NodesReady.model_validate({**e.NodesReady.example, "generation": generation, "complete": complete})


def done(generation: int = 1) -> e.BootstrapDone:
    return e.BootstrapDone.model_validate({**e.BootstrapDone.example, "generation": generation})


def failed(generation: int = 1) -> e.BootstrapFailed:
    return e.BootstrapFailed.model_validate({**e.BootstrapFailed.example, "generation": generation})


def no_machines(generation: int = 1, gave_up: bool = True) -> e.NodesFailed:
    return e.NodesFailed.model_validate({**e.NodesFailed.example, "generation": generation, "gave_up": gave_up})


def removed(remaining: int = 0) -> e.NodesRemoved:
    return e.NodesRemoved.model_validate({**e.NodesRemoved.example, "remaining": remaining})


def power(generation: int = 1, *, complete: bool = True, trouble: str | None = None) -> e.NodesPowerChanged:
    """Odd generations put to sleep, even ones wake."""
    asleep = generation % 2 == 1
    stopped = 3 if asleep == complete else 1
    return e.NodesPowerChanged(
        cluster_id=ID,
        power_generation=generation,
        asleep=asleep,
        running=3 - stopped,
        stopped=stopped,
        complete=complete,
        trouble=trouble,
    )


def tellings(*events: Event) -> list[tuple[int, Event]]:
    """Each event with its place in time, which is its sequence, too."""
    return list(enumerate(events, start=1))


def facts_of(told: Sequence[tuple[int, Event]], deletion_asked: int | None = None) -> Facts:
    facts = Facts()
    asked_at = START + timedelta(seconds=deletion_asked) if deletion_asked is not None else None
    for sequence, event in told:
        at = START + timedelta(seconds=sequence)
        facts = fold(facts, event, Telling(sequence=sequence, at=at, deletion_asked_at=asked_at))
    return facts


def phase_of(*events: Event, generation: int = 1, retried: int | None = None, deletion_asked: int | None = None) -> str:
    wanted = Wanted(
        generation,
        START + timedelta(seconds=retried) if retried is not None else None,
        START + timedelta(seconds=deletion_asked) if deletion_asked is not None else None,
    )
    return conclude(wanted, facts_of(tellings(*events), deletion_asked)).phase


@pytest.mark.parametrize(
    ("events", "generation", "phase"),
    [
        ((), 1, "Requested"),
        ((ISSUED,), 1, "Requested"),
        ((CREATING,), 1, "Provisioning"),
        ((CREATING, made(complete=False)), 1, "Provisioning"),
        ((CREATING, made()), 1, "Bootstrapping"),
        ((CREATING, made(complete=False), STARTED), 1, "Bootstrapping"),
        ((made(), done()), 1, "Bootstrapping"),
        ((made(), done(), ISSUED), 1, "Ready"),
        ((ISSUED, done(), made()), 1, "Ready"),
        ((made(), done(), ISSUED), 2, "Updating"),
        ((made(), done(), ISSUED, made(2)), 2, "Updating"),
        ((made(), done(), ISSUED, done(2), made(2)), 2, "Ready"),
        ((CREATING, no_machines()), 1, "Failed"),
        ((CREATING, no_machines(gave_up=False)), 1, "Provisioning"),
        ((CREATING, no_machines()), 2, "Provisioning"),
        ((made(), failed()), 1, "Failed"),
        ((made(), failed(), done(), ISSUED), 1, "Ready"),
        ((made(), done(), ISSUED, failed(2)), 2, "Failed"),
    ],
)
def test_phase_follows_from_what_was_told(events: tuple[Event, ...], generation: int, phase: str) -> None:
    assert phase_of(*events, generation=generation) == phase


def test_a_retry_lifts_what_failed_before_it_and_nothing_after() -> None:
    assert phase_of(made(), failed(), retried=2) == "Bootstrapping"
    assert phase_of(made(), failed(), retried=1) == "Failed"


def test_a_late_failure_does_not_undo_a_later_success() -> None:
    told = tellings(made(), failed(), done(), ISSUED)
    late_failure = [told[0], told[2], told[3], told[1]]
    assert conclude(Wanted(1), facts_of(late_failure)).phase == ClusterPhase.READY


def test_deletion_goes_on_from_every_state_and_ends_when_all_is_gone() -> None:
    for before in ((), (CREATING,), (made(), failed()), (made(), done(), ISSUED), (no_machines(),)):
        assert phase_of(*before, deletion_asked=len(before)) == "Deleting"
        assert phase_of(*before, removed(3), deletion_asked=len(before)) == "Deleting"
        assert phase_of(*before, removed(), deletion_asked=len(before)) == "Deleting"
        assert phase_of(*before, WITHDRAWN, removed(), deletion_asked=len(before)) == "Deleted"


def test_what_was_gone_before_deletion_was_asked_for_does_not_count() -> None:
    assert phase_of(removed(), WITHDRAWN, deletion_asked=10) == "Deleting"


def test_a_failure_while_deleting_is_told_beside_the_phase() -> None:
    refused = e.EndpointFailed.model_validate(e.EndpointFailed.example)
    conclusion = conclude(Wanted(1, None, START), facts_of(tellings(refused), deletion_asked=0))
    assert conclusion.phase == ClusterPhase.DELETING
    assert conclusion.failure is not None
    assert "NOTAUTH" in conclusion.failure.reason


UP = (made(), done(), ISSUED, HEALTHY)
ASLEEP = Wanted(1, asleep=True, power_generation=1)


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        (UP, "Hibernating"),
        ((*UP, power(complete=False)), "Hibernating"),
        ((*UP, power()), "Hibernated"),
        ((*UP, power(), power(complete=False)), "Hibernating"),
        ((*UP, power(), failed()), "Failed"),
    ],
)
def test_cluster_sleeps_once_all_its_machines_are_told_to_be_stopped(events: tuple[Event, ...], phase: str) -> None:
    assert conclude(ASLEEP, facts_of(tellings(*events))).phase == phase


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        ((), "Waking"),
        ((power(),), "Waking"),
        ((HEALTHY,), "Waking"),
        ((power(2),), "Waking"),
        ((power(2, complete=False), HEALTHY), "Waking"),
        ((power(2), HEALTHY), "Ready"),
        ((HEALTHY, power(2)), "Ready"),
        ((power(2), HEALTHY, UNREACHABLE), "Ready"),
    ],
)
def test_woken_cluster_is_ready_once_its_machines_run_and_it_has_answered(
    events: tuple[Event, ...], phase: str
) -> None:
    told = tellings(*UP, power(), *events)
    woken_at = START + timedelta(seconds=len(UP) + 2)
    wanted = Wanted(1, power_generation=2, woken_at=woken_at)
    assert conclude(wanted, facts_of(told)).phase == phase


_events: st.SearchStrategy[Event] = st.sampled_from(
    [
        *(power(generation, complete=so) for generation in (1, 2, 3) for so in (True, False)),
        *(CREATING, STARTED, ISSUED, HEALTHY, UNREACHABLE, made(complete=False), removed(2), removed(), WITHDRAWN),
        *(event(generation) for event in (made, done, failed, no_machines) for generation in (1, 2, 3)),
        *(event.model_validate(event.example) for event in (e.BootstrapProgress, e.EndpointFailed, e.NodesJoined)),
    ]
)


@settings(max_examples=150)
@given(told=st.lists(_events, max_size=14), seed=st.integers(0, 2**32), deletion=st.sampled_from([None, 3]))
def test_doubled_and_shuffled_facts_say_the_same(told: list[Event], seed: int, deletion: int | None) -> None:
    in_order = tellings(*told)
    shuffled = in_order + in_order[::2]
    random.Random(seed).shuffle(shuffled)
    assert facts_of(shuffled, deletion) == facts_of(in_order, deletion)


_steps = st.lists(_events | st.sampled_from(["change", "retry", "delete", "sleep", "wake"]), max_size=25)


@settings(max_examples=150)
@given(steps=_steps)
def test_the_phase_only_makes_moves_that_the_table_names(steps: list[Any]) -> None:
    wanted, facts, phase = Wanted(1), Facts(), ClusterPhase.REQUESTED
    for number, step in enumerate(steps, start=1):
        now = START + timedelta(seconds=number)
        power_generation = wanted.power_generation + 1
        if step == "change":
            wanted = replace(wanted, generation=wanted.generation + (not wanted.asleep))
        elif step == "retry":
            wanted = replace(wanted, retried_at=now)
        elif step == "delete":
            wanted = replace(wanted, deletion_asked_at=wanted.deletion_asked_at or now)
        elif step == "sleep":
            if phase in (ClusterPhase.READY, ClusterPhase.WAKING) and not wanted.asleep:
                wanted = replace(wanted, asleep=True, power_generation=power_generation, woken_at=None)
        elif step == "wake":
            if wanted.asleep:
                wanted = replace(wanted, asleep=False, power_generation=power_generation, woken_at=now)
        else:
            facts = fold(facts, step, Telling(sequence=number, at=now, deletion_asked_at=wanted.deletion_asked_at))
        phase = move(CLUSTER_MOVES, phase, conclude(wanted, facts).phase)
        if phase is ClusterPhase.DELETED:
            return  # the handlers let go what is told of it later


def test_cluster_with_a_node_to_be_replaced_is_updating_until_that_is_gone() -> None:
    facts = facts_of(tellings(made(), done(), ISSUED))
    assert conclude(Wanted(1, replacing=True), facts).phase is ClusterPhase.UPDATING
    assert conclude(Wanted(1), facts).phase is ClusterPhase.READY
    assert conclude(Wanted(1, replacing=True), Facts()).phase is ClusterPhase.REQUESTED
