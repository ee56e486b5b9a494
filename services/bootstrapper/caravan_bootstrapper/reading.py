"""Answer what others ask about runs: which there were, and what Ansible printed in one."""

from typing import Any
from uuid import UUID

from sqlmodel import select, tuple_
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper import logs
from caravan_bootstrapper.store import Run
from caravan_shared.contracts.requests import NODES_NAMED, AskRunLog, AskRuns, RunLog, Runs, RunView
from caravan_shared.plumbing.database import Database

_runs: Any = Run


class Reading:
    """Answers from the store alone, so any replica does."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def runs(self, asked: AskRuns) -> Runs:
        """A cluster's runs, newest first; none before a run that it does not have."""
        async with self._db.reading() as session:
            statement = select(Run).where(_runs.cluster_id == asked.cluster_id)
            if asked.before:
                mark = await _run(session, asked.cluster_id, asked.before)
                if mark is None:
                    return Runs(items=())
                statement = statement.where(tuple_(_runs.created_at, _runs.id) < (mark.created_at, mark.id))
            newest_first = statement.order_by(_runs.created_at.desc(), _runs.id.desc())
            found = (await session.exec(newest_first.limit(asked.limit + 1))).all()
        return Runs(items=tuple(_view(run) for run in found[: asked.limit]), more=len(found) > asked.limit)

    async def log(self, asked: AskRunLog) -> RunLog:
        """A page of a run's log."""
        async with self._db.reading() as session:
            run = await _run(session, asked.cluster_id, asked.run_id)
            if run is None:
                return RunLog(run=None)
            extent = await logs.extent(session, run.id)
            start = logs.start_of(extent, asked.offset, asked.limit)
            text = await logs.read(session, run.id, start, asked.limit)
        return RunLog(run=_view(run), text=text, offset=start, first=extent.first, end=extent.end)


async def _run(session: AsyncSession, cluster_id: UUID, run_id: UUID) -> Run | None:
    run = await session.get(Run, run_id)
    return run if run and run.cluster_id == cluster_id else None


def _view(run: Run) -> RunView:
    return RunView(
        run_id=run.id,
        play=run.play,
        state=run.state,
        nodes=tuple(run.nodes[:NODES_NAMED]),
        node_count=len(run.nodes),
        version=run.version,
        step=run.step,
        failure=run.failure,
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )
