"""Small pictures as SVG: drawn here, so that a page needs no script for them. Pure.

Colours are classes: `static/caravan.css` gives them for the light and the dark theme. A picture's `<title>` tells in
words what it shows.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from caravan_api.doors.web.words import colour, span
from caravan_shared.contracts.states import Verdict

History = Sequence[tuple[str, float]]
"""Verdicts and since when each was believed, seconds since 1970; oldest first."""

WINDOW = timedelta(hours=24)
"""What a sparkline shows."""

_WIDTH, _HEIGHT = 96, 20
_MINUTES = int(WINDOW.total_seconds()) // 60
_NARROWEST = 30  # minutes: else a short outage would not show
_NARROWEST_PERCENT = 0.6
_DEPTHS = {Verdict.HEALTHY: 5, Verdict.UNKNOWN: 5, Verdict.DEGRADED: 11, Verdict.UNREACHABLE: 20}
"""How tall a verdict is drawn: the worse, the taller, so that it shows without its colour; the later, the higher up."""
_LOOKS: Mapping[str, tuple[str, int]] = {
    verdict.value: (f'<path class="fill-{colour(verdict)}" d="', depth) for verdict, depth in _DEPTHS.items()
}
_SPARKLINE = (
    f'<svg class="sparkline" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_MINUTES} {_HEIGHT}" '
    'preserveAspectRatio="none" role="img"><title>'
)
"""How each begins; a unit of its width is a minute."""


def history_of(verdicts: Sequence[Mapping[str, Any]]) -> History:
    """What `sparkline` draws, of what hold `verdict` and `since` (ISO 8601), oldest first."""
    return [(each["verdict"], datetime.fromisoformat(each["since"]).timestamp()) for each in verdicts]


def sparkline(history: History, now: datetime) -> Markup:
    """A cluster's health over the last day, as bars: each verdict for as long as it was believed."""
    moment = now.timestamp()
    drawn = f"{_SPARKLINE}{_told(history, moment)}</title>{_bars(history, moment)}</svg>"
    return Markup(drawn)  # noqa: S704  # numbers and our own words


def bar(parts: Sequence[tuple[int, str]], whole: int, told: str) -> Markup:
    """A bar of a whole, divided into parts of these sizes, each with its colour. `told` says the same in words."""
    x, drawn = 0.0, []
    for size, its_colour in parts:
        width = 100 * size / whole if whole else 0
        drawn.append(f'<rect class="fill-{its_colour}" x="{x:.4g}" width="{width:.4g}" height="6"/>')
        x += width
    return Markup(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" role="img"><title>{}</title>'
        '<rect class="fill-track" width="100" height="6"/>{}</svg>'
    ).format(told, Markup("".join(drawn)))  # noqa: S704  # numbers and our own words


def stretch(begins: float, share: float, its_colour: str) -> Markup:
    """A part of a whole, where it lies: for what is told in words beside it."""
    width = max(100 * share, _NARROWEST_PERCENT)
    x = min(100 * begins, 100 - width)
    return Markup(  # noqa: S704  # numbers and our own words
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="fill-track" width="100" height="6"/>'
        f'<rect class="fill-{its_colour}" x="{x:.4g}" width="{width:.4g}" height="6"/></svg>'
    )


def _bars(history: History, now: float) -> str:
    """A path for each verdict, with a bar for each time it was believed within the window; moments in seconds."""
    origin, end = now - _MINUTES * 60, _MINUTES
    paths = dict.fromkeys(_LOOKS, "")
    for verdict, since in reversed(history):
        begin = int(since - origin) // 60
        if begin < 0:
            begin = 0
        if end > begin:
            width = end - begin
            if width < _NARROWEST:
                width = _NARROWEST
            x = begin if begin < _MINUTES - width else _MINUTES - width
            paths[verdict] += f"M{x} {_HEIGHT}h{width}v-{_LOOKS[verdict][1]}h-{width}"
            end = begin
        if not begin:
            break
    return "".join([f'{_LOOKS[verdict][0]}{path}"/>' for verdict, path in paths.items() if path])


def _told(history: History, now: float) -> str:
    if not history:
        return "Nothing is known of its health yet"
    verdict, since = history[-1]
    changes = sum([begin > now - _MINUTES * 60 for _, begin in history])
    lasting = span(timedelta(seconds=now - since))
    return f"{verdict} for {lasting}; {changes} change{'' if changes == 1 else 's'} in 24 h"
