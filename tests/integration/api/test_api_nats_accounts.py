"""Teams on a real nats-server with the accounts that `caravan nats accounts` writes: apart from us and each other."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from caravan_cli.nats.accounts import OURS, SYSTEM
from caravan_shared.contracts.public import ASKS, intake_subject
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.dead_letters import list_dead_letters
from caravan_shared.plumbing.streams import intake_stream
from tests.integration.api.conftest import Stack, fresh, gone_facts, ready_facts, running
from tests.support.eventually import eventually
from tests.support.nats_accounts import (
    Accounts,
    accounts_of,
    connected_to,
    hears_its_own_alone,
    listen,
    our_side,
    reaches_nobody,
)

TEAMS = ("payments", "search")


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    """A server with the accounts of two teams."""
    with accounts_of(tmp_path, *TEAMS) as accounts:
        yield accounts


@pytest.fixture
async def ours(accounts: Accounts) -> AsyncIterator[Bus]:
    """Our own side."""
    async with our_side(accounts, TEAMS) as bus:
        yield bus


async def test_nothing_that_a_team_says_reaches_us_but_what_it_may_ask(accounts: Accounts, ours: Bus) -> None:
    assert await reaches_nobody(accounts, ours, "payments", ("search",))


async def test_a_team_hears_nothing_but_its_own_progress(accounts: Accounts, ours: Bus) -> None:
    assert await hears_its_own_alone(accounts, ours, "payments", ("search",))


async def test_limits_end_a_connection_that_sends_too_much_and_refuse_too_many(accounts: Accounts, ours: Bus) -> None:
    async with accounts.connected("payments") as (team, _complaints):
        await team.request(ASKS, b"{" * 200 * 1024, timeout=5)
        with pytest.raises((nats.errors.MaxPayloadError, nats.errors.Error)):
            await team.request(ASKS, b"{" * 300 * 1024, timeout=2)
    assert (await ours.js.stream_info(intake_stream("payments"))).state.messages == 1


async def test_a_password_opens_its_own_account_and_the_old_one_none_after_a_rotation(
    accounts: Accounts, ours: Bus
) -> None:
    before = accounts.url("search")
    async with accounts.connected("payments") as (stays, _), accounts.connected("search") as (goes, _complaints):
        accounts.write(*TEAMS, "builds", rotate="search")
        accounts.reload()
        await eventually(lambda: goes.is_closed or not goes.is_connected)
        with pytest.raises((nats.errors.Error, OSError)):
            async with connected_to(before):
                pass
        for team in ("search", "builds"):
            async with accounts.connected(team):
                pass
        await stays.request(ASKS, b"{}", timeout=5)
        assert ours.connected
        assert (await ours.js.stream_info(intake_stream("payments"))).state.messages == 1


async def test_operator_watches_the_server_from_an_account_that_sees_no_event(accounts: Accounts, ours: Bus) -> None:
    async with accounts.connected(SYSTEM) as (operator, _):
        heard = await listen(operator, "nodes.>")
        answer = json.loads((await operator.request("$SYS.REQ.SERVER.PING.ACCOUNTZ", b"", timeout=5)).data)
        assert {OURS, "TEAM_payments", "TEAM_search"} <= set(answer["data"]["accounts"])
        await ours.client.publish("nodes.ready", b"ours")
        await ours.client.flush()
        await operator.flush()
        assert heard == []


# --- the api on such a server --------------------------------------------------------------------------------------


@pytest.fixture
async def api(accounts: Accounts, tmp_path: Path) -> AsyncIterator[Stack]:
    """A real api that knows one team more than the server does."""
    async with running(tmp_path / "api", accounts.server, nats_url=accounts.url(OURS)) as stack:
        await stack.offer()
        for team in (*TEAMS, "builds"):
            await stack.add_team(team)
        yield stack


def _told(messages: list[Msg]) -> list[tuple[str, Any]]:
    return [(message.subject, json.loads(message.data)) for message in messages]


async def test_a_team_asks_and_is_told_how_far_it_is_and_the_other_is_not(accounts: Accounts, api: Stack) -> None:
    request_id, name = str(uuid4()), fresh()
    async with accounts.connected("payments") as (team, _), accounts.connected("search") as (other, _complaints):
        told, foreign = await listen(team, "progress.payments.>"), await listen(other, "progress.search.>")
        wanted = {"request_id": request_id, "name": name, "spec": ClusterSpec.example, "team": "search"}
        for _ in range(3):
            stored = await team.jetstream().publish(ASKS, json.dumps(wanted).encode())
            assert stored.stream == "INTAKE_payments"
        accepted = await eventually(lambda: next(iter(_told(told)), None))
        assert accepted == (
            "progress.payments.cluster.accepted",
            {**accepted[1], "team": "payments", "name": name, "request_id": request_id},
        )
        cluster = (await api.http.get(f"/v1/clusters/{accepted[1]['cluster_id']}")).json()
        await api.make_ready(cluster)
        await team.request(ASKS, json.dumps({"request_id": "bad", "name": "-", "spec": {}}).encode(), timeout=5)
        await team.request(ASKS, b"{", timeout=5)
        rejected = await eventually(
            lambda: [body for subject, body in _told(told) if subject.endswith("cluster.rejected")][:2]
        )
        await eventually(lambda: sum(subject.endswith("rejected") for subject, _ in _told(told)) == 2)
        assert rejected[0]["request_id"] == "bad"
        phases = [body["phase"] for subject, body in _told(told) if subject.endswith("phase_changed")]
        assert phases[-1] == "Ready"
        assert [each for each, _ in _told(told)].count("progress.payments.cluster.accepted") == 1
        await other.request(ASKS, b"{", timeout=5)
        await eventually(lambda: foreign)
        assert {subject for subject, _ in _told(foreign)} == {"progress.search.cluster.rejected"}
        assert len(foreign) == 1
    letters = await list_dead_letters(api.service.bus)
    assert [letter.subject for letter in letters] == [intake_subject("payments"), intake_subject("search")]


async def test_a_team_that_comes_while_everything_runs_is_served_after_a_reload(accounts: Accounts, api: Stack) -> None:
    accounts.write(*TEAMS, "builds")
    accounts.reload()
    await eventually(lambda: accounts.lets_ask("builds"))
    async with accounts.connected("builds") as (team, _), accounts.connected("payments") as (known, _complaints):
        await _is_served(team, "builds")
        await _is_served(known, "payments")


async def _is_served(client: Client, team: str) -> None:
    told = await listen(client, f"progress.{team}.>")
    await client.request(ASKS, json.dumps({"request_id": "1", "name": "x", "spec": {}}).encode(), timeout=5)
    await eventually(lambda: told)


async def test_progress_tells_no_more_than_the_timeline_and_ends_with_the_cluster(
    accounts: Accounts, api: Stack
) -> None:
    cluster = await api.create()
    async with accounts.connected(OURS) as (client, _):
        told = await listen(client, "progress.default.>")
        await api.make_ready(cluster)
        assert (await api.http.delete(f"/v1/clusters/{cluster['id']}")).status_code == 202
        await api.phase(cluster, "Deleting")
        await api.tell(*gone_facts(cluster))
        await eventually(lambda: any(subject.endswith("cluster.ended") for subject, _ in _told(told)))
        events = _told(told)
    lines = (await api.http.get(f"/v1/clusters/{cluster['id']}/timeline", params={"limit": 500})).json()["items"]
    texts = [line["text"] for line in lines]
    assert all(
        texts.count(body["text"]) >= [each["text"] for _, each in events].count(body["text"]) for _, body in events
    )
    assert {body["cluster_id"] for _, body in events} == {cluster["id"]}
    phases = [body["phase"] for subject, body in events if subject.endswith("phase_changed")]
    assert phases[-3:] == ["Ready", "Deleting", "Deleted"]
    counts = [body for subject, body in events if subject.endswith("nodes_changed")]
    nodes = sum(len(each["nodes"]) for each in [ready_facts(cluster)[0].model_dump()])
    assert max(body["joined"] for body in counts) == max(body["ready"] for body in counts) == nodes
    endpoint = next(body for subject, body in events if subject.endswith("endpoint_issued"))
    assert endpoint["host"] == "demo.default.caravan.test"
    health = next(body for subject, body in events if subject.endswith("health_changed"))
    assert health["verdict"] == "Healthy"
    assert "BEGIN" not in json.dumps(events)
