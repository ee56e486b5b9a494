"""The probing loop: who is due, look at them side by side, weigh what was seen, record it, appoint the next look.

A slow cluster starves no other: the time limit of a look begins when the look does, and clusters that miss have a lane
of their own. Each look ends with the next appointment, so the agenda holds every watched cluster exactly once.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from caravan_health import metrics
from caravan_health.agenda import Agenda
from caravan_health.beliefs import Change
from caravan_health.credentials import Credentials
from caravan_health.errors import CannotAsk
from caravan_health.monitor import Monitor
from caravan_health.observation import Kind, Observation
from caravan_health.probe import Door, Prober
from caravan_health.settings import Settings
from caravan_health.target import Target
from caravan_health.verdict import Belief, NodeBelief, SecondLook, next_look_s
from caravan_health.vigil import Vigil
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

_CERTIFICATE_PATIENCE_S = 2.0  # for the first certificate; without one, what a cluster tells everyone is still asked
_REFUSED_AGAIN_S = 60.0  # a certificate that is refused is replaced, but not more often than this
_CONTROL_GROUP = 8  # clusters asked for comparison when one falls silent in a small fleet

Take = Callable[[UUID, Change], None]
LookElsewhere = Callable[[UUID], Awaitable[SecondLook | None]]


class Watch:
    """Looks at the clusters it is told to follow; hands what changes to `take`."""

    def __init__(
        self,
        settings: Settings,
        monitor: Monitor,
        credentials: Credentials,
        clock: Clock,
        take: Take,
        look_elsewhere: LookElsewhere,
    ) -> None:
        self._settings, self._policy = settings, settings.policy()
        self._monitor, self._credentials, self._clock, self._take = monitor, credentials, clock, take
        self._look_elsewhere = look_elsewhere
        self._prober = Prober(timeout_s=settings.probe_timeout_s, nodes_timeout_s=settings.nodes_timeout_s)
        self._lane = asyncio.Semaphore(settings.looks_at_once)
        self._slow_lane = asyncio.Semaphore(settings.looks_at_once)
        self._lists = asyncio.Semaphore(settings.nodes_lists_at_once)
        self._opening = asyncio.Lock()
        self._agenda = Agenda()
        self._vigils: dict[UUID, Vigil] = {}

    def following(self) -> Mapping[UUID, int]:
        """The clusters followed, and in which version each target is known."""
        return {cluster_id: vigil.target.version for cluster_id, vigil in self._vigils.items()}

    def follow(self, target: Target, belief: Belief, nodes: dict[str, NodeBelief], first_look_in_s: float) -> None:
        """Begin with a cluster, from what was believed of it before."""
        first_look = asyncio.get_running_loop().time() + first_look_in_s
        self._vigils[target.cluster_id] = Vigil(target, belief, nodes, beat=first_look)
        self._agenda.put(target.cluster_id, first_look)

    def retarget(self, target: Target) -> None:
        """Go on with a cluster of which something changed, and look soon."""
        self._vigils[target.cluster_id].retarget(target)
        self._agenda.hurry(target.cluster_id, asyncio.get_running_loop().time())

    def drop(self, cluster_id: UUID) -> None:
        """Stop with a cluster."""
        del self._vigils[cluster_id]
        self._agenda.drop(cluster_id)
        self._monitor.fleet.forget(cluster_id)

    async def run(self) -> None:
        """Look, until cancelled."""
        async with self._prober, asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._count())
            while True:
                for cluster_id, due in await self._agenda.due():
                    self._tasks.create_task(self._keep(self._vigils[cluster_id], due))

    # --- one appointment ---

    async def _keep(self, vigil: Vigil, due: float) -> None:
        """Look once, weigh, judge, record, list nodes when it is time, and appoint the next look."""
        await self._have_certificate(vigil)
        door = vigil.door() if vigil.has_door() else await self._open(vigil)
        async with self._slow_lane if vigil.is_slow() else self._lane:
            started = asyncio.get_running_loop().time()
            seen = await self._prober.ready(door) if isinstance(door, Door) else door
        ended = asyncio.get_running_loop().time()
        _measure(seen, due, started, ended)
        if not self._is_followed(vigil):
            return
        seen = self._weigh(vigil, seen, started, ended)
        if isinstance(door, Door) and vigil.wants_nodes(seen, self._settings.nodes_every):
            vigil.lists_nodes = True
            self._tasks.create_task(self._list_nodes(vigil, door, seen))
        if vigil.wants_second_look(seen, self._clock.now(), self._policy):
            vigil.elsewhere = vigil.elsewhere.is_asked()
            self._tasks.create_task(self._hear_elsewhere(vigil))
        first_word = seen.kind is Kind.OK and vigil.lists_nodes and vigil.nodes is None
        if not first_word:  # that waits for the list, so that it is a whole one
            self._judge(vigil, seen)
        if seen.kind is Kind.AUTH:
            self._replace_certificate(vigil)
        self._agenda.put(vigil.target.cluster_id, max(self._next_look(vigil, started), ended))

    def _next_look(self, vigil: Vigil, started: float) -> float:
        waking, round_s = vigil.is_waking(self._clock.now(), self._policy), self._policy.probe_every_s
        pause_s = next_look_s(vigil.belief, self._policy, waking=waking)
        at = started + pause_s
        return at if pause_s < round_s else vigil.on_the_beat(at, round_s)

    def _weigh(self, vigil: Vigil, seen: Observation, started: float, ended: float) -> Observation:
        """Void what was seen if the monitor was in trouble; have others looked at where they have to vouch for it."""
        fleet, cluster_id = self._monitor.fleet, vigil.target.cluster_id
        is_expected = vigil.belief.verdict is Verdict.UNREACHABLE or vigil.is_waking(self._clock.now(), self._policy)
        if seen.kind is Kind.MONITOR_UNFIT or (seen.is_miss and is_expected):
            return self._monitor.weigh(cluster_id, seen, True, started, ended)
        first = fleet.saw(cluster_id, seen.is_miss, ended)
        wanted = _CONTROL_GROUP if first else fleet.wanted(cluster_id, ended)
        for other in fleet.control_group(ended, wanted):
            self._agenda.hurry(other, ended)
        return self._monitor.weigh(cluster_id, seen, first, started, ended)

    def _judge(self, vigil: Vigil, seen: Observation) -> None:
        held = vigil.belief.verdict
        change = vigil.saw(seen, self._clock.now(), self._policy)
        if change != Change():
            self._take(vigil.target.cluster_id, change)
        if vigil.belief.verdict is not held:
            if vigil.belief.verdict is Verdict.UNREACHABLE:
                self._monitor.fleet.forget(vigil.target.cluster_id)
            told = {"cluster": str(vigil.target.cluster_id), "was": held, "verdict": vigil.belief.verdict}
            log.info("verdict changed", **told, why=vigil.belief.reason)

    async def _hear_elsewhere(self, vigil: Vigil) -> None:
        vigil.heard_elsewhere(await self._look_elsewhere(vigil.target.cluster_id), self._clock.now())

    async def _list_nodes(self, vigil: Vigil, door: Door, seen: Observation) -> None:
        """List the nodes, judge them, and judge the cluster again by them."""
        first = vigil.nodes is None
        try:
            async with self._lists:
                listed = await self._prober.nodes(door)
        finally:
            vigil.lists_nodes = False
        if not self._is_followed(vigil):
            return
        if listed.failure and listed.failure.kind is Kind.AUTH:
            self._replace_certificate(vigil)
        change = vigil.listed(listed, self._clock.now())
        if change != Change():
            self._take(vigil.target.cluster_id, change)
        if first:
            self._judge(vigil, seen)

    async def _open(self, vigil: Vigil) -> Door | Observation:
        """Prepare a way in, one a turn of the event loop: each takes about 2 ms, and after a start all are new.

        Where there is none, what is seen instead.
        """
        async with self._opening:
            try:
                door = vigil.door()
            except CannotAsk as error:
                return Observation(Kind.AUTH, str(error))
            except OSError as error:
                return Observation(Kind.MONITOR_UNFIT, f"it cannot present a certificate: {error.strerror}")
            await asyncio.sleep(0)
        return door

    def _is_followed(self, vigil: Vigil) -> bool:
        return self._vigils.get(vigil.target.cluster_id) is vigil

    # --- certificates ---

    async def _have_certificate(self, vigil: Vigil) -> None:
        """Fetch a certificate when it is time; wait for it only if there is none at all."""
        loop = asyncio.get_running_loop()
        if vigil.certificate_due > loop.time():
            return
        vigil.certificate_due = float("inf")
        fetching = self._tasks.create_task(self._fetch_certificate(vigil))
        if vigil.certificate is None:
            await asyncio.wait([fetching], timeout=_CERTIFICATE_PATIENCE_S)

    def _replace_certificate(self, vigil: Vigil) -> None:
        soon = asyncio.get_running_loop().time() + _REFUSED_AGAIN_S
        vigil.certificate_due = min(vigil.certificate_due, soon)

    async def _fetch_certificate(self, vigil: Vigil) -> None:
        certificate, again_in_s = await self._credentials.fetch(vigil.target.cluster_id)
        vigil.present(certificate)
        vigil.certificate_due = asyncio.get_running_loop().time() + again_in_s

    async def _count(self) -> None:
        while True:
            verdicts = Counter(vigil.belief.verdict for vigil in self._vigils.values())
            for verdict in Verdict:
                metrics.CLUSTERS.labels(verdict).set(verdicts[verdict])
            await asyncio.sleep(self._settings.probe_every_s)


_LOOKS = {kind: metrics.LOOKS.labels(kind) for kind in Kind}


def _measure(seen: Observation, due: float, started: float, ended: float) -> None:
    _LOOKS[seen.kind].inc()
    metrics.START_LAG_SECONDS.observe(started - due)
    metrics.LOOK_SECONDS.observe(ended - started)
