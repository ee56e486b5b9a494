"""What a listing says about nodes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from caravan_provisioner.clouds.base import CloudMachineState, Machine, Owner
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node
from caravan_provisioner.observe import Observation, observe
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MachineState

CLUSTER = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits()
OWNER = Owner("ours", CLUSTER, "workers", Role.WORKER, "k3x9")
PLANNED = Node(
    CLUSTER, "demo-workers-k3x9-1", "workers", Role.WORKER, "k3x9", 1, "medium", NOW, MachineState.PLANNED, NOW
)
CREATING = replace(PLANNED, state=MachineState.CREATING, machine_id="m-1")
READY = replace(CREATING, state=MachineState.READY, address="127.64.0.1", listed=True, ready_at=NOW)
BUILDING = Machine("m-1", PLANNED.name, CloudMachineState.BUILDING, None, "medium", OWNER, NOW)
ACTIVE = replace(BUILDING, state=CloudMachineState.ACTIVE, address="127.64.0.1")


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def look(nodes: list[Node], machines: list[Machine], after_s: float = 1, *, adopting: bool = True) -> Observation:
    return observe(nodes, machines, later(after_s), LIMITS, adopting=adopting, pull=True)


def only(observation: Observation) -> Node:
    (node,) = observation.nodes
    return node


def test_active_machine_with_address_makes_its_node_ready() -> None:
    node = only(look([CREATING], [ACTIVE]))
    assert (node.state, node.address, node.ready_at) == (MachineState.READY, "127.64.0.1", later(1))


def test_active_machine_without_address_is_not_ready_yet() -> None:
    assert only(look([CREATING], [replace(ACTIVE, address=None)])).state is MachineState.CREATING


def test_machine_that_cannot_be_used_fails_in_the_end_for_what_it_lacks() -> None:
    waiting = replace(ACTIVE, address=None, fault="Octavia was still at the load balancer")
    assert only(look([CREATING], [waiting])).state is MachineState.CREATING
    node = only(look([CREATING], [waiting], LIMITS.build_limit_s))
    assert (node.state, node.who_can_fix) == (MachineState.FAILED, WhoCanFix.OPERATOR)
    assert node.reason == f"after {LIMITS.build_limit_s:g} s it could still not be used: {waiting.fault}"


def test_node_is_told_again_when_it_comes_behind_another_load_balancer() -> None:
    told = replace(READY, virtual_ip="10.0.0.100", said=MachineState.READY)
    assert only(look([told], [replace(ACTIVE, virtual_ip="10.0.0.100")])).said is MachineState.READY
    node = only(look([told], [replace(ACTIVE, virtual_ip="10.0.0.200")]))
    assert (node.virtual_ip, node.said, node.state) == ("10.0.0.200", None, MachineState.READY)
    assert only(look([node], [replace(ACTIVE, virtual_ip=None)])).virtual_ip == "10.0.0.200"


def test_machine_that_stopped_by_itself_fails_its_node_unless_its_cluster_sleeps() -> None:
    stopped = replace(ACTIVE, state=CloudMachineState.STOPPED, fault="its container stopped with exit code 1")
    node = only(look([READY], [stopped]))
    assert (node.state, node.reason) == (MachineState.FAILED, stopped.fault)
    asleep = observe([READY], [stopped], later(1), LIMITS, adopting=True, pull=True, rests=True)
    assert only(asleep).state is MachineState.READY


def test_machine_that_stands_still_for_its_reboot_does_not_fail_its_node_unless_it_stays_so() -> None:
    stopped = replace(ACTIVE, state=CloudMachineState.STOPPED, fault="its container stopped with exit code 1")
    rebooting = replace(READY, reboot_asked_at=NOW)
    assert only(look([rebooting], [stopped])).state is MachineState.READY
    assert only(look([rebooting], [stopped], LIMITS.reboot_wait_s)).state is MachineState.FAILED
    assert only(look([replace(rebooting, reboot_refused="locked")], [stopped])).state is MachineState.FAILED


@pytest.mark.parametrize(
    ("touched_s", "asked_at", "rebooted_at"),
    [(1, NOW, NOW), (-LIMITS.settle_s, NOW, NOW), (-LIMITS.settle_s - 1, None, None), (None, NOW, NOW)],
    ids=["touched since", "by a clock that is late", "untouched", "the cloud cannot tell"],
)
def test_reboot_without_an_answer_is_asked_for_again_only_where_the_machine_is_untouched(
    touched_s: float | None, asked_at: datetime | None, rebooted_at: datetime | None
) -> None:
    asked = replace(READY, reboot_asked_at=NOW)
    machine = replace(ACTIVE, touched_at=None if touched_s is None else later(touched_s))
    assert only(look([asked], [machine], LIMITS.settle_s - 1)) == asked, "the call may still be on its way"
    node = only(look([asked], [machine], LIMITS.settle_s))
    assert (node.reboot_asked_at, node.rebooted_at) == (asked_at, rebooted_at)


def test_machine_that_somebody_switched_off_is_left_to_healths_judgement() -> None:
    assert only(look([READY], [replace(ACTIVE, state=CloudMachineState.STOPPED)])).state is MachineState.READY


def test_machine_in_error_fails_its_node_with_the_clouds_words() -> None:
    node = only(look([CREATING], [replace(BUILDING, state=CloudMachineState.ERROR, fault="no valid host")]))
    assert (node.state, node.reason, node.who_can_fix) == (
        MachineState.FAILED,
        "no valid host",
        WhoCanFix.OPERATOR,
    )


def test_machine_of_an_ambiguous_create_is_found_by_name() -> None:
    node = only(look([replace(PLANNED, asked_at=NOW)], [BUILDING]))
    assert (node.state, node.machine_id, node.asked_at) == (MachineState.CREATING, "m-1", None)


def test_ambiguous_create_may_be_repeated_only_after_a_settled_listing_without_it() -> None:
    asked = replace(PLANNED, asked_at=NOW)
    assert only(look([asked], [], LIMITS.settle_s - 0.1)).asked_at == NOW
    assert only(look([asked], [], LIMITS.settle_s)).asked_at is None


def test_second_machine_of_one_node_is_a_stray() -> None:
    other = replace(ACTIVE, id="m-2")
    known = look([CREATING], [other, BUILDING])
    assert known.strays == ["m-2"]
    unknown = look([replace(PLANNED, asked_at=NOW)], [BUILDING, other])
    assert (only(unknown).machine_id, unknown.strays) == ("m-2", ["m-1"])


def test_renamed_machine_stays_its_nodes() -> None:
    seen = look([READY], [replace(ACTIVE, name="somebody-renamed-it")])
    assert (only(seen), seen.strays) == (READY, [])


def test_vanished_machine_fails_its_node_on_the_second_listing_without_it() -> None:
    first = only(look([READY], [], 1))
    assert (first.state, first.missing_since) == (MachineState.READY, later(1))
    assert only(look([first], [], 1)).state is MachineState.READY
    assert only(look([first], [], 2)).state is MachineState.FAILED


def test_machine_that_comes_back_is_no_longer_missing() -> None:
    assert only(look([replace(READY, missing_since=NOW)], [ACTIVE])).missing_since is None


def test_machine_building_beyond_the_limit_fails() -> None:
    assert only(look([CREATING], [BUILDING], LIMITS.build_limit_s)).state is MachineState.FAILED
    assert only(look([CREATING], [], LIMITS.build_limit_s)).state is MachineState.FAILED
    assert only(look([CREATING], [BUILDING], LIMITS.build_limit_s - 1)).state is MachineState.CREATING


def test_deleting_node_is_removed_once_a_newer_listing_lacks_its_machine() -> None:
    deleting = replace(READY, state=MachineState.DELETING)
    assert only(look([deleting], [], 0)).state is MachineState.DELETING
    assert only(look([deleting], [], 1)).state is MachineState.REMOVED


def test_deletion_that_was_lost_is_asked_for_again() -> None:
    deleting = replace(READY, state=MachineState.DELETING)
    assert look([deleting], [ACTIVE], 1).strays == []
    again = look([deleting], [ACTIVE], LIMITS.delete_again_s)
    assert (again.strays, only(again).since) == (["m-1"], later(LIMITS.delete_again_s))


def test_machine_that_turns_up_after_its_node_was_removed_is_a_stray() -> None:
    assert look([replace(READY, state=MachineState.REMOVED)], [ACTIVE]).strays == ["m-1"]


def test_machine_that_the_store_does_not_know_is_adopted_from_its_tags() -> None:
    node = only(look([], [ACTIVE]))
    assert (node.name, node.number, node.batch, node.node_set) == (PLANNED.name, 1, "k3x9", "workers")
    assert (node.state, node.machine_id, node.joins_by_itself) == (MachineState.READY, "m-1", True)


def test_cluster_that_is_to_go_adopts_nothing() -> None:
    seen = look([], [ACTIVE], adopting=False)
    assert (seen.nodes, seen.strays) == ([], ["m-1"])


@pytest.mark.parametrize("state", [MachineState.FAILED, MachineState.LEAVING])
def test_machine_of_a_node_that_is_done_for_changes_nothing(state: MachineState) -> None:
    node = replace(READY, state=state)
    assert only(look([node], [ACTIVE])) == node
    assert only(look([node], [])) == node


def fleet(workers: int, control_planes: int = 1) -> tuple[list[Node], list[Machine]]:
    """Nodes that run, and their machines."""
    nodes = [
        replace(
            READY,
            name=f"demo-{node_set}-k3x9-{number}",
            node_set=node_set,
            number=number,
            machine_id=f"{node_set}-{number}",
        )
        for node_set, count in (("workers", workers), ("control-plane", control_planes))
        for number in range(1, count + 1)
    ]
    return nodes, [replace(ACTIVE, id=node.machine_id or "", name=node.name) for node in nodes]


def states(observation: Observation) -> list[MachineState]:
    return [node.state for node in observation.nodes]


@pytest.mark.parametrize(("of", "vanished", "given_up"), [(3, 1, 1), (3, 2, 0), (9, 3, 3), (9, 5, 0)])
def test_machines_that_vanish_together_are_not_given_up_where_they_are_too_many(
    of: int, vanished: int, given_up: int
) -> None:
    nodes, machines = fleet(of)
    for after_s in (1, 2, 3):
        seen = look(nodes, machines[vanished:], after_s)
        nodes = seen.nodes
    assert states(seen).count(MachineState.FAILED) == given_up
    assert [bool(node.held) for node in nodes] == [given_up == 0] * vanished + [False] * (of + 1 - vanished)


def test_whole_set_that_vanishes_is_held_in_a_cluster_where_it_is_a_small_part() -> None:
    nodes, machines = fleet(20, control_planes=3)
    for after_s in (1, 2):
        nodes = look(nodes, machines[:20], after_s).nodes
    reason = "the cloud stopped listing more than 40% of the machines of control-plane at once"
    assert [(node.held or "").partition(": ")[0] for node in nodes[20:]] == [reason] * 3


def test_held_machines_are_given_up_once_a_person_has_looked_and_kept_when_they_turn_up() -> None:
    nodes, machines = fleet(3)
    for after_s in (1, 2):
        nodes = look(nodes, [], after_s).nodes
    assert states(look(nodes, machines, 3)) == [MachineState.READY] * 4
    confirmed = observe(
        nodes, [], later(3), LIMITS, adopting=True, pull=True, seen_by_a_person=lambda since: since <= later(2)
    )
    assert states(confirmed) == [MachineState.FAILED] * 4


def test_machine_that_is_reached_over_ssh_is_ready_only_when_its_host_keys_are_known() -> None:
    def look_again(node: Node, machine: Machine, after_s: float) -> Node:
        seen = observe([node], [machine], later(after_s), LIMITS, adopting=True, pull=True, needs_host_keys=True)
        return only(seen)

    waiting = look_again(CREATING, ACTIVE, 1)
    assert waiting.state is MachineState.CREATING
    keyed = replace(ACTIVE, host_keys=("ssh-ed25519 AAAA",))
    ready = look_again(waiting, keyed, 2)
    assert (ready.state, ready.host_keys) == (MachineState.READY, ("ssh-ed25519 AAAA",))
    other = look_again(ready, replace(keyed, host_keys=("ssh-ed25519 BBBB",)), 3)
    assert other.host_keys == ready.host_keys, "another key is another machine, or somebody between us and it"
    late = look_again(waiting, ACTIVE, LIMITS.build_limit_s)
    assert (late.state, "host keys" in (late.reason or "")) == (MachineState.FAILED, True)
