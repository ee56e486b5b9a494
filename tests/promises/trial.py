"""One trial of a promise: draws from a seed, counts what it did, and ends with a result."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from tests.promises.sizes import Size


class Result(StrEnum):
    """How a trial ended."""

    HELD = "held"
    BROKEN = "broken"
    NOT_TRIED = "not tried here"


@dataclass
class Trial:
    """What a test is given: how much to do, and dice that fall the same for the same seed.

    The dice decide what is done. When it is done, machines decide: a race is drawn again, not replayed.
    """

    size: Size
    asked: int
    seed: int
    done: int = 0
    result: Result = Result.NOT_TRIED
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    """What was measured on the way, by name."""

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.size.key}:{self.seed}")

    def did(self, count: int = 1) -> None:
        """Count what was done and held."""
        self.done += count

    @property
    def goes_on(self) -> bool:
        """There is more to do."""
        return self.done < self.asked

    def at_most(self, count: int) -> int:
        """So many, or what is left to do where that is less."""
        return min(count, self.asked - self.done)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Run the test: it holds only if it did all that was asked. An error says how to see it again."""
        began = time.monotonic()
        try:
            yield
            assert not self.goes_on, f"only {self.done} of {self.asked} {self.size.unit} were tried"
            self.result = Result.HELD
        except pytest.skip.Exception:
            raise
        except BaseException as error:
            self.result = Result.BROKEN
            error.add_note(f"after {self.done} of {self.asked} {self.size.unit}; again: make promises SEED={self.seed}")
            raise
        finally:
            self.seconds = time.monotonic() - began
