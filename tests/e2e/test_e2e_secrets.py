"""A hundred secrets go through a whole stack, and lie nowhere afterwards: no database, stream, log or artifact."""

import asyncio

import pytest

from caravan_cli.up import Stack
from tests.support import planting
from tests.support.api import SMALL, Api
from tests.support.canaries import hits, keeps_secrets

TOKENS, KUBECONFIGS, STRAYS = 60, 25, 15


@pytest.mark.long
async def test_no_secret_is_left_behind(stack: Stack, api: Api) -> None:
    cluster = await api.create("canaries", SMALL)
    await api.until_ready(cluster["id"], nodes=3)
    tokens = await asyncio.gather(*(planting.token(api) for _ in range(TOKENS)))
    private_keys = [await planting.private_key(api, cluster["id"]) for _ in range(KUBECONFIGS)]
    strays = [await planting.stray(stack) for _ in range(STRAYS)]
    secrets = {f"canary {number}": secret for number, secret in enumerate({*tokens, *private_keys, *strays})}
    assert len(secrets) >= 100
    secrets |= {"the first admin's token": stack.token, "the bus's password": stack.accounts.credentials.ours.password}
    await api.call("DELETE", f"/clusters/{cluster['id']}")
    await api.until_gone(cluster["id"])
    own = {"credentials": stack.state_dir / "credentials", "keys.json": stack.state_dir / "keys.json"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in own.values())
    assert hits(secrets, [stack.state_dir], but=keeps_secrets(stack.state_dir)) == []
