"""A fleet at rest, in trouble and read: 1,000 clusters with 100,000 nodes, on PostgreSQL. Prints one JSON object.

A whole local stack: the five services, a real nats-server, and the sandbox as far end, with a kube-apiserver for each
cluster. One cluster is made, the others are copies of it in every store (`copies`). In this order:

    rest        for each service, and what is beside them: its CPU (`cpu_share`, of one core) and its memory (`pss_mib`,
                shared memory shared out), with each cluster looked at every 5 s and a minute's looks of the reconcilers
                in it; `looks_a_second` of health
    starved     health runs a tenth of the time: how many `looks` it took, how many times a well cluster was told as
                Unreachable or Degraded (`false_verdicts`), and how many times as Unknown, which is no falsehood
    stalled     the same with health standing still for 0.5 s at random, every 2 s on average
    killed      so many kube-apiservers stop at once, connections are refused: seconds until each is told Unreachable
                (`p50_s`, `p99_s`, `max_s`; null: it never was), and the false verdicts about the others meanwhile
    hung        as many more accept requests and answer none, once the services have dealt with the killed
    reads       what bench/reads.py measures, on this fleet's store, with all but the api and nats-server stopped

Each trouble lasts `--seconds`, and on until `--looks` were taken: 500,000 make a million of both, which is hours, for a
thousand clusters get 200 looks a second, and fewer from a monitor that starves.
Goals: no false verdict, told within 10 s at p99, and those of the reads.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import psutil
from bench import copies, reads
from bench.clusters import Clusters
from bench.spent import Meter
from bench.verdicts import Told, listening, looks, until_all_healthy
from tests.support.postgres import dsn, fresh_databases, postgres
from tests.support.trouble import stalled, starved

from caravan_cli.up import Stack
from caravan_cli.up.parts import API, NATS, PARTS, SERVICES

NODES = 100
SHARE = 0.1
STALL_S, STALLS_EVERY_S = 0.5, 2.0
TOLD_WITHIN_S = 30.0
READY_WITHIN_S = 600.0  # the sandbox reads 100,000 machines and opens a thousand sockets first
_LAST_WORDS_S = 5.0  # until every store has heard all that was said of the model
GOAL_S = 10


@dataclass(frozen=True)
class Size:
    """How much of all there is."""

    clusters: int
    lost: int
    seconds: float
    looks: int
    read_s: float

    def names(self) -> list[str]:
        """Of the clusters, all equally long; the first is the model's."""
        return [f"fleet-{number:05d}" for number in range(self.clusters)]

    def env(self, urls: Mapping[str, str]) -> dict[str, str]:
        """Settings of a stack that has room for it, on these databases, with a quick far end."""
        waits = ("VM_BOOT_S", "INIT_S", "JOIN_S", "DELETE_S")
        return {
            **{f"CARAVAN_{service.upper()}_DATABASE_URL": url for service, url in urls.items()},
            **{f"CARAVAN_SANDBOX_{name}": "0" for name in waits},
            "CARAVAN_SANDBOX_MACHINES_LIMIT": str((self.clusters + 1) * NODES),
        }


def measure(size: Size, folder: Path, server: str) -> dict[str, Any]:
    """Make the fleet, start it, measure."""
    urls = asyncio.run(fresh_databases(server, SERVICES))
    with Stack(folder, ports="auto", env=size.env(urls)) as stack:
        model = _make_model(stack, size.names()[0])
        network = IPv4Network(stack.layout.network)
    members = asyncio.run(copies.copy(urls, folder, network, model, size.names()[1:]))
    with Stack(folder, ports="auto", env=size.env(urls), ready_within_s=READY_WITHIN_S) as stack:
        return asyncio.run(_Fleet(stack, size, members, urls).measured())


def _make_model(stack: Stack, name: str) -> tuple[UUID, str]:
    spec = {"version": "1.34.2", "cloud": "sandbox", "workers": [{"name": "workers", "count": NODES - 1}]}
    with Clusters(stack) as clusters:
        clusters.create(name, spec)
        made = clusters.until_healthy(name)
        time.sleep(_LAST_WORDS_S)
    return UUID(made.id), name


