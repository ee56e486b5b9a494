"""A real nats-server with the accounts that `caravan nats accounts` writes, and what a team must not reach on it.

That is taken from the contracts, so that an event or a request that comes later is in here too.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import nats.errors
import yaml
from nats.aio.client import Client
from nats.aio.msg import Msg
from typer.testing import CliRunner

from caravan_cli.main import app
from caravan_cli.nats.accounts import OURS, SYSTEM
from caravan_shared.contracts.events import EVENTS
from caravan_shared.contracts.facts import ProgressEvent
from caravan_shared.contracts.public import ASKS, TOLD, intake_subject
from caravan_shared.contracts.requests import Request
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.streams import DEAD, FACTS, PROGRESS, Kept, Subscription, ensure_topology, intake_stream
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.rest import FakeApi

INTERNAL = sorted(
    {event.subject for event in EVENTS.values() if not issubclass(event, ProgressEvent)} - {ASKS}
    | {request.subject for request in Request.__subclasses__()}
)
"""`cluster.requested` is one too, but in a team's account that name leads to its own intake."""
BROKERS_OWN = [
    "$JS.API.INFO",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.MSG.GET.FACTS",
    "$JS.API.STREAM.PURGE.FACTS",
    "$JS.API.STREAM.DELETE.FACTS",
    "$JS.API.CONSUMER.CREATE.PROGRESS",
    "$JS.API.DIRECT.GET.DEAD",
    "$JS.ACK.FACTS.api-nodes-ready.1.1.1.1.0",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.USER.INFO",
    f"$SYS.REQ.ACCOUNT.{OURS}.CONNZ",
    "dead.api.nodes.ready",
    "_INBOX.ours.1",
    "_R_.ours",
]
WILD = [">", "*.>", "$JS.>", "$SYS.>", "dead.>", "intake.>", "progress.>", "progress.*.>", "rpc.>", "_R_.>", "*.*"]


def shut_to(others: tuple[str, ...]) -> list[str]:
    """Subjects that a team may neither say nor hear; `others` are the other teams."""
    foreign = [f"progress.{other}.{subject}" for other in others for subject in TOLD]
    return [*INTERNAL, *map(intake_subject, others), *foreign, *BROKERS_OWN]


def not_to_say(team: str) -> list[str]:
    """Subjects that are the team's own, and that it may not say all the same."""
    return [intake_subject(team), *(f"progress.{team}.{subject}" for subject in TOLD)]


class Accounts:
    """The command's two files, and connections with what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = NatsServer(folder / "server", self.folder / "nats" / "accounts.conf")

    def write(self, *teams: str, rotate: str | None = None) -> None:
        """Run the command against an api that knows these teams."""
        api = FakeApi()
        api.on("GET /v1/teams", {"items": [{"name": name} for name in teams], "next": None})
        words = ["--url", "http://caravan.test", "nats", "accounts", "--dir", str(self.folder / "nats")]
        done = CliRunner().invoke(app, [*words, *(["--rotate", rotate] if rotate else [])], obj=api)
        assert done.exit_code == 0, done.output

    def url(self, who: str) -> str:
        """Where a team, or one of ours, connects."""
        content = yaml.safe_load((self.folder / "nats" / "credentials.yaml").read_text())
        known = {OURS: content["ours"], SYSTEM: content["system"], **content["teams"]}
        return self.server.url_of(who, known[who]["password"])

    def reload(self) -> None:
        """As the command says it has to be done."""
        for _ in range(2):
            self.server.reload()

    async def lets_ask(self, team: str) -> bool:
        """Whether the team is let in, and what it asks is stored."""
        try:
            async with self.connected(team) as (client, _):
                return bool(await client.request(ASKS, b'{"request_id": "first"}', timeout=1))
        except (nats.errors.Error, OSError):
            return False

    @asynccontextmanager
    async def connected(self, who: str) -> AsyncIterator[tuple[Client, list[str]]]:
        """A connection, and what the server told it was wrong."""
        async with connected_to(self.url(who)) as both:
            yield both


@contextmanager
def accounts_of(folder: Path, *teams: str) -> Iterator[Accounts]:
    """A running server with the accounts of these teams."""
    accounts = Accounts(folder)
    accounts.write(*teams)
    accounts.server.start()
    try:
        yield accounts
    finally:
        accounts.server.stop()


@asynccontextmanager
async def connected_to(url: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """The same under a URL with a user and a password."""
    complaints: list[str] = []

    async def complain(error: Exception) -> None:
        complaints.append(str(error).lower())

    client = Client()
    try:
        await client.connect(url, error_cb=complain, allow_reconnect=False)
        yield client, complaints
    finally:
        await client.close()


@asynccontextmanager
async def our_side(accounts: Accounts, teams: tuple[str, ...]) -> AsyncIterator[Bus]:
    """The api's connection, with all its streams."""
    bus = Bus(accounts.url(OURS), "api", 1, progress=Kept())
    await bus.start()
    intakes = [Subscription("api", intake_subject(team), intake_stream(team)) for team in teams]
    await ensure_topology(bus.js, intakes, 1, Kept())
    try:
        yield bus
    finally:
        await bus.stop()


