"""Which nodes are given up because health cannot reach them, and which of the control plane or etcd may leave."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_provisioner.breaker import storm_sentence
from caravan_provisioner.decide import decide
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import GONE, Node, SetProgress
from caravan_provisioner.plan import Batching, Outlook, Plan, Wanted
from caravan_provisioner.telling import told
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec, RepairMode, Role
from caravan_shared.contracts.states import MachineState, Verdict

CLUSTER = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(backoff_s=0)
LONG_AGO = NOW - timedelta(seconds=LIMITS.repair_after_s)
ROLES = {"control-plane": Role.CONTROL_PLANE, "etcd": Role.ETCD, "workers": Role.WORKER}

Changes = Mapping[str, Any]
JOINED: Changes = {"joined_at": NOW - timedelta(hours=1)}
UNREACHABLE: Changes = {"verdict": Verdict.UNREACHABLE, "verdict_since": LONG_AGO, "verdict_reason": "no word from it"}
FAILED: Changes = {
    "state": MachineState.FAILED,
    "said": MachineState.FAILED,
    "reason": "vanished",
    "who_can_fix": WhoCanFix.OPERATOR,
}


def node(name: str, **changes: Any) -> Node:
    """A member that runs; `w-1`, `cp-1` and `etcd-1` say which set it is of."""
    prefix, _, number = name.partition("-")
    node_set = {"w": "workers", "cp": "control-plane", "etcd": "etcd"}[prefix]
    ready = Node(
        CLUSTER,
        name,
        node_set,
        ROLES[node_set],
        "x",
        int(number),
        "medium",
        NOW - timedelta(days=1),
        MachineState.READY,
        NOW - timedelta(days=1),
        machine_id=f"m-{name}",
        address="127.64.0.1",
        listed=True,
        ready_at=NOW - timedelta(days=1),
        said=MachineState.READY,
        **JOINED,
    )
    return replace(ready, **changes)


def wanted(
    workers: int = 0, control_plane: int = 1, etcd: int = 0, *, replacing: Iterable[str] = (), **changes: Any
) -> Wanted:
    spec = {
        "version": "1.34.2",
        "topology": "external" if etcd else "stacked",
        "control_plane": {"count": control_plane},
        "workers": [{"count": workers}] if workers else [],
        "paused": changes.pop("paused", False),
        "repair": changes.pop("repair", "auto"),
    }
    if etcd:
        spec["etcd"] = {"count": etcd}
    return Wanted(CLUSTER, "c", 1, 0, ClusterSpec.model_validate(spec), replace=frozenset(replacing), **changes)


class World:
    """A cluster whose cloud and bootstrapper obey, step by step."""

    def __init__(self, *nodes: Node, at: datetime = NOW) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.sets: dict[str, SetProgress] = {}
        self.now = at
        self.outlook = Outlook()
        self._batches = count()

    def step(self, wants: Wanted) -> Plan:
        plan = decide(
            wants,
            self.nodes.values(),
            self.sets,
            self.now,
            LIMITS,
            batching=Batching(100),
            new_batch=lambda: f"b{next(self._batches):03d}",
            outlook=self.outlook,
        )
        self.nodes = {name: told(each) for name, each in plan.nodes.items()}
        self.sets = plan.sets
        return plan

    def settle(self, wants: Wanted) -> None:
        """Obey until nothing changes any more."""
        for _ in range(120):
            before = dict(self.nodes)
            plan = self.step(wants)
            self.now = max(self.now, plan.look_again_at or self.now)
            self.obey()
            if self.nodes == before and plan.look_again_at is None:
                return

    def obey(self, *states: MachineState, joins: bool = True) -> None:
        """Have machines made, nodes joined and drained, machines deleted: what is in one of these states moves on."""
        self.now += timedelta(seconds=1)
        for node in list(self.nodes.values()):
            if states and node.state not in states:
                continue
            if node.state is MachineState.PLANNED:
                node = replace(node.to(MachineState.CREATING, self.now), machine_id=f"m-{node.name}", listed=True)
            elif node.state is MachineState.CREATING:
                node = replace(node.to(MachineState.READY, self.now), ready_at=self.now, address="127.64.0.2")
            elif node.state is MachineState.READY and joins:
                node = replace(node, joined_at=node.joined_at or self.now)
            elif node.state is MachineState.LEAVING:
                node = replace(node, drained_at=self.now)
            elif node.state is MachineState.DELETING:
                node = node.to(MachineState.REMOVED, self.now)
            self.nodes[node.name] = node

    def state(self, name: str) -> MachineState:
        return self.nodes[name].state

    def held(self, name: str) -> str:
        return self.nodes[name].held or ""

    def of(self, node_set: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.node_set == node_set and node.state not in GONE]


def workers(number: int, broken: int = 0, **changes: Any) -> list[Node]:
    """Workers, the first of which are changed."""
    return [node(f"w-{n}", **(changes if n <= broken else {})) for n in range(1, number + 1)]


def control_planes(number: int, **broken: Changes) -> list[Node]:
    return [node(f"cp-{n}", **broken.get(f"cp_{n}", {})) for n in range(1, number + 1)]


# --- by health's hand-off ---


def test_unreachable_node_is_given_up_after_its_time_and_replaced_at_once() -> None:
    world = World(node("cp-1"), *workers(3, 1, **UNREACHABLE), at=NOW - timedelta(seconds=1))
    plan = world.step(wanted(3))
    assert (world.state("w-1"), plan.look_again_at) == (MachineState.READY, NOW)
    world.now = NOW
    world.step(wanted(3))
    assert world.state("w-1") is MachineState.FAILED
    assert "health could not reach it for 300 s: no word from it" in (world.nodes["w-1"].reason or "")
    world.step(wanted(3))
    assert world.state("w-1") is MachineState.LEAVING
    assert len(world.of("workers")) == 3


def test_node_that_answers_again_in_time_is_kept() -> None:
    world = World(node("cp-1"), *workers(3, 1, **UNREACHABLE), at=NOW - timedelta(seconds=1))
    world.step(wanted(3))
    world.nodes["w-1"] = replace(world.nodes["w-1"], verdict=Verdict.HEALTHY, verdict_since=NOW)
    world.now = NOW + timedelta(days=1)
    world.step(wanted(3))
    assert world.state("w-1") is MachineState.READY


@pytest.mark.parametrize("verdict", [Verdict.DEGRADED, Verdict.UNKNOWN, Verdict.HEALTHY, None])
def test_only_unreachable_nodes_are_given_up(verdict: Verdict | None) -> None:
    world = World(node("cp-1"), *workers(3, 1, verdict=verdict, verdict_since=LONG_AGO))
    world.step(wanted(3))
    assert world.state("w-1") is MachineState.READY


@pytest.mark.parametrize(
    ("of", "unreachable", "given_up"),
    [(1, 1, True), (2, 1, True), (2, 2, False), (5, 2, True), (5, 3, False), (10, 4, True), (10, 5, False)],
)
def test_at_most_a_share_of_a_set_is_given_up_at_once_but_always_one(of: int, unreachable: int, given_up: bool) -> None:
    world = World(node("cp-1"), *workers(of, unreachable, **UNREACHABLE))
    world.step(wanted(of))
    failed = [node for node in world.nodes.values() if node.state is MachineState.FAILED]
    assert len(failed) == (unreachable if given_up else 0)
    assert ("more than 40%" in world.held("w-1")) is not given_up


def test_repair_goes_on_when_enough_answer_again_or_when_a_person_has_looked() -> None:
    world = World(node("cp-1"), *workers(5, 3, **UNREACHABLE))
    world.step(wanted(5))
    assert world.held("w-1")
    recovered = World(*world.nodes.values())
    recovered.nodes["w-3"] = node("w-3")
    recovered.step(wanted(5))
    assert [recovered.state(f"w-{n}") for n in (1, 2, 3)] == [MachineState.FAILED] * 2 + [MachineState.READY]
    assert not recovered.held("w-1")
    world.step(wanted(5, retried_at=LONG_AGO))
    assert [world.state(f"w-{n}") for n in (1, 2, 3)] == [MachineState.FAILED] * 3


def test_nothing_is_given_up_while_health_cannot_judge_the_cluster_or_it_is_paused() -> None:
    world = World(node("cp-1"), *workers(3, 1, **UNREACHABLE))
    world.step(wanted(3, verdict=Verdict.UNKNOWN))
    assert "cannot judge" in world.held("w-1")
    world.step(wanted(3, paused=True))
    assert world.state("w-1") is MachineState.READY


@pytest.mark.parametrize(
    ("silent", "of", "is_storm"),
    [(5, 5, False), (6, 6, True), (6, 30, False), (7, 30, True), (200, 1000, False), (201, 1000, True), (0, 0, False)],
)
def test_cloud_is_in_a_storm_when_more_than_a_share_of_all_its_nodes_is_silent_and_more_than_a_few(
    silent: int, of: int, is_storm: bool
) -> None:
    sentence = storm_sentence("east", silent, of, LIMITS)
    assert ("more than 20% of all nodes on cloud east" in (sentence or "")) is is_storm


def test_storm_on_its_cloud_holds_a_node_until_it_is_over_or_a_person_lets_it_go() -> None:
    world = World(node("cp-1"), *workers(3, 1, **UNREACHABLE, cloud="east"))
    world.outlook = Outlook(frozenset({"w-1"}), {"east": "a storm"})
    assert (world.step(wanted(3)).reboots, world.held("w-1")) == ([], "a storm")
    elsewhere, seen, asked = (World(*world.nodes.values()) for _ in range(3))
    elsewhere.outlook = Outlook(storms={"west": "a storm"})
    seen.outlook = asked.outlook = Outlook(storms={"east": "a storm"})
    elsewhere.step(wanted(3))
    seen.step(wanted(3, retried_at=LONG_AGO))
    asked.step(wanted(3, replacing=["w-1"]))
    assert [each.state("w-1") for each in (elsewhere, seen, asked)] == [MachineState.FAILED] * 3


@pytest.mark.parametrize(
    ("limits", "spec", "says"),
    [
        (LIMITS.model_copy(update={"repair": RepairMode.OFF}), "auto", "CARAVAN_PROVISIONER_REPAIR=auto"),
        (LIMITS, "off", "its spec's `repair: auto`"),
    ],
    ids=["of all clusters", "of this one"],
)
def test_switched_off_repair_holds_a_node_unless_a_person_names_it(
    limits: Limits, spec: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.LIMITS", limits)
    world = silent()
    assert world.step(wanted(3, repair=spec, retried_at=NOW)).reboots == []
    assert says in world.held("w-1")
    world.step(wanted(3, repair=spec, replacing=["w-1"]))
    assert world.state("w-1") is MachineState.FAILED


# --- by a reboot first ---


def silent(seconds: float = 0, **changes: Any) -> World:
    """A cluster whose `w-1` is due for repair, and that many seconds later; its cloud can reboot machines."""
    world = World(node("cp-1"), *workers(3, 1, **UNREACHABLE, **changes), at=NOW + timedelta(seconds=seconds))
    world.outlook = Outlook(rebootable=frozenset(world.nodes))
    return world


def test_silent_node_is_rebooted_once_and_replaced_only_if_that_does_not_help() -> None:
    world = silent()
    plan = world.step(wanted(3))
    waited = NOW + timedelta(seconds=LIMITS.reboot_wait_s)
    assert (plan.reboots, plan.look_again_at) == (["w-1"], waited)
    assert "rebooted first: Unreachable for 300 s" in world.held("w-1")
    world.now = waited - timedelta(seconds=1)
    assert (world.step(wanted(3)).reboots, world.state("w-1")) == ([], MachineState.READY)
    world.now = waited
    assert world.step(wanted(3)).reboots == []
    assert world.state("w-1") is MachineState.FAILED
    assert (world.nodes["w-1"].reason or "").endswith("a reboot did not help")


def test_node_that_a_reboot_helps_is_kept_and_held_by_nothing() -> None:
    world = silent()
    world.step(wanted(3))
    world.nodes["w-1"] = replace(world.nodes["w-1"], verdict=Verdict.HEALTHY, verdict_since=world.now)
    world.now += timedelta(days=1)
    assert world.step(wanted(3)).reboots == []
    assert (world.state("w-1"), world.held("w-1")) == (MachineState.READY, "")


@pytest.mark.parametrize(
    ("ago", "is_rebooted"), [(LIMITS.calm_s - 1, False), (LIMITS.calm_s, True)], ids=["lately", "long ago"]
)
def test_node_that_falls_silent_again_soon_after_a_reboot_is_replaced_at_once(ago: float, is_rebooted: bool) -> None:
    world = silent(reboot_asked_at=NOW - timedelta(seconds=ago), rebooted_at=NOW - timedelta(seconds=ago))
    assert bool(world.step(wanted(3)).reboots) is is_rebooted
    assert ("rebooted before, at 2025-12-31" in (world.nodes["w-1"].reason or "")) is not is_rebooted


def test_node_whose_cloud_refuses_to_reboot_it_is_replaced_and_the_refusal_is_told() -> None:
    world = silent()
    world.step(wanted(3))
    world.nodes["w-1"] = replace(world.nodes["w-1"], reboot_refused="it is locked")
    assert world.step(wanted(3)).reboots == []
    assert (world.nodes["w-1"].reason or "").endswith("it was not rebooted: it is locked")


def test_node_whose_power_cannot_be_had_is_replaced_and_told_why() -> None:
    world = silent()
    world.outlook = Outlook(frozenset(world.nodes) - {"w-1"}, power_problems={"w-1": "rack1-07 has no BMC"})
    assert world.step(wanted(3)).reboots == []
    assert (world.nodes["w-1"].reason or "").endswith("it was not rebooted: rack1-07 has no BMC")


@pytest.mark.parametrize(
    ("changes", "limits", "wants"),
    [
        ({"outlook": Outlook()}, LIMITS, wanted(3)),
        ({}, LIMITS.model_copy(update={"reboot_wait_s": 0}), wanted(3)),
        ({}, LIMITS, wanted(3, replacing=["w-1"])),
    ],
    ids=["stopped, gone or of a cloud that cannot", "switched off", "a person asked for another one"],
)
def test_node_is_replaced_without_a_reboot(
    changes: Mapping[str, Outlook], limits: Limits, wants: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.LIMITS", limits)
    world = silent()
    world.outlook = changes.get("outlook", world.outlook)
    assert world.step(wants).reboots == []
    assert world.state("w-1") is MachineState.FAILED


def test_person_who_asks_for_another_node_does_not_wait_for_the_reboot_to_help() -> None:
    world = silent()
    world.step(wanted(3))
    world.step(wanted(3, replacing=["w-1"]))
    assert world.state("w-1") is MachineState.FAILED


def test_whom_the_breaker_or_the_quorum_holds_is_not_rebooted_either() -> None:
    world = World(*control_planes(3, cp_1=UNREACHABLE, cp_2=UNREACHABLE), *workers(3, 2, **UNREACHABLE))
    world.outlook = Outlook(rebootable=frozenset(world.nodes))
    assert world.step(wanted(3, 3)).reboots == []
    assert "more than 40%" in world.held("w-1")
    assert "more than 40%" in world.held("cp-1")


# --- the control plane and etcd ---


@pytest.mark.parametrize(
    ("nodes", "name", "leaves", "says"),
    [
        (control_planes(3, cp_1=FAILED), "cp-1", True, ""),
        (control_planes(3, cp_1=FAILED, cp_2=FAILED), "cp-1", False, "1 of etcd's 3 members"),
        (control_planes(5, cp_1=FAILED, cp_2=FAILED), "cp-1", True, ""),
        (control_planes(5, cp_1=FAILED, cp_2=FAILED), "cp-2", False, "cp-1 leaves first"),
        (control_planes(5, cp_1=FAILED, cp_2=UNREACHABLE), "cp-1", True, ""),
        (control_planes(1, cp_1=FAILED), "cp-1", False, "0 of etcd's 1 members"),
        (control_planes(3, cp_1=FAILED, cp_2={"joined_at": None}), "cp-1", False, "1 of etcd's 2 members"),
        (control_planes(3, cp_1={**FAILED, "joined_at": None}), "cp-1", True, ""),
    ],
)
def test_failed_member_leaves_only_while_the_majority_is_well(
    nodes: list[Node], name: str, leaves: bool, says: str
) -> None:
    world = World(*nodes)
    world.step(wanted(control_plane=len(nodes)))
    assert (world.state(name) is MachineState.LEAVING) is leaves
    assert says in world.held(name)


def test_successor_of_a_dead_member_comes_once_that_has_left() -> None:
    world = World(*control_planes(3, cp_1=FAILED))
    world.step(wanted(control_plane=3))
    assert [node.name for node in world.of("control-plane")] == ["cp-2", "cp-3"]
    world.obey(MachineState.LEAVING)
    world.step(wanted(control_plane=3))
    assert world.state("cp-1") is MachineState.DELETING
    assert len(world.of("control-plane")) == 3


def test_control_planes_are_given_up_one_at_a_time() -> None:
    world = World(*control_planes(5, cp_1=UNREACHABLE, cp_2=UNREACHABLE))
    world.step(wanted(control_plane=5))
    states = sorted(world.state(name) for name in ("cp-1", "cp-2"))
    assert states == [MachineState.FAILED, MachineState.READY]
    assert "cp-1 is replaced first" in world.held("cp-2")


def test_control_plane_that_is_unreachable_stays_where_quorum_would_be_lost() -> None:
    world = World(*control_planes(1, cp_1=UNREACHABLE))
    world.step(wanted())
    assert world.state("cp-1") is MachineState.READY
    assert "no majority" in world.held("cp-1")


def test_lost_quorum_is_not_made_worse_until_a_person_retries() -> None:
    world = World(*control_planes(3, cp_1=FAILED, cp_2=FAILED))
    for _ in range(5):
        world.step(wanted(control_plane=3))
        world.obey()
    assert len(world.of("control-plane")) == 3
    world.step(wanted(control_plane=3, retried_at=world.now))
    assert world.state("cp-1") is MachineState.LEAVING


def test_control_plane_beside_external_etcd_needs_only_another_one() -> None:
    etcd = [node(f"etcd-{n}") for n in (1, 2, 3)]
    world = World(*etcd, *control_planes(2, cp_1=FAILED))
    world.step(wanted(control_plane=2, etcd=3))
    assert world.state("cp-1") is MachineState.LEAVING
    assert len(world.of("control-plane")) == 2, "no member of etcd leaves, so its successor need not wait"
    alone = World(*etcd, *control_planes(1, cp_1=FAILED))
    alone.step(wanted(control_plane=1, etcd=3))
    assert "no other control plane" in alone.held("cp-1")


def test_control_planes_scale_down_one_at_a_time() -> None:
    world = World(*control_planes(5))
    for expected in (4, 3, 2, 1, 1):
        world.step(wanted(control_plane=1))
        assert len(world.of("control-plane")) == expected
        world.obey()


def test_machines_that_fail_before_anything_has_joined_are_all_replaced_at_once() -> None:
    new = {**FAILED, "joined_at": None}
    world = World(*control_planes(3, cp_1=new, cp_2=new, cp_3=new))
    world.step(wanted(control_plane=3))
    assert {node.state for node in world.of("control-plane")} == {MachineState.PLANNED}


# --- by a person ---


def test_worker_that_runs_is_replaced_by_one_that_has_joined_before_it_leaves() -> None:
    world, wants = World(node("cp-1"), *workers(2)), wanted(2, replacing=["w-1"])
    world.step(wants)
    assert len(world.of("workers")) == 3
    for _ in range(3):
        world.obey(joins=False)
        world.step(wants)
        assert world.state("w-1") is MachineState.READY
    world.obey()
    world.step(wants)
    assert world.state("w-1") is MachineState.LEAVING
    assert [node.state for node in world.of("workers")] == [MachineState.READY] * 2


@pytest.mark.parametrize("why", [UNREACHABLE, FAILED, {"missing_since": NOW}], ids=["unreachable", "failed", "missing"])
def test_dead_worker_leaves_at_once_when_a_person_asks(why: Changes) -> None:
    just_now = {**why, "verdict_since": NOW} if "verdict" in why else why
    world, wants = World(node("cp-1"), *workers(2, 2, **just_now)), wanted(2, replacing=["w-1"])
    world.sets["workers"] = SetProgress(CLUSTER, "workers", 1, 0, 5, NOW, None, gave_up="reason" in why)
    for _ in range(2):
        world.step(wants)
    assert world.state("w-1") is MachineState.LEAVING
    assert len(world.of("workers")) == 2


def test_node_whose_machine_never_ran_is_replaced_without_ado() -> None:
    creating = node("w-1", state=MachineState.CREATING, ready_at=None, joined_at=None)
    world = World(node("cp-1"), creating)
    world.step(wanted(1, replacing=["w-1"]))
    assert world.state("w-1") is MachineState.DELETING
    assert len(world.of("workers")) == 1


def test_second_node_waits_for_the_first_and_says_so() -> None:
    world, wants = World(*control_planes(3), node("w-1")), wanted(1, 3, replacing=["cp-1", "cp-2"])
    world.step(wants)
    assert "one after the other" in world.held("cp-2")
    world.obey(MachineState.PLANNED, MachineState.CREATING)
    world.step(wants)
    world.obey(MachineState.CREATING)
    world.step(wants)
    world.obey(MachineState.READY)
    world.step(wants)
    assert (world.state("cp-1"), world.state("cp-2")) == (MachineState.LEAVING, MachineState.READY)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (node("cp-2", **UNREACHABLE), "cp-2 is out of sight"),
        (node("cp-2", joined_at=None), "cp-2 has not joined yet"),
        (node("etcd-2", joined_at=None), "etcd-2 has not joined yet"),
        (node("etcd-2", state=MachineState.LEAVING), "etcd-2 leaves first"),
        (node("etcd-2", **FAILED), "etcd-2 leaves first"),
    ],
)
def test_healthy_control_plane_waits_while_another_one_or_etcd_is_not_well(other: Node, says: str) -> None:
    nodes = {each.name: each for each in (*control_planes(2), *(node(f"etcd-{n}") for n in (1, 2, 3)))}
    nodes[other.name] = replace(other, verdict_since=NOW) if other.verdict else other
    world = World(*nodes.values())
    for _ in range(2):
        world.step(wanted(control_plane=2, etcd=3, replacing=["cp-1"]))
    assert world.state("cp-1") is MachineState.READY
    assert says in world.held("cp-1")


def test_paused_cluster_keeps_what_it_has_and_says_so_of_nodes_to_be_replaced() -> None:
    world = World(node("cp-1"), *workers(3, 1, **FAILED), node("w-9", state=MachineState.LEAVING, drained_at=NOW))
    before = dict(world.nodes)
    plan = world.step(wanted(9, replacing=["w-2"], paused=True))
    assert world.held("w-2") == "the cluster is paused"
    assert {name: replace(each, held=None) for name, each in plan.nodes.items()} == before
    assert (plan.delete, plan.calls) == ([], 0)


# --- whatever happens ---

_TROUBLES: list[Changes] = [{}, {}, {}, UNREACHABLE, FAILED, {"joined_at": None}, {"verdict": Verdict.HEALTHY}]


@st.composite
def troubled(draw: st.DrawFn) -> tuple[World, Wanted]:
    etcd = draw(st.sampled_from([0, 3, 5]))
    sizes = {"cp": draw(st.sampled_from([1, 3, 5])), "etcd": etcd, "w": draw(st.integers(0, 4))}
    nodes = [
        node(f"{prefix}-{number}", **draw(st.sampled_from(_TROUBLES)))
        for prefix, size in sizes.items()
        for number in range(1, size + 1)
    ]
    replacing = draw(st.lists(st.sampled_from([each.name for each in nodes]), max_size=4))
    return World(*nodes), wanted(sizes["w"], sizes["cp"], etcd, replacing=replacing)


def voters(world: World, wants: Wanted) -> list[Node]:
    """The members of etcd, those on their way out included."""
    name = "etcd" if wants.spec.etcd else "control-plane"
    return [each for each in world.nodes.values() if each.node_set == name and each.is_member]


@given(troubled())
@settings(max_examples=40)
def test_quorum_is_never_given_away_and_one_member_leaves_at_a_time(case: tuple[World, Wanted]) -> None:
    world, wants = case
    for _ in range(25):
        before = voters(world, wants)
        leaving = {each.name for each in before if each.state is MachineState.LEAVING}
        world.step(wants)
        began = [
            each for each in voters(world, wants) if each.state is MachineState.LEAVING and each.name not in leaving
        ]
        assert len(leaving) + len(began) <= 1
        for each in began:
            well = sum(other.is_well for other in before if other.name != each.name)
            assert well > len(before) // 2 or (well == 1 and len(before) == 2)
        world.obey()


@given(troubled())
@settings(max_examples=40)
def test_whatever_is_not_done_is_held_with_a_reason_and_all_else_ends_as_asked(case: tuple[World, Wanted]) -> None:
    world, wants = case
    world.settle(wants)
    for each in world.nodes.values():
        if each.name in wants.replace and each.state not in GONE:
            assert each.held, f"{each.name} stays without a reason"
        if each.state is MachineState.FAILED or (each.state is MachineState.READY and each.is_dead):
            assert each.held, f"{each.name} is dead, and stays without a reason"
    sizes = {node_set.name: node_set.count for node_set in wants.spec.node_sets()}
    assert all(len(world.of(name)) == size for name, size in sizes.items())
