"""What a cluster's nodes need next."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_provisioner.decide import decide, decide_deletion, is_complete
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node, SetProgress
from caravan_provisioner.plan import Batching, Plan, Wanted
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec, ControlPlane, Drain, WorkerSet
from caravan_shared.contracts.states import MACHINE_MOVES, MachineState

CLUSTER = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits()
ALIVE = {MachineState.PLANNED, MachineState.CREATING, MachineState.READY, MachineState.FAILED}


def batches() -> Iterator[str]:
    return (f"b{number:03d}" for number in count())


def wanted(
    workers: int = 2, *, machine_type: str = "medium", generation: int = 1, retry: int = 0, control_plane: int = 1
) -> Wanted:
    spec = ClusterSpec(
        version="1.34.2",
        control_plane=ControlPlane(count=control_plane),
        workers=(WorkerSet(count=workers, machine_type=machine_type),),
    )
    return Wanted(CLUSTER, "demo", generation, retry, spec)


class World:
    """Applies plans as if the cloud obeyed."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.sets: dict[str, SetProgress] = {}
        self.now = NOW
        self.batches = batches()
        self.deleted: list[str] = []

    def decide(self, wants: Wanted, limits: Limits = LIMITS) -> Plan:
        plan = decide(
            wants,
            self.nodes.values(),
            self.sets,
            self.now,
            limits,
            batching=Batching(100),
            new_batch=lambda: next(self.batches),
        )
        self.nodes, self.sets = plan.nodes, plan.sets
        self.deleted += plan.delete
        return plan

    def become(self, state: MachineState, *names: str) -> None:
        for name in names or [node.name for node in self.nodes.values() if node.state is MachineState.PLANNED]:
            node = self.nodes[name]
            self.now += timedelta(seconds=0.001)
            if node.state is MachineState.PLANNED:
                node = replace(node.to(MachineState.CREATING, self.now), machine_id=f"m-{name}")
            if state is MachineState.READY:
                node = replace(node.to(state, self.now), ready_at=self.now, address="127.64.0.1")
            elif state is MachineState.FAILED:
                node = node.failed("no valid host", WhoCanFix.OPERATOR, self.now)
            self.nodes[name] = node

    def workers(self, *states: MachineState) -> list[Node]:
        return [node for node in self.nodes.values() if node.node_set == "workers" and node.state in (states or ALIVE)]

    def ready(self, wants: Wanted) -> "World":
        self.decide(wants)
        self.become(MachineState.READY)
        return self


def names(nodes: Iterable[Node]) -> set[str]:
    return {node.name for node in nodes}


def test_empty_cluster_gets_every_node_of_every_set() -> None:
    world = World()
    world.decide(wanted(2, control_plane=3))
    assert names(world.nodes.values()) == {
        *(f"demo-control-plane-b000-{number}" for number in (1, 2, 3)),
        *(f"demo-workers-b001-{number}" for number in (1, 2)),
    }
    assert {node.state for node in world.nodes.values()} == {MachineState.PLANNED}


def test_large_set_is_planned_in_batches_that_one_call_can_make() -> None:
    world = World()
    plan = world.decide(wanted(999))
    sizes = [
        len([node for node in world.workers() if node.batch == batch]) for batch in {n.batch for n in world.workers()}
    ]
    assert (sorted(sizes), plan.calls) == ([99] + [100] * 9, 11)


def test_calls_of_one_turn_are_bounded_and_the_rest_follows() -> None:
    world = World()
    plan = world.decide(wanted(999), Limits(calls_per_turn=3))
    assert (len(world.workers()), plan.look_again_at) == (200, NOW)
    world.decide(wanted(999))
    assert len(world.workers()) == 999


def test_full_cluster_needs_nothing() -> None:
    world = World().ready(wanted(3))
    before = dict(world.nodes)
    plan = world.decide(wanted(3))
    assert (plan.nodes, plan.delete, plan.calls, plan.look_again_at) == (before, [], 0, None)


