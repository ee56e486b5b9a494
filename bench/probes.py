"""What watching costs, and how soon outages are told, against real TLS servers. Prints one JSON object.

The servers are a process of their own; figures are this process's. Looks: the whole path of a look (agenda, lane, HTTPS
with a client certificate, weighing, judging, metrics) as fast as it goes, beside a bare aiohttp loop against the same
servers in the same run: the bound that no prober on aiohttp passes. Goal: >= 2,500 looks per second of CPU. Nodes: a
list of 1,000 nodes of the size real ones have. Fleet: 1,000 clusters with the default settings, of which 100 die, later
100 hang, all looked at by another replica as well, which shares this process; goal: told within 10 s at p99, nobody
else called Unreachable, looks begun within 1 s at p99 all the while.
"""

import argparse
import asyncio
import json
import random
import ssl
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from tests.support.tls import HOST, Authority
from yarl import URL

from caravan_health import metrics
from caravan_health.app import monitor_for
from caravan_health.beliefs import Change
from caravan_health.credentials import Credentials
from caravan_health.lists import read_page
from caravan_health.monitor import raise_file_limit
from caravan_health.nodes import read_node
from caravan_health.observation import Kind
from caravan_health.onlooker import Onlooker
from caravan_health.probe import client_context
from caravan_health.second_looks import Others
from caravan_health.settings import Settings
from caravan_health.target import Target
from caravan_health.verdict import unasked
from caravan_health.watch import Watch
from caravan_shared.contracts.requests import AskClientCertificate, ClientCertificate
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.log import configure_logging

_CHECKS = "".join(f"[+]poststarthook/start-hook-{n} ok\n" for n in range(34)) + "readyz check passed\n"
_LIST = json.dumps({"kind": "NodeList", "metadata": {}, "items": []})
_SIDE_BY_SIDE = 64


def _answer(body: str) -> bytes:
    """As a real kube-apiserver heads its answers."""
    return (
        "HTTP/1.1 200 OK\r\nAudit-Id: 7d5a9d7e-7a2c-4f5c-8f0c-2f1f5a0e7c11\r\nCache-Control: no-cache, private\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
        f"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


_READYZ, _NODES = _answer(_CHECKS), _answer(_LIST)

# --- the far end: a process of its own -------------------------------------------------------------------------------


class Far(asyncio.Protocol):
    """One connection to one stand-in for a kube-apiserver."""

    def __init__(self, connections: set[asyncio.Transport], hung: set[int], number: int) -> None:
        self._connections, self._hung, self._number = connections, hung, number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection, so that it dies with its server."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer, unless hung."""
        if self._number not in self._hung:
            self._transport.write(_NODES if data.startswith(b"GET /api") else _READYZ)


async def serve(count: int) -> None:
    """Serve `count` clusters; take `die A B` and `hang A B` (a range of them) on stdin."""
    raise_file_limit()
    authority, hung, loop = Authority(), set[int](), asyncio.get_running_loop()
    context = authority.server_context()
    connections: list[set[asyncio.Transport]] = [set() for _ in range(count)]
    servers = [
        await loop.create_server(
            partial(Far, connections[number], hung, number), "127.0.0.1", 0, ssl=context, backlog=1024
        )
        for number in range(count)
    ]
    certificate = authority.for_health()
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps({"ports": ports, "certificate": certificate.model_dump(mode="json")}), flush=True)
    while order := (await asyncio.to_thread(sys.stdin.readline)).split():
        chosen = range(int(order[1]), int(order[2]))
        if order[0] == "hang":
            hung.update(chosen)
            continue
        for number in chosen:
            servers[number].close()
            for transport in list(connections[number]):
                transport.abort()


class FarEnd:
    """The other process, as seen from here."""

    def __init__(self, process: asyncio.subprocess.Process, ports: list[int], certificate: ClientCertificate) -> None:
        self._process, self.ports, self.certificate = process, ports, certificate

    def order(self, what: str, chosen: range) -> None:
        """Let some clusters `die` or `hang`."""
        assert self._process.stdin
        self._process.stdin.write(f"{what} {chosen.start} {chosen.stop}\n".encode())

    def targets(self) -> list[Target]:
        """All clusters there."""
        ca = self.certificate.ca_cert
        return [Target(uuid4(), 1, HOST, port, ("127.0.0.1",), ca) for port in self.ports]


