"""What each playbook costs: tasks a node, and the controller's CPU a node. Prints one JSON object.

A local stack of the released services is asked over REST for a cluster, more workers, fewer, another version; its
bootstrapper runs the plays by itself. Workers are pushed, so that they are Ansible's work as control planes are. What
no request leads to (reset) the bootstrapper's own code runs in this process, on the cluster's nodes. Everything is
measured with few and with many nodes, on the sandbox or on real machines:

    nodes                    that were made, added, removed, upgraded or reset
    runs                     of which plays that took
    tasks_a_node             the most tasks that were done on a node (Ansible's own checks of arguments are some)
    controller_cpu_s         of the bootstrapper, with Ansible and SSH, from the request to its end
    controller_cpu_s_a_node  that over the nodes
    wall_s                   from the request to its end
    cpu_s_a_further_node     (many - few) over (nodes of many - nodes of few): without what a run costs by itself
"""

import argparse
import asyncio
import json
import os
import re
import resource
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.clusters import Clusters
from bench.spent import Meter
from bench.stacks import pushing

from caravan_bootstrapper import records, store
from caravan_bootstrapper.app import MIGRATIONS
from caravan_bootstrapper.artifacts import Artifacts
from caravan_bootstrapper.runner import Runner
from caravan_bootstrapper.runs import Runs
from caravan_bootstrapper.settings import Settings
from caravan_bootstrapper.steps import StartRun
from caravan_bootstrapper.store import Run, Table
from caravan_bootstrapper.views import ACTIVE, Play, RunState
from caravan_cli.artifacts.sums import NAME as SUMS
from caravan_cli.up import Stack
from caravan_cli.up.clouds import filled_mirror
from caravan_cli.up.docker import Docker, find
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import configure_logging
from caravan_shared.plumbing.sealing import KeyRing

VERSION, OLDER, POD_CIDR = "1.34.2", "1.33.13", "10.64.0.0/12"
WORKERS = {"sandbox": (10, 60), "docker": (1, 3)}

Figures = dict[str, Any]


class Plays:
    """What ran since the last look, as Ansible's own `junit` callback wrote it down: a file a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        os.environ |= {
            "ANSIBLE_CALLBACKS_ENABLED": "junit",
            "JUNIT_OUTPUT_DIR": str(folder),
            "JUNIT_HIDE_TASK_ARGUMENTS": "true",
        }

    def take(self) -> Figures:
        """Of the runs since the last time."""
        runs, tasks = Counter[str](), Counter[str]()
        for file in self._folder.glob("*.xml"):
            runs[file.name.partition("-")[0]] += 1
            tasks += _tasks_by_host(file)
            file.unlink()
        return {"runs": dict(runs), "tasks_a_node": max(tasks.values())}


def _tasks_by_host(file: Path) -> Counter[str]:
    """Tasks done, not skipped, by host."""
    cases = ET.parse(file).getroot().iter("testcase")
    names = [re.match(r"\[(.+?)\]", case.get("name", "")) for case in cases if case.find("skipped") is None]
    return Counter(name[1] for name in names if name and name[1] != "include")


class Bench:
    """One stack, with one cluster at a time."""

    def __init__(self, stack: Stack, clusters: Clusters, plays: Plays, docker: Docker | None) -> None:
        self._stack, self._clusters, self._plays, self._docker = stack, clusters, plays, docker
        self._meter = Meter(stack)
        self._can_upgrade = docker is None or f"kubernetes/v{OLDER}/kubeadm" in (docker.mirror / SUMS).read_text()

    def measure(self, workers: int) -> dict[str, Figures]:
        """A cluster's life with so many workers: made, as many added and taken away, upgraded, reset."""
        name, clusters = f"plays-{workers}", self._clusters
        found = {
            "site": self._of(workers + 1, lambda: clusters.create(name, self._spec(workers))),
            "add_nodes": self._of(workers, lambda: clusters.scale(name, "workers", 2 * workers)),
            "remove_nodes": self._of(workers, lambda: clusters.scale(name, "workers", workers)),
        }
        if self._can_upgrade:
            found["upgrade"] = self._of(workers + 1, lambda: clusters.upgrade(name, VERSION))
        found["reset"] = self._reset(workers + 1, UUID(clusters.get(name).id))
        clusters.delete(name)
        return found

    def _spec(self, workers: int) -> dict[str, Any]:
        return {
            "version": OLDER if self._can_upgrade else VERSION,
            "cloud": "docker" if self._docker else "sandbox",
            "network": {"cni": "flannel", "pod_cidr": POD_CIDR},
            "workers": [{"name": "workers", "count": workers}],
        }

    def _of(self, nodes: int, work: Callable[[], float]) -> Figures:
        before = self._meter.read()
        wall_s = work()
        return _figures(nodes, self._plays.take(), (self._meter.read() - before).controller, wall_s)

    def _reset(self, nodes: int, cluster_id: UUID) -> Figures:
        began, spent = time.monotonic(), _own_cpu()
        asyncio.run(run_by_hand(self._stack, self._docker, cluster_id, Play.RESET))
        return _figures(nodes, self._plays.take(), _own_cpu() - spent, time.monotonic() - began)


