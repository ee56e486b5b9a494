"""A team with one thing of each kind, for tests that try to get at it from outside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
from sqlmodel import func, select

from caravan_api.audit.store import AuditEntry
from caravan_api.store import Grant
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import Stack, fresh
from tests.integration.api.routes import Route

VICTIM, STRANGERS = "victims", "strangers"
REFUSED = {401, 403, 404, 405}


@dataclass(frozen=True)
class Victim:
    """A team with one thing of each kind."""

    places: dict[str, str]
    """By the name of the path's parameter."""
    marks: frozenset[str]
    """Texts that nobody else may ever read."""


@asynccontextmanager
async def one_victim(stack: Stack) -> AsyncIterator[Victim]:
    """A team with a cluster, a kubeconfig, a pool, a lease in its queue, a member and a token."""
    name, pool, member = fresh("victim"), fresh("pool"), fresh("member")
    await stack.token(member, VICTIM, role="owner")
    about = {"team": VICTIM}
    cluster = (
        await stack.http.post("/v1/clusters", json={"name": name, "spec": ClusterSpec.example}, params=about)
    ).json()
    spec = {"template": ClusterSpec.example, "spares": 0, "max_size": 1}
    made = (await stack.http.post("/v1/pools", json={"name": pool, "spec": spec}, params=about)).json()
    lease = (await stack.http.post(f"/v1/pools/{made['id']}/leases", json={}, params=about)).json()
    token = (await stack.http.post("/v1/tokens", json={"user": member}, params=about)).json()
    grant = uuid4()
    async with stack.service.db.transaction() as tx:
        tx.add(
            Grant(
                grant_id=grant, cluster_id=UUID(cluster["id"]), user=member, role="viewer", issued_at=datetime.now(UTC)
            )
        )
    places = {
        "cluster": cluster["id"],
        "grant_id": str(grant),
        "pool": made["id"],
        "lease": lease["id"],
        "token_id": token["id"],
        "kind": "user",
    }
    yield Victim(places, frozenset({name, pool, member, *places.values()} - {"user"}))
    await stack.http.delete(f"/v1/clusters/{cluster['id']}")
    await stack.http.delete(f"/v1/pools/{made['id']}")


async def changes(stack: Stack) -> int:
    """How often anything of the team was changed by anybody but Caravan itself, so far."""
    statement = select(func.count()).where(AuditEntry.team == VICTIM, AuditEntry.door != "itself")
    async with stack.service.db.reading() as session:
        return (await session.exec(statement)).one()


def places(route: Route) -> set[str]:
    """What of a team's things the route names."""
    return {name for name in ("cluster", "grant_id", "pool", "lease", "token_id", "kind") if f"{{{name}" in route.path}


async def beginning(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """What is answered at once; of a stream, its beginning."""
    answer = await client.send(request, stream=True)
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        first = await anext(answer.aiter_bytes())
        await answer.aclose()
        return httpx.Response(answer.status_code, headers=answer.headers, content=first, request=request)
    await answer.aread()
    return answer
