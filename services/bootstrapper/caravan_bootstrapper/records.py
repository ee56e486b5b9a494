"""The life of a run as store and bus are told of it: opened, at a step, ended, and what follows from its end.

Every function takes an open transaction and changes nothing outside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlmodel import or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper import ledger
from caravan_bootstrapper.steps import StartRun
from caravan_bootstrapper.store import Cluster, Node, Run
from caravan_bootstrapper.troubles import who_can_fix
from caravan_bootstrapper.views import ACTIVE, ClusterView, Play, RunState
from caravan_shared.contracts.events import BootstrapProgress
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.plumbing.outbox import say

_FINISHED_BY_SUCCESS_ONLY = frozenset({Play.SITE, Play.ADD_NODES, Play.UPGRADE})
"""Plays that leave a node halfway when they end early: it is theirs until one of them succeeds."""

NO_TROUBLE = {"failures": 0, "failed_at": None, "failure": None, "failed_play": None, "told": None}
"""A node's columns while nothing has failed on it."""

_nodes: Any = Node
_runs: Any = Run


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `failure` is a sentence, for every state but Succeeded."""

    state: RunState
    failure: str | None = None
    by_host: Mapping[str, str] = field(default_factory=dict)
    """What failed on each host, where that is known."""


async def open_run(tx: AsyncSession, seen: ClusterView, step: StartRun, owner: str, now: datetime) -> Run:
    """Store a run before it starts, and that its nodes are being worked on."""
    run = Run(
        id=uuid4(),
        cluster_id=seen.cluster_id,
        play=step.play,
        nodes=[node.name for node in step.nodes],
        manager=step.manager.name if step.manager else None,
        version=step.version,
        upgrade_first=step.upgrade_first,
        note=step.note,
        generation=seen.generation,
        owner=owner,
        beat_at=now,
        created_at=now,
    )
    tx.add(run)
    if step.play is Play.REMOVE_NODES:
        await ledger.move_nodes(tx, seen.cluster_id, step.nodes, M.DRAINING)
    elif step.play in (Play.SITE, Play.ADD_NODES):
        await ledger.move_nodes(
            tx, seen.cluster_id, [node for node in step.nodes if node.state is M.WAITING], M.JOINING
        )
    if step.play in _FINISHED_BY_SUCCESS_ONLY:
        await _note(tx, run, unfinished=step.play)
    return run


async def close_run(tx: AsyncSession, run_id: UUID, owner: str, outcome: Outcome, now: datetime) -> bool:
    """Store how a run ended and what follows from it; False where it is no longer ours to tell."""
    mine = update(Run).where(_runs.id == run_id, _runs.owner == owner, _runs.state.in_(ACTIVE))
    ended = await tx.exec(mine.values(state=outcome.state, failure=outcome.failure, ended_at=now))
    if not ended.rowcount:
        return False
    run = (await tx.exec(select(Run).where(_runs.id == run_id))).one()
    if outcome.state is RunState.SUCCEEDED:
        await _succeeded(tx, run, now)
    else:
        await _give_back(tx, run)
    if outcome.state is RunState.FAILED:
        await _failed_on(tx, run, outcome, now)
    return True


async def interrupt(tx: AsyncSession, runs: Sequence[UUID], now: datetime) -> None:
    """Nobody drives these runs any more."""
    for run in await tx.exec(select(Run).where(_runs.id.in_(runs), _runs.state.in_(ACTIVE))):
        run.state, run.ended_at, run.failure = RunState.INTERRUPTED, now, "the process that drove it ended"
        tx.add(run)
        await _give_back(tx, run)


async def reached(tx: AsyncSession, run_id: UUID, step: str, number: int, now: datetime) -> None:
    """A run came to another step."""
    run = await tx.get(Run, run_id)
    if run is None or run.state not in ACTIVE:
        return
    run.step, run.step_number, run.beat_at = step, number, now
    tx.add(run)
    text = f"{run.note}: {step}" if run.note else step
    progress = BootstrapProgress(
        cluster_id=run.cluster_id, run_id=run.id, play=run.play, step=text, step_number=number, at=now
    )
    await say(tx, progress)


async def beat(tx: AsyncSession, run_id: UUID, now: datetime, **values: Any) -> None:
    """The run is still driven."""
    await tx.exec(update(Run).where(_runs.id == run_id).values(beat_at=now, **values))


async def _succeeded(tx: AsyncSession, run: Run, now: datetime) -> None:
    play = Play(run.play)
    if play in _FINISHED_BY_SUCCESS_ONLY:
        await ledger.set_cluster(
            tx, run.cluster_id, failures=0, failure=None, failed_at=None, failed_run=None, who_can_fix=None
        )
        await _note(tx, run, unfinished=None, renewed_at=now)  # each of these plays makes new certificates
    await _forget_troubles(tx, run)
    match play:
        case Play.SITE:
            await ledger.set_cluster(tx, run.cluster_id, set_up_at=now)
            await _etcd_runs(tx, run)
        case Play.ADD_NODES:
            await _etcd_runs(tx, run)
        case Play.REMOVE_NODES:
            await ledger.drained(tx, run.cluster_id, await _nodes_of(tx, run))
        case Play.UPGRADE:
            await _note(tx, run, upgraded_to=run.version)
            await _etcd_runs(tx, run)
        case Play.RENEW:
            await _note(tx, run, renewed_at=now)
        case Play.BACKUP:
            await ledger.set_cluster(tx, run.cluster_id, backed_up_at=now)


async def _etcd_runs(tx: AsyncSession, run: Run) -> None:
    """No kube-apiserver lists etcd's nodes; that the run succeeded is the proof that they are members."""
    members = [node for node in await _nodes_of(tx, run) if node.role == Role.ETCD]
    await ledger.move_nodes(tx, run.cluster_id, members, M.JOINED, version=run.version)
    await say(tx, *ledger.words_of_joining(run.cluster_id, run.version, members))


