"""Secrets that go through a running stack, one at a time; and those that its stores keep sealed.

Each is told as a mark: a text that is found wherever the secret lies, and nowhere else.
"""

import importlib
import json
from base64 import b64decode
from uuid import uuid4

import httpx
import yaml
from sqlalchemy import MetaData, create_engine, select

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES
from caravan_shared.plumbing.sealed_columns import sealed_columns
from caravan_shared.plumbing.sealing import KeyRing
from tests.support.api import Api
from tests.support.inventory import entry


async def token(api: Api) -> str:
    """A bearer token, handed out and used by nobody."""
    made = await api.insist("POST", "/tokens", {"user": f"canary-{uuid4().hex[:8]}"})
    return str(made["token"])


async def private_key(api: Api, cluster_id: str) -> str:
    """The key of a kubeconfig."""
    issued = await api.insist("POST", f"/clusters/{cluster_id}/kubeconfig", {"role": "viewer"})
    (user,) = yaml.safe_load(issued["kubeconfig"])["users"]
    return mark(b64decode(user["user"]["client-key-data"]).decode())


async def webhook(api: Api) -> str:
    """The address of a channel, which whoever has it can write to."""
    secret = uuid4().hex
    rule = {
        "product": "slack",
        "url": f"https://hooks.slack.com/services/T000/B000/{secret}",
        "occasions": ["lease-ending"],
    }
    await api.insist("PUT", f"/notifications/rule-{secret[:8]}", rule)
    return secret


async def stray(stack: Stack) -> str:
    """What people paste into the wrong place: unknown tokens, passwords, of BMCs too, in requests that are refused."""
    secret = f"caravan_stray-{uuid4().hex}"
    async with httpx.AsyncClient(base_url=f"{stack.url}/v1") as http:
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
    return secret


def kept_sealed(stack: Stack) -> set[str]:
    """What the services keep under seal right now: clusters' authorities, SSH keys, addresses of channels."""
    keys = KeyRing.load(stack.state_dir / "keys.json")
    found = set()
    for service in SERVICES:
        importlib.import_module(f"caravan_{service}.app")
        metadata: MetaData = importlib.import_module(f"caravan_{service}.store").Table.metadata
        engine = create_engine(f"sqlite:///{stack.state_dir}/{service}.db")
        with engine.connect() as connection:
            for table, column, context in sealed_columns(metadata):
                rows = connection.execute(select(table).where(column.is_not(None))).all()
                found |= {mark(keys.open(row._mapping[column], context(row))) for row in rows}
        engine.dispose()
    return found


def mark(secret: str) -> str:
    """A line from the middle of a private key, whose other ends are alike; any other secret itself."""
    lines = secret.splitlines()
    return lines[len(lines) // 2] if "PRIVATE KEY" in lines[0] else secret
