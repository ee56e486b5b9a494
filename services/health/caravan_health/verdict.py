"""Decide what to believe of a cluster and its nodes. Pure: no network, no clock; all policy is in this file.

One look never changes a settled belief: it takes several in a row that agree (`Policy`), looked at quickly one after
the other, so that a hiccup is not an outage and an outage is found within seconds. A look at which the monitor itself
was unfit counts for nothing; when there was nothing but such looks for a while, the belief becomes Unknown.

    observation                                    leans to       agreeing looks needed to switch
    ok, all nodes well                             Healthy        2 (1 from Unknown)
    ok, a node unwell or the list of nodes fails   Degraded       2 (1 from Unknown)
    ok, but nobody at the virtual IP               Degraded       2 (1 from Unknown)
    component_not_ready, server_error              Degraded       2 (1 from Unknown)
    dns refused tls timeout redirect garbage       Unreachable    3 within a minute, and a word from elsewhere
    the same, but it answers another replica       Unknown        3: this replica's network is not the cluster's fault
    auth, or we may not list its nodes             Unknown        3: our credentials are not the cluster's fault
    no answer of one that was just woken           Unknown        3: its machines are booting
    monitor_unfit                                  –              never; Unknown once the last usable look is stale

A word from elsewhere: when a cluster misses, another replica is asked whether the cluster answers it. Its word is
waited for, but not for longer than `Policy.second_look_s`; where it says no, or nothing, the looks from here decide.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from caravan_health.observation import Kind, NodeReading, Observation
from caravan_shared.contracts.requests import AskSecondLooks
from caravan_shared.contracts.states import Verdict

_NAMED_AT_MOST = 3  # nodes or components named in a reason; a sentence, not a list


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of the hysteresis; times in seconds."""

    misses: int = 3
    agreeing: int = 2
    misses_within_s: float = 60.0
    probe_every_s: float = 5.0
    recheck_s: float = 1.0
    unreachable_every_s: float = 10.0
    stale_after_s: float = 20.0
    wakes_within_s: float = 600.0
    second_look_s: float = AskSecondLooks.timeout_s


@dataclass(frozen=True, slots=True)
class NodesSummary:
    """The latest list of a cluster's nodes in short: `unwell` holds phrases such as `n1 NotReady`."""

    ready: int = 0
    seen: int = 0
    unwell: tuple[str, ...] = ()
    failure: str = ""
    refusal: str = ""
    """Why we may not list them: our credentials, not the cluster's health."""

    @property
    def is_list(self) -> bool:
        """There was a list to count."""
        return not self.failure and not self.refusal


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of a cluster, and what the latest looks lean to."""

    verdict: Verdict
    reason: str
    since: datetime
    usable_at: datetime
    """When the last look that counts was taken (or when watching began)."""
    nodes_ready: int = 0
    nodes_seen: int = 0
    leaning: Verdict | None = None
    streak: int = 0
    streak_since: datetime | None = None
    voids: int = 0
    """Of the latest looks, how many in a row counted for nothing."""

    def says_the_same_as(self, other: "Belief") -> bool:
        """Nothing that anyone is told differs."""
        return self._told() == other._told()

    def _told(self) -> tuple[Verdict, str, datetime, int, int]:
        return self.verdict, self.reason, self.since, self.nodes_ready, self.nodes_seen


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What another replica, `there`, said of a cluster that misses at this one, `here`."""

    here: str
    there: str
    answers: bool


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What is known from another replica of a cluster since it began to miss here."""

    asking: bool = False
    told_at: datetime | None = None
    """When asking last came to an end, with a word or without."""
    seen: SecondLook | None = None
    """The last word, where it was that the cluster answers."""
    seen_at: datetime | None = None

    def is_due(self, now: datetime, policy: Policy) -> bool:
        """Nobody is being asked, and the last word is a round old; soon again if it was that the cluster answers."""
        pause_s = policy.recheck_s if self.seen else policy.probe_every_s
        return not self.asking and (self.told_at is None or now - self.told_at >= timedelta(seconds=pause_s))

    def is_asked(self) -> "Elsewhere":
        """Another replica is being asked."""
        return replace(self, asking=True)

    def said(self, second: SecondLook | None, now: datetime) -> "Elsewhere":
        """After the other's word. None: none came, so that its last one stands, for a while."""
        heard = replace(self, asking=False, told_at=now)
        if second is None:
            return heard
        return replace(heard, seen=second, seen_at=now) if second.answers else replace(heard, seen=None, seen_at=None)

    def sees(self, now: datetime, policy: Policy) -> SecondLook | None:
        """Who sees the cluster answer, as far as is known; None: nobody."""
        is_fresh = self.seen_at is not None and now - self.seen_at <= timedelta(seconds=policy.stale_after_s)
        return self.seen if is_fresh else None

    def is_awaited(self, since: datetime, now: datetime, policy: Policy) -> bool:
        """Whether the first word since `since` may still come."""
        told = self.told_at is not None and self.told_at >= since
        return self.asking and not told and now - since < timedelta(seconds=policy.second_look_s)


