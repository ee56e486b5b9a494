"""Tell an outage of clusters from an outage of ours: did a large share of the fleet fall silent together? Pure.

Before a cluster's misses count, others must have been seen to answer since it fell silent: enough of them against the
number that is silent too. Answers from before that moment prove nothing (our network may have broken in between), and
clusters long believed Unreachable are left out, or they would hide that the rest fell silent. So when the monitor is
cut off nobody is condemned, and when a third of the fleet really is gone, the other two thirds vouch for the monitor.

A fleet does not come back in one moment: some paths are found again later than others, and everybody connects at once.
So after most were silent, each of those that still are gets a round of looks to come back before its misses count.
"""

from itertools import islice
from uuid import UUID


class Fleet:
    """Remembers who is silent since when, and who answered last when. Times are monotonic seconds."""

    def __init__(self, *, share: float, at_least: int, round_s: float) -> None:
        self._share, self._at_least, self._round_s = share, at_least, round_s
        self._cut_off = float("-inf"), ""
        """When most were silent last, and how that is told."""
        self._silent_since: dict[UUID, float] = {}
        self._answered_at: dict[UUID, float] = {}
        """The latest at the end."""

    def saw(self, cluster_id: UUID, missed: bool, now: float) -> bool:
        """Note a look; True if it is the first miss of a cluster that had been answering."""
        if not missed:
            self.forget(cluster_id)
            self._answered_at[cluster_id] = now
            return False
        self._answered_at.pop(cluster_id, None)
        first = cluster_id not in self._silent_since
        self._silent_since.setdefault(cluster_id, now)
        if self._vouchers() > len(self._answered_at):
            self._cut_off = now, self._told()
        return first

    def forget(self, cluster_id: UUID) -> None:
        """Leave a cluster out: it is believed Unreachable, or watched no more."""
        self._silent_since.pop(cluster_id, None)
        self._answered_at.pop(cluster_id, None)

    def doubt(self, cluster_id: UUID, now: float) -> str:
        """Why the misses of this silent cluster count for nothing; empty if few are silent, or enough others vouch."""
        if self._is_coming_back(now):
            return self._cut_off[1]
        return self._told() if self._missing_vouchers(cluster_id) else ""

    def wanted(self, cluster_id: UUID, now: float) -> int:
        """How many others to ask, so that this cluster's misses may count; 0 if it answers, or asking helps nothing."""
        helps = cluster_id in self._silent_since and not self._is_coming_back(now)
        return self._missing_vouchers(cluster_id) if helps else 0

    def control_group(self, now: float, count: int) -> list[UUID]:
        """Up to `count` answering clusters that were not looked at for the longest: whom to ask for comparison."""
        return [key for key, at in islice(self._answered_at.items(), count) if at < now]

    def _is_coming_back(self, now: float) -> bool:
        return now < self._cut_off[0] + self._round_s

    def _missing_vouchers(self, cluster_id: UUID) -> int:
        """How many more have to answer, of those who did not since this cluster fell silent."""
        needed, since = self._vouchers(), self._silent_since[cluster_id]
        latest = islice(reversed(self._answered_at.values()), needed)
        return needed - sum(answered_at >= since for answered_at in latest)

    def _vouchers(self) -> int:
        """How many others have to answer for the misses of a silent cluster to count."""
        silent = len(self._silent_since)
        if silent < self._at_least or self._share >= 1:
            return 0
        return int(silent * (1 - self._share) / self._share) + 1

    def _told(self) -> str:
        silent = len(self._silent_since)
        return f"{silent} of {silent + len(self._answered_at)} clusters fell silent together"
