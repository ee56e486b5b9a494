"""Which Kubernetes versions the playbooks install, and the telling of it."""

from pathlib import Path

import yaml

from caravan_shared.contracts.events import KubernetesOffered
from caravan_shared.contracts.upgrades import version_key
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.outbox import say


def read(playbooks_dir: Path) -> tuple[str, ...]:
    """The versions in `versions.yml`, newest first. Raises ValueError for what is no version."""
    listed = yaml.safe_load((playbooks_dir / "versions.yml").read_text())["versions"]
    return tuple(sorted(map(str, listed), key=version_key, reverse=True))


async def offer(db: Database, playbooks_dir: Path) -> None:
    """Say `kubernetes.offered`."""
    async with db.transaction() as tx:
        await say(tx, KubernetesOffered(versions=read(playbooks_dir)))