@dataclass(frozen=True, slots=True)
class NodeBelief:
    """What is believed of one node."""

    verdict: Verdict
    reason: str
    since: datetime


def unasked(now: datetime) -> Belief:
    """The belief to start with."""
    return Belief(Verdict.UNKNOWN, "not asked yet", since=now, usable_at=now)


def put_to_sleep(belief: Belief, now: datetime) -> Belief:
    """The belief about a cluster whose machines are stopped on purpose."""
    since = belief.since if belief.verdict is Verdict.UNKNOWN else now
    return replace(belief, verdict=Verdict.UNKNOWN, reason="asleep: its machines are stopped on purpose", since=since)


def judge(
    belief: Belief,
    seen: Observation,
    nodes: NodesSummary | None,
    now: datetime,
    policy: Policy,
    *,
    waking: bool = False,
    elsewhere: Elsewhere = Elsewhere(),
) -> Belief:
    """The belief after one more look. `nodes`: the latest list, None where nobody could list them yet.

    `waking`: the cluster was woken lately. `elsewhere`: what another replica says of its silence.
    """
    if seen.kind is Kind.MONITOR_UNFIT:
        return _after_void_look(belief, seen, now, policy)
    leaning, reason = _lean(seen, nodes)
    if waking and leaning is Verdict.UNREACHABLE:
        leaning, reason = Verdict.UNKNOWN, "waking: it does not answer yet"
    elif leaning is Verdict.UNREACHABLE and (second := elsewhere.sees(now, policy)):
        leaning, reason = Verdict.UNKNOWN, _out_of_sight_here(seen, second)
    belief = _count(belief, leaning, now, policy)
    if leaning is belief.verdict:
        return _told(replace(belief, reason=reason), nodes)
    if belief.streak < _needed(belief.verdict, leaning, policy):
        return belief
    since = belief.streak_since or now
    if leaning is Verdict.UNREACHABLE and elsewhere.is_awaited(since, now, policy):
        return belief
    return _told(replace(belief, verdict=leaning, reason=reason, since=now), nodes)


def next_look_s(belief: Belief, policy: Policy, *, waking: bool = False) -> float:
    """Seconds from the start of this look to the start of the next.

    A void look is made up for soon, for most trouble is short. Those after it are not: that would be more of a load.
    """
    if waking and belief.verdict is Verdict.UNKNOWN:
        return policy.recheck_s  # somebody waits for it
    if belief.leaning not in (None, belief.verdict):
        return policy.recheck_s
    if belief.verdict is Verdict.UNREACHABLE:
        return policy.unreachable_every_s
    return policy.recheck_s if belief.voids == 1 else policy.probe_every_s


def summarise(readings: Iterable[NodeReading], leaving: frozenset[str]) -> NodesSummary:
    """Shorten a list of nodes; nodes on their way out are not counted."""
    staying = [reading for reading in readings if reading.name not in leaving]
    unwell = [f"{node.name} {node.reason}" for node in staying if node.verdict is not Verdict.HEALTHY]
    return NodesSummary(sum(node.ready for node in staying), len(staying), tuple(unwell))


def judge_nodes(
    believed: Mapping[str, NodeBelief],
    readings: Iterable[NodeReading],
    joined: Iterable[str],
    wanted: frozenset[str],
    now: datetime,
) -> dict[str, NodeBelief]:
    """The beliefs that change with this list of nodes.

    `wanted` are the nodes Caravan knows and keeps; `joined` those of them that the cluster once listed. Kubernetes
    damps node conditions itself (40 s grace), so a node is believed at once.
    """
    told = {reading.name: (reading.verdict, reading.reason) for reading in readings if reading.name in wanted}
    for name in joined:
        told.setdefault(name, (Verdict.UNKNOWN, "not registered at the kube-apiserver"))
    return _changed(believed, told, now)


