"""What Caravan adds to Nova's own work. Prints one JSON object. Needs OS_CLOUD, as `make test-openstack` does.

N machines (3 control planes, the rest workers) are made and deleted twice on one real cloud: by a bare script that only
asks for them in bulk and polls, and by a provisioner process. Between either and the cloud stands the tests' proxy,
which counts each request and stands in for the consoles that fake hypervisors lack.

    create_s delete_s           from the request to the last machine ACTIVE, to the last one gone
    create_calls_a_node         creates and looks until all are ready, without the host keys
    keys_calls_a_node           looks at consoles
    delete_calls_a_node         deletions and looks until none is left
    errors forgotten            servers that came out wrong, and those the cloud was still at when it stood still
    highest_calls_in_a_second   the busiest second, never above the limit that is set (`limit_a_second`)
    cpu_s peak_memory_mib       of the provisioner's process, from /proc

Goals: <= 0.15 and <= 1.1 calls a node, wall <= 1.1 times the bare script's.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psutil
from tests.integration.provisioner.conftest import Around, Asker
from tests.openstack.conftest import LAB
from tests.support.nats import NatsServer
from tests.support.openstack_proxy import Proxy, proxying
from tests.support.ports import free_port

from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.clouds.openstack_api import Api
from caravan_provisioner.clouds.openstack_catalogue import Catalogue
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_server import tag
from caravan_provisioner.store import Table
from caravan_shared.contracts.events import NodesRemoved
from caravan_shared.contracts.requests import AskUserData
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

CONTROL_PLANES = 3
PATIENCE_S = 7200.0  # a thousand machines on a lab's two cores
STANDSTILL_S = 60.0  # without any server finished; a busy Nova forgets one half-way now and then, for ever
POLL_S = 2.0  # the bare script's pause between looks


class Tally:
    """Requests at the proxy since it was made."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy, self._start = proxy, len(proxy.seen)

    def a_node(self, nodes: int, pattern: str) -> float:
        """How many requests of a kind each node cost."""
        return round(sum(bool(re.search(pattern, each)) for each in self._proxy.seen[self._start :]) / nodes, 3)

    def kinds(self) -> dict[str, int]:
        """Requests by method and path without ids."""
        plain = (re.sub(r"[0-9a-f-]{36}", "{id}", each) for each in self._proxy.seen[self._start :])
        return dict(Counter(plain).most_common())


KEYS = r"/action$"
ALL_BUT_KEYS = r"^(?!POST \S+/action$)"


async def bare(config: OpenStackConfig, proxy: Proxy, nodes: int) -> dict[str, Any]:
    """The cloud's own pace: bulk requests one after the other, then looks until all are there."""
    api = Api("bare", config)
    catalogue = Catalogue(api, config)
    place, stock = await catalogue.place(), await catalogue.stock()
    mark, tally, began = f"bench-{uuid4()}", Tally(proxy), time.monotonic()
    for start in range(0, nodes, config.max_batch):
        count = min(config.max_batch, nodes - start)
        server = {
            "name": f"bare-{start}",
            "flavorRef": stock.flavors["small"]["id"],
            "imageRef": stock.image,
            "networks": [{"uuid": network} for network in place.networks],
            "tags": [tag(mark)],
            "min_count": count,
            "max_count": count,
        }
        await api.post("compute", "/servers", {"server": server})
    building, created_at = await _standstill(api, mark, nodes, lambda servers: _in_making(servers, nodes))
    create_s, created = created_at - began, tally.a_node(nodes, ".")
    made = await _servers(api, mark)
    tally, began = Tally(proxy), time.monotonic()
    await asyncio.gather(*(api.delete("compute", f"/servers/{each['id']}") for each in made))
    left, deleted_at = await _standstill(api, mark, len(made), len)
    figures = {"create_s": round(create_s, 1), "create_calls_a_node": created}
    figures |= {"errors": _errors(made), "forgotten": building + left}
    figures |= {"delete_s": round(deleted_at - began, 1), "delete_calls_a_node": tally.a_node(nodes, ".")}
    await api.close()
    return figures


