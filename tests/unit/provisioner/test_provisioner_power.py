"""Which machines of a cluster that is put to sleep or woken are switched, and when it is asleep or awake."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from caravan_provisioner.clouds.base import CloudMachineState as Cloud
from caravan_provisioner.decide import decide
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node
from caravan_provisioner.plan import Batching, Wanted
from caravan_provisioner.power import PowerStep, power_step
from caravan_shared.contracts.spec import ClusterSpec, Role, WorkerSet
from caravan_shared.contracts.states import MachineState as M
from caravan_shared.contracts.states import Verdict

LIMITS = Limits()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def node(number: int, state: M = M.READY) -> Node:
    name = f"demo-workers-k3x9-{number}"
    made = Node(UUID(int=1), name, "workers", Role.WORKER, "k3x9", number, "medium", NOW, state, NOW, ready_at=NOW)
    return made if state is M.PLANNED else replace(made, machine_id=f"m-{number}")


def states(*listed: Cloud) -> dict[str, Cloud]:
    return {f"m-{number}": state for number, state in enumerate(listed, start=1)}


def step_of(nodes: list[Node], listed: dict[str, Cloud], *, asleep: bool, since_s: float = 1) -> PowerStep:
    return power_step(nodes, listed, asleep=asleep, since_s=since_s, limits=LIMITS)


THREE = [node(1), node(2), node(3)]


@pytest.mark.parametrize(
    ("listed", "switched", "counts", "complete"),
    [
        ((Cloud.ACTIVE, Cloud.ACTIVE, Cloud.ACTIVE), [1, 2, 3], (3, 0), False),
        ((Cloud.STOPPED, Cloud.ACTIVE, Cloud.BUILDING), [2], (2, 1), False),
        ((Cloud.STOPPED, Cloud.STOPPED, Cloud.STOPPED), [], (0, 3), True),
        ((Cloud.STOPPED, Cloud.ERROR, Cloud.STOPPED), [], (0, 2), True),
        ((Cloud.STOPPED, Cloud.STOPPED), [], (0, 2), True),
    ],
)
def test_what_runs_is_stopped_until_nothing_does(
    listed: tuple[Cloud, ...], switched: list[int], counts: tuple[int, int], complete: bool
) -> None:
    step = step_of(THREE, states(*listed), asleep=True)
    assert [each.number for each in step.switch] == switched
    assert (step.running, step.stopped) == counts
    assert step.complete is complete


@pytest.mark.parametrize(
    ("listed", "switched", "complete"),
    [
        ((Cloud.STOPPED, Cloud.STOPPED, Cloud.STOPPED), [1, 2, 3], False),
        ((Cloud.ACTIVE, Cloud.BUILDING, Cloud.STOPPED), [3], False),
        ((Cloud.ACTIVE, Cloud.ACTIVE, Cloud.ACTIVE), [], True),
    ],
)
def test_what_is_stopped_is_started_until_all_run(
    listed: tuple[Cloud, ...], switched: list[int], complete: bool
) -> None:
    step = step_of(THREE, states(*listed), asleep=False)
    assert [each.number for each in step.switch] == switched
    assert step.complete is complete


def test_machine_that_does_not_start_is_waited_for_as_long_as_one_may_take_to_be_made() -> None:
    listed = states(Cloud.ACTIVE, Cloud.STOPPED, Cloud.ACTIVE)
    assert not step_of(THREE, listed, asleep=False, since_s=LIMITS.build_limit_s).complete
    step = step_of(THREE, listed, asleep=False, since_s=LIMITS.build_limit_s + 1)
    assert (step.complete, step.running, step.stopped) == (True, 2, 1)
    assert not step_of(THREE, listed, asleep=True, since_s=LIMITS.build_limit_s + 1).complete


def test_machine_that_may_have_been_asked_for_keeps_its_cluster_from_being_asleep() -> None:
    asked = replace(node(2, M.PLANNED), asked_at=NOW)
    assert not step_of([node(1), asked], states(Cloud.STOPPED), asleep=True).complete
    assert step_of([node(1), node(2, M.PLANNED)], states(Cloud.STOPPED), asleep=True).complete


def test_machine_of_a_failed_node_is_stopped_with_the_others_and_woken_with_none() -> None:
    lost = node(2, M.FAILED)
    assert step_of([node(1), lost], states(Cloud.STOPPED, Cloud.ACTIVE), asleep=True).switch == (lost,)
    woken = step_of([node(1), lost], states(Cloud.ACTIVE, Cloud.STOPPED), asleep=False)
    assert (woken.switch, woken.complete) == ((), True)


def test_sleeping_cluster_loses_and_gets_nothing_whatever_health_believes() -> None:
    spec = ClusterSpec(version="1.34.2", workers=(WorkerSet(count=3),))
    wanted = Wanted(UUID(int=1), "demo", 1, 0, spec, frozenset({node(2).name}), rests=True)
    dead = replace(node(1), joined_at=NOW, verdict=Verdict.UNREACHABLE, verdict_since=datetime(2025, 1, 1, tzinfo=UTC))
    plan = decide(wanted, [dead, node(2)], {}, NOW, LIMITS, batching=Batching(10), new_batch=lambda: "aaaa")
    assert {each.state for each in plan.nodes.values()} == {M.READY}
    assert (len(plan.nodes), plan.delete) == (2, [])
    assert plan.nodes[node(2).name].held == "the cluster is asleep"
