"""Decide who of those that come for a pool's spares together gets one, waits, or is refused. Pure.

They are judged in the order in which they came, as if each had come when the one before had been answered.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from caravan_api.decide.turns import Quotas, Shares


@dataclass(frozen=True, slots=True)
class Taker:
    """Somebody who comes for a spare. `waits`: in the queue, if there is none."""

    team: str
    holder: str
    waits: bool = True


class Fate(StrEnum):
    """What comes of it."""

    SERVED = "served"
    QUEUED = "queued"
    NOT_NOW = "not now"
    """None is ready, and this one does not wait."""
    TEAM_FULL = "team full"
    """The team has as many leases as it may, those that wait included."""


def fates(
    takers: Sequence[Taker], spares: int, shares: Shares, quotas: Quotas, leases_left: Mapping[str, int | None]
) -> list[Fate]:
    """One fate for each of the takers of a pool that nobody waited for when they came.

    `spares` are ready. `shares`: who has how many of the pool's clusters now. `leases_left`: how many leases, of any
    pool, each team may still have; None: no limit.
    """
    of_teams, of_holders = Counter(shares.of_teams), Counter(shares.of_holders)
    by_then, left = Shares(of_teams, of_holders), dict(leases_left)
    found: list[Fate] = []
    for taker in takers:
        fate = _fate(taker, left[taker.team], quotas.allow(by_then, taker.team, taker.holder), spares, found)
        found.append(fate)
        spares -= fate is Fate.SERVED
        of_teams[taker.team] += fate is Fate.SERVED
        of_holders[taker.team, taker.holder] += fate is Fate.SERVED
        left[taker.team] = less(left[taker.team], fate)
    return found


def less(leases_left: int | None, fate: Fate) -> int | None:
    """How many leases a team may have after one more of its members met this fate."""
    if leases_left is None or fate in (Fate.NOT_NOW, Fate.TEAM_FULL):
        return leases_left
    return leases_left - 1


def _fate(taker: Taker, leases_left: int | None, allowed: bool, spares: int, before: Sequence[Fate]) -> Fate:
    if leases_left is not None and leases_left < 1:
        return Fate.TEAM_FULL
    if spares and allowed and Fate.QUEUED not in before:  # nobody overtakes who waits
        return Fate.SERVED
    return Fate.QUEUED if taker.waits else Fate.NOT_NOW
