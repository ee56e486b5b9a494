"""Draw the stores of this release: `make release-stores`, at each release and at no other time.

A sandbox's stack makes one cluster, hands out a kubeconfig, makes a pool, and deletes another cluster; what its
services keep of that becomes the data that the next release has to be able to read.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES
from tests.releases import KEY_RING, backup_of
from tests.support.api import FAST_SANDBOX, SMALL, Api


async def _live(stack: Stack) -> None:
    async with Api(stack) as api:
        kept, gone = [str((await api.create(name, SMALL))["id"]) for name in ("kept", "gone")]
        for cluster_id in (kept, gone):
            await api.until_ready(cluster_id, nodes=3, within=120)
        await api.call("POST", f"/clusters/{kept}/kubeconfig", {"role": "viewer", "ttl_s": 3600})
        await api.call("POST", "/pools", {"name": "spares", "spec": {"template": SMALL, "spares": 0}})
        await api.call("DELETE", f"/clusters/{gone}")
        await api.until_gone(gone, within=120)


def draw() -> None:
    """Write the backups and the key ring anew."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), ports="auto", env=FAST_SANDBOX) as stack:
        asyncio.run(_live(stack))
        for service in SERVICES:
            backup_of(service).unlink(missing_ok=True)
            command = [sys.executable, "-m", f"caravan_{service}", "backup", str(backup_of(service))]
            subprocess.run(command, env=os.environ | stack.env, check=True)
            backup_of(service).chmod(0o644)
        shutil.copyfile(Path(folder) / "keys.json", KEY_RING)


if __name__ == "__main__":
    draw()