def test_scale_down_picks_failed_nodes_first_then_the_newest() -> None:
    world = World().ready(wanted(3))
    old = names(world.workers())
    failed = max(old)
    world.become(MachineState.FAILED, failed)
    world.now += timedelta(minutes=1)
    world.ready(wanted(5, generation=2))
    new = names(world.workers()) - old
    world.decide(wanted(3, generation=3))
    assert names(world.workers(MachineState.READY)) == (old - {failed}) | {min(new)}


def test_node_that_was_ready_is_drained_before_its_machine_goes() -> None:
    world = World().ready(wanted(1))
    (worker,) = world.workers()
    world.decide(wanted(0, generation=2))
    assert (world.nodes[worker.name].state, world.deleted) == (MachineState.LEAVING, [])
    world.nodes[worker.name] = replace(world.nodes[worker.name], drained_at=world.now)
    world.decide(wanted(0, generation=2))
    assert (world.nodes[worker.name].state, world.deleted) == (MachineState.DELETING, [worker.machine_id])


def draining(*, force: bool = False, dead: bool = False) -> tuple[World, Wanted, Plan]:
    """A worker on its way out, the wish that it goes, and the plan that said so."""
    world = World().ready(wanted(1))
    wants = wanted(0, generation=2)
    wants = replace(wants, spec=wants.spec.model_copy(update={"drain": Drain(timeout_s=100, force=force)}))
    if dead:
        world.become(MachineState.FAILED, *names(world.workers()))
    return world, wants, world.decide(wants)


def test_pods_that_may_not_be_moved_keep_their_machine_for_as_long_as_nobody_forces_them() -> None:
    world, wants, plan = draining()
    assert plan.look_again_at is None
    world.now += timedelta(days=7)
    world.decide(wants)
    assert len(world.workers(MachineState.LEAVING)) == 1


@pytest.mark.parametrize(
    ("how", "seconds"),
    [({"force": True}, 100 + LIMITS.drain_limit_s), ({"dead": True}, LIMITS.drain_limit_s)],
    ids=["forced", "dead"],
)
def test_drain_that_nobody_answers_is_cut_off_where_it_is_forced_or_the_node_is_dead(
    how: dict[str, bool], seconds: float
) -> None:
    world, wants, plan = draining(**how)
    assert plan.look_again_at == world.now + timedelta(seconds=seconds)
    world.now = plan.look_again_at
    world.decide(wants)
    assert len(world.workers(MachineState.DELETING)) == 1


def test_node_that_never_was_ready_goes_at_once() -> None:
    world = World()
    world.decide(wanted(1))
    (worker,) = world.workers()
    world.become(MachineState.CREATING)
    world.decide(wanted(0, generation=2))
    assert world.deleted == [f"m-{worker.name}"]


def test_planned_node_goes_only_when_surely_no_create_is_open() -> None:
    world = World()
    world.decide(wanted(2))
    asked, unasked = sorted(names(world.workers()))
    world.nodes[asked] = replace(world.nodes[asked], asked_at=NOW)
    world.decide(wanted(0, generation=2))
    assert world.nodes[asked].state is MachineState.PLANNED
    assert world.nodes[unasked].state is MachineState.REMOVED


def test_set_dropped_from_the_spec_is_emptied() -> None:
    world = World().ready(wanted(2))
    none = replace(wanted(generation=2), spec=ClusterSpec(version="1.34.2", workers=()))
    world.decide(none)
    assert len(world.workers(MachineState.LEAVING)) == 2


