"""Teams are apart: no credential opens what it is not for, at no door and on no subject; every change has an author."""

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nats.errors
import pytest
from sqlmodel import col, select

from caravan_api.audit.actor import Door
from caravan_api.audit.recording import Action
from caravan_api.audit.store import AuditEntry
from caravan_shared.contracts.public import ASKS
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.browsers import OWN_PAGE, browser
from tests.integration.api.conftest import Chats, Stack, api_nats, chats, dns, fresh, runs, stack
from tests.integration.api.foreign import FOREIGN, WEB_FOREIGN, Foreign
from tests.integration.api.routes import Route
from tests.integration.api.victims import VICTIM, Victim, changes, one_victim
from tests.promises.sizes import CHANGES_BY_SOMEBODY, REQUESTS_OF_OTHERS, SUBJECTS_OF_OTHERS
from tests.promises.trial import Trial
from tests.support import chat
from tests.support.eventually import eventually
from tests.support.nats_accounts import (
    Accounts,
    accounts_of,
    connected_to,
    hears_its_own_alone,
    our_side,
    reaches_nobody,
)

__all__ = ["api_nats", "chats", "dns", "runs", "stack"]  # fixtures of the api's own tests

AT_ONCE = 16
TEAMS = ("payments", "search", "builds", "billing")
DOORS = (Door.REST, Door.WEB, Door.CHAT, Door.EVENT)

# --- routes --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dns", "runs")
@pytest.mark.promises(REQUESTS_OF_OTHERS)
async def test_no_route_opens_to_a_foreign_credential_however_many_ask_at_once(trial: Trial, stack: Stack) -> None:
    """The team's own member looks at the same time, so that an answer that is shared would show."""
    requests = 0
    async with one_victim(stack) as victim, AsyncExitStack() as clients:
        member = await clients.enter_async_context(stack.client(await stack.token(fresh("member"), VICTIM)))
        tries: list[tuple[Foreign, httpx.AsyncClient, Route]] = []
        for foreign in (*FOREIGN, *WEB_FOREIGN):
            client = await clients.enter_async_context(foreign.opening(stack))
            tries += [(foreign, client, route) for route in foreign.routes]
        before = await changes(stack)
        while trial.goes_on:
            trial.dice.shuffle(tries)
            for batch in _by(AT_ONCE, tries):
                looks = (foreign.tries(client, route, victim) for foreign, client, route in batch)
                await asyncio.gather(*looks, _sees_its_own(member, victim))
                requests += len(batch)
            assert await changes(stack) == before
            trial.did()
    trial.figures |= {"routes and credentials": len(tries), "requests": requests}


async def _sees_its_own(member: httpx.AsyncClient, victim: Victim) -> None:
    seen = await member.get(f"/v1/clusters/{victim.places['cluster']}")
    assert (seen.status_code, seen.json()["id"]) == (200, victim.places["cluster"])


def _by(count: int, tries: list[Any]) -> Iterator[list[Any]]:
    return (tries[start : start + count] for start in range(0, len(tries), count))


# --- subjects ------------------------------------------------------------------------------------------------------


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    """A nats-server with the accounts of all teams."""
    with accounts_of(tmp_path, *TEAMS) as accounts:
        yield accounts


@pytest.mark.promises(SUBJECTS_OF_OTHERS)
async def test_no_subject_opens_to_a_team_that_it_is_not_for(trial: Trial, accounts: Accounts) -> None:
    tried = 0
    while trial.goes_on:
        team, *others = trial.dice.sample(TEAMS, len(TEAMS))
        async with our_side(accounts, TEAMS) as ours:
            tried += await reaches_nobody(accounts, ours, team, tuple(others))
            tried += await hears_its_own_alone(accounts, ours, team, tuple(others))
        for other in others:
            await _lets_nobody_in_as(accounts, team, other)
        trial.did()
    trial.figures["tries"] = tried


async def _lets_nobody_in_as(accounts: Accounts, team: str, other: str) -> None:
    """Neither with another's password, nor with the one of before a rotation."""
    password = accounts.url(team).partition("@")[0].rpartition(":")[2]
    before = accounts.url(other)
    accounts.write(*TEAMS, rotate=other)
    accounts.reload()
    for url in (accounts.server.url_of(other, password), before):
        with pytest.raises((nats.errors.Error, OSError)):
            async with connected_to(url):
                pass


# --- changes -------------------------------------------------------------------------------------------------------

Change = tuple[str, str, str, str, str]
"""What the audit says of one: actor, door, team, action, name."""
FORM = {
    "version": "1.34.2",
    "cloud": "sandbox",
    "control_plane.count": "1",
    "control_plane.machine_type": "medium",
}


