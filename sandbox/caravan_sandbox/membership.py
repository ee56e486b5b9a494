"""What kubeadm does to machines and clusters: init, join, upgrade, leave. Synchronous; whoever calls waits beforehand.

One set of checks serves every way in: a node that joins by a console command, one that joins from its user-data, and
a client that shows a bootstrap token to the kube-apiserver.
"""

import base64
import hmac
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from caravan_sandbox.cloud import Cloud
from caravan_sandbox.kube import furniture
from caravan_sandbox.kube.authorization import User
from caravan_sandbox.kube.cluster import RESTART_GAP, Cluster, Identity
from caravan_sandbox.kube.resources import LEASES, NODES, SECRETS
from caravan_sandbox.kube.times import epoch_s, timestamp
from caravan_sandbox.kubeadm import CONTROL_PLANE_TAINT, BootstrapToken, InitConfig, JoinConfig, Registration
from caravan_sandbox.machines import Machine
from caravan_sandbox.pki import ca_hash, check_pair
from caravan_sandbox.scheduler import Scheduler
from caravan_sandbox.store import Store

_NODE_GROUPS = ("system:bootstrappers", "system:authenticated")


class KubeadmError(Exception):
    """kubeadm gives up, for a reason that trying again does not mend."""


class NotServing(KubeadmError):
    """No kube-apiserver answers there, or its etcd has no quorum: it may do so later."""


