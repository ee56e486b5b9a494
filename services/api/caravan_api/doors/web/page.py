"""One page: who looks at it, at which team; how it is rendered, and how an action is answered."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from caravan_api.access import Caller, Identified, Known, Role, needs
from caravan_api.doors.rest.context import Api, Parts, team_listed
from caravan_api.doors.web import assets, drawing, words
from caravan_api.doors.web.entrance import remember_team
from caravan_api.doors.web.navigation import Entry, entries_for


@dataclass(frozen=True, slots=True)
class Page:
    """What a route of the web door works with, and its ways to answer."""

    request: Request
    api: Api
    known: Known
    caller: Caller

    # --- who looks at what ---

    @property
    def named_team(self) -> str | None:
        """The team in the address; all links keep it."""
        return self.request.query_params.get("team") or None

    @property
    def team(self) -> str | None:
        """The team whose things are shown; None: all, to an admin."""
        return team_listed(self.caller, self.named_team)

    @property
    def now(self) -> datetime:
        """The time, for all that the page tells."""
        return self.api.clock.now()

    @property
    def is_sandbox(self) -> bool:
        """True where all that runs is simulated."""
        return self.api.settings.web_opens_on_loopback

    @property
    def menu(self) -> Sequence[Entry]:
        """The screens that open to the caller."""
        return entries_for(self.caller)

    def may(self, role: str) -> bool:
        """True if the caller has at least that role where the page looks."""
        return self.caller.role.includes(Role(role))

    def url(self, path: str, **query: Any) -> str:
        """An address here, with what of the query is not None, in the team that is looked at."""
        asked = {"team": self.named_team, **query}
        given = {name: value for name, value in asked.items() if value not in (None, "")}
        return f"{path}?{urlencode(given)}" if given else path

    def with_query(self, **changes: Any) -> str:
        """This page with another query in parts; None leaves a part out."""
        return self.url(self.request.url.path, **{**self.request.query_params, **changes})

    def live(self, region: str, topics: str) -> Markup:
        """The attributes of an element with the id `region`: fetched again when one of these topics of `live.py`
        changes, and each minute, for what is told of the time. It is fetched from where the browser is then: a list
        that was narrowed meanwhile stays narrow, and waits for a request that narrows it.
        """
        triggers = ", ".join(f"live:{topic} from:body" for topic in (*topics.split(), "all", "minute"))
        return Markup(
            'id="{0}" hx-get="" hx-select="#{0}" hx-target="this" hx-swap="morph:outerHTML" hx-sync="this:queue last" '
            'hx-trigger="{1}"'
        ).format(region, triggers)

    def action(self, path: str, **query: Any) -> Markup:
        """The attributes of a form or a button that changes something: sent once, whatever becomes live meanwhile."""
        return Markup('hx-post="{}" hx-swap="none" hx-sync="this:drop"').format(self.url(path, **query))

    # --- answers ---

    def show(self, template: str, *, title: str, **context: Any) -> HTMLResponse:
        """The page itself."""
        answer = shown(self.request, template, page=self, title=title, now=self.now, **context)
        if self.named_team:
            remember_team(answer, self.request, self.named_team)
        return answer

    def done(self, text: str) -> Response:
        """An action was done: the page stays, says so, and shows at once what has changed."""
        return Response(status_code=204, headers=_events(text, "live:all"))

    def goto(self, path: str, text: str) -> Response:
        """An action was done: on to another page, which says so."""
        said = {"HX-Trigger": json.dumps({"caravan:toast-there": {"text": text}})}
        return Response(status_code=204, headers={**said, "HX-Redirect": self.url(path)})


def shown(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A rendered template. Never stored by anybody: it is one user's."""
    body = _ENVIRONMENT.get_template(template).render(request=request, static=assets.address(), **context)
    return HTMLResponse(body, status, {"Cache-Control": "no-store", "Vary": "Cookie"})


def _icon(name: str, more: str = "") -> Markup:
    """An icon beside words that say the same: hidden from screen readers."""
    return Markup(
        '<svg class="icon {}" width="24" height="24" aria-hidden="true"><use href="{}/vendor/icons.svg#{}"/></svg>'
    ).format(more, assets.address(), name)


def _events(text: str, *more: str) -> dict[str, str]:
    """What the answer sets off on the page: a message, and these events."""
    events = {"caravan:toast": {"text": text}, **{name: {} for name in more}}
    return {"HX-Trigger": json.dumps(events)}  # ASCII: a header's text


def _page_for(role: Role) -> Any:
    async def page(
        request: Request, api: Parts, known: Identified, caller: Annotated[Caller, Depends(needs(role))]
    ) -> Page:
        return Page(request, api, known, caller)

    page.needed_role = role  # type: ignore[attr-defined]  # what `needed_role` looks for; `known` names a lesser one
    return Depends(page)


ViewerPage = Annotated[Page, _page_for(Role.VIEWER)]
DeveloperPage = Annotated[Page, _page_for(Role.DEVELOPER)]
OwnerPage = Annotated[Page, _page_for(Role.OWNER)]
AdminPage = Annotated[Page, _page_for(Role.ADMIN)]


_ENVIRONMENT = Environment(
    loader=PackageLoader("caravan_api.doors.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "ago": words.ago,
    "colour": words.colour,
    "counted": words.counted,
    "exactly": words.exactly,
    "left": words.left,
    "seconds": words.seconds,
    "span": words.span,
}
_ENVIRONMENT.globals |= {"bar": drawing.bar, "icon": _icon, "stretch": drawing.stretch}
