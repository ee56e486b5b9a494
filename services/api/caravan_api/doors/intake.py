"""The door for events: a team publishes a request, and is told `cluster.accepted` or `cluster.rejected`.

Whose request it is, the subject says, which the NATS server has authorised; the payload is never asked. A request is
known by its team and `request_id`, whatever ids its messages carry, so a team that repeats itself gets one cluster.

    readable, admitted       → accepted
    readable, not admitted   → rejected, field by field
    no JSON object, no id    → rejected, and kept as a dead letter: we could not tell it from another request

Teams come while the api runs, at this replica or another: the door looks at who there is again and again.
"""

import asyncio
from hashlib import sha256
from typing import Any, ClassVar

import pydantic_core
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.admission import NotAdmitted
from caravan_api.audit.actor import Actor, Door, acting_as
from caravan_api.desired import Desired
from caravan_api.store import IntakeRequest
from caravan_api.teams.store import Team
from caravan_shared.contracts.events import ClusterAccepted, ClusterRejected
from caravan_shared.contracts.facts import Event, FieldProblem
from caravan_shared.contracts.public import LONGEST_ID, ClusterWanted, intake_subject
from caravan_shared.plumbing import inbox
from caravan_shared.plumbing.bus import Bus, Heard
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.streams import intake_stream

log = get_logger(__name__)


class Asked(Event):
    """What a team sent, of whatever shape; `problem` says why it is no request that could be answered by its id."""

    subject: ClassVar[str] = ClusterWanted.subject
    example: ClassVar[dict[str, Any]] = ClusterWanted.example
    request_id: str = ""
    name: Any = None
    spec: Any = None
    problem: FieldProblem | None = None


class Intake:
    """Listens to the teams' requests; who they are is looked at every `look_every_s`."""

    def __init__(self, db: Database, bus: Bus, clock: Clock, desired: Desired, *, look_every_s: float) -> None:
        self._db, self._bus, self._clock, self._desired = db, bus, clock, desired
        self._look_every_s = look_every_s
        self._listens_to: set[str] = set()

    async def subscribe(self) -> list[str]:
        """Subscribe to the teams that came since the last time, and return them; the bus begins to consume later."""
        async with self._db.reading() as session:
            came = sorted({*(await session.exec(select(Team.name))).all()} - self._listens_to)
        for team in came:
            subject, stream = intake_subject(team), intake_stream(team)
            self._bus.subscribe(Asked, self.receive, subject=subject, stream=stream, read=read)
            self._listens_to.add(team)
        return came

    async def run(self) -> None:
        """Listen to teams that come while the bus runs, for ever."""
        while True:
            await asyncio.sleep(self._look_every_s)
            if came := await self.subscribe():
                await self._bus.begin()
                log.info("listening to new teams", teams=came)

    async def receive(self, heard: Heard[Asked]) -> None:
        """Answer one request, once. Raises `Retry` while it cannot be judged yet, `NotAdmitted` if it has no id."""
        team, asked = heard.subject.split(".")[1], heard.event
        if asked.problem:
            refused = NotAdmitted((asked.problem,))
            await self._refuse_unknown(team, heard.id, refused)
            raise refused  # and so it becomes a dead letter
        async with self._db.transaction() as tx:
            if await tx.get(IntakeRequest, (team, asked.request_id)):
                log.info("request known already", team=team, request_id=asked.request_id)
                return
            with acting_as(Actor(_user(asked), Door.EVENT)):
                await self._answer(tx, team, asked)

    async def _answer(self, tx: AsyncSession, team: str, asked: Asked) -> None:
        request = IntakeRequest(team=team, request_id=asked.request_id, received_at=self._clock.now())
        try:
            async with tx.begin_nested():
                wanted = {"name": asked.name, "spec": asked.spec}
                cluster = await self._desired.create(tx, team, _user(asked), wanted)
        except NotAdmitted as refused:
            await _reject(tx, team, asked.request_id, refused)
        else:
            request.cluster_id = cluster.id
            accepted = ClusterAccepted(cluster_id=cluster.id, team=team, name=cluster.name, request_id=asked.request_id)
            await say(tx, accepted)
        tx.add(request)

    async def _refuse_unknown(self, team: str, message_id: str, refused: NotAdmitted) -> None:
        """Tell the team once a message, however often it is delivered or replayed."""
        # Hashed: the id is whatever its sender chose.
        once = sha256(f"{team}/{message_id}".encode()).hexdigest()
        async with self._db.transaction() as tx:
            if await inbox.first_time(tx, once, self._clock.now()):
                await _reject(tx, team, f"message-{message_id}"[:LONGEST_ID], refused)


def read(body: bytes) -> Asked:
    """Make of a body what can be made of it; never raises."""
    try:
        content = pydantic_core.from_json(body)
    except ValueError as error:
        return Asked(problem=_unreadable(f"it is no JSON: {error}"))
    if not isinstance(content, dict):
        return Asked(problem=_unreadable("it is JSON, but no object"))
    request_id = content.get("request_id")
    if not _is_id(request_id):
        return Asked(problem=_NO_ID)
    return Asked(request_id=request_id, name=content.get("name"), spec=content.get("spec"))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable()


def _unreadable(problem: str) -> FieldProblem:
    return FieldProblem(
        field="", problem=problem, remedy="publish a JSON object with `request_id`, `name` and `spec`, in UTF-8"
    )


_NO_ID = FieldProblem(
    field="request_id",
    problem="it is missing, or not a printable text",
    remedy=f"give each request an id of its own, at most {LONGEST_ID} characters",
)


def _user(asked: Asked) -> str:
    return f"event:{asked.request_id}"


async def _reject(tx: AsyncSession, team: str, request_id: str, refused: NotAdmitted) -> None:
    log.info("request rejected", team=team, request_id=request_id, reason=refused.reason)
    await say(tx, ClusterRejected(team=team, request_id=request_id, problems=refused.problems))
