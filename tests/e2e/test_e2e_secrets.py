"""A hundred secrets go through a whole stack, and lie nowhere afterwards: no database, stream, log or artifact."""

import asyncio
import json
from base64 import b64decode

import httpx
import pytest
import yaml

from caravan_cli.up import Stack
from tests.support.api import SMALL, Api
from tests.support.canaries import hits
from tests.support.inventory import entry

TOKENS, KUBECONFIGS, STRAYS = 60, 25, 15
# The stack's own keys and credentials, readable by its owner alone; and the far end, which is no part of Caravan.
KEEPS_SECRETS = frozenset({"credentials", "credentials.yaml", "stack.json", "keys.json"})
FAR_END = "sandbox-cloud.db"


@pytest.mark.long
async def test_no_secret_is_left_behind(stack: Stack, api: Api) -> None:
    cluster = await api.create("canaries", SMALL)
    await api.until_ready(cluster["id"], nodes=3)
    secrets = {**await _tokens(api), **await _kubeconfigs(api, cluster["id"]), **await _strays(stack)}
    assert len(secrets) >= 100
    secrets |= {"the first admin's token": stack.token, "the bus's password": stack.accounts.credentials.ours.password}
    await api.call("DELETE", f"/clusters/{cluster['id']}")
    await api.until_gone(cluster["id"])
    own = {"credentials": stack.state_dir / "credentials", "keys.json": stack.state_dir / "keys.json"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in own.values())
    far_end = frozenset(path.name for path in stack.state_dir.glob(f"{FAR_END}*"))
    assert hits(secrets, [stack.state_dir], but=KEEPS_SECRETS | far_end) == []


async def _tokens(api: Api) -> dict[str, str]:
    """Bearer tokens, each used once."""
    made = await asyncio.gather(
        *(api.call("POST", "/tokens", {"user": f"canary-{number}"}) for number in range(TOKENS))
    )
    return {f"token {number}": each["token"] for number, each in enumerate(made)}


async def _kubeconfigs(api: Api, cluster_id: str) -> dict[str, str]:
    """A line from the middle of each private key that was handed out."""
    keys = {}
    for number in range(KUBECONFIGS):
        issued = await api.call("POST", f"/clusters/{cluster_id}/kubeconfig", {"role": "viewer"})
        (user,) = yaml.safe_load(issued["kubeconfig"])["users"]
        pem = b64decode(user["user"]["client-key-data"]).decode()
        keys[f"private key {number}"] = pem.splitlines()[1]
    return keys


async def _strays(stack: Stack) -> dict[str, str]:
    """What people paste into the wrong place: unknown tokens, passwords, of BMCs too, in requests that are refused."""
    strays = {f"stray {number}": f"caravan_stray-{number:02}-9fK3q7wZt5" for number in range(STRAYS)}
    async with httpx.AsyncClient(base_url=f"{stack.url}/v1") as http:
        for secret in strays.values():
            unknown = {"Authorization": f"Bearer {secret}"}
            assert (await http.get("/clusters", headers=unknown)).status_code == 401
            known = {"Authorization": f"Bearer {stack.token}"}
            body = json.dumps({"name": "a", "spec": {}, "password": secret})
            refused = await http.post("/clusters", content=body, headers=known)
            assert refused.status_code == 422
            assert secret not in refused.text
            bmc = {"address": "10.9.0.1", "user": "operator", "password": secret}
            machine = entry(1, cloud="no-inventory").model_dump(mode="json") | {"bmc": bmc}
            refused = await http.post("/machines", json={"machines": [machine]}, headers=known)
            assert refused.status_code == 422
            assert secret not in refused.text
    return strays