@dataclass
class Member:
    """Somebody of a team, at one door."""

    user: str
    team: str
    door: Door
    chats: Chats
    http: httpx.AsyncClient
    chat_user: str
    own: dict[str, str] = field(default_factory=dict)
    """The clusters that they have made and not deleted: id by name."""

    async def change(self, dice: random.Random) -> Change:
        """Make a cluster or delete one of their own; what the audit must say of it."""
        if self.own and self.door is not Door.EVENT and dice.random() < 0.5:
            name = dice.choice(sorted(self.own))
            await self._delete(name, self.own.pop(name))
            return (self.user, self.door.value, self.team, Action.DELETE.value, name)
        name = fresh()
        actor = await self._make(name)
        return (actor, self.door.value, self.team, Action.CREATE.value, name)

    async def _make(self, name: str) -> str:
        actor = self.user
        match self.door:
            case Door.REST:
                answer = await self.http.post("/v1/clusters", json={"name": name, "spec": ClusterSpec.example})
                assert answer.status_code == 202, answer.text
            case Door.WEB:
                answer = await self.http.post("/clusters/new", data={**FORM, "name": name}, headers=OWN_PAGE)
                assert answer.status_code == 204, answer.text
            case Door.CHAT:
                await self._say(f"create {name}")
            case Door.EVENT:
                actor = f"event:r-{name}"
                wanted = {"request_id": f"r-{name}", "name": name, "spec": ClusterSpec.example}
                await self.chats.stack.service.bus.js.publish(f"intake.{self.team}.{ASKS}", json.dumps(wanted).encode())
        self.own[name] = await eventually(lambda: self._id_of(name), saying=f"{name} is there")
        return actor

    async def _delete(self, name: str, cluster_id: str) -> None:
        match self.door:
            case Door.REST:
                answer = await self.http.delete(f"/v1/clusters/{cluster_id}")
                assert answer.status_code == 202, answer.text
            case Door.WEB:
                path = f"/clusters/{cluster_id}/delete"
                answer = await self.http.post(path, data={"confirm": name}, headers=OWN_PAGE)
                assert answer.status_code == 204, answer.text
            case Door.CHAT:
                await self._say(f"delete {cluster_id} --yes")

    async def _say(self, text: str) -> None:
        answer = await self.chats.post("acme", chat.slack_command(text, user=self.chat_user))
        assert answer.status_code == 200, answer.text

    async def _id_of(self, name: str) -> str | None:
        found = await self.chats.stack.http.get(f"/v1/clusters/{name}", params={"team": self.team})
        return str(found.json()["id"]) if found.status_code == 200 else None


@pytest.mark.promises(CHANGES_BY_SOMEBODY)
async def test_the_audit_names_who_made_each_change_and_no_other_change(trial: Trial, chats: Chats) -> None:
    """Many at once, so that one's name could come under another's change."""
    for team in TEAMS:
        await chats.stack.add_team(team)
    async with AsyncExitStack() as clients:
        members = [await _member(clients, chats, team, door) for team, door in itertools.product(TEAMS, DOORS)]
        begun, made = await _newest(chats.stack), Counter[Change]()
        while trial.goes_on:
            batch = trial.dice.sample(members, trial.at_most(AT_ONCE // 2))
            made.update(await asyncio.gather(*(member.change(trial.dice) for member in batch)))
            trial.did(len(batch))
        assert await _audited(chats.stack, since=begun) == made
    trial.figures |= {door.value: sum(count for change, count in made.items() if change[1] == door) for door in DOORS}


async def _member(clients: AsyncExitStack, chats: Chats, team: str, door: Door) -> Member:
    user = chat_user = fresh(door.value)
    if door is Door.CHAT:
        user = await chats.link(chat_user, "developer", team)
    token = await chats.stack.token(user, team, role="developer")
    opening = browser(chats.stack, token) if door is Door.WEB else chats.stack.client(token)
    return Member(user, team, door, chats, await clients.enter_async_context(opening), chat_user)


async def _newest(stack: Stack) -> int:
    async with stack.service.db.reading() as session:
        return (await session.exec(select(AuditEntry.id).order_by(col(AuditEntry.id).desc()))).first() or 0


async def _audited(stack: Stack, *, since: int) -> Counter[Change]:
    statement = select(AuditEntry).where(col(AuditEntry.id) > since, AuditEntry.door != Door.ITSELF.value)
    async with stack.service.db.reading() as session:
        entries = (await session.exec(statement)).all()
    assert {entry.kind for entry in entries} == {"cluster"}
    return Counter((entry.actor, entry.door, entry.team or "", entry.action, entry.name) for entry in entries)
