"""User text is data: an address that a user names is called only where the operator allowed it, however it is spelt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import pytest
from aiohttp import web
from sqlmodel import func, select

from caravan_api.doors.chatops.store import ChatReply
from caravan_api.outgoing import Outgoing, Undelivered
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.clock import SystemClock
from tests.integration.api.conftest import Chats, chats, fresh
from tests.promises.sizes import ADDRESSES_OF_USERS
from tests.promises.trial import Trial
from tests.support.chat import slack_press
from tests.support.eventually import eventually
from tests.support.ports import free_port

__all__ = ["chats"]  # a fixture of the api's own tests

USER = "UELSEWHERE"
AT_ONCE = 20
LOOPBACKS = (
    "127.0.0.1",
    "localhost",
    "LOCALHOST.",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "127。0。0。1",
    "⑫7.0.0.1",
)
SCHEMES = ("https://", "http://", "HTTP://", "http:/", "http:///", "http:\\\\", "//", "", "ftp://", "file://", "ws://")
WAYS = (
    "{scheme}{there}/{path}",
    "{scheme}{allowed}@{there}/{path}",
    "{scheme}{allowed}:80@{there}/{path}",
    "{scheme}{allowed}%40{there}/{path}",
    "{scheme}{there}#@{allowed}/{path}",
    "{scheme}{there}?@{allowed}/{path}",
    "{scheme}{there}\\@{allowed}/{path}",
    "{scheme}{allowed}\\@{there}/{path}",
    "{scheme}{allowed}\t@{there}/{path}",
    "{scheme}{allowed}\r\nHost: {there}/{path}",
    "{scheme}{allowed}/\r\n\r\nPOST http://{there}/{path}",
    "{scheme}{allowed}.{there}/{path}",
    "{scheme}{allowed},{there}/{path}",
    "{scheme}{allowed};{there}/{path}",
    "{scheme}{allowed}//{there}/{path}",
    "{scheme}[{allowed}]@{there}/{path}",
)
ODD = " \t\r\n\\@#?/:.;%\x00​"


@dataclass
class Elsewhere:
    """Who listens where nobody is to call; and a host that is allowed, which leads there."""

    port: int
    allowed: str
    called: int = 0
    allowed_called: int = 0

    def address(self, dice: Random, allowed: str) -> str:
        """An address of it that looks more or less as if it were the allowed one."""
        there = f"{dice.choice(LOOPBACKS)}:{self.port}"
        way, path = dice.choice(WAYS), f"x{dice.randrange(1000)}"
        text = list(way.format(scheme=dice.choice(SCHEMES), there=there, allowed=allowed, path=path))
        for _ in range(dice.choice((0, 0, 0, 1, 2))):
            text.insert(dice.randint(0, len(text)), dice.choice(ODD))
        return "".join(text)


@asynccontextmanager
async def _listening() -> AsyncIterator[Elsewhere]:
    elsewhere = Elsewhere(free_port(), f"127.0.0.1:{free_port()}")

    def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        elsewhere.called += 1
        writer.close()

    async def lead_on(_request: web.Request) -> web.Response:
        elsewhere.allowed_called += 1
        raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{elsewhere.port}/led")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", lead_on)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(elsewhere.allowed.rpartition(":")[2])).start()
    server = await asyncio.start_server(take, None, elsewhere.port)
    try:
        yield elsewhere
    finally:
        server.close()
        await runner.cleanup()


@pytest.mark.promises(ADDRESSES_OF_USERS)
async def test_nobody_is_called_whom_the_operator_did_not_allow(trial: Trial, chats: Chats) -> None:
    """Where chats are answered, where a team is notified, at a cluster's provider of identities; and by the one that
    calls, to whom an allowed host answers that another be asked."""
    allowed = chats.fake.url.removeprefix("http://")
    await chats.link(USER, "owner")
    async with _listening() as elsewhere:
        while trial.goes_on:
            addresses = [elsewhere.address(trial.dice, allowed) for _ in range(trial.at_most(AT_ONCE))]
            await asyncio.gather(*(_named(chats, trial.dice, address) for address in addresses))
            await _posted(elsewhere, trial.dice, len(addresses))
            assert elsewhere.called == 0, f"one of these was called: {addresses}"
            trial.did(len(addresses))
        await eventually(lambda: _all_were_tried(chats), within=60, every=0.5, saying="every answer was given or not")
        assert elsewhere.called == 0, "somebody was called"
        assert elsewhere.allowed_called, "nor was the allowed host: this proves nothing"
    path = f"/actions/{fresh()}"
    await chats.post("acme/actions", slack_press("list", f"{chats.fake.url}{path}", user=USER))
    await eventually(lambda: chats.fake.at(path), saying="an allowed address is answered at")
    trial.figures["redirects not followed"] = elsewhere.allowed_called


async def _named(chats: Chats, dice: Random, address: str) -> None:
    """In one of the places where a user may name one; it says what that is worth, and does not fail."""
    match dice.choice(("chat", "notification", "provider")):
        case "chat":
            answer = await chats.post("acme/actions", slack_press("list", address, user=USER))
        case "notification":
            rule = {"product": "slack", "url": address, "occasions": ["lease-ending"]}
            answer = await chats.stack.http.put(f"/v1/notifications/{fresh('rule')}", json=rule)
        case _:
            spec = {**ClusterSpec.example, "oidc": {"issuer_url": address, "client_id": "k"}}
            answer = await chats.stack.http.post("/v1/clusters", json={"name": fresh(), "spec": spec})
    assert answer.status_code < 500, answer.text


async def _posted(elsewhere: Elsewhere, dice: Random, count: int) -> None:
    """The one that calls, told to by whoever; and once where it may."""
    outgoing = Outgoing([elsewhere.allowed], SystemClock())
    for url in (*(elsewhere.address(dice, elsewhere.allowed) for _ in range(count)), f"http://{elsewhere.allowed}/x"):
        with pytest.raises(Undelivered):
            await outgoing.post(url, {})


async def _all_were_tried(chats: Chats) -> bool:
    untried = select(func.count()).select_from(ChatReply).where(ChatReply.tries == 0)
    async with chats.stack.service.db.reading() as session:
        return (await session.exec(untried)).one() == 0
