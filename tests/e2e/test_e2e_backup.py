"""A lost state directory: what a backup brings back, and that no machine notices; and a key ring turned meanwhile."""

import shutil
from pathlib import Path

import pytest

from caravan_cli.up import Stack
from tests.support.api import FAST_SANDBOX, SMALL, Api
from tests.support.eventually import eventually
from tests.support.operating import caravan, rotate_and_drop

EAGER = {
    "CARAVAN_PROVISIONER_SWEEP_EVERY_S": "0.5",
    "CARAVAN_PROVISIONER_SWEEP_CONFIRM_S": "0",
    "CARAVAN_RESEAL_EVERY_S": "0.5",
}


def wipe(state_dir: Path) -> None:
    """Remove everything but the far end, whose machines go on without us."""
    for path in state_dir.iterdir():
        if not path.name.startswith("sandbox"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


async def machine_ids(api: Api, cluster_id: str) -> set[str]:
    return {machine["id"] for machine in await api.machines(cluster_id)}


@pytest.mark.long
@pytest.mark.timeout(900)  # two starts of the stack and twenty of a service's command
async def test_restored_stack_takes_its_clusters_over_and_leaves_later_ones_alone(tmp_path: Path) -> None:
    state_dir, file = tmp_path / "stack", tmp_path / "backup.tar"
    where = ("--state-dir", str(state_dir))
    with Stack(state_dir, ports="auto", env=FAST_SANDBOX) as stack:
        async with Api(stack) as api:
            kept = await api.create("kept", SMALL)
            await api.until_ready(kept["id"], nodes=3)
            await api.call("PATCH", f"/clusters/{kept['id']}/node-sets/workers", {"count": 3})
            before = await api.until_ready(kept["id"], nodes=4)
            caravan("backup", str(file), *where, "--with-keys")
            later = await api.create("later", {**SMALL, "workers": []})
            await api.until_ready(later["id"], nodes=1)
            of_kept, of_later = await machine_ids(api, kept["id"]), await machine_ids(api, later["id"])
    wipe(state_dir)

    caravan("restore", str(file), *where)

    with Stack(state_dir, ports="auto", env={**FAST_SANDBOX, **EAGER}) as stack:
        async with Api(stack) as api:

            async def is_reported() -> bool:
                seen = (await api.call("GET", "/clouds/sandbox/sweep"))["items"]
                return {item["machine_id"] for item in seen if "restored from a backup" in item["verdict"]} == of_later

            await eventually(is_reported, within=60, every=0.2)
            after = await api.until_ready(kept["id"], nodes=4)
            assert (after["generation"], after["endpoint"]) == (before["generation"], before["endpoint"])
            assert await machine_ids(api, kept["id"]) == of_kept
            assert [cluster["name"] for cluster in (await api.call("GET", "/clusters"))["items"]] == ["kept"]

            await api.call("PATCH", f"/clusters/{kept['id']}/node-sets/workers", {"count": 4})
            await api.until_ready(kept["id"], nodes=5)
            assert await machine_ids(api, kept["id"]) > of_kept
            assert await machine_ids(api, later["id"]) == of_later

            assert (await api.call("POST", "/sweep/release"))["was_held"]

            async def is_swept() -> bool:
                return not await machine_ids(api, later["id"])

            await eventually(is_swept, within=60, every=0.2)
            await rotate_and_drop(state_dir)
            assert (await api.call("POST", f"/clusters/{kept['id']}/kubeconfig", {}))["kubeconfig"]
