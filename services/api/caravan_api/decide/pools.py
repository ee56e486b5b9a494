"""Decide what a pool does next: which clusters to make, which to let go, and when to look again. Pure.

Every cluster of a pool is in one bucket. What cannot be handed out is replaced and never counts against the rest:
broken and stale ones leave at once, those that are too old once others are ready in their place.

A pool whose template has maintenance windows rolls in them. Until one opens, a spare of an earlier template is a spare
like the others, however old: if it were neither replaced nor handed out, the pool would stand empty meanwhile. One
that was never fit is nobody's loss and is replaced at once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from uuid import UUID

from caravan_shared.contracts.states import ClusterPhase, Verdict

BROKEN_AFTER_S = 120.0
"""Of nothing but failed smoke tests: longer than a node or a DNS pod takes to come back by itself."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 15.0, 1800.0
_MOST_DOUBLINGS = 10


class Bucket(StrEnum):
    """What a cluster is to its pool."""

    READY = "ready"
    """A spare: its smoke test passed lately, and whoever comes next gets it."""
    MAKING = "making"
    """Asked for, or woken, and not yet found fit."""
    ASLEEP = "asleep"
    """A spare whose machines are, or are being, stopped: it is woken when somebody waits."""
    STALE = "stale"
    """Made from an earlier template, and to be replaced now."""
    OLD = "old"
    """A spare for too long."""
    BROKEN = "broken"
    """It did not come to be, or is fit no more."""
    LEAVING = "leaving"
    """It is being deleted."""
    LEASED = "leased"
    """Somebody has it."""


@dataclass(frozen=True, slots=True)
class Others:
    """Clusters of the pool that nothing is decided about, in numbers alone."""

    leased: int = 0
    leaving: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What the pool asks for at this moment; see `PoolSpec`."""

    spares: int
    max_size: int
    max_making: int
    template_revision: int
    max_making_s: float
    max_spare_age_s: float
    smoke_max_age_s: float
    hibernate_share: int = 0
    """How many of a hundred spares sleep."""
    roll_waits: bool = False
    """Spares of an earlier template stay for now: the next maintenance window is yet to open."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A cluster of the pool, neither leased nor leaving, as far as the pool's decisions depend on it."""

    cluster_id: UUID
    template_revision: int
    made_at: datetime
    phase: ClusterPhase
    verdict: Verdict | None = None
    ready_at: datetime | None = None
    tested_at: datetime | None = None
    failing_since: datetime | None = None
    problem: str | None = None
    asleep: bool = False
    woken_at: datetime | None = None
    """When it was last woken."""

    @property
    def is_waking(self) -> bool:
        """Woken, and not found fit since."""
        return self.woken_at is not None and (self.tested_at is None or self.tested_at < self.woken_at)


@dataclass(frozen=True, slots=True)
class LetGo:
    """A cluster that leaves its pool, and why. `never_fit`: it did not come to be in the first place."""

    cluster_id: UUID
    why: str
    never_fit: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """What is to be done now: how many clusters to make, and which to let go, to put to sleep and to wake."""

    make: int
    let_go: tuple[LetGo, ...]
    put_to_sleep: tuple[UUID, ...] = ()
    wake: tuple[UUID, ...] = ()


def bucket(seen: Seen, rules: Rules, now: datetime) -> Bucket:
    """The bucket that a cluster is in."""
    if why_broken(seen, rules, now):
        return Bucket.BROKEN
    if not is_held(seen, rules):
        if seen.template_revision != rules.template_revision:
            return Bucket.STALE
        if seen.ready_at and _s(now - seen.ready_at) > rules.max_spare_age_s:
            return Bucket.OLD
    if seen.asleep:
        return Bucket.ASLEEP
    return Bucket.READY if is_fit(seen, rules, now) else Bucket.MAKING


def is_held(seen: Seen, rules: Rules) -> bool:
    """True for a spare of an earlier template that stays because the roll waits for its window."""
    return rules.roll_waits and seen.template_revision != rules.template_revision and seen.ready_at is not None


def is_fit(seen: Seen, rules: Rules, now: datetime) -> bool:
    """True for a cluster that may be handed out as it is."""
    well = seen.phase is ClusterPhase.READY and seen.verdict is Verdict.HEALTHY
    if not well or seen.tested_at is None or seen.is_waking:
        return False
    return _s(now - seen.tested_at) <= rules.smoke_max_age_s


def why_broken(seen: Seen, rules: Rules, now: datetime) -> str | None:
    """Why nobody should get this cluster any more; None where that is not so."""
    if seen.phase is ClusterPhase.FAILED:
        return "it failed"
    if seen.failing_since and _s(now - seen.failing_since) > BROKEN_AFTER_S:
        return f"its smoke test keeps failing: {seen.problem}"
    if seen.ready_at is None and _s(now - seen.made_at) > rules.max_making_s:
        return f"it was not fit after {rules.max_making_s:g} s"
    if seen.woken_at and seen.is_waking and _s(now - seen.woken_at) > rules.max_making_s:
        return f"it was not fit {rules.max_making_s:g} s after it was woken"
    return None


def count(clusters: Sequence[Seen], others: Others, rules: Rules, now: datetime) -> Counter[Bucket]:
    """How many clusters are in each bucket."""
    counted = Counter(bucket(seen, rules, now) for seen in clusters)
    return counted + Counter({Bucket.LEASED: others.leased, Bucket.LEAVING: others.leaving})


def held(clusters: Sequence[Seen], rules: Rules, now: datetime) -> int:
    """How many spares of an earlier template stay only because the roll waits for its window."""
    return sum(is_held(seen, rules) and not why_broken(seen, rules, now) for seen in clusters)


