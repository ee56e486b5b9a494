"""What is to be done on machines of inventories: one row a machine, its newest piece of work, and how that ended.

A piece of work is named by the machine and a ticket. A newer ticket replaces an older one, also one that is being
worked on; the new work then waits until the old has let go of the machine. Asked again, what is done is told again.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import JSON
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper.progress import SILENT_FOR
from caravan_bootstrapper.store import Run, Table
from caravan_bootstrapper.views import ACTIVE
from caravan_shared.contracts.events import MachinesHandedBack, MachinesHandedOver
from caravan_shared.contracts.machines import MachineToWork, MachineWork, WorkedMachine
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.database import UtcDateTime, after_commit
from caravan_shared.plumbing.outbox import say

KEY = "machines/"
"""Begins the reconciler's keys for this work; clusters' keys are their ids."""
AT_ONCE = 50  # machines a run
_GATHER_S = 0.5  # several sets of a cluster are claimed within a moment, and one run serves them all
_BACKOFF_S = 5.0  # before the second try; doubled for each further one

Wake = Callable[[str, float], None]


class MachineJob(Table, table=True):
    """The newest piece of work on a machine."""

    __tablename__ = "machine_jobs"

    machine_id: UUID = Field(primary_key=True)
    ticket: int
    work: str = Field(index=True)
    machine: dict[str, Any] = Field(sa_type=JSON)
    """The `MachineToWork`."""
    due_at: datetime = Field(sa_type=UtcDateTime)
    tries: int = 0
    done_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    problem: str | None = None
    beat_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """The last sign of whoever works on the machine, for this ticket or an older one; None: nobody does."""

    @property
    def to_work(self) -> MachineToWork:
        """The machine as it was handed over."""
        return MachineToWork.model_validate(self.machine)

    def is_held(self, now: datetime) -> bool:
        """Somebody works on the machine."""
        return self.beat_at is not None and now - self.beat_at < SILENT_FOR


def key_of(work: MachineWork) -> str:
    """The reconciler's key for all work of one kind."""
    return f"{KEY}{work.value}"


def is_key(key: str) -> bool:
    """Whether a key of the reconciler stands for work on machines."""
    return key.startswith(KEY)


def work_of(key: str) -> MachineWork:
    """The work that a key stands for."""
    return MachineWork(key.removeprefix(KEY))


async def live_keys(session: AsyncSession) -> list[str]:
    """The kinds of work that there is something to do of."""
    found = await session.exec(select(MachineJob.work).where(col(MachineJob.done_at).is_(None)).distinct())
    return [key_of(MachineWork(work)) for work in found]


class Listener:
    """Hears what is handed over."""

    def __init__(self, wake: Wake) -> None:
        self._wake = wake

    async def handed_over(self, heard: Heard[MachinesHandedOver], tx: AsyncSession) -> None:
        """Keep what is newer than what is known, and tell again what was done."""
        done = []
        for machine in heard.event.machines:
            known = await tx.get(MachineJob, machine.id, with_for_update=True)
            if known is None or machine.ticket > known.ticket:
                await _keep(tx, known, heard.event.work, machine, heard.at)
            elif machine.ticket == known.ticket and known.done_at is not None:
                done.append(known)
        await _hand_back(tx, heard.event.work, done)
        after_commit(tx, lambda: self._wake(key_of(heard.event.work), _GATHER_S))


async def due(session: AsyncSession, work: MachineWork, now: datetime) -> tuple[list[MachineJob], float | None]:
    """The next batch, of one cloud's machines; where there is none, in how many seconds to look again.

    A machine waits while older work on it lasts, and while a run of its cluster is still on it.
    """
    statement = select(MachineJob).where(col(MachineJob.work) == work.value, col(MachineJob.done_at).is_(None))
    rows = (await session.exec(statement.order_by(col(MachineJob.due_at), col(MachineJob.machine_id)))).all()
    busy = await _nodes_in_runs(session, rows) if work is MachineWork.CLEAN else set()
    free = [row for row in rows if row.due_at <= now and not row.is_held(now) and row.to_work.node not in busy]
    if free:
        cloud = free[0].to_work.cloud
        return [row for row in free if row.to_work.cloud == cloud][:AT_ONCE], None
    waits = [max((row.due_at - now).total_seconds(), 1.0) for row in rows]
    return [], min(waits, default=None)


async def hold(tx: AsyncSession, jobs: Iterable[MachineJob], now: datetime) -> None:
    """Give a sign that these machines are being worked on."""
    for row in await _rows(tx, jobs):
        row.beat_at = now
        tx.add(row)


async def let_go(tx: AsyncSession, jobs: Iterable[MachineJob]) -> None:
    """Nobody works on these machines any more, and nothing is known of how far it went."""
    for row in await _rows(tx, jobs):
        row.beat_at = None
        tx.add(row)


async def conclude(
    tx: AsyncSession, jobs: Sequence[MachineJob], problems: dict[UUID, str], now: datetime, tries: int
) -> None:
    """Write down how a try ended: what went wrong is tried again, up to so many times, and then told."""
    ours = {job.machine_id: job.ticket for job in jobs}
    told: dict[MachineWork, list[MachineJob]] = {}
    for row in await _rows(tx, jobs):
        row.beat_at = None
        tx.add(row)
        if row.ticket != ours[row.machine_id]:
            continue  # something else is wanted of it by now
        row.tries += 1
        row.problem = problems.get(row.machine_id)
        if row.problem is None or row.tries >= tries:
            row.done_at = now
            told.setdefault(MachineWork(row.work), []).append(row)
        else:
            row.due_at = now + timedelta(seconds=_BACKOFF_S * 2 ** (row.tries - 1))
    for work, rows in told.items():
        await _hand_back(tx, work, rows)


async def _keep(
    tx: AsyncSession, known: MachineJob | None, work: MachineWork, machine: MachineToWork, at: datetime
) -> None:
    row = known or MachineJob(machine_id=machine.id, ticket=0, work="", machine={}, due_at=at)
    row.ticket, row.work, row.machine = machine.ticket, work.value, machine.model_dump(mode="json")
    row.due_at, row.tries, row.done_at, row.problem = at, 0, None, None
    tx.add(row)


async def _hand_back(tx: AsyncSession, work: MachineWork, rows: Sequence[MachineJob]) -> None:
    for start in range(0, len(rows), AT_ONCE):
        told = tuple(
            WorkedMachine(id=row.machine_id, ticket=row.ticket, problem=row.problem)
            for row in rows[start : start + AT_ONCE]
        )
        await say(tx, MachinesHandedBack(work=work, machines=told))


async def _rows(tx: AsyncSession, jobs: Iterable[MachineJob]) -> Sequence[MachineJob]:
    ids = [job.machine_id for job in jobs]
    found = await tx.exec(select(MachineJob).where(col(MachineJob.machine_id).in_(ids)).with_for_update())
    return found.all()


async def _nodes_in_runs(session: AsyncSession, rows: Iterable[MachineJob]) -> set[str]:
    """Nodes on which a run of their cluster may still be at work."""
    clusters = {cluster for row in rows if (cluster := row.to_work.cluster_id)}
    runs = await session.exec(select(Run).where(col(Run.cluster_id).in_(clusters), col(Run.state).in_(ACTIVE)))
    return {name for run in runs for name in run.nodes}
