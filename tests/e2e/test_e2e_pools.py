"""What a CI job does: lease a warm cluster, work with it, give it back; through all services and the command line."""

import asyncio
import sys
from typing import Any

import pytest

from caravan_cli.up import Stack
from tests.support.api import SMALL, Api, Json
from tests.support.eventually import eventually

LIST_NODES = """
from kubernetes import client, config
config.load_kube_config()
print(*(node.metadata.name for node in client.CoreV1Api().list_node().items), sep="\\n")
raise SystemExit(7)
"""


async def _caravan(stack: Stack, token: str, *arguments: str) -> tuple[int, str, str]:
    command = (sys.executable, "-m", "caravan_cli", "--url", stack.url, "--token", token, *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def _pool(api: Api, name: str, met: Any) -> Json:
    """The pool, once something is so."""
    last: Json = {}

    async def look() -> bool:
        nonlocal last
        last = await api.call("GET", f"/pools/{name}")
        return bool(met(last))

    try:
        await eventually(look, within=60, every=0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{last}") from error
    return last


@pytest.mark.long
async def test_job_gets_a_fresh_cluster_and_gives_it_back_to_be_deleted(stack: Stack, api: Api) -> None:
    await api.call("POST", "/pools", {"name": "ci", "spec": {"template": SMALL, "spares": 1}})
    await _pool(api, "ci", lambda pool: pool["clusters"]["ready"] == 1)
    job = {"user": "service:default/ci", "scopes": ["leases", "access"]}
    token = (await api.call("POST", "/tokens", job))["token"]
    ran = await _caravan(
        stack, token, "lease", "run", "--pool", "ci", "--label", "commit=1a2b", "--", sys.executable, "-c", LIST_NODES
    )
    code, out, err = ran
    assert code == 7, err
    (lease,) = (await api.call("GET", "/leases?state=Ended&pool=ci"))["items"]
    assert lease["labels"] == {"commit": "1a2b"}
    assert len(out.split()) == 3
    assert all(node.startswith(lease["cluster"]) for node in out.split()), out
    await api.until_gone(lease["cluster_id"])
    pool = await _pool(api, "ci", lambda pool: pool["clusters"]["ready"] == 1)
    assert (pool["clusters"]["leased"], pool["clusters"]["leaving"]) == (0, 0)
    grants = (await api.call("GET", f"/clusters/{lease['cluster_id']}/grants"))["items"]
    assert [grant["role"] for grant in grants] == ["admin"]

    again = await api.call("POST", "/pools/ci/leases", {})
    assert again["cluster_id"] != lease["cluster_id"], "nobody gets a used one"
    await api.call("DELETE", "/pools/ci")
    await api.call("DELETE", f"/leases/{again['id']}")
    for cluster in (await api.call("GET", "/clusters?q=ci-"))["items"]:
        await api.until_gone(cluster["id"])