class Membership:
    """Which clusters there are, and which machine is a member of which."""

    def __init__(self, cloud: Cloud, store: Store, scheduler: Scheduler) -> None:
        self.clusters: dict[str, Cluster] = {}
        self._control_planes: defaultdict[str, dict[str, Machine]] = defaultdict(dict)
        self._cloud, self._store, self._scheduler = cloud, store, scheduler

    def resume(self) -> None:
        """Take up the clusters of an earlier run."""
        for identity in self._store.clusters():
            identity.resource_version += RESTART_GAP
            cluster = self._add(identity)
            for resource, stored in self._store.objects(identity.id):
                cluster.restore(resource, stored)
        for machine in self._cloud.machines.values():
            if machine.control_plane and machine.cluster:
                self._control_planes[machine.cluster][machine.id] = machine

    def of(self, machine: Machine) -> Cluster | None:
        """The machine's cluster."""
        return self.clusters.get(machine.cluster) if machine.cluster else None

    def is_member(self, machine: Machine) -> bool:
        """Whether kubeadm has made a node of the machine, and its cluster still lists it."""
        cluster = self.of(machine)
        return bool(cluster and machine.node and cluster.exists(NODES, machine.node))

    def init(self, machine: Machine, config: InitConfig, pki: Mapping[str, str]) -> None:
        """Make the cluster, with the machine as its first control plane. Raises KubeadmError, PkiError."""
        check_pair(pki["ca_cert"], pki["ca_key"])
        cluster_id = ca_hash(pki["ca_cert"])
        if cluster_id in self.clusters and not self._forget_if_lost(self.clusters[cluster_id]):
            raise KubeadmError(
                f"a cluster of this CA runs already at {self.clusters[cluster_id].identity.endpoint}: join it"
            )
        _check_kubelet(machine, config.version)
        cluster = self._add(
            Identity(
                id=cluster_id,
                endpoint=config.endpoint,
                version=config.version,
                ca_cert=pki["ca_cert"],
                ca_key=pki["ca_key"],
                service_cidr=config.service_cidr,
                dns_domain=config.dns_domain,
                cert_sans=list(config.cert_sans),
                external_etcd=[_host_of(endpoint) for endpoint in config.external_etcd],
            )
        )
        if not self.has_quorum(cluster) and cluster.identity.external_etcd:
            del self.clusters[cluster_id]
            raise KubeadmError(f"etcd does not answer at {', '.join(config.external_etcd)}")
        for resource, body in furniture.first_objects(config.service_cidr, config.dns_domain):
            cluster.create(resource, body)
        for token in config.tokens:
            self._add_token(cluster, token)
        self._register(cluster, machine, config.registration, control_plane=True)

    def find_to_join(self, config: JoinConfig) -> Cluster:
        """The cluster that a JoinConfiguration leads to, its CA checked. Raises NotServing, KubeadmError."""
        at_endpoint = [cluster for cluster in self.clusters.values() if self._answers_at(cluster, config.endpoint)]
        if not at_endpoint:
            raise NotServing(f"no kube-apiserver answers at {config.endpoint}")
        for cluster in at_endpoint:
            if config.skip_ca_verification or cluster.identity.id in config.ca_hashes:
                return cluster
        raise KubeadmError(
            "cluster CA found in cluster-info is invalid: none of its public keys is pinned by caCertHashes"
        )

    def join(self, machine: Machine, config: JoinConfig, pki: Mapping[str, str] | None = None) -> Cluster:
        """Make the machine a member. Raises NotServing where waiting may help, else KubeadmError, PkiError."""
        cluster = self.find_to_join(config)
        if not self.has_quorum(cluster):
            raise NotServing("etcdserver: no leader")
        if self.token_user(cluster, config.token) is None:
            raise KubeadmError("the bootstrap token is unknown or has expired")
        if config.control_plane:
            if not pki:
                raise KubeadmError("a control plane can't join without the cluster's certificates and keys")
            check_pair(pki["ca_cert"], pki["ca_key"])
            if ca_hash(pki["ca_cert"]) != cluster.identity.id:
                raise KubeadmError("ca_cert is not the CA of the cluster")
        if machine.kubelet_version is None and machine.user_data:
            machine.kubelet_version = cluster.identity.version  # its image brought the version that its set asked for
        _check_kubelet(machine, cluster.identity.version, may_be_older=not config.control_plane)
        self._register(cluster, machine, config.registration, control_plane=config.control_plane)
        return cluster

    def token_user(self, cluster: Cluster, token: str) -> User | None:
        """Who a bootstrap token stands for; None if it is unknown or has expired."""
        token_id, _, secret = token.partition(".")
        stored = cluster.collection(SECRETS).get(("kube-system", f"bootstrap-token-{token_id}"))
        if stored is None or stored.body.get("type") != furniture.TOKEN_SECRET_TYPE:
            return None
        data = {name: base64.b64decode(value).decode() for name, value in (stored.body.get("data") or {}).items()}
        expired = "expiration" in data and epoch_s(data["expiration"]) <= self._scheduler.clock()
        usable = data.get("usage-bootstrap-authentication") == "true" and not expired
        if not usable or not hmac.compare_digest(data.get("token-secret", ""), secret):
            return None
        extra = tuple(group for group in data.get("auth-extra-groups", "").split(",") if group)
        return User(f"system:bootstrap:{token_id}", (*_NODE_GROUPS, *extra))

    def upgrade(self, machine: Machine, version: str) -> bool:
        """Bring a member to a version; returns whether anything changed. Raises KubeadmError on a forbidden skew."""
        cluster = self.of(machine)
        if cluster is None or machine.node is None:
            raise KubeadmError("the machine is no member of a cluster")
        if machine.kubelet_version == version:
            return False
        assert machine.kubelet_version is not None  # members have one
        _check_upgrade(machine, version, cluster.identity.version)
        machine.kubelet_version = version
        self._store.save_machine(machine)
        if machine.control_plane:
            cluster.identity.version = max(cluster.identity.version, version, key=_version_key)
            self._store.save_cluster(cluster.identity)
        if cluster.exists(NODES, machine.node):
            body = cluster.get(NODES, machine.node).body
            cluster.replace(NODES, {**body, "status": {**body["status"], "nodeInfo": furniture.node_info(machine)}})
        return True

    def reset(self, machine: Machine) -> bool:
        """Undo what kubeadm made of the machine, but for its Node object. Returns whether it was a member."""
        cluster = self.of(machine)
        was_member = cluster is not None or bool(machine.etcd_peers)
        if cluster and machine.id in cluster.identity.etcd_members and len(cluster.identity.etcd_members) > 1:
            cluster.identity.etcd_members.remove(machine.id)
            self._store.save_cluster(cluster.identity)
        self.gone(machine)
        machine.leave_cluster()
        self._store.save_machine(machine)
        return was_member

    def remove_node(self, cluster: Cluster, name: str) -> bool:
        """Take a node and its etcd member out of the cluster; returns whether it was there."""
        if not cluster.exists(NODES, name):
            return False
        machine_id = machine_id_of(cluster.get(NODES, name).body)
        if machine_id in cluster.identity.etcd_members:
            if len(cluster.identity.etcd_members) == 1:
                raise KubeadmError(f"{name} holds the last etcd member: removing it would end the cluster")
            cluster.identity.etcd_members.remove(machine_id)
        cluster.delete(NODES, name)
        if cluster.exists(LEASES, name, furniture.LEASE_NAMESPACE):
            cluster.delete(LEASES, name, furniture.LEASE_NAMESPACE)
        return True

    def has_quorum(self, cluster: Cluster) -> bool:
        """Whether the majority of the cluster's etcd members runs."""
        identity = cluster.identity
        if identity.external_etcd:
            machines = [self._cloud.at_address(address) for address in identity.external_etcd]
            alive = [bool(machine and machine.running and machine.etcd_peers) for machine in machines]
        else:
            alive = [self._runs(machine_id) for machine_id in identity.etcd_members]
        return sum(alive) * 2 > len(alive)

    def control_planes(self, cluster: Cluster) -> Iterable[Machine]:
        """The cluster's control-plane machines, whether they run or not."""
        return self._control_planes[cluster.identity.id].values()

    def gone(self, machine: Machine) -> None:
        """A machine no longer exists; with its last control plane a cluster is gone too."""
        cluster = self.of(machine)
        if cluster and machine.control_plane:
            self._control_planes[cluster.identity.id].pop(machine.id, None)
            self._forget_if_lost(cluster)

    def _forget_if_lost(self, cluster: Cluster) -> bool:
        """Forget the cluster if no control plane is left: its etcd went with its machines. Returns whether it did."""
        if any(machine.gone_at is None for machine in self.control_planes(cluster)):
            return False
        del self.clusters[cluster.identity.id], self._control_planes[cluster.identity.id]
        self._store.drop_cluster(cluster.identity.id)
        return True

    def _answers_at(self, cluster: Cluster, endpoint: str) -> bool:
        serving = [machine for machine in self.control_planes(cluster) if machine.running]
        return bool(serving) and (
            cluster.identity.endpoint == endpoint or _host_of(endpoint) in {machine.address for machine in serving}
        )

    def _runs(self, machine_id: str) -> bool:
        machine = self._cloud.machines.get(machine_id)
        return machine is not None and machine.running

    def _add(self, identity: Identity) -> Cluster:
        cluster = Cluster(identity, self._scheduler.clock, self._store.save_object)
        self.clusters[identity.id] = cluster
        return cluster

    def _add_token(self, cluster: Cluster, token: BootstrapToken) -> None:
        expires = token.expires
        if expires is None and token.ttl_s:
            expires = timestamp(self._scheduler.clock() + token.ttl_s)
        cluster.create(SECRETS, furniture.token_secret(token.token_id, token.secret, expires, token.groups))

    def _register(self, cluster: Cluster, machine: Machine, registration: Registration, *, control_plane: bool) -> None:
        name = registration.name or machine.name
        self._check_name_is_free(cluster, machine, name)
        machine.cluster, machine.node, machine.control_plane = cluster.identity.id, name, control_plane
        if control_plane:
            self._control_planes[cluster.identity.id][machine.id] = machine
        default = (CONTROL_PLANE_TAINT,) if control_plane else ()
        taints = default if registration.taints is None else registration.taints
        now = self._scheduler.clock()
        cluster.apply(NODES, furniture.node(name, machine, registration.labels, taints, now))
        cluster.apply(LEASES, furniture.lease(name, now))
        if control_plane and not cluster.identity.external_etcd and machine.id not in cluster.identity.etcd_members:
            cluster.identity.etcd_members.append(machine.id)
        self._store.save_machine(machine)
        self._store.save_cluster(cluster.identity)

    def _check_name_is_free(self, cluster: Cluster, machine: Machine, name: str) -> None:
        if not cluster.exists(NODES, name):
            return
        other = machine_id_of(cluster.get(NODES, name).body)
        if other != machine.id and self._runs(other):
            raise KubeadmError(f'a Node with name "{name}" and status "Ready" already exists in the cluster')


