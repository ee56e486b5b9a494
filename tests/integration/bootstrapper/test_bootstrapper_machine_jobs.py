"""Work on machines of inventories: what is due, what is held, what is tried again, what is told; on each database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from caravan_bootstrapper import machine_jobs
from caravan_bootstrapper.app import MIGRATIONS
from caravan_bootstrapper.machine_jobs import MachineJob
from caravan_bootstrapper.machine_work import problems_of
from caravan_bootstrapper.records import Outcome
from caravan_bootstrapper.store import Run, Table
from caravan_bootstrapper.views import Play, RunState
from caravan_shared.contracts.events import MachinesHandedBack, MachinesHandedOver
from caravan_shared.contracts.machines import MachineToWork, MachineWork, WorkedMachine
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.database import Database
from tests.support.outbox import said
from tests.support.store import migrated

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTER = UUID(int=7)


class Desk:
    """Hands machines over, and sees what comes back."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.woken: list[str] = []
        self._listener = machine_jobs.Listener(lambda key, _after: self.woken.append(key))

    async def hand_over(self, work: MachineWork, *machines: MachineToWork) -> None:
        event = MachinesHandedOver(work=work, machines=machines)
        async with self.db.transaction() as tx:
            await self._listener.handed_over(Heard(event, str(uuid4()), 1, "provisioner", NOW, event.subject), tx)

    async def due(self, work: MachineWork, after_s: float = 0.0) -> list[MachineJob]:
        async with self.db.reading() as session:
            jobs, _ = await machine_jobs.due(session, work, NOW + timedelta(seconds=after_s))
        return jobs

    async def conclude(self, jobs: list[MachineJob], *, tries: int = 3, **problems: str) -> None:
        by_name = {job.to_work.name: job.machine_id for job in jobs}
        told = {by_name[name]: problem for name, problem in problems.items()}
        async with self.db.transaction() as tx:
            await machine_jobs.conclude(tx, jobs, told, NOW, tries)

    async def back(self) -> list[WorkedMachine]:
        return [machine for back in await said(self.db, MachinesHandedBack) for machine in back.machines]


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """On a fresh store."""
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as db:
        yield Desk(db)


def machine(number: int, ticket: int = 1, *, cloud: str = "metal", node: str | None = None) -> MachineToWork:
    return MachineToWork(
        id=UUID(int=number),
        ticket=ticket,
        name=f"m{number}",
        cloud=cloud,
        address=f"10.0.0.{number}",
        ssh_port=22,
        ssh_user="root",
        host_keys=("ssh-ed25519 AAAA",),
        cluster_id=CLUSTER if node else None,
        node=node,
    )


async def test_machines_of_one_cloud_are_worked_on_together_and_told_once(desk: Desk) -> None:
    await desk.hand_over(MachineWork.CHECK, machine(1), machine(2), machine(3, cloud="other"))
    assert desk.woken == ["machines/check"]
    jobs = await desk.due(MachineWork.CHECK)
    assert [job.to_work.name for job in jobs] == ["m1", "m2"]
    await desk.conclude(jobs)
    assert [(back.id.int, back.ticket, back.problem) for back in await desk.back()] == [(1, 1, None), (2, 1, None)]
    assert [job.to_work.name for job in await desk.due(MachineWork.CHECK)] == ["m3"]


async def test_what_was_done_is_told_again_when_it_is_asked_again_and_not_done_again(desk: Desk) -> None:
    await desk.hand_over(MachineWork.CHECK, machine(1))
    await desk.conclude(await desk.due(MachineWork.CHECK))
    await desk.hand_over(MachineWork.CHECK, machine(1))
    assert await desk.due(MachineWork.CHECK) == []
    assert len(await desk.back()) == 2


async def test_problem_is_told_after_the_last_try_only(desk: Desk) -> None:
    await desk.hand_over(MachineWork.CLEAN, machine(1), machine(2))
    await desk.conclude(await desk.due(MachineWork.CLEAN), tries=2, m1="it is silent")
    assert [back.id.int for back in await desk.back()] == [2]
    assert await desk.due(MachineWork.CLEAN, after_s=1) == []
    await desk.conclude(await desk.due(MachineWork.CLEAN, after_s=6), tries=2, m1="it is silent")
    assert [(back.id.int, back.problem) for back in await desk.back()] == [(2, None), (1, "it is silent")]


async def test_newer_work_waits_until_older_work_lets_go_and_is_all_that_is_told(desk: Desk) -> None:
    await desk.hand_over(MachineWork.PREPARE, machine(1, 1, node="n"))
    jobs = await desk.due(MachineWork.PREPARE)
    async with desk.db.transaction() as tx:
        await machine_jobs.hold(tx, jobs, NOW)
    await desk.hand_over(MachineWork.CLEAN, machine(1, 2, node="n"))
    assert await desk.due(MachineWork.CLEAN) == [], "both at once would leave the cluster's key on it"
    await desk.conclude(jobs)
    assert await desk.back() == []
    (job,) = await desk.due(MachineWork.CLEAN)
    assert job.ticket == 2


async def test_machine_of_a_worker_that_died_is_free_after_a_while(desk: Desk) -> None:
    await desk.hand_over(MachineWork.CHECK, machine(1))
    async with desk.db.transaction() as tx:
        await machine_jobs.hold(tx, await desk.due(MachineWork.CHECK), NOW)
    assert await desk.due(MachineWork.CHECK, after_s=29) == []
    assert len(await desk.due(MachineWork.CHECK, after_s=31)) == 1


async def test_older_question_that_arrives_late_changes_nothing(desk: Desk) -> None:
    await desk.hand_over(MachineWork.CLEAN, machine(1, 3))
    await desk.hand_over(MachineWork.PREPARE, machine(1, 2, node="n"))
    assert await desk.due(MachineWork.PREPARE) == []
    assert len(await desk.due(MachineWork.CLEAN)) == 1


async def test_machine_is_not_wiped_under_a_run_of_its_cluster(desk: Desk) -> None:
    run = Run(
        id=uuid4(),
        cluster_id=CLUSTER,
        play=Play.SITE,
        nodes=["n"],
        version="1.34.2",
        generation=1,
        owner="test",
        beat_at=NOW,
        created_at=NOW,
    )
    async with desk.db.transaction() as tx:
        tx.add(run)
    await desk.hand_over(MachineWork.CLEAN, machine(1, node="n"), machine(2, node="other"))
    assert [job.to_work.name for job in await desk.due(MachineWork.CLEAN)] == ["m2"]
    async with desk.db.transaction() as tx:
        stored = await tx.get_one(Run, run.id)
        stored.state = RunState.CANCELLED
        tx.add(stored)
    assert len(await desk.due(MachineWork.CLEAN)) == 2


async def test_run_that_failed_as_a_whole_failed_on_every_machine(desk: Desk) -> None:
    await desk.hand_over(MachineWork.CHECK, machine(1), machine(2))
    jobs = await desk.due(MachineWork.CHECK)
    one = Outcome(RunState.FAILED, "m1: failed", {"m1": "m1: failed"})
    assert problems_of(one, jobs) == {UUID(int=1): "m1: failed"}
    assert set(problems_of(Outcome(RunState.FAILED, "it took too long"), jobs).values()) == {"it took too long"}
    assert problems_of(Outcome(RunState.SUCCEEDED), jobs) == {}