async def _forget_troubles(tx: AsyncSession, run: Run) -> None:
    """What failed on these nodes works now; where that was told, that all is well is told as well."""
    healed = _nodes.name.in_(run.nodes)
    if run.play == Play.BACKUP:
        healed = or_(healed, _nodes.failed_play == Play.BACKUP)  # whoever takes one takes it for all
    of_cluster = _nodes.cluster_id == run.cluster_id
    if (await tx.exec(select(_nodes.name).where(of_cluster, healed, _nodes.told.is_not(None)))).first():
        await ledger.set_cluster(tx, run.cluster_id, done_generation=0)
    await tx.exec(update(Node).where(of_cluster, healed).values(**NO_TROUBLE))
    if run.manager:
        managed = _nodes.cluster_id == run.cluster_id, _nodes.name == run.manager
        await tx.exec(update(Node).where(*managed).values(blamed_at=None))


async def _give_back(tx: AsyncSession, run: Run) -> None:
    """Nodes that the run was to join, and that have not been seen as members, wait for the next run."""
    named = _nodes.cluster_id == run.cluster_id, _nodes.name.in_(run.nodes), _nodes.state == M.JOINING
    await tx.exec(update(Node).where(*named).values(state=M.WAITING))


async def _failed_on(tx: AsyncSession, run: Run, outcome: Outcome, now: datetime) -> None:
    """Count the failure: against the cluster, or where that can go on without them against the nodes alone."""
    reason = outcome.failure or "no reason was given"
    if run.manager:
        managed = _nodes.cluster_id == run.cluster_id, _nodes.name == run.manager
        await tx.exec(update(Node).where(*managed).values(blamed_at=now))
    if Play(run.play) in _FINISHED_BY_SUCCESS_ONLY:
        await _count_failure(tx, run, reason, now)
        return
    of_nodes = {name: outcome.by_host[name] for name in run.nodes if name in outcome.by_host}
    for name, sentence in (of_nodes or dict.fromkeys(run.nodes, reason)).items():
        named = _nodes.cluster_id == run.cluster_id, _nodes.name == name
        failed = {
            "failures": _nodes.failures + 1,
            "failed_at": now,
            "failure": sentence,
            "failed_play": run.play,
        }
        await tx.exec(update(Node).where(*named).values(**failed))


async def _count_failure(tx: AsyncSession, run: Run, reason: str, now: datetime) -> None:
    cluster = await tx.get(Cluster, run.cluster_id)
    if cluster is None:
        return
    cluster.failures += 1
    cluster.failed_at, cluster.failed_run = now, run.id
    cluster.failure, cluster.who_can_fix = reason, who_can_fix(reason)
    tx.add(cluster)


async def _nodes_of(tx: AsyncSession, run: Run) -> Sequence[Node]:
    named = _nodes.cluster_id == run.cluster_id, _nodes.name.in_(run.nodes)
    return (await tx.exec(select(Node).where(*named))).all()


async def _note(tx: AsyncSession, run: Run, **values: Any) -> None:
    """Set these columns of the run's nodes."""
    named = _nodes.cluster_id == run.cluster_id, _nodes.name.in_(run.nodes)
    await tx.exec(update(Node).where(*named).values(**values))