async def listen(client: Client, subject: str) -> list[Msg]:
    """All that comes on a subject from now on."""
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    await client.subscribe(subject, cb=hear)
    await client.flush()
    return heard


async def _stored(bus: Bus, teams: tuple[str, ...]) -> dict[str, int]:
    names = [FACTS, DEAD, PROGRESS, *(intake_stream(team) for team in teams)]
    return {name: (await bus.js.stream_info(name)).state.last_seq for name in names}


# --- what a team cannot do: each returns how often that was tried --------------------------------------------------


async def reaches_nobody(accounts: Accounts, ours: Bus, team: str, others: tuple[str, ...]) -> int:
    """Nothing that the team says or asks reaches us but what it may ask."""
    subjects = [*shut_to(others), *not_to_say(team)]
    everything = await listen(ours.client, ">")
    before = await _stored(ours, (team, *others))
    async with accounts.connected(team) as (client, complaints):
        for subject in subjects:
            await client.publish(subject, b"forged")
        answers = await asyncio.gather(
            *(client.request(subject, b"forged", timeout=1) for subject in subjects), return_exceptions=True
        )
        refused = (nats.errors.TimeoutError, nats.errors.NoRespondersError)
        assert [answer for answer in answers if not isinstance(answer, refused)] == []
        await client.request(ASKS, b"{}", timeout=5)
        for subject in subjects:
            said = f'permissions violation for publish to "{subject.lower()}"'
            assert any(said in complaint for complaint in complaints), subject
    await eventually(lambda: any(message.data == b"{}" for message in everything))
    assert [message.subject for message in everything if message.data == b"forged"] == []
    assert [message.subject for message in everything if message.data == b"{}"] == [intake_subject(team)]
    stored = intake_stream(team)
    assert await _stored(ours, (team, *others)) == {**before, stored: before[stored] + 1}
    return 2 * len(subjects)


async def hears_its_own_alone(accounts: Accounts, ours: Bus, team: str, others: tuple[str, ...]) -> int:
    """Whatever the team subscribes to, it hears of nothing but its own progress."""
    shut, fence = shut_to(others), f"progress.{team}.fence"
    async with accounts.connected(team) as (client, complaints):
        heard = [await listen(client, subject) for subject in (*shut, *WILD, *INTERNAL)]
        inboxes, own = await listen(client, "_INBOX.>"), await listen(client, f"progress.{team}.>")
        for subject in (*(each for each in shut if each != "_INBOX.ours.1"), *WILD):
            said = f'permissions violation for subscription to "{subject.lower()}"'
            assert any(said in complaint for complaint in complaints), subject
        for subject in (*shut, ASKS, intake_subject(team)):
            await ours.client.publish(subject, b"ours")
        await ours.client.request("$JS.API.INFO", b"", timeout=5)
        for each in others:
            async with accounts.connected(each) as (other, _):
                await other.request(ASKS, b"{}", timeout=5)
        await ours.client.publish(fence, b"theirs")
        await eventually(lambda: own)
        await client.flush()
        assert [(message.subject, message.data) for message in own] == [(fence, b"theirs")]
        assert [message.subject for messages in (*heard, inboxes) for message in messages] == []
    return len(heard)