@asynccontextmanager
async def far_end(count: int) -> AsyncIterator[FarEnd]:
    """`count` clusters in a process of their own."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.probes", "--serve", str(count), stdin=pipe, stdout=pipe, limit=1 << 20
    )
    assert process.stdout
    hello = json.loads(await process.stdout.readline())
    yield FarEnd(process, hello["ports"], ClientCertificate.model_validate(hello["certificate"]))
    process.terminate()
    await process.wait()


# --- looks -----------------------------------------------------------------------------------------------------------


class Watching:
    """The service's own prober, told by nobody and telling nobody; this process is the other replica as well."""

    def __init__(self, settings: Settings, certificate: ClientCertificate) -> None:
        async def ask(_: AskClientCertificate, __: type[ClientCertificate]) -> ClientCertificate:
            return certificate

        clock = SystemClock()
        self.monitor = monitor_for(settings)
        self.known: dict[UUID, Target] = {}
        onlooker = Onlooker(self._known, self.monitor, settings)
        self.others = Others(lambda _, asked: onlooker.answer(asked), "one")
        self.watch = Watch(settings, self.monitor, Credentials(ask, clock), clock, self._take, self.others.look)
        self.told: dict[UUID, tuple[Verdict, float]] = {}

    async def _known(self, cluster_ids: list[UUID]) -> list[Target]:
        return [self.known[cluster_id] for cluster_id in cluster_ids]

    def _take(self, cluster_id: UUID, change: Change) -> None:
        if change.belief:
            self.told[cluster_id] = change.belief.verdict, time.monotonic()

    @asynccontextmanager
    async def following(self, targets: list[Target], spread_s: float) -> AsyncIterator[None]:
        """Watch these clusters, and look at them a second time as another replica would."""
        self.known = {target.cluster_id: target for target in targets}
        self.others.live_now(("one", "two"))
        parts = asyncio.gather(self.monitor.run(), self.watch.run(), self.others.run())
        await asyncio.sleep(0.5)
        for target in targets:
            self.watch.follow(target, unasked(SystemClock().now()), {}, random.uniform(0, spread_s))
        yield
        parts.cancel()
        await asyncio.gather(parts, return_exceptions=True)


def looks_so_far() -> float:
    """How many looks this process has taken."""
    return sum(metrics.LOOKS.labels(kind)._value.get() for kind in Kind)


async def our_looks(far: FarEnd, seconds: float) -> dict[str, float]:
    """Look as fast as it goes."""
    eager = Settings(probe_every_s=0.0001, looks_at_once=_SIDE_BY_SIDE, nodes_every=10**9, max_lag_s=60)
    watching = Watching(eager, far.certificate)
    async with watching.following(far.targets(), spread_s=1.0):
        await _until_all_healthy(watching, len(far.ports))
        looks, cpu, wall = looks_so_far(), time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        return _rates(looks_so_far() - looks, time.process_time() - cpu, time.monotonic() - wall)


async def bare_looks(far: FarEnd, seconds: float) -> dict[str, float]:
    """Plain aiohttp in a loop: the same question, nothing done with the answer."""
    doors = [
        (URL(f"https://127.0.0.1:{port}/readyz?verbose"), client_context(far.certificate.ca_cert, far.certificate))
        for port in far.ports
    ]
    looks = 0

    async def ask(session: aiohttp.ClientSession, url: URL, context: ssl.SSLContext) -> None:
        async with session.get(url, ssl=context, server_hostname=HOST, allow_redirects=False) as response:
            await response.read()

    async def keep_asking(session: aiohttp.ClientSession, first: int, until: float) -> None:
        nonlocal looks
        number = first
        while time.monotonic() < until:
            await ask(session, *doors[number % len(doors)])
            number, looks = number + _SIDE_BY_SIDE, looks + 1

    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    jar, endless = aiohttp.DummyCookieJar(), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=endless) as session:
        await asyncio.gather(*(ask(session, *door) for door in doors))
        cpu, wall = time.process_time(), time.monotonic()
        await asyncio.gather(*(keep_asking(session, first, wall + seconds) for first in range(_SIDE_BY_SIDE)))
        return _rates(looks, time.process_time() - cpu, time.monotonic() - wall)


def _rates(looks: float, cpu: float, wall: float) -> dict[str, float]:
    return {"per_cpu_s": looks / cpu, "cpu_us": cpu / looks * 1e6, "per_s": looks / wall}


