"""Dead letters: messages that no service could take; look at one, and have it delivered again, mended if need be."""

from typing import Annotated

from fastapi import APIRouter, Form, Path
from fastapi.responses import HTMLResponse, Response

from caravan_api.doors.rest import dead_letters as rest
from caravan_api.doors.rest.bodies import Replay
from caravan_api.doors.rest.context import After
from caravan_api.doors.web.page import AdminPage, Page
from caravan_api.errors import NotFound
from caravan_api.pages import encode_cursor

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])

LetterId = Annotated[int, Path(ge=1, lt=2**53)]


@router.get("")
async def list_letters(page: AdminPage, after: After = None) -> HTMLResponse:
    """Those of all services, oldest first."""
    listed = await rest.list_letters(page.caller, page.api, after=after)
    return page.show("dead_letters/list.html", title="Dead letters", letters=listed.items, next=listed.next)


@router.get("/{letter_id}")
async def show_letter(page: AdminPage, letter_id: LetterId) -> HTMLResponse:
    """One of them, to be mended."""
    listed = await rest.list_letters(page.caller, page.api, limit=1, after=encode_cursor(letter_id - 1))
    letter = next((each for each in listed.items if each.id == letter_id), None)
    if letter is None:
        raise NotFound("there is no such dead letter: it was delivered again, or its time is over")
    return page.show("dead_letters/letter.html", title=f"Dead letter {letter_id}", letter=letter)


@router.post("/{letter_id}/replay")
async def replay(page: AdminPage, letter_id: LetterId) -> Response:
    """Deliver one again as it was."""
    return await _replayed(page, letter_id, None)


@router.post("/{letter_id}/mended")
async def replay_mended(page: AdminPage, letter_id: LetterId, body: Annotated[str, Form()]) -> Response:
    """Deliver one again with another body."""
    return await _replayed(page, letter_id, Replay(body=body))


async def _replayed(page: Page, letter_id: int, wish: Replay | None) -> Response:
    letter = await rest.replay_letter(letter_id, page.caller, page.api, wish)
    return page.goto("/dead-letters", f"Delivered again to {letter.service}; should it fail, it comes back here")
