"""Due-times, order and batches."""

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_sandbox.scheduler import Scheduler


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(dues=st.lists(st.integers(0, 50), max_size=40), looks=st.lists(st.integers(0, 60), max_size=10))
@settings(max_examples=100)
def test_everything_due_runs_once_in_order_and_nothing_runs_early(dues: list[int], looks: list[int]) -> None:
    clock, ran = Clock(), list[int]()
    scheduler = Scheduler(clock)
    for due in dues:
        scheduler.at(due, partial(ran.append, due))
    for look in sorted(looks):
        clock.now = look
        scheduler.run_due()
        assert ran == sorted(due for due in dues if due <= look)


def test_what_is_due_together_is_one_batch() -> None:
    clock, batches = Clock(), []
    scheduler = Scheduler(clock)
    scheduler.after_batch = lambda: batches.append(clock.now)
    for _ in range(100):
        scheduler.after(1.0, lambda: None)
    scheduler.run_due()
    clock.now = 1.0
    scheduler.run_due()
    assert batches == [1.0]


async def test_sleep_of_no_time_does_not_wait() -> None:
    await Scheduler(Clock()).sleep(0)
