"""`caravan team`, `caravan member` and `caravan audit`, against an API of laid-down answers."""

import httpx
import pytest
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from tests.support.rest import FakeApi

TEAM = {"name": "payments", "max_clusters": 3, "max_nodes": None, "max_leases": None, "created_by": "admin"}
MEMBER = {"team": "payments", "kind": "user", "user": "alice", "role": "owner", "added_by": "admin"}
ENTRY = {
    "at": "2026-01-01T00:00:00Z",
    "actor": "alice",
    "door": "rest",
    "action": "change",
    "kind": "team",
    "name": "payments",
    "before": {"max_nodes": None, "max_clusters": 2},
    "after": {"max_nodes": 7, "max_clusters": 3},
}


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def caravan(api: FakeApi, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--url", "http://caravan.test", "--token", "t", *arguments], obj=api)


def test_a_team_is_made_with_the_limits_that_were_named(api: FakeApi) -> None:
    api.on("POST /v1/teams", TEAM)
    assert caravan(api, "team", "create", "payments", "--max-clusters", "3").exit_code == 0
    assert api.bodies("POST /v1/teams") == [{"name": "payments", "max_clusters": 3}]


def test_none_lifts_a_limit_and_what_is_no_number_is_told_before_anything_is_sent(api: FakeApi) -> None:
    api.on("PATCH /v1/teams/payments", TEAM)
    assert caravan(api, "team", "quota", "payments", "--max-nodes", "none").exit_code == 0
    assert api.bodies("PATCH /v1/teams/payments") == [{"max_nodes": None}]
    for wrong in (("--max-nodes", "many"), ()):
        assert caravan(api, "team", "quota", "payments", *wrong).exit_code == 2
    assert len(api.requests) == 1


def test_a_team_shows_what_it_has_beside_what_it_may_have(api: FakeApi) -> None:
    api.on("GET /v1/teams/payments", {**TEAM, "used": {"clusters": 1, "nodes": 9, "leases": 0}})
    rows = [line.split(maxsplit=2) for line in caravan(api, "team", "get", "payments").stdout.splitlines()[1:]]
    assert rows == [["clusters", "1", "3"], ["nodes", "9", "no limit"], ["leases", "0", "no limit"]]


def test_a_group_with_slashes_in_its_name_is_added(api: FakeApi) -> None:
    api.on("PUT /v1/members/group//platform/dev", {**MEMBER, "kind": "group", "user": "/platform/dev"})
    done = caravan(api, "--team", "payments", "member", "add", "/platform/dev", "--kind", "group", "--role", "viewer")
    assert done.exit_code == 0, done.stderr
    assert api.requests[0].url.params["team"] == "payments"


def test_members_are_listed_and_removed(api: FakeApi) -> None:
    api.on("GET /v1/members", {"items": [MEMBER], "next": None})
    api.on("DELETE /v1/members/user/alice", httpx.Response(204))
    assert caravan(api, "member", "list").stdout.splitlines()[1].split() == ["alice", "user", "owner", "admin"]
    assert caravan(api, "member", "remove", "alice").exit_code == 0


def test_the_audit_says_from_what_to_what(api: FakeApi) -> None:
    api.on("GET /v1/audit", {"items": [ENTRY, ENTRY], "next": None})
    shown = caravan(api, "audit", "--limit", "1").stdout.splitlines()
    assert len(shown) == 2
    assert "max_nodes: 7; max_clusters: 2 → 3" in shown[1]


def test_the_audit_of_one_cluster_takes_no_other_filter(api: FakeApi) -> None:
    api.on("GET /v1/clusters/demo/audit", {"items": [ENTRY], "next": None})
    assert caravan(api, "audit", "--cluster", "demo").exit_code == 0
    assert caravan(api, "audit", "--cluster", "demo", "--actor", "alice").exit_code == 2
    assert len(api.requests) == 1
