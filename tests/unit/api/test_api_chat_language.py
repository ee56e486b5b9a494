"""What is typed after `/caravan`: every command in its forms, and help for everything else."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caravan_api.doors.chatops import language as lang
from caravan_api.doors.chatops.language import Misunderstood, understand

ID = "0190f6f0-5b7c-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("", lang.Help()),
        ("help", lang.Help()),
        ("LIST", lang.List()),
        ("lease ci", lang.Lease("ci", None, None)),
        ("lease ci 2h", lang.Lease("ci", 7200, None)),
        ('lease ci 90m --purpose "e2e of main"', lang.Lease("ci", 5400, "e2e of main")),
        ("lease ci --purpose “e2e of main” 2h", lang.Lease("ci", 7200, "e2e of main")),
        ("lease ci —purpose e2e", lang.Lease("ci", None, "e2e")),
        ("status demo", lang.Status("demo")),
        ("create demo", lang.Create("demo", None, None, None)),
        ("create demo --version 1.34.2 --workers 3 --lifetime 8h", lang.Create("demo", "1.34.2", 3, 28_800)),
        ("extend", lang.Extend(None, None)),
        ("extend 1h", lang.Extend(None, 3600)),
        ("extend ci", lang.Extend("ci", None)),
        ("extend ci 1h", lang.Extend("ci", 3600)),
        (f"extend {ID}", lang.Extend(ID, None)),
        ("return", lang.Return(None, sure=False)),
        (f"return {ID} --yes", lang.Return(ID, sure=True)),
        ("hibernate demo", lang.Hibernate("demo", sure=False)),
        ("hibernate demo --yes", lang.Hibernate("demo", sure=True)),
        ("wake demo", lang.Wake("demo")),
        ("delete demo", lang.Delete("demo", sure=False)),
        ("link", lang.Link()),
    ],
)
def test_commands_are_understood(text: str, command: lang.Command) -> None:
    assert understand(text) == command


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("retrun ci", "Did you mean `return`?"),
        ("xyzzy", "Here is what there is"),
        ("lease", "required: POOL. Write: /caravan lease POOL"),
        ("lease ci soon", "'soon' is no duration"),
        ("lease ci 2h extra", "extra"),
        ("create demo --workers many", "'many' is no number of nodes"),
        ("create demo --worker 3", "--worker"),
        ("list everything", "everything"),
        ('lease "ci', "quotation mark"),
        (f"lease ci {'9' * 5000}", "no duration"),
    ],
)
def test_what_makes_no_sense_is_told_what_would(text: str, told: str) -> None:
    with pytest.raises(Misunderstood, match=r".") as refused:
        understand(text)
    assert told in str(refused.value)


_WORDS = st.sampled_from(
    [
        "lease",
        "list",
        "status",
        "create",
        "extend",
        "return",
        "hibernate",
        "wake",
        "delete",
        "--yes",
        "--purpose",
        "--",
        "-",
        "%s",
        "@f",
        "1h",
    ]
)


@given(st.text() | st.lists(_WORDS | st.text(max_size=8)).map(" ".join))
@example("extend \x00")
@example("lease --purpose=%(x)s")
@example("extend ² ²")
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(Misunderstood):
        assert isinstance(understand(text), lang.Command)


def test_every_command_has_a_line_of_help() -> None:
    assert [line.split()[1] for line in lang.usage().splitlines()] == [
        "lease",
        "list",
        "status",
        "create",
        "extend",
        "return",
        "hibernate",
        "wake",
        "delete",
        "link",
        "help",
    ]
