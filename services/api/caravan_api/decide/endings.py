"""Decide when people are warned of what ends by itself, and when it does: leases and clusters alike. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

_LONGEST_WARNING_S = 600.0


def warning_at(starts_at: datetime, ends_at: datetime) -> datetime:
    """Ten minutes before the end, or a quarter of the time where that is less."""
    quarter_s = (ends_at - starts_at).total_seconds() / 4
    return ends_at - timedelta(seconds=min(_LONGEST_WARNING_S, quarter_s))


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a cluster ends by itself, counted from when somebody said so."""

    said_at: datetime
    expires_at: datetime
    warned: bool

    def is_over(self, now: datetime) -> bool:
        """True once the cluster is to be deleted."""
        return self.expires_at <= now

    def warns(self, now: datetime) -> bool:
        """True if its owners are to be told now."""
        return not self.warned and warning_at(self.said_at, self.expires_at) <= now

    def next_look(self) -> datetime:
        """When something about it is next to be done."""
        return self.expires_at if self.warned else warning_at(self.said_at, self.expires_at)
