"""The runs that this process drives, each as a task of its own: a turn of the reconciler never waits for one.

A run's end is stored under the condition that the run is still ours and still open, so that a process which was
believed dead cannot overwrite what another one did meanwhile.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from caravan_bootstrapper import inventory, kubeadm, logs, records, ssh, store, tokens, upkeep
from caravan_bootstrapper.artifacts import Artifacts
from caravan_bootstrapper.errors import ClusterUnknown, MachinesSilent
from caravan_bootstrapper.progress import SILENT_FOR, telling
from caravan_bootstrapper.records import Outcome
from caravan_bootstrapper.runner import Order, Runner
from caravan_bootstrapper.settings import Settings
from caravan_bootstrapper.store import Cluster, Run
from caravan_bootstrapper.views import NodeView, Play, RunState
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.presets import effective
from caravan_shared.contracts.requests import AskClientCertificate, AskClusterPki, ClientCertificate, ClusterPki
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.away import once_back
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import CaravanError, Retry
from caravan_shared.plumbing.log import bound, get_logger
from caravan_shared.plumbing.sealing import KeyRing

JOINING = frozenset({Play.SITE, Play.ADD_NODES})
NEEDING_PKI = JOINING | {Play.RENEW}

CANCELLED = Outcome(RunState.CANCELLED, "its cluster is no longer wanted")
STOPPED = Outcome(RunState.INTERRUPTED, "the bootstrapper was stopped")

log = get_logger(__name__)

AskPki = Callable[[AskClusterPki], Awaitable[ClusterPki]]
AskCertificate = Callable[[AskClientCertificate], Awaitable[ClientCertificate]]
Wake = Callable[[str, float], None]


class Runs:
    """Launches, cancels and records runs."""

    def __init__(
        self,
        db: Database,
        keys: KeyRing,
        clock: Clock,
        ask_pki: AskPki,
        ask_certificate: AskCertificate,
        wake: Wake,
        settings: Settings,
        runner: Runner,
        artifacts: Artifacts,
    ) -> None:
        self._db, self._keys, self._clock = db, keys, clock
        self._ask_pki, self._ask_certificate, self._wake, self._settings = ask_pki, ask_certificate, wake, settings
        self._runner, self._artifacts = runner, artifacts
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._unwanted: set[UUID] = set()
        self._places = asyncio.Semaphore(settings.max_runs)

    @property
    def owner(self) -> str:
        """This replica's name on its runs."""
        return self._settings.instance

    async def run(self) -> None:
        """Clear up after predecessors; at the end, end what is still at work."""
        self._runner.clear_leftovers()
        try:
            await asyncio.Event().wait()
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                _cancel_once(task)
            await asyncio.gather(*tasks, return_exceptions=True)
            self._runner.close()

    def is_alive(self, run: Run) -> bool:
        """Somebody drives it: we, or another replica that gave a sign lately."""
        if run.owner == self.owner:
            return run.id in self._tasks
        return self._clock.now() - run.beat_at < SILENT_FOR

    def launch(self, run: Run) -> None:
        """Start a stored run."""
        tracing.busy()  # the turn may end before the run's own span begins
        task = asyncio.create_task(self._drive(run), name=f"run-{run.id}")
        self._tasks[run.id] = task
        task.add_done_callback(lambda _: self._ended(run))

    def cancel(self, run_id: UUID) -> None:
        """End a run of ours; another replica's ends when that one reads the same fact."""
        if task := self._tasks.get(run_id):
            self._unwanted.add(run_id)
            _cancel_once(task)

    def _ended(self, run: Run) -> None:
        self._tasks.pop(run.id, None)
        self._unwanted.discard(run.id)
        self._wake(str(run.cluster_id), 0.0)

    async def _drive(self, run: Run) -> None:
        with bound(cluster=str(run.cluster_id), run=str(run.id), play=run.play):
            try:
                async with self._places:
                    outcome = await self._outcome(run)
            except asyncio.CancelledError:
                unwanted = run.id in self._unwanted
                await self._close(run, CANCELLED if unwanted else STOPPED)
                raise
            await self._close(run, outcome)

    async def _outcome(self, run: Run) -> Outcome:
        log.info("run started", nodes=len(run.nodes))
        try:
            order = await self._order(run)
            await self._wait_for_ssh(run)
            return await self._perform(run, order)
        except Retry as error:
            log.info("run put off", reason=error.reason)
            await asyncio.sleep(error.after)
            return Outcome(RunState.INTERRUPTED, error.reason)
        except CaravanError as error:
            return Outcome(RunState.FAILED, error.reason)
        except Exception as error:
            log.exception("run failed by a defect of ours")
            return Outcome(RunState.FAILED, f"{run.play} could not be run: {error}")

    async def _close(self, run: Run, outcome: Outcome) -> None:
        async def write() -> bool:
            async with self._db.transaction() as tx:
                return await records.close_run(tx, run.id, self.owner, outcome, self._clock.now())

        told = await once_back(write, "the end of a run")  # else all of it would be done again
        log.info("run ended", state=outcome.state, reason=outcome.failure, told=told)

    async def _perform(self, run: Run, order: Order) -> Outcome:
        async with self._db.transaction() as tx:
            now = self._clock.now()
            await records.beat(tx, run.id, now, state=RunState.RUNNING, started_at=now)
            await logs.forget_older(tx, run.cluster_id, self._settings.run_logs)
        async with telling(self._db, self._clock, run.id, self._settings.run_log_chars) as told:
            return await self._runner.run(order, told.reached, told.printed)

    async def _order(self, run: Run) -> Order:
        """Everything the run needs, with the nodes that are still there."""
        async with self._db.reading() as session:
            cluster = await session.get(Cluster, run.cluster_id)
            nodes = {node.name: node for node in await store.nodes(session, run.cluster_id)}
        if cluster is None or cluster.spec is None:
            raise ClusterUnknown(f"the cluster {run.cluster_id}")
        spec = ClusterSpec.model_validate(cluster.spec)
        chosen = [nodes[name] for name in run.nodes if name in nodes]
        manager = nodes.get(run.manager) if run.manager else None
        bystanders = inventory.bystanders(nodes.values(), chosen) if run.upgrade_first else []
        secrets = await self._way_in(run.cluster_id, [*chosen, *([manager] if manager else []), *bystanders])
        endpoint = cluster.join_endpoint or f"{cluster.endpoint_host}:{cluster.endpoint_port}"
        files: dict[str, str] = {}
        if run.play in NEEDING_PKI:
            pki = await self._ask_pki(AskClusterPki(cluster_id=run.cluster_id))
            endpoint = pki.endpoint
            secrets[inventory.PKI] = pki.model_dump_json(exclude={"ca_hash", "endpoint"})
            if run.play in JOINING:
                of_sets, secrets[inventory.TOKENS] = await self._tokens(run, chosen)
                files |= self._join_configurations(spec, chosen, pki, of_sets)
        if run.play == Play.SITE and effective(spec).cilium_etcd:
            asked = AskClientCertificate(cluster_id=run.cluster_id, purpose="cilium-etcd")
            secrets[inventory.CILIUM_ETCD] = (await self._ask_certificate(asked)).model_dump_json()
        spec = spec.model_copy(update={"version": run.version})
        artifacts = await self._artifacts_for(spec, chosen)
        if artifacts and run.play in inventory.INSTALLING:
            files |= self._node_states(spec, chosen, artifacts, zone=endpoint.rpartition(":")[0])
        work = inventory.Work(
            play=Play(run.play),
            cluster=cluster.name,
            spec=spec,
            nodes=chosen,
            etcd=[node for node in nodes.values() if node.role is Role.ETCD and node.live],
            manager=manager,
            endpoint=endpoint,
            secrets_dir=self._runner.secrets_dir(run.id),
            sandbox_url=self._settings.sandbox_url,
            joins_in_flight=self._settings.joins_in_flight,
            upgrade_first=run.upgrade_first,
            bystanders=bystanders,
            artifacts=artifacts,
            resolvers=self._settings.resolvers,
        )
        variables: dict[str, str | int] = {
            "caravan_platform": inventory.platform(chosen),
            "caravan_upgrades_in_flight": self._settings.upgrades_in_flight,
            "caravan_renew_below_days": upkeep.renew_below_days(self._settings.renew_after_days),
        }
        return Order(run.id, Play(run.play), inventory.to_yaml(inventory.build(work)), variables, secrets, files)

    async def _artifacts_for(self, spec: ClusterSpec, nodes: list[NodeView]) -> dict[str, Any]:
        """What real machines install; simulated ones install nothing."""
        if nodes[0].connection is Connection.SANDBOX:
            return {}
        return await self._artifacts.for_roles(spec.version, spec.network)

    def _node_states(
        self, spec: ClusterSpec, nodes: list[NodeView], artifacts: dict[str, Any], *, zone: str
    ) -> dict[str, str]:
        """File name → state, rendered once a role; Ansible would do it on every machine anew."""
        return {
            inventory.node_state_file(role): kubeadm.node_document(
                self._settings.playbooks_dir,
                role=role,
                artifacts=artifacts,
                resolvers=self._settings.resolvers,
                zone=zone,
                pod_cidr=str(spec.network.pod_cidr),
            )
            for role in {node.role for node in nodes if node.role}
        }

    async def _wait_for_ssh(self, run: Run) -> None:
        """New machines answer some seconds after their cloud calls them running. MachinesSilent where they never do."""
        if Play(run.play) not in (Play.SITE, Play.ADD_NODES):
            return
        async with self._db.reading() as session:
            known = await store.nodes(session, run.cluster_id)
        machines = [node for node in known if node.name in run.nodes and node.connection is Connection.SSH]
        if silent := await ssh.silent(machines, self._settings.ssh_within_s):
            raise MachinesSilent([node.name for node in silent], self._settings.ssh_within_s)

    async def _way_in(self, cluster_id: UUID, nodes: list[NodeView]) -> dict[str, str]:
        """The secrets that open these machines."""
        if nodes[0].connection is Connection.SANDBOX:
            return {inventory.SANDBOX_TOKEN: self._settings.sandbox_token.get_secret_value()}
        async with self._db.transaction() as tx:
            pair = await ssh.key_pair(tx, self._keys, cluster_id)
        return {inventory.SSH_KEY: pair.private, inventory.KNOWN_HOSTS: ssh.known_hosts(nodes)}

    async def _tokens(self, run: Run, nodes: list[NodeView]) -> tuple[dict[str, str], str]:
        """The token of each set that the nodes are of; and, as kubeadm's init takes them, all of the cluster's."""
        now = self._clock.now()
        async with self._db.transaction() as tx:
            of_sets = {
                node_set: await tokens.current(tx, self._keys, run.cluster_id, node_set, now)
                for node_set in sorted({node.node_set for node in nodes})
            }
            known = await tokens.all_of(tx, self._keys, run.cluster_id)
        return of_sets, json.dumps([tokens.init_entry(token, until, now) for token, until in known])

    def _join_configurations(
        self, spec: ClusterSpec, nodes: list[NodeView], pki: ClusterPki, tokens_of_sets: dict[str, str]
    ) -> dict[str, str]:
        """File name → configuration, of every node that kubeadm may join; Ansible would take longer for each."""
        sets = {node_set.name: node_set for node_set in spec.node_sets()}
        endpoint = kubeadm.control_plane_endpoint(spec, pki.endpoint)
        return {
            inventory.join_file(node.name): kubeadm.join_configuration(
                self._settings.playbooks_dir,
                sets[node.node_set],
                kubeadm.Discovery(endpoint, tokens_of_sets[node.node_set], pki.ca_hash),
                node=node.name,
                address=node.address if node.role is Role.CONTROL_PLANE else None,
            )
            for node in nodes
            if node.role is not Role.ETCD and node.node_set in sets
        }


def _cancel_once(task: asyncio.Task[None]) -> None:
    """Cancel a task that is not being cancelled: the second time would disturb it while it stores how it ended."""
    if not task.cancelling():
        task.cancel()