async def caravan(config: OpenStackConfig, proxy: Proxy, nodes: int, folder: Path) -> dict[str, Any]:
    """The same by a provisioner."""
    async with _provisioner(config, folder) as (asker, process):
        tally, began = Tally(proxy), time.monotonic()
        await asker.want(workers=nodes - CONTROL_PLANES, control_plane=CONTROL_PLANES)
        await asker.made(1)
        figures: dict[str, Any] = {
            "create_s": round(time.monotonic() - began, 1),
            "create_calls_a_node": tally.a_node(nodes, ALL_BUT_KEYS),
            "keys_calls_a_node": tally.a_node(nodes, KEYS),
            "create_calls": tally.kinds(),
        }
        tally, began = Tally(proxy), time.monotonic()
        await asker.delete()
        await asker.until_told(NodesRemoved, lambda events: any(event.remaining == 0 for event in events))
        cpu = process.cpu_times()
        return figures | {
            "delete_s": round(time.monotonic() - began, 1),
            "delete_calls_a_node": tally.a_node(nodes, "."),
            "delete_calls": tally.kinds(),
            "highest_calls_in_a_second": max(Counter(int(at) for at in proxy.at).values()),
            "limit_a_second": config.requests_per_s,
            "cpu_s": round(cpu.user + cpu.system, 1),
            "peak_memory_mib": _peak_mib(process.pid),
        }


@asynccontextmanager
async def _provisioner(config: OpenStackConfig, folder: Path) -> AsyncIterator[tuple[Asker, psutil.Process]]:
    """A provisioner process on a real nats-server, and somebody who wants a cluster of it."""
    nats = NatsServer(folder / "nats")
    nats.start()
    bus = Bus(nats.url, "bootstrapper", 1)
    around = Around(bus)
    requests.answer(bus, KeyRing.load(folder / "keys.json"), AskUserData, around.answer)
    await bus.start()
    variables = {
        "STATE_DIR": str(folder),
        "NATS_URL": nats.url,
        "HTTP_PORT": str(free_port()),
        "INSTALLATION": f"bench-{uuid4()}",
        "SETTLE_S": "30",
        "CLOUDS": json.dumps({"sandbox": config.model_dump(mode="json")}),  # the name that specs have by default
    }
    db = Database(f"sqlite+aiosqlite:///{folder}/provisioner.db", Table.metadata, MIGRATIONS)
    await db.start()
    with (folder / "provisioner.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "caravan_provisioner",
            env=os.environ | {f"CARAVAN_PROVISIONER_{name}": value for name, value in variables.items()},
            stdout=log,
            stderr=log,
        )
    try:
        asker = Asker(around, SimpleNamespace(db=db), uuid4(), f"b{uuid4().hex[:6]}", patience_s=PATIENCE_S)  # type: ignore[arg-type]
        yield asker, psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()
        await db.stop()
        await bus.stop()
        nats.stop()


Left = Callable[[Sequence[dict[str, Any]]], int]
"""How many servers the cloud is still at."""


async def _standstill(api: Api, mark: str, still_at: int, left: Left) -> tuple[int, float]:
    """Look until the cloud is done or stands still; how many are left, and when the last change was seen."""
    changed_at = time.monotonic()
    while still_at and time.monotonic() - changed_at < STANDSTILL_S:
        await asyncio.sleep(POLL_S)
        now_at = left(await _servers(api, mark))
        if now_at != still_at:
            still_at, changed_at = now_at, time.monotonic()
    return still_at, changed_at


def _in_making(servers: Sequence[dict[str, Any]], wanted: int) -> int:
    return wanted - sum(each["status"] != "BUILD" for each in servers)


async def _servers(api: Api, mark: str) -> list[dict[str, Any]]:
    return await api.pages("compute", "/servers/detail", {"tags": tag(mark)})


def _errors(servers: Sequence[dict[str, Any]]) -> int:
    return sum(server["status"] == "ERROR" for server in servers)


def _peak_mib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) // 1024


async def measure(nodes: int) -> dict[str, Any]:
    """Both, one after the other."""
    wanted = LAB | json.loads(os.environ.get("CARAVAN_TEST_OPENSTACK", "{}")) | {"floating_network": None}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with proxying(os.environ["OS_CLOUD"], folder) as proxy:
            config = OpenStackConfig(cloud=os.environ["OS_CLOUD"], clouds_file=proxy.clouds_file, **wanted)
            alone = await bare(config, proxy, nodes)
            proxy.at.clear()
            ours = await caravan(config, proxy, nodes, folder)
    return {
        "nodes": nodes,
        "bare": alone,
        "caravan": ours,
        "create_wall_ratio": round(ours["create_s"] / alone["create_s"], 2),
        "delete_wall_ratio": round(ours["delete_s"] / alone["delete_s"], 2),
    }


def main() -> None:
    """Measure once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200)
    arguments = parser.parse_args()
    if not os.environ.get("OS_CLOUD"):
        raise SystemExit("set OS_CLOUD (and OS_CLIENT_CONFIG_FILE) to a cloud of clouds.yaml")
    goal = {"create_calls_a_node": 0.15, "delete_calls_a_node": 1.1, "create_wall_ratio": 1.1}
    figures = asyncio.run(measure(arguments.nodes))
    sys.stdout.write(json.dumps({"bench": "openstack", **figures, "goal": goal}) + "\n")


if __name__ == "__main__":
    main()
