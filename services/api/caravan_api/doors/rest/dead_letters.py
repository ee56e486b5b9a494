"""Messages that no service could take: an operator sees them here and has them delivered again."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from caravan_api.access import Admin
from caravan_api.audit.recording import Action, Thing, note
from caravan_api.doors.rest.bodies import Replay
from caravan_api.doors.rest.context import After, Limit, Page, Parts, Team
from caravan_api.errors import NotFound
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_shared.plumbing.dead_letters import DeadLetter, list_dead_letters, replay

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])


class DeadLetterView(BaseModel):
    """One message that was put aside."""

    id: int
    service: str
    subject: str
    reason: str
    tries: int
    at: datetime
    body: str


class DeadLetterPage(Page):
    """A page of dead letters, oldest first."""

    items: list[DeadLetterView]


@router.get("")
async def list_letters(
    _caller: Admin,
    api: Parts,
    team: Team = None,
    limit: Limit = None,
    after: After = None,
) -> DeadLetterPage:
    """The dead letters of all services."""
    size = limit or api.settings.page_size
    start = decode_cursor(after, int)[0] if after else 0
    letters = await list_dead_letters(api.bus, limit=size + 1, after=start)
    return DeadLetterPage(
        items=[_view(letter) for letter in letters[:size]],
        next=encode_cursor(letters[size - 1].id) if len(letters) > size else None,
    )


@router.post("/{letter_id}/replay", status_code=202)
async def replay_letter(
    letter_id: Annotated[int, Path(ge=1, lt=2**53)],
    _caller: Admin,
    api: Parts,
    wish: Replay | None = None,
    team: Team = None,
) -> DeadLetterView:
    """Deliver a message again, once its cause is mended; with another body, where that was the cause."""
    body = wish.body if wish else None
    letter = await replay(api.bus, letter_id, body)
    if letter is None:
        raise NotFound("there is no such dead letter")
    async with api.db.transaction() as tx:
        note(
            tx,
            Thing("dead letter", str(letter.id), letter.subject, None),
            Action.CHANGE,
            {"replayed": True, "mended": body is not None},
        )
    return _view(letter)


def _view(letter: DeadLetter) -> DeadLetterView:
    # What is not UTF-8 in the body is shown as replacement characters.
    body = letter.body.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return DeadLetterView(
        id=letter.id,
        service=letter.service,
        subject=letter.subject,
        reason=letter.reason,
        tries=letter.tries,
        at=letter.at,
        body=body,
    )
