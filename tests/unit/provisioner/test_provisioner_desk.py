"""What keeps entries out of an inventory is told for every field of every one at once."""

from caravan_provisioner.desk import problems
from caravan_shared.contracts.machines import MachineEntry
from tests.support.inventory import entry, row


def found(*entries: MachineEntry, known: tuple[MachineEntry, ...] = ()) -> dict[str, str]:
    told = problems(entries, [row(each) for each in known], {"metal"})
    return {problem.field: problem.problem for problem in told}


def test_entries_that_are_new_or_there_as_given_have_no_problem() -> None:
    assert found(entry(1), entry(2), known=(entry(2),)) == {}


def test_every_problem_of_every_entry_is_told_at_once() -> None:
    told = found(
        entry(1, cloud="mettal"),
        entry(2, name="twice"),
        entry(3, name="twice"),
        entry(4),
        entry(5, address="10.1.0.4"),
        entry(6),
        entry(7, address="10.1.0.8"),
        known=(entry(6, cpus=99), entry(8)),
    )
    assert told == {
        "machines.0.cloud": "there is no cloud mettal of kind static",
        "machines.1.name": "twice is given 2 times",
        "machines.2.name": "twice is given 2 times",
        "machines.3.address": "10.1.0.4 with port 22 is that of another entry",
        "machines.4.address": "10.1.0.4 with port 22 is that of another entry",
        "machines.5.name": "there is a machine rack-0006 already, and it is described otherwise",
        "machines.6.address": "10.1.0.8 with port 22 is that of rack-0008",
    }


def test_hosts_behind_one_address_are_told_apart_by_their_port() -> None:
    assert found(entry(1, address="10.9.9.9"), entry(2, address="10.9.9.9", ssh_port=2222)) == {}
