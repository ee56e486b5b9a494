"""When crashed processes are started again."""

from pathlib import Path

from caravan_cli.up.restarts import CALM_AFTER_S, LONGEST_PAUSE_S, Restarts

LOG = Path("x.log")


class _World:
    """A clock that a test moves, and what was said."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[str] = []
        self.restarts = Restarts(self.said.append, lambda: self.now)

    def pause(self) -> float:
        """Crash, and wait until the restart is due."""
        crashed = self.now
        while not self.restarts.is_due("api", 1, LOG):
            self.now += 0.25
        return self.now - crashed


def test_running_part_is_left_alone() -> None:
    world = _World()
    assert not world.restarts.is_due("api", None, LOG)
    assert world.said == []


def test_crash_is_told_once_with_the_log_and_restarted_after_a_short_pause() -> None:
    world = _World()
    assert world.pause() == 0.5
    assert len(world.said) == 1
    assert "code 1" in world.said[0]
    assert str(LOG) in world.said[0]


def test_pauses_double_while_it_keeps_crashing_up_to_a_limit() -> None:
    world = _World()
    assert [world.pause() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_part_that_ran_well_for_a_while_starts_over_with_short_pauses() -> None:
    world = _World()
    for _ in range(4):
        world.pause()
    world.now += CALM_AFTER_S + 1
    assert world.pause() == 0.5
