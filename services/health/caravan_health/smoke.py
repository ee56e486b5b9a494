"""Say whether a cluster can be handed to somebody now, from what its kube-apiserver lists.

Nothing is put into a cluster that is about to be someone's. Its own pods are evidence enough: where the network's and
the proxy's pods are Ready, the kubelet runs pods, and cluster DNS is a Service whose pods have to be Ready.
"""

import asyncio
from collections.abc import Iterable, Sequence

from caravan_health.credentials import Credentials
from caravan_health.errors import CannotAsk
from caravan_health.observation import Kind, NodeReading, PodReading
from caravan_health.probe import Door, Prober, open_door
from caravan_health.settings import Settings
from caravan_health.store import targets
from caravan_shared.contracts.requests import AskSmokeTest, SmokeTest
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import Retry

_NAMED = 3  # nodes in a sentence; the rest is counted


class SmokeTests:
    """Tests clusters on request, each through a connection of its own."""

    def __init__(self, db: Database, credentials: Credentials, settings: Settings) -> None:
        self._db, self._credentials, self._settings = db, credentials, settings

    async def test(self, asked: AskSmokeTest) -> SmokeTest:
        """Look at one cluster. Raises `Retry` for one that nothing is known of yet, or without a certificate."""
        async with self._db.reading() as session:
            known = await targets(session, [asked.cluster_id])
        if not known:
            raise Retry("health has not heard of this cluster's kube-apiserver yet")
        certificate, _ = await self._credentials.fetch(asked.cluster_id)
        if certificate is None:
            raise Retry("there is no certificate to ask the cluster with yet")
        try:
            door = open_door(known[0], certificate)
        except CannotAsk as error:
            return SmokeTest(problems=(str(error),))
        settings = self._settings
        limits = {"timeout_s": settings.probe_timeout_s, "nodes_timeout_s": settings.nodes_timeout_s}
        async with Prober(**limits, reuse=False) as prober:
            return SmokeTest(problems=tuple(await look_at(prober, door, asked.nodes)))


async def look_at(prober: Prober, door: Door, nodes_wanted: int) -> Sequence[str]:
    """What is amiss with a cluster as it answers now."""
    seen = await prober.ready(door)
    if seen.kind is not Kind.OK or seen.detail:
        return [f"its kube-apiserver: {seen.detail or ', '.join(seen.components)}"]
    nodes, pods = await asyncio.gather(prober.nodes(door), prober.system_pods(door))
    if failure := nodes.failure or pods.failure:
        return [f"its kube-apiserver: {failure.detail}"]
    return problems(nodes.readings, pods.readings, nodes_wanted)


def problems(nodes: Iterable[NodeReading], pods: Iterable[PodReading], nodes_wanted: int) -> Sequence[str]:
    """What is amiss in what was listed. Pure."""
    ready = {node.name for node in nodes if node.ready}
    pods = [pod for pod in pods if pod.ready]
    idle = sorted(ready - {pod.node for pod in pods})
    found = []
    if len(ready) != nodes_wanted:
        found.append(f"{len(ready)} nodes are Ready where there should be {nodes_wanted}")
    if idle:
        more = f" and {len(idle) - _NAMED} more" if len(idle) > _NAMED else ""
        found.append(f"no pod is Ready on {', '.join(idle[:_NAMED])}{more}")
    if not any(pod.serves_dns for pod in pods):
        found.append("no pod of cluster DNS is Ready")
    return found
