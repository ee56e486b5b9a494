"""Notifications: what a team has told to its chat. Owners say so; the URL that it is told to is shown to nobody."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from sqlalchemy import delete
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Owner, Viewer
from caravan_api.decide.notifications import Occasion
from caravan_api.doors.chatops.signatures import digest
from caravan_api.doors.rest.bodies import SetNotification
from caravan_api.doors.rest.context import Page, Parts, Team, team_of
from caravan_api.errors import Malformed, NotFound
from caravan_api.markup import Product
from caravan_api.notifications.store import Notification, NotificationRule, url_context
from caravan_api.teams.quotas import locked_team
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import DNS_LABEL, TeamName

router = APIRouter(prefix="/v1/notifications", tags=["teams"])

Name = Annotated[str, Path(pattern=DNS_LABEL, max_length=32)]


class NotificationView(BaseModel):
    """What is told, and how well that goes."""

    team: TeamName
    name: str
    product: Product
    channel: str | None
    occasions: list[Occasion]
    pool: str | None
    cluster: str | None
    created_by: str
    updated_at: datetime
    pending: int = Field(description="What happened and is not told yet.")
    told_at: datetime | None = Field(description="When a message was last taken.")
    problem: str | None = Field(description="Why the last message was not taken; null: it was.")
    stopped_at: datetime | None = Field(
        description="Since when nothing is told, because of that. Set it anew to go on."
    )


class Notifications(Page):
    """All that a team has told."""

    items: list[NotificationView]


@router.get("")
async def list_notifications(caller: Viewer, api: Parts, team: Team = None) -> Notifications:
    """What your team has told to its chat."""
    statement = select(NotificationRule).where(NotificationRule.team == team_of(caller, team))
    async with api.db.reading() as session:
        rules = (await session.exec(statement.order_by(col(NotificationRule.name)))).all()
        return Notifications(items=[await _view(session, rule) for rule in rules])


@router.get("/{name}")
async def get(name: Name, caller: Viewer, api: Parts, team: Team = None) -> NotificationView:
    """One of them."""
    async with api.db.reading() as session:
        return await _view(session, await _find(session, team_of(caller, team), name))


@router.put("/{name}")
async def put(name: Name, body: SetNotification, caller: Owner, api: Parts, team: Team = None) -> NotificationView:
    """Have this told, or told otherwise. One that was stopped goes on."""
    owner, url = team_of(caller, team), body.url.get_secret_value()
    if problem := api.outgoing.problem(url):
        remedy = "give the URL of an incoming webhook; further hosts are the operator's to allow"
        raise Malformed([FieldProblem(field="url", problem=problem, remedy=remedy)])
    now = api.clock.now()
    async with api.db.transaction() as tx:
        await locked_team(tx, owner)
        wanted = {
            **body.model_dump(mode="json", exclude={"url"}),
            "url": api.seal(url, url_context(owner, name)),
            "target": digest(url),
            "updated_at": now,
            "next_try_at": now,
            "tries": 0,
            "problem": None,
            "stopped_at": None,
        }
        rule = await tx.get(NotificationRule, (owner, name), with_for_update=True)
        if rule is None:
            rule = NotificationRule(team=owner, name=name, created_by=caller.user, **wanted)
        else:
            rule.sqlmodel_update(wanted)
        tx.add(rule)
        await tx.flush()
        return await _view(tx, rule)


@router.delete("/{name}", status_code=204)
async def remove(name: Name, caller: Owner, api: Parts, team: Team = None) -> None:
    """Have it told no more."""
    owner = team_of(caller, team)
    async with api.db.transaction() as tx:
        await tx.delete(await _find(tx, owner, name))
        await tx.exec(delete(Notification).where(col(Notification.team) == owner, col(Notification.rule) == name))


async def _find(session: AsyncSession, team: str, name: str) -> NotificationRule:
    found = await session.get(NotificationRule, (team, name))
    if found is None:
        raise NotFound("there is no such notification in your team")
    return found


async def _view(session: AsyncSession, rule: NotificationRule) -> NotificationView:
    statement = select(func.count()).where(Notification.team == rule.team, Notification.rule == rule.name)
    pending = (await session.exec(statement)).one()
    shown = rule.model_dump(include=set(NotificationView.model_fields) - {"pending"})
    return NotificationView(**shown, pending=pending)
