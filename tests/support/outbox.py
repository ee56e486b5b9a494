"""What a service has said, read where it is in order and complete: its outbox."""

from typing import TypeVar

from caravan_shared.contracts.facts import Event
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.tables import OUTBOX

E = TypeVar("E", bound=Event)


async def said(db: Database, event_type: type[E], about: object = None, *, skip: int = 0) -> list[E]:
    """All events of a type so far, oldest first, but for the first `skip`; those about one cluster, if it is named."""
    wanted = OUTBOX.select().where(OUTBOX.c.subject == event_type.subject).order_by(OUTBOX.c.id).offset(skip)
    if about is not None:
        wanted = wanted.where(OUTBOX.c.about == str(about))
    async with db.reading() as session:
        rows = await (await session.connection()).execute(wanted)
    return [event_type.model_validate_json(row.body) for row in rows]
