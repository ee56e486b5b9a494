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
