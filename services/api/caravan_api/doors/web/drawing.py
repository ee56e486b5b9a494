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

WINDOW = timedelta(hours=24)
"""What a sparkline shows."""

_WIDTH, _HEIGHT = 96, 20
_WINDOW_S = WINDOW.total_seconds()
_A_SECOND = _WIDTH / _WINDOW_S
_NARROWEST = 2.0  # else a short outage would not show
_NARROWEST_PERCENT = 0.6
_DEPTHS = {Verdict.HEALTHY: 5, Verdict.DEGRADED: 11, Verdict.UNREACHABLE: 20, Verdict.UNKNOWN: 5}
"""How tall a verdict is drawn: the worse, the taller, so that it shows without its colour."""
_LOOKS: Mapping[str, tuple[str, int]] = {
    verdict.value: (f"fill-{colour(verdict)}", depth) for verdict, depth in _DEPTHS.items()
}
"""A verdict's bar: its class and how tall it is."""


def sparkline(verdicts: Sequence[Mapping[str, Any]], now: datetime) -> Markup:
    """A cluster's health over the last day, as bars: each verdict for as long as it was believed.

    `verdicts` hold `verdict` and `since` (ISO 8601), oldest first.
    """
    history = [(each["verdict"], datetime.fromisoformat(each["since"]).timestamp()) for each in verdicts]
    moment = now.timestamp()
    return Markup(  # noqa: S704  # numbers and our own words
        f'<svg class="sparkline" width="{_WIDTH}" height="{_HEIGHT}" role="img"><title>{_told(history, moment)}</title>'
        f"{_bars(history, moment)}</svg>"
    )


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


def _bars(history: Sequence[tuple[str, float]], now: float) -> str:
    """A bar for each verdict within the window; moments are seconds since 1970."""
    end, origin = now, now - _WINDOW_S
    bars = []
    for verdict, begin in reversed(history):
        if end > begin:
            x = (begin - origin) * _A_SECOND if begin > origin else 0.0
            width = (end - origin) * _A_SECOND - x
            if width < _NARROWEST:
                width = _NARROWEST
            if x > _WIDTH - width:
                x = _WIDTH - width
            look, depth = _LOOKS[verdict]
            bars.append(f'<path class="{look}" d="M{x:.4g} {_HEIGHT}h{width:.4g}v-{depth}h-{width:.4g}"/>')
            end = begin
        if begin <= origin:
            break
    return "".join(bars[::-1])


def _told(history: Sequence[tuple[str, float]], now: float) -> str:
    if not history:
        return "Nothing is known of its health yet"
    verdict, since = history[-1]
    changes = sum([begin > now - _WINDOW_S for _, begin in history])
    lasting = span(timedelta(seconds=now - since))
    return f"{verdict} for {lasting}; {changes} change{'' if changes == 1 else 's'} in 24 h"
