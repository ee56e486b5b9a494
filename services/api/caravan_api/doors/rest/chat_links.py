"""Who you are in chats: confirm a code that `/caravan link` gave you, see your links, remove them."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlmodel import select

from caravan_api.access import Viewer
from caravan_api.doors.chatops import links
from caravan_api.doors.chatops.store import ChatUser
from caravan_api.doors.rest.bodies import ConfirmLink
from caravan_api.doors.rest.context import Page, Parts, Team
from caravan_api.errors import NotFound
from caravan_shared.contracts.spec import TeamName

router = APIRouter(prefix="/v1/chat-links", tags=["teams"])


class ChatLinkView(BaseModel):
    """Somebody in a chat who is you."""

    id: UUID
    integration: str
    workspace: str = Field(description="The Slack workspace or Mattermost team, by its id.")
    chat_name: str = Field(description="As the chat called them when they asked for the code.")
    user: str
    team: TeamName = Field(description="The team that they act in; what they may do there is your present role.")
    linked_at: datetime


class ChatLinks(Page):
    """All your links."""

    items: list[ChatLinkView]


@router.post("", status_code=201)
async def confirm(body: ConfirmLink, caller: Viewer, api: Parts, team: Team = None) -> ChatLinkView:
    """Say that whoever was given this code is you. Only confirm one that you asked for yourself."""
    async with api.db.transaction() as tx:
        link = await links.confirm(tx, caller, body.code, api.clock.now())
        return ChatLinkView.model_validate(link, from_attributes=True)


@router.get("")
async def list_links(caller: Viewer, api: Parts, team: Team = None) -> ChatLinks:
    """Who is you in chats."""
    async with api.db.reading() as session:
        rows = await links.links_of(session, caller.user)
    return ChatLinks(items=[ChatLinkView.model_validate(row, from_attributes=True) for row in rows])


@router.delete("/{link_id}", status_code=204)
async def remove(link_id: UUID, caller: Viewer, api: Parts, team: Team = None) -> None:
    """They are you no more, at once."""
    async with api.db.transaction() as tx:
        found = (
            await tx.exec(select(ChatUser).where(ChatUser.id == link_id, ChatUser.user == caller.user))
        ).one_or_none()
        if found is None:
            raise NotFound("there is no such link of yours")
        await tx.delete(found)