def decide(
    rules: Rules, clusters: Sequence[Seen], others: Others, waiting: int, now: datetime, *, holds_off: bool = False
) -> Steps:
    """What a pool does now. `waiting`: leases in its queue, each of which needs a cluster beside the spares."""
    sorted_out: dict[Bucket, list[Seen]] = {each: [] for each in Bucket}
    for seen in sorted(clusters, key=lambda each: each.made_at):
        sorted_out[bucket(seen, rules, now)].append(seen)
    ready, making, asleep = (len(sorted_out[each]) for each in (Bucket.READY, Bucket.MAKING, Bucket.ASLEEP))
    waking = sum(seen.is_waking for seen in sorted_out[Bucket.MAKING])
    wanted = min(rules.spares + waiting, max(0, rules.max_size - others.leased))
    let_go = [
        *(_broken(seen, rules, now) for seen in sorted_out[Bucket.BROKEN]),
        *(LetGo(seen.cluster_id, "the pool's template changed") for seen in sorted_out[Bucket.STALE]),
        *(LetGo(seen.cluster_id, "it was a spare for too long") for seen in _old(rules, sorted_out, others, wanted)),
        *(LetGo(seen.cluster_id, "the pool keeps fewer spares now") for seen in _surplus(sorted_out, wanted)),
    ]
    staying = others.leased + len(clusters) - len(let_go)
    missing = wanted - ready - making - asleep
    room = min(rules.max_making - (making - waking), rules.max_size - staying)
    holds_off = holds_off or any(going.never_fit for going in let_go)  # it pauses before the next try
    make = 0 if holds_off else max(0, min(missing, room))
    going = {each.cluster_id for each in let_go}
    stay = {each: [seen for seen in found if seen.cluster_id not in going] for each, found in sorted_out.items()}
    put_to_sleep, wake = _rest(rules, stay, min(rules.spares, wanted), waiting)
    return Steps(make, tuple(let_go), put_to_sleep, wake)


def pause_s(failures: int) -> float:
    """How long to make no cluster after so many in a row that did not come to be."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures, _MOST_DOUBLINGS)) if failures else 0.0


@dataclass(frozen=True, slots=True)
class Queue:
    """What an estimate of the wait is made from."""

    making_since: Sequence[datetime]
    """When each cluster that is in the making was asked for."""
    usual_making_s: float
    at_once: int
    """How many can be in the making side by side."""
    room: int
    """How many clusters more the pool may have."""


def estimate_s(position: int, queue: Queue, now: datetime) -> float | None:
    """Seconds until the `position`th (from 1) in the queue is likely served; None where somebody must return one."""
    under_way = sorted(queue.making_since)
    if position <= len(under_way):
        return max(0.0, queue.usual_making_s - _s(now - under_way[position - 1]))
    behind = position - len(under_way)
    if behind > queue.room or not queue.at_once:
        return None
    free = max(0, queue.at_once - len(under_way))
    rounds = 1 if behind <= free else 1 + ceil((behind - free) / queue.at_once)
    return rounds * queue.usual_making_s


def _rest(
    rules: Rules, stay: Mapping[Bucket, Sequence[Seen]], spares: int, waiting: int
) -> tuple[tuple[UUID, ...], tuple[UUID, ...]]:
    """Whom to put to sleep and whom to wake, so that a share of the spares sleeps and nobody waits for a sleeper.

    The oldest are woken and the newest put to sleep: what is awake is handed out in the order of its age.
    """
    ready, making, asleep = (stay[each] for each in (Bucket.READY, Bucket.MAKING, Bucket.ASLEEP))
    sleepers = spares * rules.hibernate_share // 100
    awake = spares - sleepers
    waking = sum(seen.is_waking for seen in making)
    for_those_who_wait = waiting - len(ready) - waking
    beyond_the_share = min(len(asleep) - sleepers, awake - len(ready) - len(making))
    wake = asleep[: max(0, for_those_who_wait, beyond_the_share)]
    if wake or waiting:
        return (), tuple(seen.cluster_id for seen in wake)
    too_many = min(len(ready) - awake, sleepers - len(asleep))
    tired = [seen for seen in reversed(ready) if seen.failing_since is None][: max(0, too_many)]
    return tuple(seen.cluster_id for seen in tired), ()


def _broken(seen: Seen, rules: Rules, now: datetime) -> LetGo:
    return LetGo(seen.cluster_id, why_broken(seen, rules, now) or "", never_fit=seen.ready_at is None)


def _old(rules: Rules, sorted_out: Mapping[Bucket, Sequence[Seen]], others: Others, wanted: int) -> Sequence[Seen]:
    """Old spares go one for each that is ready, so that nobody finds the pool empty; one goes to make room."""
    old, ready, making, asleep = (sorted_out[each] for each in (Bucket.OLD, Bucket.READY, Bucket.MAKING, Bucket.ASLEEP))
    surplus = max(0, len(ready) + len(asleep) + len(old) - wanted)
    is_full = others.leased + len(ready) + len(asleep) + len(making) + len(old) >= rules.max_size
    return old[: max(surplus, 1 if is_full and not making else 0)]


def _surplus(sorted_out: Mapping[Bucket, Sequence[Seen]], wanted: int) -> Sequence[Seen]:
    """Those in the making go first, the latest first: least is lost with them. Sleepers go before those awake."""
    by_value = [*reversed(sorted_out[Bucket.MAKING]), *sorted_out[Bucket.ASLEEP], *sorted_out[Bucket.READY]]
    return by_value[: max(0, len(by_value) - wanted)]


def _s(span: timedelta) -> float:
    return span.total_seconds()
