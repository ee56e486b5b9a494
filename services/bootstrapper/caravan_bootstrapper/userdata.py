"""Answer what machines shall boot with, so that they join as soon as their cluster lets them; it need not run yet."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from uuid import UUID

from caravan_bootstrapper import kubeadm, tokens
from caravan_bootstrapper.errors import ClusterUnknown, NotJoinable
from caravan_bootstrapper.store import Cluster
from caravan_shared.contracts.requests import AskClusterPki, AskUserData, ClusterPki, UserData
from caravan_shared.contracts.spec import ClusterSpec, NodeSet, Role
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

AskPki = Callable[[AskClusterPki], Awaitable[ClusterPki]]
Wake = Callable[[str], None]


class UserDataDesk:
    """Answers `AskUserData`."""

    def __init__(self, db: Database, keys: KeyRing, clock: Clock, ask_pki: AskPki, template: Path, wake: Wake) -> None:
        self._db, self._keys, self._clock = db, keys, clock
        self._ask_pki, self._template, self._wake = ask_pki, template, wake

    async def answer(self, request: AskUserData) -> UserData:
        """User-data for every machine of the set; the same text until its token is renewed."""
        cluster_id = request.cluster_id
        spec, endpoint, ca_hash = await self._cluster(cluster_id)
        node_set = _worker_set(spec, request.node_set)
        token = await self._token(cluster_id, node_set.name, self._clock.now())
        join = kubeadm.join_configuration(
            self._template, node_set=node_set, endpoint=endpoint, token=token, ca_hash=ca_hash
        )
        text = kubeadm.user_data(join=join, node=None, authorized_key="", version=spec.version)
        return UserData(user_data=text)

    async def _cluster(self, cluster_id: UUID) -> tuple[ClusterSpec, str, str]:
        async with self._db.reading() as session:
            cluster = await session.get(Cluster, cluster_id)
        if cluster is None or cluster.spec is None:
            raise ClusterUnknown(f"the cluster {cluster_id}")
        spec = ClusterSpec.model_validate(cluster.spec)
        if cluster.join_endpoint and cluster.ca_hash:
            return spec, cluster.join_endpoint, cluster.ca_hash
        pki = await self._ask_pki(AskClusterPki(cluster_id=cluster_id))
        async with self._db.transaction() as tx:
            if known := await tx.get(Cluster, cluster_id):
                known.join_endpoint, known.ca_hash = pki.endpoint, pki.ca_hash
                tx.add(known)
        return spec, pki.endpoint, pki.ca_hash

    async def _token(self, cluster_id: UUID, node_set: str, now: datetime) -> str:
        async with self._db.transaction() as tx:
            token = await tokens.current(tx, self._keys, cluster_id, node_set, now)
        self._wake(str(cluster_id))  # a cluster that runs has to be told of a new one
        return token


def _worker_set(spec: ClusterSpec, name: str) -> NodeSet:
    node_set = next((one for one in spec.node_sets() if one.name == name), None)
    if node_set is None:
        raise ClusterUnknown(f"the node set {name}")
    if node_set.role is not Role.WORKER:
        raise NotJoinable(name)
    return node_set
