"""Tell an outage of clusters from an outage of ours: did a large share of the fleet stop answering together? Pure.

Only fresh outcomes are compared: of the clusters that had been answering until just now, how many missed this time.
Clusters already known to miss are looked at more often and would tip the scale; clusters long believed Unreachable
would hide that the rest fell silent. While the fleet is failing together, misses count for nothing (the verdict then is
Unknown, never Unreachable), until most of the fleet answers again.
"""

from collections import deque
from uuid import UUID


class Fleet:
    """Remembers who answers. `window_s` must not exceed the time from a first miss to the last one that condemns."""

    def __init__(self, *, window_s: float, share: float, at_least: int) -> None:
        self._window_s, self._share, self._at_least = window_s, share, at_least
        self._fresh: deque[tuple[float, UUID, bool]] = deque()
        self._missed_lately = 0
        self._answering: set[UUID] = set()
        self._failing: set[UUID] = set()
        self.fails_together = False

    def saw(self, cluster_id: UUID, missed: bool, now: float) -> bool:
        """Note a look; True if it is the first miss of a cluster that had been answering. `now`: monotonic seconds."""
        first_miss = missed and cluster_id not in self._failing
        if first_miss or not missed:
            self._fresh.append((now, cluster_id, missed))
            self._missed_lately += missed
        here, there = (self._failing, self._answering) if missed else (self._answering, self._failing)
        here.add(cluster_id)
        there.discard(cluster_id)
        self._weigh(now)
        return first_miss

    def forget(self, cluster_id: UUID) -> None:
        """Leave a cluster out: it is believed Unreachable, or watched no more."""
        self._answering.discard(cluster_id)
        self._failing.discard(cluster_id)

    def quiet_lately(self, now: float, count: int) -> list[UUID]:
        """Up to `count` answering clusters without a fresh outcome: whom to ask for comparison."""
        fresh = {cluster_id for at, cluster_id, _ in self._fresh if at > now - self._window_s}
        return [cluster_id for cluster_id in self._answering if cluster_id not in fresh][:count]

    def __str__(self) -> str:
        return (
            f"{len(self._failing)} of {len(self._failing) + len(self._answering)} clusters stopped answering together"
        )

    def _weigh(self, now: float) -> None:
        while self._fresh and self._fresh[0][0] <= now - self._window_s:
            self._missed_lately -= self._fresh.popleft()[2]
        if self.fails_together:
            whole = len(self._failing) + len(self._answering)
            self.fails_together = len(self._failing) > whole * self._share / 2
        else:
            enough = self._missed_lately >= self._at_least
            self.fails_together = enough and self._missed_lately >= len(self._fresh) * self._share