def test_failed_node_is_replaced_after_a_growing_pause_until_attempts_run_out() -> None:
    world = World().ready(wanted(1))
    pauses: list[float] = []
    for _ in range(LIMITS.attempts):
        world.become(MachineState.FAILED, *names(world.workers()))
        plan = world.decide(wanted(1))
        assert plan.look_again_at
        pauses.append((plan.look_again_at - world.now).total_seconds())
        world.now = plan.look_again_at
        world.decide(wanted(1))
        world.become(MachineState.READY)
    assert pauses == [LIMITS.backoff_s * 2**attempt for attempt in range(LIMITS.attempts)]
    world.become(MachineState.FAILED, *names(world.workers()))
    world.decide(wanted(1))
    assert world.sets["workers"].gave_up
    assert len(world.workers(MachineState.FAILED)) == 1


def gave_up() -> World:
    world = World().ready(wanted(1))
    world.become(MachineState.FAILED, *names(world.workers()))
    world.decide(wanted(1), Limits(attempts=0))
    assert world.sets["workers"].gave_up
    return world


def test_retry_by_a_person_lifts_giving_up_at_once() -> None:
    for again in (wanted(1, retry=1), wanted(1, generation=2)):
        world = gave_up()
        world.decide(again)
        assert not world.sets["workers"].gave_up
        assert len(world.workers(MachineState.PLANNED)) == 1
        assert world.workers(MachineState.FAILED) == []


def test_attempts_are_forgotten_after_a_calm_time() -> None:
    world = World().ready(wanted(1))
    world.sets["workers"] = replace(world.sets["workers"], attempts=3, last_failure_at=world.now)
    world.decide(wanted(1))
    assert world.sets["workers"].attempts == 3
    world.now += timedelta(seconds=LIMITS.calm_s + 1)
    world.decide(wanted(1))
    assert world.sets["workers"].attempts == 0


def test_machine_type_changes_one_node_at_a_time_with_a_new_one_up_first() -> None:
    wants = wanted(3, machine_type="large", generation=2)
    world = World().ready(wanted(3))
    old = names(world.workers())
    for _ in range(50):
        world.decide(wants)
        assert len(world.workers(MachineState.READY)) >= 3 or world.workers(MachineState.LEAVING)
        assert len(world.workers()) <= 4
        assert len(world.workers(MachineState.LEAVING, MachineState.DELETING)) <= 1
        for node in world.workers(MachineState.LEAVING):
            world.nodes[node.name] = replace(node, drained_at=world.now)
        for node in world.workers(MachineState.DELETING):
            world.nodes[node.name] = node.to(MachineState.REMOVED, world.now)
        world.become(MachineState.READY)
    assert not names(world.workers()) & old
    assert [node.machine_type for node in world.workers(MachineState.READY)] == ["large"] * 3
    assert is_complete(wants.spec, world.nodes.values())


def test_deletion_takes_everything_at_once_without_draining() -> None:
    world = World().ready(wanted(2))
    world.decide(wanted(4, generation=2))
    unasked = names(world.workers(MachineState.PLANNED))
    plan = decide_deletion(world.nodes.values(), world.now)
    assert {plan.nodes[name].state for name in unasked} == {MachineState.REMOVED}
    assert {node.state for name, node in plan.nodes.items() if name not in unasked} == {MachineState.DELETING}
    assert len(plan.delete) == 3


def test_cluster_is_complete_when_exactly_the_wanted_nodes_are_ready() -> None:
    wants = wanted(2)
    world = World()
    world.decide(wants)
    assert not is_complete(wants.spec, world.nodes.values())
    world.become(MachineState.READY)
    assert is_complete(wants.spec, world.nodes.values())
    assert not is_complete(wanted(3).spec, world.nodes.values())
    assert not is_complete(wanted(2, machine_type="large").spec, world.nodes.values())


