"""The audit: who changed what, as it was before and after."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from caravan_api.audit.recording import AUDITED, Action
from caravan_api.doors.rest import audit as rest
from caravan_api.doors.rest.context import After, see_cluster
from caravan_api.doors.web.fields import unless_blank
from caravan_api.doors.web.page import OwnerPage, Page

router = APIRouter(prefix="/audit", tags=["teams"])

KINDS = tuple(sorted({*(audited.kind for audited in AUDITED.values()), "machine", "dead letter", "sweep"}))
Text = Annotated[str | None, Query(max_length=200), unless_blank]


@router.get("")
async def audit(
    page: OwnerPage,
    actor: Text = None,
    kind: Text = None,
    action: Annotated[Action | None, unless_blank] = None,
    cluster: Text = None,
    since: Annotated[date | None, unless_blank] = None,
    until: Annotated[date | None, unless_blank] = None,
    after: After = None,
) -> HTMLResponse:
    """Changes, newest first; days are those of UTC, `until` included."""
    listed = await rest.audit(
        page.caller,
        page.api,
        page.named_team,
        actor=actor,
        kind=kind,
        ref=await _ref_of(page, cluster) if cluster else None,
        action=action,
        since=_midnight(since) if since else None,
        until=_midnight(until) + timedelta(days=1) if until else None,
        after=after,
    )
    return page.show(
        "audit/list.html",
        title="Audit",
        entries=[(entry, list(differences(entry.before, entry.after))) for entry in listed.items],
        next=listed.next,
        actor=actor,
        kind=kind,
        action=action,
        cluster=cluster,
        since=since,
        until=until,
        kinds=KINDS,
        actions=tuple(Action),
        is_narrowed=any((actor, kind, action, cluster, since, until)),
    )


def differences(before: Mapping[str, Any], after: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The fields that differ, each with its dotted name, what it was and what it is; None: it was not there. Pure.

    Mappings are compared field by field, lists as a whole.
    """
    for name in dict.fromkeys([*before, *after]):
        was, now, path = before.get(name), after.get(name), f"{at}{name}"
        if isinstance(was, Mapping) or isinstance(now, Mapping):
            yield from differences(_fields(was), _fields(now), f"{path}.")
        elif was != now:
            yield path, was, now


def _fields(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


async def _ref_of(page: Page, cluster: str) -> str:
    """What the audit calls a cluster that somebody names, by id also one that is gone."""
    return str((await see_cluster(page.api, page.caller, cluster, page.named_team)).id)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
