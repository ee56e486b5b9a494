"""The two families of failure that anything in Caravan may raise on purpose, and what the plumbing does with each.

    CaravanError
    ├── Retry        temporary: try again after a while (reconciler: wakes the key later; bus: redelivers later)
    │   └── StoreAway    our own store is to blame (a part of a service: goes on once it is back)
    ├── GiveUp       for good until a person acts (reconciler: visible failed state; bus: dead letter)
    └── StaleLease   somebody else works on this key now: drop what you hold, write nothing

Anything else is a defect: it is logged with its traceback and retried with back-off, so that nothing is lost.
"""

from caravan_shared.contracts.facts import WhoCanFix

STORE_BACK_IN_S = 2.0
"""After so many seconds a store that was away is asked again."""


class CaravanError(Exception):
    """Base of all that is raised on purpose. `str()` is a sentence a person can read."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(CaravanError):
    """It did not work this time; `after` is how many seconds to wait before it makes sense to try again."""

    def __init__(self, reason: str, *, after: float = 1.0) -> None:
        super().__init__(reason)
        self.after = after


class StoreAway(Retry):
    """Our store does not answer, is shutting down, or has no connection or no room left."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, after=STORE_BACK_IN_S)


class GiveUp(CaravanError):
    """Trying again will not help until `who_can_fix` has acted."""

    def __init__(self, reason: str, *, who_can_fix: WhoCanFix) -> None:
        super().__init__(reason)
        self.who_can_fix = who_can_fix


class StaleLease(CaravanError):
    """The lease on `key` moved on while we held it under `epoch`."""

    def __init__(self, key: str, epoch: int) -> None:
        super().__init__(f"the lease on {key} moved on from epoch {epoch}")
        self.key, self.epoch = key, epoch