def nodes_out_of_sight(believed: Mapping[str, NodeBelief], now: datetime) -> dict[str, NodeBelief]:
    """The beliefs that change when the cluster stops answering: of its nodes nothing is known any more."""
    told = dict.fromkeys(believed, (Verdict.UNKNOWN, "not seen since the kube-apiserver stopped answering"))
    return _changed(believed, told, now)


def nodes_put_to_sleep(believed: Mapping[str, NodeBelief], now: datetime) -> dict[str, NodeBelief]:
    """The beliefs that change when a cluster is put to sleep."""
    return _changed(believed, dict.fromkeys(believed, (Verdict.UNKNOWN, "its cluster is asleep")), now)


def _changed(
    believed: Mapping[str, NodeBelief], told: Mapping[str, tuple[Verdict, str]], now: datetime
) -> dict[str, NodeBelief]:
    changed = {}
    for name, (verdict, reason) in told.items():
        old = believed.get(name)
        if old is None or (old.verdict, old.reason) != (verdict, reason):
            since = old.since if old and old.verdict is verdict else now
            changed[name] = NodeBelief(verdict, reason, since)
    return changed


def _lean(seen: Observation, nodes: NodesSummary | None) -> tuple[Verdict, str]:
    """The verdict this look alone speaks for, and why."""
    if seen.is_miss:
        return Verdict.UNREACHABLE, seen.detail
    match seen.kind:
        case Kind.AUTH:
            return Verdict.UNKNOWN, seen.detail
        case Kind.COMPONENT_NOT_READY:
            return Verdict.DEGRADED, f"not ready: {_some(seen.components)}"
        case Kind.SERVER_ERROR:
            return Verdict.DEGRADED, seen.detail
    verdict, reason = _lean_on_nodes(nodes)
    if seen.detail and verdict is not Verdict.UNKNOWN:
        return Verdict.DEGRADED, f"{reason}, but {seen.detail}"
    return verdict, reason


def _out_of_sight_here(seen: Observation, second: SecondLook) -> str:
    there, here = f"health's replica {second.there}", f"its replica {second.here}"
    return f"it answers {there}, but not {here}: {seen.detail}; the network of {second.here} is probably at fault"


def _lean_on_nodes(nodes: NodesSummary | None) -> tuple[Verdict, str]:
    if nodes is None:
        return Verdict.HEALTHY, "ready; its nodes were not listed yet"
    if nodes.failure:
        return Verdict.DEGRADED, f"ready, but listing its nodes fails: {nodes.failure}"
    if nodes.refusal:
        return Verdict.UNKNOWN, f"ready, but its nodes cannot be listed: {nodes.refusal}"
    count = f"{nodes.ready} of {nodes.seen} nodes ready"
    if nodes.unwell:
        return Verdict.DEGRADED, f"{count}: {_some(nodes.unwell)}"
    return Verdict.HEALTHY, f"ready, {count}"


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _count(belief: Belief, leaning: Verdict, now: datetime, policy: Policy) -> Belief:
    """Lengthen the streak of agreeing looks, or begin a new one."""
    agrees = leaning is belief.leaning and belief.streak_since is not None
    if agrees and now - (belief.streak_since or now) <= timedelta(seconds=policy.misses_within_s):
        return replace(belief, streak=belief.streak + 1, usable_at=now, voids=0)
    return replace(belief, leaning=leaning, streak=1, streak_since=now, usable_at=now, voids=0)


def _needed(held: Verdict, leaning: Verdict, policy: Policy) -> int:
    if leaning in (Verdict.UNREACHABLE, Verdict.UNKNOWN):
        return policy.misses
    return 1 if held is Verdict.UNKNOWN else policy.agreeing


def _told(belief: Belief, nodes: NodesSummary | None) -> Belief:
    """Counts of nodes are told with a belief that rests on a list of them; else the last known stand."""
    if nodes is None or not nodes.is_list or belief.verdict in (Verdict.UNREACHABLE, Verdict.UNKNOWN):
        return belief
    return replace(belief, nodes_ready=nodes.ready, nodes_seen=nodes.seen)


def _after_void_look(belief: Belief, seen: Observation, now: datetime, policy: Policy) -> Belief:
    belief = replace(belief, leaning=None, streak=0, streak_since=None, voids=belief.voids + 1)
    reason = f"the monitor is not fit to judge: {seen.detail}"
    if belief.verdict is Verdict.UNKNOWN or now - belief.usable_at <= timedelta(seconds=policy.stale_after_s):
        return belief
    return replace(belief, verdict=Verdict.UNKNOWN, reason=reason, since=now)
