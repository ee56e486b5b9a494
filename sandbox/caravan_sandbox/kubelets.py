"""What machines do by themselves: join from their user-data, keep their node Ready, fall silent when they stop.

Joins that have to wait share one tick, so a thousand machines waiting for one kube-apiserver cost one timer.
"""

from caravan_sandbox.cloud import Cloud
from caravan_sandbox.kube import furniture
from caravan_sandbox.kube.resources import LEASES, NODES
from caravan_sandbox.kube.times import epoch_s, micro_timestamp
from caravan_sandbox.kubeadm import KubeadmConfigError, parse_join
from caravan_sandbox.machines import Machine
from caravan_sandbox.membership import KubeadmError, Membership, NotServing, machine_id_of
from caravan_sandbox.pki import PkiError
from caravan_sandbox.scheduler import Scheduler
from caravan_sandbox.settings import Settings
from caravan_sandbox.userdata import UserDataError, join_config
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)


class Kubelets:
    """Listens to the cloud: `started` and `stopped` are called for every machine."""

    def __init__(self, settings: Settings, cloud: Cloud, membership: Membership, scheduler: Scheduler) -> None:
        self._settings, self._cloud, self._membership, self._scheduler = settings, cloud, membership, scheduler
        self._waiting: dict[str, Machine] = {}
        self._tick_is_due = False

    def resume(self) -> None:
        """Take up the nodes of an earlier run: running machines go on, stopped ones fall silent in due time."""
        for machine in self._cloud.machines.values():
            if machine.running:
                self.started(machine)
        for cluster in self._membership.clusters.values():
            for lease in list(cluster.collection(LEASES).bodies()):
                name = lease["metadata"]["name"]
                if not self.renews(cluster.identity.id, name):
                    silent_since = epoch_s(lease["spec"]["renewTime"])
                    self._expect_silence(cluster.identity.id, name, silent_since)

    def started(self, machine: Machine) -> None:
        """A machine has begun to run: its node is Ready again, or it joins if its user-data says so."""
        cluster = self._membership.of(machine)
        if cluster and machine.node:
            self._set_ready(cluster.identity.id, machine.node, ready=True)
        elif machine.user_data:
            self._scheduler.after(self._cloud.spread(self._settings.join_s), lambda: self._join(machine))

    def stopped(self, machine: Machine) -> None:
        """A machine has stopped: its node's last heartbeat was now."""
        self._waiting.pop(machine.id, None)
        cluster = self._membership.of(machine)
        if cluster is None or machine.node is None:
            return
        now = self._scheduler.clock()
        if cluster.exists(LEASES, machine.node, furniture.LEASE_NAMESPACE):
            lease = cluster.get(LEASES, machine.node, furniture.LEASE_NAMESPACE).body
            cluster.replace(LEASES, {**lease, "spec": {**lease["spec"], "renewTime": micro_timestamp(now)}})
        self._expect_silence(cluster.identity.id, machine.node, now)

    def renews(self, cluster_id: str, node_name: str) -> bool:
        """Whether the node's kubelet is there to renew its lease."""
        machine = self._machine_under(cluster_id, node_name)
        return machine is not None and machine.running and machine.node == node_name

    def _join(self, machine: Machine) -> None:
        if not machine.running or self._membership.of(machine):
            return
        try:
            text = join_config(self._cloud.boot_text(machine) or "")
            if text is not None:
                self._membership.join(machine, parse_join(text))
        except (UserDataError, KubeadmConfigError, PkiError) as error:
            log.warning("user-data can't be acted on", machine=machine.id, name=machine.name, error=str(error))
        except KubeadmError as error:
            # kubeadm would give up on a bad token after five minutes; trying on is what a person's retry would do.
            if not isinstance(error, NotServing):
                log.debug("join refused", machine=machine.id, name=machine.name, error=str(error))
            self._wait_to_join(machine)

    def _wait_to_join(self, machine: Machine) -> None:
        self._waiting[machine.id] = machine
        if not self._tick_is_due:
            self._tick_is_due = True
            self._scheduler.after(self._settings.join_retry_s, self._retry_joins)

    def _retry_joins(self) -> None:
        self._tick_is_due = False
        waiting, self._waiting = self._waiting, {}
        for machine in waiting.values():
            self._join(machine)

    def _expect_silence(self, cluster_id: str, name: str, since: float) -> None:
        due = since + self._settings.node_grace_s
        self._scheduler.at(due, lambda: self._fall_silent(cluster_id, name))

    def _fall_silent(self, cluster_id: str, name: str) -> None:
        if not self.renews(cluster_id, name):
            self._set_ready(cluster_id, name, ready=False)

    def _set_ready(self, cluster_id: str, name: str, *, ready: bool) -> None:
        cluster = self._membership.clusters.get(cluster_id)
        if cluster is None or not cluster.exists(NODES, name):
            return
        body = cluster.get(NODES, name).body
        if furniture.is_ready(body) is ready:
            return
        status = {**body["status"], "conditions": furniture.conditions(self._scheduler.clock(), ready=ready)}
        kept = [taint for taint in body["spec"].get("taints", ()) if taint not in furniture.UNREACHABLE_TAINTS]
        taints = kept if ready else [*kept, *furniture.UNREACHABLE_TAINTS]
        cluster.replace(NODES, {**body, "spec": {**body["spec"], "taints": taints}, "status": status})

    def _machine_under(self, cluster_id: str, node_name: str) -> Machine | None:
        cluster = self._membership.clusters.get(cluster_id)
        stored = cluster.collection(NODES).get(("", node_name)) if cluster else None
        return self._cloud.machines.get(machine_id_of(stored.body)) if stored else None