@st.composite
def clusters(draw: st.DrawFn) -> tuple[dict[str, Node], dict[str, SetProgress]]:
    states = draw(st.lists(st.sampled_from(MachineState), max_size=12))
    nodes: dict[str, Node] = {}
    for number, state in enumerate(states, start=1):
        was_ready = state is MachineState.READY or (
            state in (MachineState.FAILED, MachineState.LEAVING, MachineState.DELETING) and draw(st.booleans())
        )
        node_set = draw(st.sampled_from(["workers", "control-plane", "gone"]))
        base = World()
        base.decide(wanted(1))
        node = replace(
            next(iter(base.nodes.values())),
            name=f"demo-{node_set}-x-{number}",
            node_set=node_set,
            batch="x",
            number=number,
            state=state,
            machine_type=draw(st.sampled_from(["medium", "large"])),
            machine_id=None if state is MachineState.PLANNED else f"m-{number}",
            asked_at=NOW if state is MachineState.PLANNED and draw(st.booleans()) else None,
            ready_at=NOW if was_ready else None,
            drained_at=NOW if state is MachineState.LEAVING and draw(st.booleans()) else None,
        )
        nodes[node.name] = node
    progress = SetProgress(CLUSTER, "workers", 1, 0, draw(st.integers(0, 6)), NOW, None, draw(st.booleans()))
    return nodes, {"workers": progress}


@pytest.mark.parametrize(
    ("count", "most", "zones", "size"),
    [(30, 50, 3, 10), (31, 50, 3, 11), (200, 50, 3, 50), (1, 50, 3, 1), (0, 50, 1, 1)],
)
def test_batch_is_a_zones_share_at_most_and_what_a_call_makes(count: int, most: int, zones: int, size: int) -> None:
    assert Batching(most, zones).size(count) == size


@given(clusters(), st.integers(0, 6), st.integers(1, 3))
@settings(max_examples=150)
def test_every_decision_makes_legal_moves_and_never_overfills(
    cluster: tuple[dict[str, Node], dict[str, SetProgress]], workers: int, control_plane: int
) -> None:
    nodes, sets = cluster
    made = batches()
    plan = decide(
        wanted(workers, control_plane=control_plane),
        nodes.values(),
        sets,
        NOW + timedelta(seconds=1),
        LIMITS,
        batching=Batching(3),
        new_batch=lambda: next(made),
    )
    for name, node in plan.nodes.items():
        before = nodes.get(name)
        if before is None:
            assert node.state is MachineState.PLANNED
            continue
        moves = MACHINE_MOVES[before.state] | {before.state}
        assert node.state in moves or node.state in {after for move in moves for after in MACHINE_MOVES[move]}
        assert (node.machine_id in plan.delete) is (
            node.state is MachineState.DELETING and before.state is not MachineState.DELETING
        )
    for node_set, size in (("workers", workers), ("control-plane", control_plane), ("gone", 0)):
        alive = [node for node in plan.nodes.values() if node.node_set == node_set and node.state in ALIVE]
        new = [node for node in alive if node.name not in nodes]
        undecided = [node for node in alive if node.asked_at]
        assert not new or len(alive) - len(undecided) <= size + 1


@given(clusters(), st.integers(0, 6))
@settings(max_examples=100)
def test_obeyed_decisions_always_end_with_a_complete_cluster(
    cluster: tuple[dict[str, Node], dict[str, SetProgress]], workers: int
) -> None:
    world = World()
    world.nodes, world.sets = cluster
    wants = wanted(workers, retry=1)
    for _ in range(60):
        plan = world.decide(wants)
        world.now = max(world.now + timedelta(seconds=1), plan.look_again_at or world.now)
        for node in list(world.nodes.values()):
            if node.state is MachineState.PLANNED:
                world.nodes[node.name] = replace(node, asked_at=None)
                world.become(MachineState.READY, node.name)
            elif node.state is MachineState.CREATING:
                world.become(MachineState.READY, node.name)
            elif node.state is MachineState.LEAVING:
                world.nodes[node.name] = replace(node, drained_at=world.now)
            elif node.state is MachineState.DELETING:
                world.nodes[node.name] = node.to(MachineState.REMOVED, world.now)
    assert is_complete(wants.spec, world.nodes.values())
    gone = {MachineState.REMOVED}
    assert all(node.state in gone for node in world.nodes.values() if node.node_set == "gone")
