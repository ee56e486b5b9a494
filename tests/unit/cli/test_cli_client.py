"""The REST client: routes, pages, retries, errors."""

import httpx
import pytest

from caravan_cli import client as client_module
from caravan_cli.client import Client
from caravan_cli.context import Target
from caravan_cli.errors import (
    CliError,
    Conflict,
    NotAllowed,
    NotFound,
    Refused,
    Unavailable,
)
from tests.support.rest import FakeApi, cluster, entry, problem


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow each other at once."""
    monkeypatch.setattr(client_module, "PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture
def fake() -> FakeApi:
    """An API that answers nothing yet."""
    return FakeApi()


def _client(fake: FakeApi, team: str | None = None) -> Client:
    return Client(Target("http://caravan.test", "secret", team, "a test"), transport=fake)


def test_token_goes_with_every_request_and_team_where_one_is_named(fake: FakeApi) -> None:
    fake.on("GET /v1/clusters/demo", cluster())
    _client(fake, team="blue").cluster("demo")
    assert fake.requests[0].headers["Authorization"] == "Bearer secret"
    assert fake.requests[0].url.params["team"] == "blue"


def test_names_cannot_climb_out_of_their_place_in_the_path(fake: FakeApi) -> None:
    with pytest.raises(NotFound):
        _client(fake).cluster("../../whoami?x=#")
    assert fake.requests[0].url.raw_path == b"/v1/clusters/..%2F..%2Fwhoami%3Fx%3D%23"


def test_pages_are_read_to_the_end(fake: FakeApi) -> None:
    fake.on(
        "GET /v1/clusters",
        {"items": [cluster(name="a")], "next": "here"},
        {"items": [cluster(name="b")], "next": None},
    )
    assert [each.name for each in _client(fake).clusters({"phase": "Ready"})] == ["a", "b"]
    assert [dict(request.url.params)["phase"] for request in fake.requests] == ["Ready", "Ready"]
    assert fake.requests[1].url.params["after"] == "here"


def test_create_is_tried_again_under_the_same_key(fake: FakeApi) -> None:
    fake.on("POST /v1/clusters", problem(503, "Busy"), httpx.Response(202, json=cluster()))
    _client(fake).create("demo", {"version": "1.34.2"})
    keys = {request.headers["Idempotency-Key"] for request in fake.requests}
    assert (len(fake.requests), len(keys)) == (2, 1)


def test_lost_connections_are_tried_again_only_where_that_is_safe(fake: FakeApi) -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("lost", request=request)

    fake.on("GET /v1/clusters/demo", lost)
    fake.on("PATCH /v1/clusters/demo/node-sets/workers", lost)
    with pytest.raises(Unavailable, match="caravan up"):
        _client(fake).cluster("demo")
    assert len(fake.requests) == 4
    with pytest.raises(Unavailable):
        _client(fake).scale("demo", "workers", 3)
    assert len(fake.requests) == 5


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (401, NotAllowed, 6),
        (403, NotAllowed, 6),
        (404, NotFound, 3),
        (409, Conflict, 5),
        (412, Conflict, 5),
        (422, Refused, 4),
        (429, Unavailable, 7),
        (500, CliError, 1),
        (503, Unavailable, 7),
    ],
)
def test_every_status_has_its_error_and_exit_code(fake: FakeApi, status: int, error: type[CliError], code: int) -> None:
    fake.on("GET /v1/clusters/demo", problem(status, "No", detail="because", who_can_fix="user", retry_helps=False))
    with pytest.raises(error, match="because") as raised:
        _client(fake).cluster("demo")
    assert raised.value.exit_code == code
    assert raised.value.problem
    assert raised.value.problem.who_can_fix == "user"


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json=[1]), httpx.Response(500, text="oops")]
)
def test_answer_of_something_else_than_the_api_is_an_error(fake: FakeApi, answer: httpx.Response) -> None:
    fake.on("GET /v1/clusters/demo", answer)
    with pytest.raises(CliError):
        _client(fake).cluster("demo")


def test_timeline_is_in_the_order_in_which_things_happened(fake: FakeApi) -> None:
    fake.on("GET /v1/clusters/demo/timeline", {"items": [entry(3, "c"), entry(1, "a")], "next": None})
    assert [each.text for each in _client(fake).timeline("demo", limit=10)] == ["a", "c"]


def test_fields_that_the_client_does_not_know_are_kept(fake: FakeApi) -> None:
    fake.on("GET /v1/clusters/demo", cluster(colour="blue"))
    assert _client(fake).cluster("demo").model_dump()["colour"] == "blue"
