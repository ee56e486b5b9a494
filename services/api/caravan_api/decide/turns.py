"""Decide whose turn it is at a pool's spares: the team that has the fewest, and within a team who came first. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Waiter:
    """A lease in a pool's queue."""

    lease_id: UUID
    team: str
    holder: str


@dataclass(frozen=True, slots=True)
class Shares:
    """Who has how many of a pool's clusters."""

    of_teams: Mapping[str, int] = field(default_factory=dict)
    """Held or kept by anybody of a team."""
    of_holders: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Held by one person of a team, whatever that person keeps for debugging."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many one may have at once; None: no limit."""

    per_team: int | None = None
    per_holder: int | None = None

    @property
    def any(self) -> bool:
        """True if somebody may be refused."""
        return self.per_team is not None or self.per_holder is not None

    def allow(self, shares: Shares, team: str, holder: str) -> bool:
        """True if this person may have one more."""
        of_holder = shares.of_holders.get((team, holder), 0)
        return _is_less(shares.of_teams.get(team, 0), self.per_team) and _is_less(of_holder, self.per_holder)


@dataclass(frozen=True, slots=True)
class Turns:
    """A queue in the order in which it is served, if nobody gives anything back meanwhile."""

    served: Sequence[Waiter]
    passed_over: Sequence[Waiter]
    """Those who, or whose team, will have as many as one may: they wait until something is given back."""

    def position(self, lease_id: UUID) -> int:
        """A lease's place, from 1; the one after the last where another transaction has not shown it to us yet."""
        everybody = [*self.served, *self.passed_over]
        return next((place for place, each in enumerate(everybody, 1) if each.lease_id == lease_id), len(everybody) + 1)


def turns(queue: Sequence[Waiter], shares: Shares, quotas: Quotas) -> Turns:
    """The order in which a queue, given first come first, is served.

    The next spare is always for the team that has the fewest, the ones it gets before its turn comes again included; of
    teams that have equally many it is for whoever came first. A team's k-th in the queue is therefore served when its
    team has k - 1 more than now, and that number sorts the queue.
    """
    of_teams, of_holders = Counter(shares.of_teams), Counter(shares.of_holders)
    by_then = Shares(of_teams, of_holders)
    served: list[tuple[int, int, Waiter]] = []
    passed_over: list[Waiter] = []
    for place, each in enumerate(queue):
        if quotas.allow(by_then, each.team, each.holder):
            served.append((of_teams[each.team], place, each))
            of_teams[each.team] += 1
            of_holders[each.team, each.holder] += 1
        else:
            passed_over.append(each)
    return Turns([each for *_, each in sorted(served, key=lambda ranked: ranked[:2])], passed_over)


def _is_less(count: int, limit: int | None) -> bool:
    return limit is None or count < limit
