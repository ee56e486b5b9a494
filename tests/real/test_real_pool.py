"""A pool of real clusters: its spare is seen to work before anybody gets it, and kubectl uses what was leased."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from caravan_cli.up import Stack
from tests.real.conftest import VERSION, Fleet
from tests.support.api import Json
from tests.support.eventually import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

TEMPLATE = {"version": VERSION, "cloud": "docker", "network": {"cni": "flannel"}, "workers": []}
READY_WITHIN_S = 420  # one machine on a busy laptop; usually one minute


async def test_spare_passes_its_smoke_test_is_leased_used_by_kubectl_and_goes(fleet: Fleet, stack: Stack) -> None:
    await fleet.api.call("POST", "/pools", {"name": "warm", "spec": {"template": TEMPLATE, "max_size": 1}})
    spare = await ready_spare(fleet)

    used = await lease_run(stack, "warm", fleet.mirror / "kubernetes" / f"v{VERSION}" / "kubectl", "get", "nodes")
    (node,) = used["items"]
    assert node["metadata"]["name"].startswith(spare["name"])

    happened = list(reversed(await fleet.timeline(spare["id"])))
    assert position(happened, "Passed its smoke test") < position(happened, "leased it until")
    await fleet.api.call("DELETE", "/pools/warm", headers={"If-Match": (await pool(fleet))["etag"]})
    await eventually(lambda: is_over(fleet), within=120, every=0.5, saying="every cluster of the pool gone")
    assert (await fleet.api.cluster(spare["id"]))["phase"] == "Deleted"


async def pool(fleet: Fleet) -> Json:
    return await fleet.api.call("GET", "/pools/warm")


async def ready_spare(fleet: Fleet) -> Json:
    """The pool's cluster, once it may be handed out."""

    async def ready() -> bool:
        seen = await pool(fleet)
        assert not seen["trouble"], seen["trouble"]
        return bool(seen["clusters"]["ready"])

    await eventually(ready, within=READY_WITHIN_S, every=1, saying="a spare")
    (spare,) = (await fleet.api.call("GET", "/clusters?q=warm-"))["items"]
    assert not spare["simulated"]
    return dict(spare)


async def lease_run(stack: Stack, name: str, kubectl: Path, *arguments: str) -> Json:
    """What a job does: `caravan lease run`, the kubeconfig found in the environment; what kubectl lists."""
    target = ("--url", stack.url, "--token", stack.token)
    command = ("lease", "run", "--pool", name, "--", str(kubectl), *arguments, "--output", "json")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "caravan_cli", *target, *command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    found: Json = json.loads(out)
    return found


def position(texts: list[str], words: str) -> int:
    """Where in a timeline it stands."""
    return next(place for place, text in enumerate(texts) if words in text)


async def is_over(fleet: Fleet) -> bool:
    found = (await fleet.api.call("GET", "/clusters?q=warm-"))["items"]
    return all(cluster["phase"] == "Deleted" for cluster in found)
