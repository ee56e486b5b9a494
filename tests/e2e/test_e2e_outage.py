"""An outage as people see it: the kube-apiserver falls silent, and answers again."""

import httpx
import pytest

from caravan_cli.up import Stack
from caravan_shared.contracts.states import Verdict
from tests.support.api import SMALL, Api
from tests.support.eventually import eventually


@pytest.mark.long
async def test_cluster_that_answers_no_more_is_unreachable_until_it_does(stack: Stack, api: Api) -> None:
    cluster_id = str((await api.create("outage", SMALL))["id"])
    made = await api.until_ready(cluster_id, nodes=3)

    async def is_believed(verdict: Verdict) -> bool:
        return bool((await api.cluster(cluster_id))["health"]["verdict"] == verdict)

    headers = {"Authorization": f"Bearer {stack.layout.sandbox_token}"}
    async with httpx.AsyncClient(base_url=stack.layout.sandbox_url, headers=headers) as cloud:
        hangs = {"kind": "apiserver_hang", "times": None, "address": made["endpoint"]["addresses"][0]}
        (await cloud.post("/v1/faults", json=hangs)).raise_for_status()
        try:
            await eventually(lambda: is_believed(Verdict.UNREACHABLE), within=60, saying="it is called Unreachable")
        finally:
            (await cloud.delete("/v1/faults")).raise_for_status()
    await eventually(lambda: is_believed(Verdict.HEALTHY), within=60, saying="it is called Healthy again")
    await api.call("DELETE", f"/clusters/{cluster_id}")
    await api.until_gone(cluster_id)
