"""Whole lives of clusters over the real store: decided, done, cut short or failed, and recorded."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from caravan_bootstrapper.app import MIGRATIONS
from caravan_bootstrapper.steps import Abandon, Policy, SayDone, StartRun, Tell
from caravan_bootstrapper.store import Table
from caravan_bootstrapper.views import Play, RunState
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.plumbing.database import Database
from tests.integration.bootstrapper.fleet import BEGAN, Fleet
from tests.support.store import opened

OFFERED = ("1.34.2", "1.33.6", "1.32.9")
POLICY = Policy(offered=OFFERED, max_attempts=3, upgrades_in_flight=2, upgrades_share=1.0)
EXTERNAL = {"topology": "external", "etcd": {"count": 3}}


@pytest.fixture(scope="module")
async def db(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """A migrated store, for all tests: each has a cluster of its own."""
    path: Path = tmp_path_factory.mktemp("lifecycle") / "store.db"
    async with opened(Database(f"sqlite+aiosqlite:///{path}", Table.metadata, MIGRATIONS)) as database:
        yield database


async def fleet(db: Database, control_planes: int = 3, workers: int = 3, **more: Any) -> Fleet:
    """A cluster of 1.32.9 whose machines run."""
    spec = {
        "version": "1.32.9",
        "control_plane": {"count": control_planes},
        "workers": [{"name": "workers", "count": workers}],
    }
    made = Fleet(db, spec | more, POLICY)
    await made.ask()
    await made.make(Role.CONTROL_PLANE, *range(1, control_planes + 1))
    if "etcd" in more:
        await made.make(Role.ETCD, *range(1, more["etcd"]["count"] + 1))
    await made.make(Role.WORKER, *range(1, workers + 1))
    return made


def versions(made: Fleet) -> set[str | None]:
    return {machine.kubelet for machine in made.machines.values() if machine.member}


class FirstTime:
    """Lets the first run of a play end otherwise."""

    def __init__(self, play: Play, end: RunState) -> None:
        self._play, self._end, self._had = play, end, False

    def __call__(self, run: StartRun) -> RunState:
        if run.play is not self._play or self._had:
            return RunState.SUCCEEDED
        self._had = True
        return self._end


@pytest.mark.parametrize("more", [{}, EXTERNAL], ids=["stacked", "external"])
async def test_several_minors_in_one_request_are_gone_through_one_by_one(db: Database, more: dict[str, Any]) -> None:
    made = await fleet(db, **more)
    await made.settle()
    before = len(made.runs)
    await made.ask(version="1.34.2")
    await made.make(Role.WORKER)
    seen = await made.settle()
    assert seen.done_generation == 2
    assert versions(made) == {"1.34.2"}
    upgrades = made.runs[before:]
    etcd = 3 if more else 0
    assert [run.version for run in upgrades] == ["1.33.6"] * (etcd + 5) + ["1.34.2"] * (etcd + 5)
    assert [run.upgrade_first for run in upgrades].count(True) == 2
    assert upgrades[etcd + 3].note == f"{etcd + 3} of {etcd + 6} nodes upgraded to 1.33.6"


async def test_adding_a_node_touches_that_node_alone(db: Database) -> None:
    made = await fleet(db)
    await made.settle()
    before = len(made.runs)
    await made.ask(workers=[{"name": "workers", "count": 4}])
    await made.make(Role.WORKER, 4)
    await made.settle()
    assert made.plays()[before:] == [("add_nodes", ("w-4",))]


@pytest.mark.parametrize("end", [RunState.FAILED, RunState.INTERRUPTED])
@pytest.mark.parametrize("play", [Play.SITE, Play.ADD_NODES, Play.UPGRADE, Play.REMOVE_NODES, Play.RENEW, Play.BACKUP])
async def test_run_that_was_cut_short_is_done_again_to_its_end(db: Database, play: Play, end: RunState) -> None:
    made = await fleet(db)
    made.policy = replace(POLICY, backup_every_s=3_600.0)
    fate = FirstTime(play, end)
    await made.settle(fate)
    await made.ask(version="1.33.6", control_plane={"count": 4})
    await made.make(Role.CONTROL_PLANE, 4)
    await made.settle(fate)
    await made.leave("w-1")
    await made.leave("cp-2", dead=True)
    await made.settle(fate)
    made.now += timedelta(days=300)
    await made.settle(fate)
    done = [run for run in made.runs if run.play is play]
    again = {node.name for run in done[1:] for node in run.nodes}
    assert done[0].nodes[0].name in again or play is Play.BACKUP  # which any control plane can take
    assert again
    assert not [step for step in made.steps if isinstance(step, Abandon)]
    assert all(machine.whole for machine in made.machines.values() if machine.member)
    for name, machine in made.machines.items():
        row = await made.node(name)
        assert (row.unfinished, row.failures) == (None, 0)
        assert row.state == (M.JOINED if machine.member else M.DRAINED)


async def test_half_joined_control_plane_is_joined_again_although_it_is_listed(db: Database) -> None:
    made = await fleet(db)
    await made.settle()
    await made.ask(control_plane={"count": 4})
    await made.make(Role.CONTROL_PLANE, 4)
    await made.settle(FirstTime(Play.ADD_NODES, RunState.INTERRUPTED))
    assert made.plays()[-2:] == [("add_nodes", ("cp-4",))] * 2
    assert made.machines["cp-4"].apiserver == "1.32.9"


async def test_upgrade_that_fails_stops_with_the_node_named_and_leaves_the_rest_alone(db: Database) -> None:
    made = await fleet(db)
    await made.settle()

    def second_batch_fails(run: StartRun) -> RunState:
        fails = run.play is Play.UPGRADE and run.nodes[0].name == "w-3"
        return RunState.FAILED if fails else RunState.SUCCEEDED

    await made.ask(version="1.33.6", workers=[{"name": "workers", "count": 5}])
    await made.make(Role.WORKER, 4, 5)
    made.policy = replace(POLICY, upgrades_in_flight=1)
    seen = await made.settle(second_batch_fails)
    assert seen.given_up
    (gave_up,) = [step for step in made.steps if isinstance(step, Abandon)]
    assert gave_up.reason == "w-3: no"
    assert [run for run in made.plays() if run[0] == "upgrade"][3:] == [
        ("upgrade", ("w-1",)),
        ("upgrade", ("w-2",)),
    ] + [("upgrade", ("w-3",))] * 3
    await made.ask()
    await made.make(Role.WORKER)
    assert (await made.settle()).done_generation == 3


async def test_new_nodes_join_during_a_roll_out_with_what_the_control_planes_run(db: Database) -> None:
    made = await fleet(db)
    await made.settle()
    await made.ask(version="1.34.2", workers=[{"name": "workers", "count": 4}])
    await made.make(Role.WORKER, 4)
    await made.settle()
    joins = [(number, run) for number, run in enumerate(made.runs) if run.play is Play.ADD_NODES]
    ((number, join),) = joins
    assert join.version == "1.33.6"
    assert all(node.role is Role.CONTROL_PLANE for run in made.runs[1:number] for node in run.nodes)
    assert versions(made) == {"1.34.2"}


async def test_paused_roll_out_stops_between_two_runs_and_goes_on_where_it_stopped(db: Database) -> None:
    made = await fleet(db)
    await made.settle()
    before = len(made.runs)
    await made.ask(version="1.33.6", paused=True)
    await made.make(Role.WORKER)
    made.policy = replace(POLICY, join_deadline_s=60)
    await made.ask(paused=False)
    await made.make(Role.WORKER)
    with pytest.raises(AssertionError, match="still at work"):
        await made.settle(steps=4)
    half = len(made.runs) - before
    await made.ask(paused=True)
    await made.make(Role.WORKER)
    with pytest.raises(AssertionError, match="still at work"):
        await made.settle(steps=50)
    assert len(made.runs) - before == half, "nothing is started while it is paused"
    await made.ask(paused=False)
    await made.make(Role.WORKER)
    await made.settle()
    assert [run[1] for run in made.plays()[before:]] == [("cp-1",), ("cp-2",), ("cp-3",), ("w-1", "w-2"), ("w-3",)]


async def test_blocked_drain_is_told_and_ends_well_when_it_is_let_go(db: Database) -> None:
    made = await fleet(db)
    await made.settle()
    await made.leave("w-1")
    await made.make(Role.WORKER, 4)
    attempts = 0

    def blocked(run: StartRun) -> RunState:
        nonlocal attempts
        attempts += run.play is Play.REMOVE_NODES
        return RunState.FAILED if run.play is Play.REMOVE_NODES and attempts <= 4 else RunState.SUCCEEDED

    seen = await made.settle(blocked)
    told = [step for step in made.steps if isinstance(step, Tell)]
    assert [step.reason for step in told] == ["w-1: no"]
    assert not [step for step in made.steps if isinstance(step, Abandon)]
    assert [play for play, _ in made.plays()].index("add_nodes") < len(made.runs) - 1, "the new node did not wait"
    assert isinstance([step for step in made.steps if not isinstance(step, StartRun)][-2], SayDone)
    assert seen.done_generation == 1
    assert (await made.node("w-1")).state == M.DRAINED


async def test_certificates_and_backups_go_on_by_themselves_year_after_year(db: Database) -> None:
    made = await fleet(db, control_planes=1, workers=1)
    made.policy = replace(POLICY, backup_every_s=86_400.0)
    while made.now < BEGAN + timedelta(days=800):
        await made.settle()
        made.now += timedelta(days=20)
    plays = [play for play, _ in made.plays()]
    assert plays.count("renew") == 2
    assert plays.count("backup") >= 39


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_gets_stuck_whatever_fails_and_whenever_the_process_dies(db: Database, seed: int) -> None:
    dice = random.Random(seed)
    made = await fleet(
        db, control_planes=dice.choice([1, 3]), workers=dice.randint(0, 4), **dice.choice([{}, EXTERNAL])
    )
    made.policy = replace(POLICY, max_attempts=1_000)

    def luck(_run: StartRun) -> RunState:
        return dice.choice([RunState.SUCCEEDED, RunState.SUCCEEDED, RunState.FAILED, RunState.INTERRUPTED])

    await made.settle(luck)
    for version in ("1.33.6", "1.34.2"):
        workers = dice.randint(len([name for name in made.machines if name.startswith("w-")]), 8)
        await made.ask(version=version, workers=[{"name": "workers", "count": workers}])
        await made.make(Role.WORKER, *range(len([n for n in made.machines if n.startswith("w-")]) + 1, workers + 1))
        seen = await made.settle(luck, steps=2_000)
        assert seen.done_generation == seen.generation
        assert versions(made) == {version}
        assert all(machine.whole for machine in made.machines.values())