class _Fleet:
    """A running one."""

    def __init__(self, stack: Stack, size: Size, members: Sequence[copies.Member], urls: Mapping[str, str]) -> None:
        self._stack, self._size, self._members, self._urls = stack, size, members, urls

    async def measured(self) -> dict[str, Any]:
        """One after the other."""
        size, pid = self._size, self._stack.pid("health")
        assert pid
        async with listening(self._stack) as told:
            healthy_after_s = await until_all_healthy(self._stack, size.clusters)
            await asyncio.sleep(size.seconds)
            figures = {
                "all_healthy_after_s": round(healthy_after_s, 1),
                "rest": await self._rest(),
                "starved": await self._in_trouble(told, partial(starved, pid, SHARE)),
                "stalled": await self._in_trouble(told, partial(stalled, pid, STALL_S, STALLS_EVERY_S)),
                "killed": await self._lose(told, self._kill, 0),
            }
            await asyncio.sleep(size.seconds)
            figures["hung"] = await self._lose(told, self._hang, size.lost)
        for part in set(PARTS) - {API, NATS}:
            self._stack.kill(part)
        figures["reads"] = await self._reads()
        return figures | {"met": _met(figures)}

    async def _rest(self) -> dict[str, Any]:
        postmaster = await self._postmaster()
        processes = {part: psutil.Process(self._stack.pid(part)) for part in PARTS}
        meter, seconds = Meter(self._stack), self._size.seconds
        before, database, looked = meter.read(), _cpu_of_all_s(postmaster), await looks(self._stack)
        await asyncio.sleep(seconds)
        spent = (meter.read() - before).parts | {"postgres": _cpu_of_all_s(postmaster) - database}
        looked = await looks(self._stack) - looked
        memory = {part: process.memory_full_info().pss >> 20 for part, process in processes.items()}
        return {
            "looks_a_second": round(looked / seconds, 1),
            "cpu_share": {part: round(cpu_s / seconds, 3) for part, cpu_s in spent.items()},
            "services_cpu_share": round(sum(spent[part] for part in SERVICES) / seconds, 3),
            "pss_mib": memory,
            "services_pss_mib": sum(memory[part] for part in SERVICES),
        }

    async def _postmaster(self) -> psutil.Process | None:
        """PostgreSQL's first process; None where it is none of this machine's, as in a container."""
        connection = await asyncpg.connect(dsn(self._urls["api"]))
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        try:
            backend = psutil.Process(pid)
            return backend.parent() if backend.name() == "postgres" else None
        except psutil.NoSuchProcess:
            return None
        finally:
            await connection.close()

    async def _in_trouble(
        self, told: Told, trouble: Callable[[], AbstractAsyncContextManager[None]]
    ) -> dict[str, float]:
        began, before = time.monotonic(), await looks(self._stack)
        async with trouble():
            await asyncio.sleep(self._size.seconds)
            while (taken := await looks(self._stack) - before) < self._size.looks:
                await asyncio.sleep(self._size.seconds)
        seconds = time.monotonic() - began
        await until_all_healthy(self._stack, self._size.clusters)
        return {"seconds": round(seconds, 1), "looks": taken, **told.of_the_well(began)}

    async def _lose(
        self, told: Told, how: Callable[[Sequence[copies.Member]], Any], first: int
    ) -> dict[str, float | None]:
        """Let some go, those from `first` on; all before them are lost already."""
        chosen = self._members[first : first + self._size.lost]
        gone = {member.id for member in self._members[: first + self._size.lost]}
        began = time.monotonic()
        await how(chosen)
        after = await told.unreachable_after(began, [member.id for member in chosen], TOLD_WITHIN_S)
        places = {"p50_s": len(after) * 50 // 100, "p99_s": len(after) * 99 // 100, "max_s": -1}
        figures = {name: _seconds(after[place]) for name, place in places.items()}
        return {"clusters": len(chosen), **figures, **told.of_the_well(began, gone)}

    async def _kill(self, chosen: Sequence[copies.Member]) -> None:
        """Switch their machines off."""
        await self._order("/v1/machines/power", {"ids": [member.machine_id for member in chosen], "on": False})

    async def _hang(self, chosen: Sequence[copies.Member]) -> None:
        """Have their kube-apiservers answer nothing any more."""
        faults = [{"kind": "apiserver_hang", "times": None, "machine": member.machine_id} for member in chosen]
        await asyncio.gather(*(self._order("/v1/faults", fault) for fault in faults))

    async def _order(self, path: str, body: Mapping[str, Any]) -> None:
        layout = self._stack.layout
        headers = {"Authorization": f"Bearer {layout.sandbox_token}"}
        async with (
            aiohttp.ClientSession(layout.sandbox_url, headers=headers) as http,
            http.post(path, json=body) as answer,
        ):
            answer.raise_for_status()

    async def _reads(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._stack.token}"}
        connector = aiohttp.TCPConnector(limit=reads.AT_ONCE)
        async with aiohttp.ClientSession(self._stack.url, headers=headers, connector=connector) as session:
            api = psutil.Process(self._stack.pid(API))
            return await reads.reads(api, session, self._urls[API], self._size.clusters, self._size.read_s)


def _cpu_of_all_s(process: psutil.Process | None) -> float:
    """CPU seconds of a process and its children, those that ended among them."""
    if process is None:
        return 0.0
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times) + times[0].children_user + times[0].children_system


def _seconds(found: float) -> float | None:
    """None: it never came, for which JSON has no number."""
    return round(found, 2) if math.isfinite(found) else None


def _met(figures: Mapping[str, Any]) -> dict[str, bool]:
    told = [figures[each] for each in ("starved", "stalled", "killed", "hung")]
    return {
        "no_false_verdict": not any(each["false_verdicts"] for each in told),
        "told_in_time": all((each["p99_s"] or math.inf) <= GOAL_S for each in told if "p99_s" in each),
        **reads.met(figures["reads"]),
    }


def main() -> None:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--killed", type=int, default=100, help="clusters that are killed, and as many that hang")
    parser.add_argument("--seconds", type=float, default=66.0, help="of rest and of each trouble; a resync is 54 to 66")
    parser.add_argument("--looks", type=int, default=0, help="to take at least in each trouble")
    parser.add_argument("--read-seconds", type=float, default=8.0, help="of each kind of read")
    given = parser.parse_args()
    size = Size(given.clusters, given.killed, given.seconds, given.looks, given.read_seconds)
    with tempfile.TemporaryDirectory() as name, postgres() as server:
        figures = measure(size, Path(name), server)
    fleet = {"clusters": size.clusters, "nodes_in_all": size.clusters * NODES}
    goal = {"told_p99_s": GOAL_S, "false_verdicts": 0, **reads.GOALS, "deep_ratio": reads.DEEP_GOAL}
    sys.stdout.write(json.dumps({"bench": "fleet", **fleet, **figures, "goal": goal}) + "\n")


if __name__ == "__main__":
    main()
