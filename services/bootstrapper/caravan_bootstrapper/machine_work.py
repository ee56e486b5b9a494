"""Work on machines of inventories, many in one run: check them, prepare them for a cluster, clean them after one.

They are entered with the inventory's operator key and only where their host key is the one that was told. What is put
on a machine for its cluster is the public half of the cluster's own key, so that no cluster's run ever needs a key that
opens more than its own machines.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from caravan_bootstrapper import inventory, machine_jobs, ssh
from caravan_bootstrapper.machine_jobs import MachineJob
from caravan_bootstrapper.progress import BEAT_EVERY_S
from caravan_bootstrapper.records import Outcome
from caravan_bootstrapper.runner import Order, Runner
from caravan_bootstrapper.settings import Settings
from caravan_bootstrapper.views import Play, RunState
from caravan_shared.contracts.machines import MachineToWork, MachineWork
from caravan_shared.contracts.requests import AskOperatorKey, OperatorKey
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.reconciler import Turn
from caravan_shared.plumbing.sealing import KeyRing

PLAYS = {
    MachineWork.CHECK: Play.CHECK_MACHINES,
    MachineWork.PREPARE: Play.PREPARE_MACHINES,
    MachineWork.CLEAN: Play.CLEAN_MACHINES,
}

log = get_logger(__name__)


class MachineWorks:
    """Runs the plays, one of each kind at a time."""

    def __init__(self, db: Database, keys: KeyRing, runner: Runner, settings: Settings) -> None:
        self._db, self._keys, self._runner, self._settings = db, keys, runner, settings

    async def operator_key(self, asked: AskOperatorKey) -> OperatorKey:
        """Which key the machines of an inventory have to let in."""
        async with self._db.transaction() as tx:
            pair = await ssh.operator_key(tx, self._keys, asked.cloud, self._settings.operator_key)
        return OperatorKey(public=pair.public)

    async def reconcile(self, turn: Turn) -> float | None:
        """Take the batches that are due, one after the other; return in how many seconds to come back."""
        work = machine_jobs.work_of(turn.key)
        while True:
            async with turn.reading() as session:
                jobs, wait = await machine_jobs.due(session, work, turn.now())
            if not jobs:
                return wait
            await self._take(turn, work, jobs)

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """What keeps us from even beginning is told of each machine that waits."""
        async with turn.reading() as session:
            jobs, _ = await machine_jobs.due(session, machine_jobs.work_of(turn.key), turn.now())
        async with turn.transaction() as tx:
            problems = {job.machine_id: error.reason for job in jobs}
            await machine_jobs.conclude(tx, jobs, problems, turn.now(), tries=1)

    async def _take(self, turn: Turn, work: MachineWork, jobs: Sequence[MachineJob]) -> None:
        order = await self._order(turn, work, [job.to_work for job in jobs])
        async with turn.transaction() as tx:
            await machine_jobs.hold(tx, jobs, turn.now())
        log.info("work on machines began", work=work.value, machines=len(jobs))
        try:
            outcome = await self._run(turn, order, jobs)
        except BaseException:
            async with self._db.transaction() as tx:
                await machine_jobs.let_go(tx, jobs)
            raise
        problems = problems_of(outcome, jobs)
        log.info("work on machines ended", work=work.value, machines=len(jobs), problems=len(problems))
        async with turn.transaction() as tx:
            await machine_jobs.conclude(tx, jobs, problems, turn.now(), self._settings.machine_tries)

    async def _run(self, turn: Turn, order: Order, jobs: Sequence[MachineJob]) -> Outcome:
        """Run to the end, keeping the lease meanwhile: whoever loses it ends the run."""
        running = asyncio.create_task(self._runner.run(order, lambda _step, _number: None, lambda _text: None))
        try:
            while not (await asyncio.wait([running], timeout=BEAT_EVERY_S))[0]:
                async with turn.transaction() as tx:
                    await machine_jobs.hold(tx, jobs, turn.now())
            return running.result()
        finally:
            if not running.done():
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def _order(self, turn: Turn, work: MachineWork, machines: Sequence[MachineToWork]) -> Order:
        run_id = uuid4()
        async with turn.transaction() as tx:
            operator = await ssh.operator_key(tx, self._keys, machines[0].cloud, self._settings.operator_key)
            clusters = {machine.cluster_id for machine in machines if machine.cluster_id}
            let_in = {
                cluster: _without_comment((await ssh.key_pair(tx, self._keys, cluster)).public)
                for cluster in (clusters if work is MachineWork.PREPARE else ())
            }
        host = partial(_host, work=work, let_in=let_in)
        hosts = {machine.name: host(machine) for machine in machines}
        secrets_dir = self._runner.secrets_dir(run_id)
        told = {"all": {"hosts": hosts, "vars": inventory.way_in(secrets_dir)}}
        return Order(
            run_id,
            PLAYS[work],
            inventory.to_yaml(told),
            secrets={inventory.SSH_KEY: operator.private, inventory.KNOWN_HOSTS: ssh.known_hosts(machines)},
            within_s=self._settings.machine_work_s,
        )


def problems_of(outcome: Outcome, jobs: Sequence[MachineJob]) -> dict[UUID, str]:
    """What went wrong on which machine. Pure. A run that failed as a whole failed on every one."""
    if outcome.state is RunState.SUCCEEDED:
        return {}
    by_name = {job.to_work.name: job.machine_id for job in jobs}
    found = {by_name[name]: sentence for name, sentence in outcome.by_host.items() if name in by_name}
    return found or dict.fromkeys(by_name.values(), outcome.failure or "the run ended without a word")


def _without_comment(public: str) -> str:
    """The play gives it one of its own, by which it is found again and taken away."""
    return " ".join(public.split()[:2])


def _host(machine: MachineToWork, *, work: MachineWork, let_in: dict[UUID, str]) -> dict[str, Any]:
    return {
        "ansible_host": machine.address,
        "ansible_port": machine.ssh_port,
        "ansible_user": machine.ssh_user,
        "ansible_become": machine.ssh_user != "root",
        "machine_hostname": machine.node if work is MachineWork.PREPARE and machine.node else machine.name,
        "machine_authorized_key": let_in.get(machine.cluster_id, "") if machine.cluster_id else "",
    }
