"""What pages are made of: words, pictures, icons; and that no page needs what the policy refuses."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from caravan_api.access import is_public, routes_open_to_all
from caravan_api.doors.rest.app import api_routes
from caravan_api.doors.web import app, assets, drawing, words

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TEMPLATES = sorted((Path(app.__file__).parent / "templates").rglob("*.html"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (90, "1 min"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
        (40 * 3600, "1 d 16 h"),
        (-5, "0 s"),
    ],
)
def test_a_duration_is_said_in_its_largest_units(seconds: float, said: str) -> None:
    assert words.span(timedelta(seconds=seconds)) == said


def test_moments_are_told_from_now() -> None:
    assert words.ago(NOW, NOW) == "just now"
    assert words.ago(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert words.left(NOW + timedelta(hours=2), NOW) == "2 h left"
    assert words.left(NOW, NOW) == "over"


def test_numbers_go_with_their_nouns() -> None:
    assert [words.counted(number, "node") for number in (0, 1, 1019)] == ["0 nodes", "1 node", "1,019 nodes"]


def test_health_is_drawn_for_as_long_as_each_verdict_was_believed() -> None:
    begins = [NOW - timedelta(hours=hours) for hours in (30, 6, 3)]
    verdicts = [
        {"verdict": verdict, "since": begin.isoformat()}
        for verdict, begin in zip(("Healthy", "Unreachable", "Healthy"), begins, strict=True)
    ]
    drawn = str(drawing.sparkline(drawing.history_of(verdicts), NOW))
    bars = {
        colour: sorted((int(begin), int(minutes)) for begin, minutes in re.findall(r"M(\d+) 20h(\d+)v", path))
        for colour, path in re.findall(r'class="fill-(\w+)" d="([^"]+)"', drawn)
    }
    assert bars == {"green": [(0, 1080), (1260, 180)], "red": [(1080, 180)]}
    assert list(bars) == ["green", "red"], "what is worse is drawn over what is not"
    assert "Healthy for 3 h; 2 changes in 24 h" in drawn


def test_a_cluster_that_nobody_has_looked_at_has_no_bars() -> None:
    drawn = str(drawing.sparkline([], NOW))
    assert "Nothing is known of its health yet" in drawn
    assert "<path" not in drawn


def test_a_bar_says_in_words_what_it_shows_and_escapes_them() -> None:
    assert "<title>&lt;b&gt;</title>" in str(drawing.bar([(1, "green")], 2, "<b>"))
    assert 'width="50"' in str(drawing.bar([(1, "green")], 2, ""))


def test_every_icon_that_a_page_names_is_installed() -> None:
    named = {name for path in TEMPLATES for name in re.findall(r'icon\("([a-z0-9-]+)"', path.read_text())}
    assert named
    assert named <= set(assets.ICONS)


def test_no_page_holds_a_script_or_a_style() -> None:
    """The Content-Security-Policy would refuse them, so they would be dead."""
    for path in TEMPLATES:
        text = path.read_text()
        assert not re.search(r'\sstyle=|\son[a-z]+="|<style|hx-on|<script(?![^>]* src=)', text), path


def test_a_sprite_holds_the_named_icons_alone() -> None:
    everything = '<svg><symbol id="tabler-a" viewBox="0"><path/></symbol><symbol id="tabler-b"><path/></symbol></svg>'
    assert assets.sprite(everything, ["a"]).count("<symbol") == 1
    assert '<symbol id="a" viewBox="0"><path/></symbol>' in assets.sprite(everything, ["a"])
    with pytest.raises(KeyError):
        assets.sprite(everything, ["c"])


def test_every_page_names_a_role_but_those_to_log_in_and_out() -> None:
    routes = [route for router in app.ROUTERS for route in api_routes(router)]
    assert routes_open_to_all(routes) == []
    assert {route.path for route in routes if is_public(route)} == {
        "/login",
        "/login/here",
        "/login/issuer",
        "/login/callback",
        "/logout",
    }
