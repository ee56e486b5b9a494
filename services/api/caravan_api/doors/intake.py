"""The door for events: a team publishes a request, and is answered by `cluster.accepted` or `cluster.rejected`.

Whose request it is, the subject says, which the NATS server has authorised; the payload is never asked. A request is
known by its team and `request_id`, whatever ids its messages carry, so a team that repeats itself gets one cluster.
"""

from typing import Any, ClassVar

from pydantic import TypeAdapter
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.admission import NotAdmitted
from caravan_api.audit.actor import Actor, Door, acting_as
from caravan_api.desired import Desired
from caravan_api.store import IntakeRequest
from caravan_shared.contracts.events import ClusterAccepted, ClusterRejected
from caravan_shared.contracts.facts import Event, FieldProblem
from caravan_shared.contracts.spec import ClusterSpec, TeamName
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.service import Service
from caravan_shared.plumbing.streams import intake_stream

log = get_logger(__name__)

_TEAM: TypeAdapter[str] = TypeAdapter(TeamName)
_LONGEST_ID = 128


class ClusterWanted(Event):
    """A team asks for a cluster. Any shape is read, so that a malformed request gets an answer."""

    subject: ClassVar[str] = "intake.{team}.cluster.requested"
    example: ClassVar[dict[str, Any]] = {"request_id": "build-4711", "name": "demo", "spec": ClusterSpec.example}
    request_id: Any = None
    name: Any = None
    spec: Any = None


class Intake:
    """Listens to the teams' requests."""

    def __init__(self, db: Database, clock: Clock, desired: Desired) -> None:
        self._db, self._clock, self._desired = db, clock, desired

    def listen(self, service: Service, teams: list[str]) -> None:
        """Subscribe to each team's own stream."""
        for team in teams:
            subject = ClusterWanted.subject.format(team=_TEAM.validate_python(team))
            service.bus.subscribe(ClusterWanted, self.receive, subject=subject, stream=intake_stream(team))

    async def receive(self, heard: Heard[ClusterWanted]) -> None:
        """Answer one request, once. Raises `Retry` while it cannot be judged yet."""
        team, wanted = heard.subject.split(".")[1], heard.event
        problem = _id_problem(wanted.request_id)
        async with self._db.transaction() as tx:
            if problem:
                await _reject(tx, team, f"message-{heard.id}"[:_LONGEST_ID], NotAdmitted((problem,)))
                return
            if await tx.get(IntakeRequest, (team, wanted.request_id)):
                log.info("request known already", team=team, request_id=wanted.request_id)
                return
            with acting_as(Actor(_user(wanted), Door.EVENT)):
                await self._answer(tx, team, wanted)

    async def _answer(self, tx: AsyncSession, team: str, wanted: ClusterWanted) -> None:
        request = IntakeRequest(team=team, request_id=wanted.request_id, received_at=self._clock.now())
        try:
            async with tx.begin_nested():
                asked = {"name": wanted.name, "spec": wanted.spec}
                cluster = await self._desired.create(tx, team, _user(wanted), asked)
        except NotAdmitted as refused:
            await _reject(tx, team, wanted.request_id, refused)
        else:
            request.cluster_id = cluster.id
            accepted = ClusterAccepted(
                cluster_id=cluster.id, team=team, name=cluster.name, request_id=wanted.request_id
            )
            await say(tx, accepted)
        tx.add(request)


def _user(wanted: ClusterWanted) -> str:
    return f"event:{wanted.request_id}"


async def _reject(tx: AsyncSession, team: str, request_id: str, refused: NotAdmitted) -> None:
    log.info("request rejected", team=team, request_id=request_id, reason=refused.reason)
    await say(tx, ClusterRejected(team=team, request_id=request_id, problems=refused.problems))


def _id_problem(request_id: object) -> FieldProblem | None:
    if isinstance(request_id, str) and 0 < len(request_id) <= _LONGEST_ID and request_id.isprintable():
        return None
    return FieldProblem(
        field="request_id",
        problem="it is missing, or not a printable text",
        remedy=f"give each request an id of its own, at most {_LONGEST_ID} characters",
    )
