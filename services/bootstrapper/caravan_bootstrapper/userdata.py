"""Answer what machines shall boot with: who may enter, and how a worker joins by itself once its cluster lets it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper import kubeadm, ssh, store, tokens
from caravan_bootstrapper.artifacts import Artifacts
from caravan_bootstrapper.errors import ClusterUnknown, NotJoinable
from caravan_bootstrapper.store import Cluster
from caravan_bootstrapper.upgrades import join_version
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.requests import AskClusterPki, AskUserData, ClusterPki, UserData
from caravan_shared.contracts.spec import ClusterSpec, NodeSet, Role
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

AskPki = Callable[[AskClusterPki], Awaitable[ClusterPki]]
Wake = Callable[[str], None]


@dataclass(frozen=True)
class _Joinable:
    """A cluster as far as joining it goes."""

    id: UUID
    spec: ClusterSpec
    version: str
    endpoint: str
    ca_hash: str


class UserDataDesk:
    """Answers `AskUserData`."""

    def __init__(
        self,
        db: Database,
        keys: KeyRing,
        clock: Clock,
        ask_pki: AskPki,
        wake: Wake,
        *,
        playbooks_dir: Path,
        artifacts: Artifacts,
        resolvers: list[str],
    ) -> None:
        self._db, self._keys, self._clock = db, keys, clock
        self._ask_pki, self._wake = ask_pki, wake
        self._playbooks_dir, self._artifacts, self._resolvers = playbooks_dir, artifacts, resolvers

    async def answer(self, request: AskUserData) -> UserData:
        """User-data for every machine of the set; the same text until its token is renewed."""
        cluster = await self._cluster(request.cluster_id)
        node_set = _set(cluster.spec, request.node_set)
        by_ssh = request.connection is Connection.SSH
        joins = request.pull and node_set.role is Role.WORKER
        if not joins and not by_ssh:
            raise NotJoinable(node_set.name)
        text = kubeadm.user_data(
            join=await self._join(cluster, node_set) if joins else None,
            node=await self._node_state(cluster, node_set) if joins and by_ssh else None,
            authorized_key=await self._authorized_key(cluster.id) if by_ssh else "",
            version=cluster.version,
        )
        return UserData(user_data=text, joins=joins)

    async def _cluster(self, cluster_id: UUID) -> _Joinable:
        async with self._db.reading() as session:
            cluster = await session.get(Cluster, cluster_id)
            nodes = await store.nodes(session, cluster_id)
        if cluster is None or cluster.spec is None:
            raise ClusterUnknown(f"the cluster {cluster_id}")
        spec = ClusterSpec.model_validate(cluster.spec)
        version = join_version(nodes, spec.version)
        if cluster.join_endpoint and cluster.ca_hash:
            return _Joinable(cluster_id, spec, version, cluster.join_endpoint, cluster.ca_hash)
        pki = await self._ask_pki(AskClusterPki(cluster_id=cluster_id))
        async with self._db.transaction() as tx:
            await _keep(tx, cluster_id, pki)
        return _Joinable(cluster_id, spec, version, pki.endpoint, pki.ca_hash)

    async def _join(self, cluster: _Joinable, node_set: NodeSet) -> kubeadm.Join:
        token = await self._token(cluster.id, node_set.name, self._clock.now())
        endpoint = kubeadm.control_plane_endpoint(cluster.spec, cluster.endpoint)
        discovery = kubeadm.Discovery(endpoint, token, cluster.ca_hash)
        machines = sum(one.count for one in cluster.spec.node_sets() if one.role is Role.WORKER)
        return kubeadm.join(self._playbooks_dir, node_set, discovery, machines=machines)

    async def _node_state(self, cluster: _Joinable, node_set: NodeSet) -> kubeadm.NodeState:
        document = kubeadm.node_document(
            self._playbooks_dir,
            role=node_set.role,
            artifacts=await self._artifacts.for_roles(cluster.version, cluster.spec.network),
            resolvers=self._resolvers,
            zone=cluster.endpoint.rpartition(":")[0],
            pod_cidr=str(cluster.spec.network.pod_cidr),
        )
        return kubeadm.node_state(self._playbooks_dir, document)

    async def _authorized_key(self, cluster_id: UUID) -> str:
        async with self._db.transaction() as tx:
            return (await ssh.key_pair(tx, self._keys, cluster_id)).public

    async def _token(self, cluster_id: UUID, node_set: str, now: datetime) -> str:
        async with self._db.transaction() as tx:
            token = await tokens.current(tx, self._keys, cluster_id, node_set, now)
        self._wake(str(cluster_id))  # a cluster that runs has to be told of a new one
        return token


async def _keep(tx: AsyncSession, cluster_id: UUID, pki: ClusterPki) -> None:
    if known := await tx.get(Cluster, cluster_id):
        known.join_endpoint, known.ca_hash = pki.endpoint, pki.ca_hash
        tx.add(known)


def _set(spec: ClusterSpec, name: str) -> NodeSet:
    node_set = next((one for one in spec.node_sets() if one.name == name), None)
    if node_set is None:
        raise ClusterUnknown(f"the node set {name}")
    return node_set
