"""What a cloud lists of ours, read once for all clusters: polling costs pages, not nodes.

Nobody waiting, nothing read: a listing is taken only when a turn wants one newer than the newest there is. How often
turns come back while they wait for a change is `next_in`: a tenth of what a machine usually takes to boot, longer the
longer nothing changes, and never so often that listing would be most of the cloud's work: a quarter of it while
machines come and go, a tenth while nothing does.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

from caravan_provisioner.clouds.base import Cloud, Inquirer, Machine
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.errors import GiveUp, Retry

_SHORTEST_S, _LONGEST_S = 0.25, 5.0  # seconds between listings of clouds that boot at once, and that take minutes
_UNCHANGED_S = 30.0  # seconds between listings that keep showing the same
_DUTY, _DUTY_IN_CHANGE = 10, 4  # times its own duration passes between the starts of two listings
_STRETCH = 1.05  # by how much each unchanged listing puts the next one off


@dataclass(frozen=True, slots=True)
class Listing:
    """All machines of this installation on one cloud; `taken_at` is when the reading began."""

    taken_at: datetime
    machines: Sequence[Machine]
    by_cluster: Mapping[UUID, Sequence[Machine]]

    def of(self, cluster_id: UUID) -> Sequence[Machine]:
        """One cluster's machines."""
        return self.by_cluster.get(cluster_id, ())


class Inventory:
    """The newest listing of one cloud, shared by all who want it."""

    def __init__(self, cloud: Cloud, clock: Clock) -> None:
        self._cloud, self._clock = cloud, clock
        self._one_reader = asyncio.Lock()
        self._newest: Listing | None = None
        self._duration_s = 0.0
        self._unchanged = 0
        self._trouble: tuple[Retry | GiveUp, datetime] | None = None
        self._usual_s = _SHORTEST_S

    def expect_boot(self, seconds: float) -> None:
        """Learn how long a machine usually takes to boot."""
        self._usual_s = min(max(seconds / 10, _SHORTEST_S), _LONGEST_S)

    def interval(self) -> timedelta:
        """How old a listing may be for those who wait for a change."""
        stretched = min(self._usual_s * _STRETCH**self._unchanged, max(_UNCHANGED_S, self._usual_s))
        duty = _DUTY if self._unchanged else _DUTY_IN_CHANGE
        return timedelta(seconds=max(stretched, duty * self._duration_s))

    def next_in(self, now: datetime) -> float:
        """Seconds until a turn that waits for a change finds a newer listing worth taking."""
        if self._newest is None:
            return 0.0
        return max(0.0, (self._newest.taken_at + self.interval() - now).total_seconds()) + 0.001

    async def listing(self, installation: str, not_older_than: datetime) -> Listing:
        """A listing begun at `not_older_than` or later. Raises what `Cloud.machines` raises."""
        async with self._one_reader:
            if self._newest and self._newest.taken_at >= not_older_than:
                return self._newest
            if self._trouble and self._clock.now() < self._trouble[1]:
                raise self._trouble[0]
            return await self._read(installation)

    async def _read(self, installation: str) -> Listing:
        taken_at, started = self._clock.now(), monotonic()
        try:
            machines = await self._cloud.machines(installation)
            self._duration_s = monotonic() - started  # without the questions, which come once in a machine's life
            if isinstance(self._cloud, Inquirer):
                machines = await self._cloud.complete(machines)
        except (Retry, GiveUp) as error:
            # All who wait hear of one failure, instead of each asking a cloud in trouble once more.
            after = error.after if isinstance(error, Retry) else _LONGEST_S
            self._trouble = (error, self._clock.now() + timedelta(seconds=after))
            raise
        self._trouble = None
        changed = self._newest is None or self._newest.machines != machines
        self._unchanged = 0 if changed else self._unchanged + 1
        self._newest = Listing(taken_at, machines, _by_cluster(machines))
        return self._newest


def _by_cluster(machines: Sequence[Machine]) -> dict[UUID, list[Machine]]:
    found: dict[UUID, list[Machine]] = defaultdict(list)
    for machine in machines:
        if machine.owner:
            found[machine.owner.cluster_id].append(machine)
    return dict(found)
