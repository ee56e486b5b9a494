"""What a prober remembers of one watched cluster between looks."""

from dataclasses import dataclass, field
from datetime import datetime

from caravan_health.beliefs import Change
from caravan_health.observation import Kind, NodeReading, Observation
from caravan_health.probe import Door, Listed, open_door
from caravan_health.store import Transition
from caravan_health.target import Target
from caravan_health.verdict import (
    Belief,
    Elsewhere,
    NodeBelief,
    NodesSummary,
    Policy,
    SecondLook,
    judge,
    judge_nodes,
    nodes_out_of_sight,
    summarise,
)
from caravan_shared.contracts.requests import ClientCertificate
from caravan_shared.contracts.states import Verdict


@dataclass(slots=True)
class Vigil:
    """One watched cluster. Methods take what was seen and return what changed; they do no input or output."""

    target: Target
    belief: Belief
    node_beliefs: dict[str, NodeBelief]
    beat: float = 0.0
    """Loop time of an ordinary look. The others are whole rounds away from it, so that a fleet's looks stay spread."""
    certificate: ClientCertificate | None = None
    certificate_due: float = 0.0
    """Loop time at which to fetch a new certificate; infinite while one is being fetched."""
    nodes: NodesSummary | None = None
    looks_until_nodes: int = 0
    lists_nodes: bool = False
    """A list is under way."""
    elsewhere: Elsewhere = Elsewhere()
    """What another replica says, for as long as the cluster misses here."""
    _readings: tuple[NodeReading, ...] = ()
    _door: Door | None = field(default=None)

    def has_door(self) -> bool:
        """`door` costs nothing."""
        return self._door is not None

    def door(self) -> Door:
        """The way in, prepared anew when endpoint or certificate changed."""
        if self._door is None:
            self._door = open_door(self.target, self.certificate)
        return self._door

    def on_the_beat(self, at: float, round_s: float) -> float:
        """The time of its last ordinary look up to `at`, however early or late the one before was."""
        return at - (at - self.beat) % round_s

    def is_slow(self) -> bool:
        """It missed lately: its looks may hang, so they belong in the other lane."""
        misses = self.elsewhere != Elsewhere()
        return misses or Verdict.UNREACHABLE in (self.belief.leaning, self.belief.verdict)

    def is_waking(self, now: datetime, policy: Policy) -> bool:
        """It was woken lately and has not answered since."""
        settled = self.belief.verdict in (Verdict.HEALTHY, Verdict.DEGRADED)
        return not settled and self.target.is_waking(now, policy.wakes_within_s)

    def retarget(self, target: Target) -> None:
        """The store knows something newer."""
        if target.way_in() != self.target.way_in():
            self._door = None
        self.target = target
        self.node_beliefs = {name: held for name, held in self.node_beliefs.items() if name in target.nodes}
        self.looks_until_nodes = 0
        if self.nodes and self.nodes.is_list:
            self.nodes = summarise(self._readings, target.leaving)

    def present(self, certificate: ClientCertificate | None) -> None:
        """Ask with this certificate from now on; None keeps the one in use for as long as it lasts."""
        if certificate:
            self.certificate, self._door, self.looks_until_nodes = certificate, None, 0

    def wants_nodes(self, seen: Observation, every: int) -> bool:
        """Time to list the nodes: every so many looks, or at once when something about the cluster changed."""
        self.looks_until_nodes = 0 if self.belief.leaning is not self.belief.verdict else self.looks_until_nodes - 1
        if self.lists_nodes or not self.certificate or seen.kind is not Kind.OK or self.looks_until_nodes > 0:
            return False
        self.looks_until_nodes = every
        return True

    def wants_second_look(self, seen: Observation, now: datetime, policy: Policy) -> bool:
        """Time to ask another replica: at the first miss, and while there are more, now and then."""
        return seen.is_miss and not self.is_waking(now, policy) and self.elsewhere.is_due(now, policy)

    def heard_elsewhere(self, second: SecondLook | None, now: datetime) -> None:
        """Keep the other replica's word, unless the cluster has answered here meanwhile."""
        if self.elsewhere.asking:
            self.elsewhere = self.elsewhere.said(second, now)

    def saw(self, seen: Observation, now: datetime, policy: Policy) -> Change:
        """Judge one look at the cluster."""
        if not seen.is_miss and seen.kind is not Kind.MONITOR_UNFIT:
            self.elsewhere = Elsewhere()
        waking, held = self.is_waking(now, policy), self.belief
        self.belief = judge(held, seen, self.nodes, now, policy, waking=waking, elsewhere=self.elsewhere)
        if self.belief.says_the_same_as(held):
            return Change()
        change = Change(self.belief)
        if self.belief.verdict is not held.verdict:
            change.transitions.append(self._transition(held.verdict, now))
            if self.belief.verdict is Verdict.UNREACHABLE:
                change.nodes = nodes_out_of_sight(self.node_beliefs, now)
                self.node_beliefs |= change.nodes
                self.nodes = None
        return change

    def listed(self, listed: Listed[NodeReading], now: datetime) -> Change:
        """Judge a list of nodes. While the monitor is in trouble, what was known stands."""
        failure = listed.failure
        if failure and failure.kind is Kind.AUTH:
            self.nodes = NodesSummary(refusal=failure.detail)
        elif failure and failure.kind is not Kind.MONITOR_UNFIT:
            self.nodes = NodesSummary(failure=failure.detail)
        if failure:
            return Change()
        self._readings = listed.readings
        self.nodes = summarise(listed.readings, self.target.leaving)
        changed = judge_nodes(self.node_beliefs, listed.readings, self.target.joined, self.target.nodes, now)
        self.node_beliefs |= changed
        return Change(nodes=changed)

    def _transition(self, old: Verdict, now: datetime) -> Transition:
        return Transition(
            cluster_id=self.target.cluster_id, at=now, old=old, new=self.belief.verdict, reason=self.belief.reason
        )
