"""A process that claims machines of an inventory for many clusters at once: what happens between processes.

Prints a line `<cluster> <machine>…` for each claim as soon as it is committed, or `<cluster> refused`.
"""

import asyncio
import sys
from collections.abc import Sequence
from uuid import UUID

from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.clouds.base import MachineBatch, Owner, QuotaExceeded
from caravan_provisioner.clouds.static import StaticCloud, StaticConfig
from caravan_provisioner.store import Table
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

INSTALLATION = "claims"


def batch(cluster: int, size: int) -> MachineBatch:
    """What the cluster with this number asks for, each time the same."""
    owner = Owner(INSTALLATION, UUID(int=cluster), "workers", Role.WORKER, "k3x9")
    return MachineBatch(f"c{cluster}-workers-k3x9", tuple(range(1, size + 1)), "small", owner)


async def claim_all(database_url: str, clusters: Sequence[int], size: int) -> None:
    """Claim for all clusters side by side."""
    db = Database(database_url, Table.metadata, MIGRATIONS)
    await db.start()
    cloud = StaticCloud("metal", StaticConfig(), db, SystemClock(), KeyRing({}, ""))

    async def claim(cluster: int) -> None:
        try:
            got = " ".join(machine.id for machine in await cloud.create(batch(cluster, size)))
        except QuotaExceeded:
            got = "refused"
        sys.stdout.write(f"{cluster} {got}\n")
        sys.stdout.flush()

    await asyncio.gather(*map(claim, clusters))
    await db.stop()


if __name__ == "__main__":
    asyncio.run(claim_all(sys.argv[1], range(int(sys.argv[2]), int(sys.argv[3])), int(sys.argv[4])))
