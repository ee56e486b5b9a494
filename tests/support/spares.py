"""Pools with spares that are ready, written straight into the api's store: taking is tested, not making."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import update

from caravan_api.app import MIGRATIONS
from caravan_api.decide.facts import Endpoint, Facts, Health, Mark
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Pool, PoolCluster, PoolShare
from caravan_api.recorder import node_sets
from caravan_api.store import Cluster, Table
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.states import ClusterPhase, Verdict
from caravan_shared.plumbing.database import Database

A_DAY_S = 86_400
TEAM = "default"
_DONE = Mark(generation=1, sequence=1)
_READY = Facts(
    nodes_heard=True,
    machines=_DONE,
    started=True,
    done=_DONE,
    endpoint=Endpoint(host="a.test", port=6443, addresses=("127.0.0.1",), resolvable=False, sequence=1),
    addressed=True,
    health=Health(verdict=Verdict.HEALTHY, reason="ready", since=datetime(2026, 1, 1, tzinfo=UTC), sequence=1),
)


async def seed(url: str, *, pools: int, spares: int, tested: bool = True, **spec: Any) -> list[str]:
    """So many pools with so many spares each, at most 1,000, smoke tests passed or not; their names."""
    db = Database(url, Table.metadata, MIGRATIONS)
    await db.start()
    names = [f"pool{number}" for number in range(pools)]
    for name in names:
        async with db.transaction() as tx:
            pool = _pool(name, spares, **spec)
            tx.add(pool)
            tx.add_all(PoolShare(pool_id=pool.id, team=team) for team in pool.spec["shared_with"])
            for number in range(spares):
                cluster = _cluster(pool.id, f"{name}-{number:05d}")
                tx.add(cluster)
                tx.add(_spare(pool.id, cluster.id, tested=tested))
    await db.stop()
    return names


async def pass_smoke_tests(url: str) -> None:
    """Have every spare fit from now on."""
    db = Database(url, Table.metadata, MIGRATIONS)
    await db.start()
    async with db.transaction() as tx:
        await tx.exec(update(PoolCluster).values(tested_at=datetime.now(UTC), failing_since=None))
    await db.stop()


def _pool(name: str, spares: int, **changes: Any) -> Pool:
    spec = PoolSpec(
        template=ClusterSpec.model_validate(ClusterSpec.example),
        spares=spares,
        max_size=spares,
        max_making=1,
        smoke_max_age_s=A_DAY_S,
        max_spare_age_s=A_DAY_S,
        **changes,
    )
    now = datetime.now(UTC)
    wanted = spec.model_dump(mode="json")
    return Pool(id=uuid4(), team=TEAM, name=name, created_by="test", created_at=now, updated_at=now, spec=wanted)


def _spare(pool_id: UUID, cluster_id: UUID, *, tested: bool) -> PoolCluster:
    now = datetime.now(UTC)
    spare = PoolCluster(cluster_id=cluster_id, pool_id=pool_id, template_revision=1, made_at=now, ready_at=now)
    spare.tested_at = now if tested else None
    return spare


def _cluster(pool_id: UUID, name: str) -> Cluster:
    spec, now = ClusterSpec.model_validate(ClusterSpec.example), datetime.now(UTC)
    return Cluster(
        id=uuid4(),
        team=TEAM,
        name=name,
        created_by="pool",
        created_at=now,
        updated_at=now,
        announced_at=now,
        spec=spec.model_dump(mode="json"),
        facts=_READY.model_dump(mode="json"),
        phase=ClusterPhase.READY.value,
        verdict=Verdict.HEALTHY.value,
        version=spec.version,
        cloud=spec.cloud,
        pool_id=pool_id,
        nodes_wanted=spec.node_count(),
        node_sets=node_sets(spec, {}),
    )