def machine_id_of(node: Mapping[str, Any]) -> str:
    """The machine under a node."""
    return str(node["spec"].get("providerID", "")).removeprefix(furniture.provider_id(""))


def _check_kubelet(machine: Machine, version: str, *, may_be_older: bool = False) -> None:
    if machine.kubelet_version is None:
        raise KubeadmError("kubeadm and kubelet are not installed")
    newer = _version_key(machine.kubelet_version) > _version_key(version)
    if newer or (not may_be_older and machine.kubelet_version != version):
        raise KubeadmError(f"kubelet {machine.kubelet_version} does not go with Kubernetes {version}")


def _check_upgrade(machine: Machine, version: str, cluster_version: str) -> None:
    """The version skew policy: https://kubernetes.io/releases/version-skew-policy/"""
    assert machine.kubelet_version is not None
    old, new = _version_key(machine.kubelet_version), _version_key(version)
    if new < old:
        raise KubeadmError(f"{machine.kubelet_version} can't be brought back to {version}")
    if machine.control_plane and (new[0] != old[0] or new[1] > old[1] + 1):
        raise KubeadmError(f"a control plane can't skip a minor version: {machine.kubelet_version} to {version}")
    if not machine.control_plane and new > _version_key(cluster_version):
        raise KubeadmError(f"a kubelet can't be newer ({version}) than its kube-apiserver ({cluster_version})")


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _host_of(endpoint: str) -> str:
    return endpoint.removeprefix("https://").removeprefix("http://").rpartition(":")[0]