async def run_by_hand(stack: Stack, docker: Docker | None, cluster_id: UUID, play: Play) -> None:
    """Run a play on all nodes of a cluster, as a further replica of the stack's bootstrapper."""
    settings = Settings(
        state_dir=stack.state_dir,
        instance="bench",
        sandbox_url=stack.layout.sandbox_url,
        sandbox_token=stack.layout.sandbox_token,
        artifacts=str(docker.mirror) if docker else "",
    )
    assert settings.key_ring
    db, keys, clock = (
        Database(settings.database_url, Table.metadata, MIGRATIONS),
        KeyRing.load(settings.key_ring),
        SystemClock(),
    )
    await db.start()
    with tempfile.TemporaryDirectory(dir=settings.runs_dir) as root:
        runner = Runner(settings.playbooks_dir, Path(root, "runs"), max_runs=1, timeout_s=settings.run_timeout_s)
        artifacts = Artifacts(settings.playbooks_dir, settings.artifacts)
        runs = Runs(db, keys, clock, _nobody, _nobody, lambda _key, _after: None, settings, runner, artifacts)
        async with db.reading() as session:
            seen = await store.view(session, cluster_id, lambda _run: True)
        assert seen
        async with db.transaction() as tx:
            order = StartRun(play, seen.nodes, seen.spec.version)
            run = await records.open_run(tx, seen, order, settings.instance, clock.now())
        runs.launch(run)
        ended = await _end_of(db, run.id)
    await db.stop()
    if ended.state != RunState.SUCCEEDED:
        raise SystemExit(f"{play} failed: {ended.failure}")


async def _end_of(db: Database, run_id: UUID) -> Run:
    while True:
        await asyncio.sleep(0.5)
        async with db.reading() as session:
            run = await session.get_one(Run, run_id)
        if run.state not in ACTIVE:
            return run


async def _nobody(_question: Any) -> Any:
    raise AssertionError("this play needs no answer of dns")


def _own_cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _figures(nodes: int, ran: Figures, cpu_s: float, wall_s: float) -> Figures:
    return {
        "nodes": nodes,
        **ran,
        "controller_cpu_s": round(cpu_s, 2),
        "controller_cpu_s_a_node": round(cpu_s / nodes, 3),
        "wall_s": round(wall_s, 1),
    }


def _side_by_side(few: Figures, many: Figures) -> Figures:
    further = (many["controller_cpu_s"] - few["controller_cpu_s"]) / (many["nodes"] - few["nodes"])
    return {"few": few, "many": many, "cpu_s_a_further_node": round(further, 3)}


def main() -> None:
    """Measure both sizes and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cloud", choices=list(WORKERS), default="sandbox")
    parser.add_argument("--workers", type=int, nargs=2, help="few and many; default 10 60, on docker 1 3")
    given = parser.parse_args()
    few, many = given.workers or WORKERS[given.cloud]
    docker = find(Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror())) if given.cloud == "docker" else None
    configure_logging("bench", "WARNING", "text")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as reports:
        plays = Plays(Path(reports))
        with pushing(Path(folder), docker, {}) as stack, Clusters(stack) as clusters:
            bench = Bench(stack, clusters, plays, docker)
            small, large = bench.measure(few), bench.measure(many)
    figures = {play: _side_by_side(small[play], large[play]) for play in small}
    sys.stdout.write(json.dumps({"bench": "ansible", "cloud": given.cloud, "plays": figures}) + "\n")


if __name__ == "__main__":
    main()
