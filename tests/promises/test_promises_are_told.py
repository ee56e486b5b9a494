"""docs/promises.md names every trial with its full count; this runs with `make test`."""

from pathlib import Path

import pytest

from tests.promises import sizes
from tests.promises.sizes import Size

PAGE = (Path(__file__).parents[2] / "docs" / "promises.md").read_text()
SIZES = [size for size in vars(sizes).values() if isinstance(size, Size)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.key)
def test_every_trial_is_told_with_its_full_count(size: Size) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith("|") and f"`{size.key}`" in line)
    assert f"| {size.full:,}" in row
    assert f"| {size.promise} |" in PAGE


def test_no_two_trials_have_one_key() -> None:
    assert len({size.key for size in SIZES}) == len(SIZES)
