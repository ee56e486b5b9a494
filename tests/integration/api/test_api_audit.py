"""The audit: every change with who, through which door, from what to what; and nobody changes it afterwards."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from caravan_api.access import Role
from caravan_api.app import MIGRATIONS
from caravan_api.audit.actor import Actor, Door, acting_as
from caravan_api.audit.recording import watch
from caravan_api.audit.store import AuditEntry
from caravan_api.store import Table
from caravan_api.teams.store import Team
from caravan_shared.contracts.requests import AskKubeconfig, AskRevoke
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.database import Database
from tests.integration.api.conftest import Stack, fresh
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("dns")  # which takes back what former members hold


async def _audit(stack: Stack, **query: Any) -> list[dict[str, Any]]:
    answer = await stack.http.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_change_tells_who_from_what_to_what_and_the_request(stack: Stack) -> None:
    async with stack.speaking_as(Role.DEVELOPER, "audited") as developer:
        body = {"name": fresh(), "spec": ClusterSpec.example}
        cluster = (await developer.post("/v1/clusters", json=body)).json()
        path = f"/v1/clusters/{cluster['id']}"
        changed = await developer.patch(f"{path}/node-sets/workers", json={"count": 4}, headers={"If-Match": "*"})
        assert changed.status_code == 202, changed.text
        await developer.delete(path)
        deleted, change, created = (await developer.get(f"{path}/audit")).json()["items"]
    assert {each["actor"] for each in (deleted, change, created)} == {"developer-of-audited"}
    assert [each["action"] for each in (deleted, change, created)] == ["delete", "change", "create"]
    assert (created["door"], created["team"], created["name"]) == ("rest", "audited", body["name"])
    assert created["after"]["spec"]["version"] == ClusterSpec.example["version"]
    assert change["trace_id"] == changed.headers["x-trace-id"]
    workers = [change[side]["spec"]["workers"][0]["count"] for side in ("before", "after")]
    assert workers == [ClusterSpec.example["workers"][0]["count"], 4]
    assert set(change["after"]) == {"spec"}, "nothing but what changed"
    assert await _audit(stack, ref=cluster["id"], action="change") == [change]


async def test_a_refused_change_leaves_no_entry(stack: Stack) -> None:
    cluster = await stack.create()
    before = await _audit(stack, ref=cluster["id"])
    await stack.http.patch(
        f"/v1/clusters/{cluster['id']}", json={"spec": {"version": "0.0.1"}}, headers={"If-Match": "*"}
    )
    assert await _audit(stack, ref=cluster["id"]) == before


async def test_who_was_let_into_a_cluster_is_in_its_audit(stack: Stack, dns: list[AskKubeconfig | AskRevoke]) -> None:
    cluster = await stack.make_ready(await stack.create())
    answer = await stack.http.post(f"/v1/clusters/{cluster['id']}/kubeconfig", json={"role": "editor"})
    granted = (await stack.http.get(f"/v1/clusters/{cluster['id']}/audit")).json()["items"][0]
    assert (granted["kind"], granted["action"], granted["actor"]) == ("kubeconfig", "create", "admin")
    assert (granted["after"]["role"], granted["after"]["grant_id"]) == ("editor", answer.json()["grant_id"])
    assert granted["trace_id"] == answer.headers["x-trace-id"]


async def test_who_took_access_back_is_in_the_clusters_audit(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/v1/clusters/{cluster['id']}"
    issued = (await stack.http.post(f"{path}/kubeconfig", json={"role": "editor"})).json()
    async with stack.speaking_as(Role.DEVELOPER) as developer:
        answer = await developer.delete(f"{path}/grants/{issued['grant_id']}")
        assert answer.status_code == 204, answer.text
    revoked = (await stack.http.get(f"{path}/audit")).json()["items"][0]
    assert (revoked["kind"], revoked["action"], revoked["name"]) == ("kubeconfig", "delete", "admin")
    assert (revoked["actor"], revoked["trace_id"]) == ("developer-of-default", answer.headers["x-trace-id"])
    assert revoked["after"] == {"grant_id": issued["grant_id"], "user": "admin"}


async def test_what_an_event_asked_for_is_told_by_its_door(stack: Stack) -> None:
    name = fresh()
    wanted = {"request_id": f"r-{name}", "name": name, "spec": ClusterSpec.example}
    await stack.service.bus.js.publish("intake.builds.cluster.requested", json.dumps(wanted).encode())

    async def entry() -> dict[str, Any] | None:
        return next((each for each in await _audit(stack, team="builds", kind="cluster") if each["name"] == name), None)

    found = await eventually(entry)
    assert (found["actor"], found["door"]) == (f"event:r-{name}", "event")


async def test_members_tokens_and_quotas_are_audited_without_a_secret(stack: Stack) -> None:
    team = fresh("team")
    await stack.http.post("/v1/teams", json={"name": team})
    await stack.http.patch(f"/v1/teams/{team}", json={"max_nodes": 7})
    token = await stack.token("carol", team, role="viewer")
    await stack.http.delete("/v1/members/user/carol", params={"team": team})
    items = await _audit(stack, team=team)
    assert [(each["kind"], each["action"]) for each in reversed(items)] == [
        ("team", "create"),
        ("team", "change"),
        ("member", "create"),
        ("token", "create"),
        ("token", "delete"),
        ("member", "delete"),
    ]
    assert (items[-2]["before"], items[-2]["after"]) == ({"max_nodes": None}, {"max_nodes": 7})
    assert token not in str(items)
    assert "sha256" not in str(items)


async def test_an_owner_reads_the_teams_audit_page_by_page_and_no_others(stack: Stack) -> None:
    team = fresh("team")
    async with stack.speaking_as(Role.OWNER, team) as owner:
        for name in ("a", "b", "c"):
            await owner.put(f"/v1/members/user/{name}", json={})
        first = (await owner.get("/v1/audit", params={"limit": 2})).json()
        second = (await owner.get("/v1/audit", params={"limit": 500, "after": first["next"]})).json()
        names = [each["name"] for each in (*first["items"], *second["items"]) if each["kind"] == "member"]
        assert names == ["c", "b", "a", f"owner-of-{team}"]
        assert (await owner.get("/v1/audit", params={"team": "default"})).status_code == 403
    async with stack.speaking_as(Role.DEVELOPER, team) as developer:
        assert (await developer.get("/v1/audit")).status_code == 403


@pytest.mark.parametrize("statement", ["UPDATE auditentry SET actor = 'nobody'", "DELETE FROM auditentry"])
async def test_the_database_itself_keeps_what_was_written(database_url: str, statement: str) -> None:
    watch()
    db = Database(database_url, Table.metadata, MIGRATIONS)
    await db.start()
    name = f"t{uuid4().hex[:8]}"
    with acting_as(Actor("alice", Door.REST, "trace")):
        async with db.transaction() as tx:
            tx.add(Team(name=name, created_by="alice", created_at=datetime.now(UTC)))
    with pytest.raises(DBAPIError, match="stays as it is"):
        async with db.transaction() as tx:
            await (await tx.connection()).execute(text(statement))
    async with db.reading() as session:
        entry = (await session.exec(select(AuditEntry).where(AuditEntry.ref == name))).one()
    assert (entry.actor, entry.door, entry.trace_id, entry.action) == ("alice", "rest", "trace", "create")
    await db.stop()