def median_of(runs: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure, the median over runs."""
    return {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}


# --- nodes -----------------------------------------------------------------------------------------------------------


def real_sized_node(number: int) -> dict[str, Any]:
    """A Node as a kube-apiserver gives it: about 12 KB, most of it images."""
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    moment = "2026-01-01T00:00:00Z"
    conditions = [
        {
            "type": kind,
            "status": "True" if kind == "Ready" else "False",
            "lastHeartbeatTime": moment,
            "lastTransitionTime": moment,
            "reason": f"Kubelet{kind}",
            "message": f"kubelet has posted {kind}",
        }
        for kind in kinds
    ]
    images = [
        {"names": [f"registry.example/team/image-{n}@sha256:{n:064x}", f"registry.example/team/image-{n}:v1.{n}"]}
        for n in range(50)
    ]
    labels = {f"example.com/label-{n}": f"value-{n}" for n in range(20)}
    return {
        "metadata": {"name": f"w-{number}", "labels": labels},
        "status": {"conditions": conditions, "images": images},
    }


async def thousand_nodes() -> dict[str, float]:
    """Read a list of 1,000 nodes; milliseconds of CPU, and the longest that anyone else on the loop waits meanwhile."""
    text = json.dumps({"items": [real_sized_node(number) for number in range(1000)]})
    longest, done = 0.0, False

    async def wait_for_turns() -> None:
        nonlocal longest
        while not done:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)

    waiting = asyncio.create_task(wait_for_turns())
    await asyncio.sleep(0)
    cpu = time.process_time()
    readings, _ = await read_page(text, read_node)
    cpu = time.process_time() - cpu
    done = True
    await waiting
    assert len(readings) == 1000
    return {
        "megabytes": round(len(text) / 1e6, 1),
        "cpu_ms": round(cpu * 1e3, 1),
        "longest_turn_ms": round(longest * 1e3, 1),
    }


# --- a fleet ---------------------------------------------------------------------------------------------------------


async def fleet(count: int, lost: int) -> dict[str, Any]:
    """Watch `count` clusters; let `lost` die, then `lost` more hang."""
    async with far_end(count) as far:
        watching, targets = Watching(Settings(), far.certificate), far.targets()
        async with watching.following(targets, spread_s=5.0):
            healthy_after_s = await _until_all_healthy(watching, count)
            lags, cpu, wall = _start_lags(), time.process_time(), time.monotonic()
            await asyncio.sleep(10)
            share = (time.process_time() - cpu) / (time.monotonic() - wall)
            died = await _lose(far, watching, targets, "die", range(lost))
            hung = await _lose(far, watching, targets, "hang", range(lost, 2 * lost))
            start_lag = _p99_since(lags)
        gone = {target.cluster_id for target in targets[: 2 * lost]}
        told = {cluster_id for cluster_id, (verdict, _) in watching.told.items() if verdict is Verdict.UNREACHABLE}
    return {
        "clusters": count,
        "all_healthy_after_s": round(healthy_after_s, 2),
        "cpu_share_of_one_core": round(share, 4),
        "died_told_after_s": died,
        "hung_told_after_s": hung,
        "wrongly_unreachable": len(told - gone),
        "start_lag_p99_below_s": start_lag,
    }


async def _until_all_healthy(watching: Watching, count: int) -> float:
    started = time.monotonic()
    while [verdict for verdict, _ in watching.told.values()].count(Verdict.HEALTHY) < count:
        await asyncio.sleep(0.1)
    return time.monotonic() - started


async def _lose(far: FarEnd, watching: Watching, targets: list[Target], how: str, which: range) -> dict[str, float]:
    """Seconds from the loss of each to the word that it is Unreachable; inf where that word did not come."""
    lost_at = time.monotonic()
    far.order(how, which)
    await asyncio.sleep(20)
    told = (watching.told[targets[number].cluster_id] for number in which)
    after = sorted(at - lost_at if verdict is Verdict.UNREACHABLE else float("inf") for verdict, at in told)
    return {
        "p50": round(_percentile(after, 50), 2),
        "p99": round(_percentile(after, 99), 2),
        "max": round(after[-1], 2),
    }


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _start_lags() -> dict[float, float]:
    """How many looks began at most so many seconds late, so far."""
    (metric,) = metrics.START_LAG_SECONDS.collect()
    return {float(sample.labels["le"]): sample.value for sample in metric.samples if sample.name.endswith("_bucket")}


def _p99_since(before: dict[float, float]) -> float:
    """The upper edge of the bucket that holds the 99th percentile of the start lags since then."""
    since = {edge: count - before[edge] for edge, count in _start_lags().items()}
    return next(edge for edge, count in since.items() if count >= 0.99 * since[float("inf")])


async def measure(rounds: int, seconds: float, clusters: int, lost: int) -> dict[str, Any]:
    """Everything, the two kinds of looks by turns."""
    raise_file_limit()
    whole = await fleet(clusters, lost)
    ours, bare = [], []
    for _ in range(rounds):
        async with far_end(_SIDE_BY_SIDE * 2) as far:
            bare.append(await bare_looks(far, seconds))
            ours.append(await our_looks(far, seconds))
    looks, bound = median_of(ours), median_of(bare)
    return {
        "looks": looks,
        "bare_aiohttp": bound,
        "share_of_bound": round(looks["per_cpu_s"] / bound["per_cpu_s"], 3),
        "goal_looks_per_cpu_s": 2500,
        "met": looks["per_cpu_s"] >= 2500,
        "thousand_nodes": await thousand_nodes(),
        "fleet": whole,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each kind of looks a round")
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--lost", type=int, default=100)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve))
    else:
        configure_logging("bench", "ERROR", "text")
        print(json.dumps(asyncio.run(measure(arguments.rounds, arguments.seconds, arguments.clusters, arguments.lost))))
