"""Which machines the sweep takes for leaks, and which it leaves alone."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_provisioner.clouds.base import CloudMachineState, Machine, Owner
from caravan_provisioner.sweep import Known, Verdict, decide_sweep
from caravan_shared.contracts.spec import Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
LIVE, DELETED, UNKNOWN = UUID(int=1), UUID(int=2), UUID(int=3)
KNOWN = Known(frozenset({LIVE}), frozenset({DELETED}))


def machines(cluster: UUID, count: int, installation: str = "ours") -> list[Machine]:
    owner = Owner(installation, cluster, "workers", Role.WORKER, "k3x9")
    return [
        Machine(f"{cluster.int}-{n}", f"x-{n}", CloudMachineState.ACTIVE, None, "medium", owner, LONG_AGO)
        for n in range(count)
    ]


def sweep(
    listed: list[Machine],
    known: Known = KNOWN,
    *,
    seen_at: datetime = LONG_AGO,
    again: bool = True,
    trust_store: bool = False,
    held: bool = False,
) -> dict[str, Verdict]:
    first_seen = {machine.id: seen_at for machine in listed} if again else {}
    sightings = decide_sweep(listed, "ours", known, first_seen, NOW, confirm_s=60, trust_store=trust_store, held=held)
    return {sighting.machine.id: sighting.verdict for sighting in sightings}


def test_machines_of_live_clusters_are_left_to_the_reconciler() -> None:
    assert sweep(machines(LIVE, 3)) == {}


def test_leak_is_deleted_on_the_second_sighting_a_while_after_the_first() -> None:
    leak = [*machines(LIVE, 9), *machines(DELETED, 1)]
    assert sweep(leak, again=False) == {"2-0": Verdict.WAIT}
    assert sweep(leak, seen_at=NOW - timedelta(seconds=59)) == {"2-0": Verdict.WAIT}
    assert sweep(leak, seen_at=NOW - timedelta(seconds=60)) == {"2-0": Verdict.DELETE}


def test_no_more_than_a_tenth_goes_at_once() -> None:
    verdicts = list(sweep([*machines(LIVE, 20), *machines(DELETED, 10)]).values())
    assert (verdicts.count(Verdict.DELETE), verdicts.count(Verdict.NEXT_TIME)) == (3, 7)


def test_small_fleet_loses_its_leaks_one_by_one() -> None:
    assert list(sweep(machines(DELETED, 2)).values()) == [Verdict.DELETE, Verdict.NEXT_TIME]


def test_restored_store_lets_only_machines_of_clusters_go_that_it_remembers_as_deleted() -> None:
    listed = [*machines(LIVE, 20), *machines(DELETED, 1), *machines(UNKNOWN, 1)]
    expected = {"2-0": Verdict.DELETE, "3-0": Verdict.HELD}
    assert sweep(listed, held=True) == expected
    assert sweep(listed, held=True, trust_store=True) == expected


def test_machines_of_unknown_clusters_are_leaks_while_they_are_few() -> None:
    assert sweep([*machines(LIVE, 10), *machines(UNKNOWN, 1)]) == {"3-0": Verdict.DELETE}


def test_store_that_knows_nothing_deletes_nothing() -> None:
    nothing = Known(frozenset(), frozenset())
    assert set(sweep(machines(UNKNOWN, 5), nothing).values()) == {Verdict.DOUBT}
    assert Verdict.DELETE in sweep(machines(UNKNOWN, 5), nothing, trust_store=True).values()


def test_store_that_knows_the_lesser_part_is_taken_for_an_old_copy() -> None:
    verdicts = sweep([*machines(LIVE, 2), *machines(UNKNOWN, 5), *machines(DELETED, 1)])
    assert {verdicts[f"3-{n}"] for n in range(5)} == {Verdict.DOUBT}
    assert verdicts["2-0"] is Verdict.DELETE


def test_other_installations_machines_are_never_touched() -> None:
    assert sweep(machines(UNKNOWN, 5, "theirs"), trust_store=True) == {}


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.booleans())
@settings(max_examples=100)
def test_no_fleet_loses_more_than_a_tenth_or_one(
    live: int, deleted: int, unknown: int, alien: int, trust: bool
) -> None:
    ours = [*machines(LIVE, live), *machines(DELETED, deleted), *machines(UNKNOWN, unknown)]
    verdicts = sweep([*ours, *machines(UUID(int=4), alien, "theirs")], trust_store=trust)
    doomed = {machine_id for machine_id, verdict in verdicts.items() if verdict is Verdict.DELETE}
    assert len(doomed) <= max(1, len(ours) // 10)
    assert all(machine_id.startswith(("2-", "3-")) for machine_id in doomed)
