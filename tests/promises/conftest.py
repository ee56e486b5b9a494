"""`make promises`: each promise tried as often as `sizes` says, from a seed, with a report in `.promises`."""

import secrets
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from caravan_cli.up import Stack
from tests.promises.report import Report
from tests.promises.sizes import Size
from tests.promises.trial import Trial
from tests.support.api import FAST_SANDBOX

_REPORT = pytest.StashKey[Report]()
_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say how much, and from which seed."""
    group = parser.getgroup("promises")
    group.addoption("--short", action="store_true", help="the short form: seconds for each promise")
    group.addoption("--seed", type=int, help="what an earlier report names, to draw the same again")


def pytest_configure(config: pytest.Config) -> None:
    """One seed and one report a run."""
    seed = config.getoption("seed", None)
    config.stash[_SEED] = secrets.randbelow(2**32) if seed is None else seed
    form = "short" if config.getoption("short", False) else "full"
    config.stash[_REPORT] = Report(config.rootpath / ".promises", form)


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Trial:
    """The trial of the size that the test's mark names."""
    mark = request.node.get_closest_marker("promises")
    size: Size = mark.args[0]
    is_short = request.config.stash[_REPORT].form == "short"
    return Trial(size, size.short if is_short else size.full, request.config.stash[_SEED])


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """All services as processes, on a quick sandbox."""
    with Stack(tmp_path / "stack", ports="auto", env=FAST_SANDBOX) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Judge what is a trial, and report it."""
    trial = getattr(item, "funcargs", {}).get("trial")
    if not isinstance(trial, Trial):
        return (yield)
    try:
        with trial.judged():
            return (yield)
    finally:
        item.config.stash[_REPORT].add(trial)
