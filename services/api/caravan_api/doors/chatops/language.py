"""Understand what was typed after `/caravan`. Pure; what is not understood is answered with what would be."""

import argparse
import difflib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from caravan_api.doors.chatops.answers import COMMAND, SURE
from caravan_shared.contracts import durations

# Phones make these of the quotation marks and dashes that were typed.
_TYPOGRAPHY = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "—": "--", "–": "--"})


@dataclass(frozen=True, slots=True)
class Lease:
    """Take a cluster of a pool."""

    pool: str
    lasts_s: int | None
    purpose: str | None


@dataclass(frozen=True, slots=True)
class List:
    """Show the team's clusters and one's own leases."""


@dataclass(frozen=True, slots=True)
class Status:
    """Show one cluster or pool."""

    name: str


@dataclass(frozen=True, slots=True)
class Create:
    """Ask for a cluster."""

    name: str
    version: str | None
    workers: int | None
    lifetime_s: int | None


@dataclass(frozen=True, slots=True)
class Extend:
    """Make a lease end later. `which`: a lease's id or its pool; None where one has only one."""

    which: str | None
    for_s: int | None


@dataclass(frozen=True, slots=True)
class Return:
    """Give a lease back."""

    which: str | None
    sure: bool


@dataclass(frozen=True, slots=True)
class Hibernate:
    """Stop a cluster's machines until it is woken."""

    name: str
    sure: bool


@dataclass(frozen=True, slots=True)
class Wake:
    """Start a sleeping cluster's machines again."""

    name: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a cluster."""

    name: str
    sure: bool


@dataclass(frozen=True, slots=True)
class Link:
    """Become somebody whom we know."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show what can be said."""


Command = Lease | List | Status | Create | Extend | Return | Hibernate | Wake | Delete | Link | Help


class Misunderstood(Exception):
    """What was typed makes no sense. The text says why and what would."""


def understand(text: str) -> Command:
    """The command in a text. Raises `Misunderstood`."""
    try:
        words = shlex.split(text.translate(_TYPOGRAPHY))
    except ValueError as error:
        raise Misunderstood("A quotation mark is missing its other half.") from error
    if not words:
        return Help()
    name, *rest = words
    form = _FORMS.get(name.lower())
    if form is None:
        raise Misunderstood(f"There is no command {name[:32]!r}. {_did_you_mean(name)}")
    return form.read(rest)


def usage() -> str:
    """All commands, one a line."""
    return "\n".join(f"{COMMAND} {form.usage}" for form in _FORMS.values())


class _Parser(argparse.ArgumentParser):
    """argparse that raises instead of writing to the terminal and leaving."""

    def __init__(self, usage: str) -> None:
        super().__init__(add_help=False, allow_abbrev=False, usage=usage)

    def error(self, message: str) -> NoReturn:
        """Called by argparse for whatever it does not like."""
        raise Misunderstood(f"{message[:1].upper()}{message[1:]}. Write: {COMMAND} {self.usage}")


@dataclass(frozen=True, slots=True)
class _Form:
    usage: str
    add_arguments: Callable[[_Parser], object]
    made: Callable[[argparse.Namespace], Command]

    def read(self, words: Sequence[str]) -> Command:
        parser = _Parser(self.usage)
        self.add_arguments(parser)
        return self.made(parser.parse_intermixed_args(words))


def _duration(text: str) -> int:
    try:
        return durations.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len("5000")):
        raise argparse.ArgumentTypeError(f"{text[:32]!r} is no number of nodes")
    return int(text)


def _nothing(_parser: _Parser) -> None:
    return None


def _name(parser: _Parser) -> None:
    parser.add_argument("name", metavar="NAME")


def _lease(parser: _Parser) -> None:
    parser.add_argument("pool", metavar="POOL")
    parser.add_argument("lasts_s", metavar="DURATION", nargs="?", type=_duration)
    parser.add_argument("--purpose")


def _create(parser: _Parser) -> None:
    _name(parser)
    parser.add_argument("--version")
    parser.add_argument("--workers", type=_count)
    parser.add_argument("--lifetime", dest="lifetime_s", metavar="DURATION", type=_duration)


def _extend(parser: _Parser) -> None:
    parser.add_argument("which", metavar="LEASE|POOL", nargs="?")
    parser.add_argument("for_s", metavar="DURATION", nargs="?", type=_duration)


def _return(parser: _Parser) -> None:
    parser.add_argument("which", metavar="LEASE|POOL", nargs="?")
    parser.add_argument(SURE, dest="sure", action="store_true")


def _name_if_sure(parser: _Parser) -> None:
    _name(parser)
    parser.add_argument(SURE, dest="sure", action="store_true")


def _extended(said: argparse.Namespace) -> Extend:
    """`extend 1h` names a time, and no lease: pools begin with a letter, and ids are no durations."""
    if said.which and said.for_s is None and said.which[0].isdecimal():
        try:
            return Extend(None, durations.parse(said.which))
        except ValueError:
            pass  # then it is a lease's id
    return Extend(said.which, said.for_s)


_FORMS: Mapping[str, _Form] = {
    "lease": _Form(
        'lease POOL [2h] [--purpose "what for"]', _lease, lambda said: Lease(said.pool, said.lasts_s, said.purpose)
    ),
    "list": _Form("list", _nothing, lambda _: List()),
    "status": _Form("status NAME", _name, lambda said: Status(said.name)),
    "create": _Form(
        "create NAME [--version 1.34.2] [--workers 3] [--lifetime 8h]",
        _create,
        lambda said: Create(said.name, said.version, said.workers, said.lifetime_s),
    ),
    "extend": _Form("extend [LEASE|POOL] [1h]", _extend, _extended),
    "return": _Form("return [LEASE|POOL]", _return, lambda said: Return(said.which, said.sure)),
    "hibernate": _Form("hibernate NAME", _name_if_sure, lambda said: Hibernate(said.name, said.sure)),
    "wake": _Form("wake NAME", _name, lambda said: Wake(said.name)),
    "delete": _Form("delete NAME", _name_if_sure, lambda said: Delete(said.name, said.sure)),
    "link": _Form("link", _nothing, lambda _: Link()),
    "help": _Form("help", _nothing, lambda _: Help()),
}


def _did_you_mean(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), _FORMS, n=1)
    return f"Did you mean `{close[0]}`?" if close else "Here is what there is:"
