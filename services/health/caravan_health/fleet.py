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
        cut_off_at, told = self._cut_off
        if now < cut_off_at + self._round_s:
            return told
        needed, since = self._vouchers(), self._silent_since[cluster_id]
        latest = islice(reversed(self._answered_at.values()), needed)
        return "" if sum(answered_at >= since for answered_at in latest) >= needed else self._told()

    def control_group(self, now: float, count: int) -> list[UUID]:
        """Up to `count` answering clusters that were not looked at for the longest: whom to ask for comparison."""
        return [key for key, at in islice(self._answered_at.items(), count) if at < now]

    def _vouchers(self) -> int:
        """How many others have to answer for the misses of a silent cluster to count."""
        silent = len(self._silent_since)
        if silent < self._at_least or self._share >= 1:
            return 0
        return int(silent * (1 - self._share) / self._share) + 1

    def _told(self) -> str:
        silent = len(self._silent_since)
        return f"{silent} of {silent + len(self._answered_at)} clusters fell silent together"
