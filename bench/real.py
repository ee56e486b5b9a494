"""Caravan beside kubeadm by hand: the same clusters on the same machine, by turns. Prints one JSON object.

By hand is the script `by_hand`. Caravan is a local stack of the released services, asked over REST. Both begin with no
machine at all, make containers of the node image, install the same files of the same mirror, and end when every node is
Ready, the cluster's DNS is available and whoever asked has been told. Of each side and topology, medians of the turns:

    wall_s            from the request, or the script's start, to that end
    nodes_ready_s     to the Ready of the last node, as the nodes themselves say (they count whole seconds)
    machines_cpu_s    CPU of the machines till then: the work itself, whoever else was busy meanwhile
    controller_cpu_s  CPU outside of them: the script and its docker commands; the bootstrapper, Ansible, SSH
    services_cpu_s    CPU of all five services

`others` is the most containers of others that ran before or after a turn: with any, times are noise. `--patience` waits
for their end before each turn.

Then what one further worker costs the controller, as the difference of two sizes over the difference in workers:

    pulled    workers that join by themselves: clusters of the sandbox, whose far end costs the services nothing
    pushed    workers that Ansible joins: real ones, added to a real cluster

Goals: both times at most 1.15 of those by hand; a pulled worker 5 ms, a pushed one 0.3 s.
"""

import argparse
import asyncio
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import psutil
from bench.clusters import Clusters
from bench.spent import Meter
from bench.stacks import pushing

from caravan_bootstrapper.artifacts import Artifacts
from caravan_cli.up import Stack
from caravan_cli.up.clouds import filled_mirror
from caravan_cli.up.docker import NODE_IMAGE, Docker, find
from caravan_provisioner.clouds.docker_config import DockerConfig
from caravan_shared.contracts.spec import Cni, Network

ROOT = Path(__file__).parents[1]
VERSION, POD_CIDR = "1.34.2", "10.64.0.0/12"  # room for some thousands of nodes
WALL_GOAL, PULLED_GOAL_S, PUSHED_GOAL_S = 1.15, 0.005, 0.3
FAR_END_AT_ONCE = {f"CARAVAN_SANDBOX_{name}": "0" for name in ("VM_BOOT_S", "INIT_S", "JOIN_S", "JITTER", "DELETE_S")}
BETWEEN_TURNS_S = 5.0  # for the kernel to be done with what was removed
IDLE_PERCENT = 15.0  # of the CPUs that a machine at rest, with a stack that waits, has to do

# --- one cluster, either way -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Topology:
    """How many nodes of each role."""

    control_planes: int
    workers: int

    @classmethod
    def parse(cls, text: str) -> "Topology":
        """`3+2`: three control planes and two workers."""
        control_planes, _, workers = text.partition("+")
        return cls(int(control_planes), int(workers))

    def __str__(self) -> str:
        return f"{self.control_planes}+{self.workers}"


Figures = dict[str, float]


class ByHand:
    """The script."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self._env = os.environ | script_environment(docker.mirror, folder)

    def make(self, name: str, wanted: Topology) -> Figures:
        """The seconds of one cluster."""
        began, spent = time.time(), _children_cpu()
        self._run("up", name, str(wanted.control_planes), str(wanted.workers))
        wall_s, controller_s = time.time() - began, _children_cpu() - spent
        machines_s, ready_at = machines_cpu(name), last_ready(name)
        return _figures(wall_s, ready_at - began, machines_s, controller_s, 0.0)

    def remove(self, name: str) -> None:
        """Nothing is left of it, half made or whole."""
        self._run("down", name)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([ROOT / "bench" / "by_hand", *arguments], env=self._env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"by_hand {' '.join(arguments)} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


class ByCaravan:
    """A running stack."""

    def __init__(self, stack: Stack, clusters: Clusters) -> None:
        self._meter, self._clusters = Meter(stack), clusters

    def make(self, name: str, wanted: Topology) -> Figures:
        """The seconds of one cluster."""
        before, began = self._meter.read(), time.time()
        told_s = self._clusters.create(name, spec("docker", wanted))
        spent, machines_s, ready_at = self._meter.read() - before, machines_cpu(name), last_ready(name)
        return _figures(max(told_s, ready_at - began), ready_at - began, machines_s, spent.controller, spent.services)

    def remove(self, name: str) -> None:
        """Nothing is left of it."""
        self._clusters.delete(name)


def spec(cloud: str, wanted: Topology) -> dict[str, Any]:
    """What Caravan is asked for."""
    return {
        "version": VERSION,
        "cloud": cloud,
        "network": {"cni": "flannel", "pod_cidr": POD_CIDR},
        "control_plane": {"count": wanted.control_planes},
        "workers": [{"name": "workers", "count": wanted.workers}],
    }


def _figures(wall_s: float, nodes_ready_s: float, machines_s: float, controller_s: float, services_s: float) -> Figures:
    return {
        "wall_s": wall_s,
        "nodes_ready_s": nodes_ready_s,
        "machines_cpu_s": machines_s,
        "controller_cpu_s": controller_s,
        "services_cpu_s": services_s,
    }


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- what the script is told -----------------------------------------------------------------------------------------


def script_environment(mirror: Path, folder: Path) -> dict[str, str]:
    """The files that Caravan installs, and machines as its Docker cloud makes them."""
    network = Network(cni=Cni.FLANNEL)
    roles = asyncio.run(Artifacts(ROOT / "playbooks", str(mirror)).for_roles(VERSION, network))
    manifest = folder / "flannel.yaml"
    manifest.write_text(_flannel([image["name"] for image in roles["worker"]["images"]]))
    words = {
        "IMAGE": NODE_IMAGE,
        "MACHINE": "\n".join(machine_options(mirror)),
        "VERSION": VERSION,
        "PAUSE": roles["worker"]["pause"],
        "POD_CIDR": POD_CIDR,
        "SERVICE_CIDR": str(network.service_cidr),
        "FLANNEL": str(manifest),
        "CNI_PLUGINS": next(one["url"] for one in roles["worker"]["archives"] if one["into"] == "/opt/cni/bin"),
    }
    for role in ("control-plane", "worker"):
        for kind in ("binaries", "images"):
            words[f"{kind}_{role}".upper().replace("-", "_")] = shlex.join(one["url"] for one in roles[role][kind])
    return words


def machine_options(mirror: Path) -> list[str]:
    """`docker run`'s options for one machine of the usual size."""
    size = DockerConfig().machine_types["medium"]
    return [
        *(_PRIVILEGED if _grants(_PRIVILEGED) else _NEARLY_PRIVILEGED),
        "--cgroupns=private",
        *("--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec,mode=1777"),
        *("--volume=/var/lib/containerd", "--volume=/var/lib/kubelet", "--volume=/lib/modules:/lib/modules:ro"),
        f"--volume={mirror}:{mirror}:ro",
        *(f"--cpus={min(size.cpus, os.cpu_count() or 1)}", f"--memory={size.memory_mib}m"),
        f"--memory-swap={size.memory_mib}m",
    ]


_PRIVILEGED = ["--privileged"]
_NEARLY_PRIVILEGED = [  # where the engine lacks a capability itself
    *("--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--device=/dev/kmsg", "--device-cgroup-rule=a *:* rwm"),
    *(f"--security-opt={part}=unconfined" for part in ("seccomp", "apparmor", "systempaths")),
]


def _grants(options: list[str]) -> bool:
    trial = ["docker", "run", "--rm", "--entrypoint=true", *options, NODE_IMAGE]
    return subprocess.run(trial, capture_output=True).returncode == 0


def _flannel(images: list[str]) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["to_json"] = json.dumps
    template = environment.from_string((ROOT / "playbooks/manifests/flannel.yaml.j2").read_text())
    daemon, plugin = (next(name for name in images if part in name) for part in ("/flannel:", "/flannel-cni-plugin:"))
    return template.render(kubeadm_pod_cidr=POD_CIDR, flannel_images={"daemon": daemon, "plugin": plugin})


# --- what is read from a cluster's machines --------------------------------------------------------------------------


def last_ready(name: str) -> float:
    """When the last node became Ready, seconds since 1970. Fails where one is not."""
    first = machines(f"{name}-control-plane-")[0]
    kubectl = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "nodes", "--output=json"]
    moments = []
    for node in json.loads(_docker("exec", first, *kubectl))["items"]:
        (ready,) = [one for one in node["status"]["conditions"] if one["type"] == "Ready"]
        if ready["status"] != "True":
            raise SystemExit(f"{node['metadata']['name']} is not Ready: {ready['message']}")
        moments.append(datetime.fromisoformat(ready["lastTransitionTime"]).timestamp())
    return max(moments)


def machines_cpu(name: str) -> float:
    """CPU seconds of all machines since they were made, the kernel's accounts of cgroup v1 or v2."""
    read = "cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2> /dev/null || sed -n 's/usage_usec //p' /sys/fs/cgroup/cpu.stat"
    per_s = 1e6 if _docker("info", "--format={{.CgroupVersion}}").strip() == "2" else 1e9
    return sum(int(_docker("exec", one, "sh", "-c", read)) for one in machines(f"{name}-")) / per_s


def machines(prefix: str) -> list[str]:
    """Ids of running containers whose names begin like this."""
    return _docker("ps", "--quiet", f"--filter=name=^{prefix}").split()


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


# --- by turns --------------------------------------------------------------------------------------------------------


def compare(docker: Docker, wanted: Topology, turns: int, patience_s: float, folder: Path) -> dict[str, Any]:
    """Both sides, one after the other, `turns` times."""
    with Stack(folder, ports="auto", docker=docker) as stack, Clusters(stack) as clusters:
        sides: dict[str, ByHand | ByCaravan] = {
            "by_hand": ByHand(docker, folder),
            "caravan": ByCaravan(stack, clusters),
        }
        seen: dict[str, list[Figures]] = {side: [] for side in sides}
        others = 0
        for turn in range(turns):
            for side, maker in sides.items():
                patience_s -= wait_for_rest(patience_s)
                others = max(others, len(machines("")))
                name = f"{side.replace('_', '-')}-{turn}"
                try:
                    seen[side].append(maker.make(name, wanted))
                finally:
                    maker.remove(name)
                others = max(others, len(machines("")))
                time.sleep(BETWEEN_TURNS_S)
    medians = {side: _medians(figures) for side, figures in seen.items()}
    ratio = {key: round(medians["caravan"][key] / medians["by_hand"][key], 3) for key in ("wall_s", "nodes_ready_s")}
    walls = {side: [round(one["wall_s"], 1) for one in figures] for side, figures in seen.items()}
    met = max(ratio.values()) <= WALL_GOAL
    return {**medians, "wall_s_of_turns": walls, "ratio": ratio, "goal": WALL_GOAL, "met": met, "others": others}


def wait_for_rest(patience_s: float) -> float:
    """Wait until nobody else is at work on this machine, so many seconds at most; how many it were."""
    began = time.monotonic()
    while time.monotonic() - began < patience_s and (machines("") or psutil.cpu_percent(interval=2) > IDLE_PERCENT):
        time.sleep(1)
    return time.monotonic() - began


def _medians(figures: list[Figures]) -> Figures:
    return {key: round(statistics.median(one[key] for one in figures), 2) for key in figures[0]}


# --- one further worker ----------------------------------------------------------------------------------------------


def pulled(rounds: int, sizes: Sequence[int], folder: Path) -> dict[str, Any]:
    """Creates of simulated clusters of two sizes."""
    with Stack(folder, ports="auto", env=FAR_END_AT_ONCE) as stack, Clusters(stack) as clusters:
        figures = _per_worker(
            Meter(stack),
            rounds,
            sizes,
            lambda count: clusters.create("pulled", spec("sandbox", Topology(1, count))),
            lambda: clusters.delete("pulled"),
        )
    return {**figures, "goal_s": PULLED_GOAL_S, "met": figures["controller_cpu_s"] <= PULLED_GOAL_S}


def pushed(docker: Docker, rounds: int, sizes: Sequence[int], folder: Path) -> dict[str, Any]:
    """Real workers, added to a cluster of one control plane and taken away again."""
    with pushing(folder, docker, {}) as stack, Clusters(stack) as clusters:
        clusters.create("pushed", spec("docker", Topology(1, 0)))
        figures = _per_worker(
            Meter(stack),
            rounds,
            sizes,
            lambda count: clusters.scale("pushed", "workers", count),
            lambda: clusters.scale("pushed", "workers", 0),
        )
        clusters.delete("pushed")
    return {**figures, "goal_s": PUSHED_GOAL_S, "met": figures["controller_cpu_s"] <= PUSHED_GOAL_S}


def _per_worker(
    meter: Meter, rounds: int, sizes: Sequence[int], work: Callable[[int], object], undo: Callable[[], object]
) -> dict[str, Any]:
    """The work for few and for many workers by turns; medians over the rounds of what one further worker costs."""
    (few, many), controller, services = sizes, list[float](), list[float]()
    for _ in range(rounds):
        spent = {}
        for count in (few, many):
            before = meter.read()
            work(count)
            spent[count] = meter.read() - before
            undo()
        further = spent[many] - spent[few]
        controller.append(further.controller / (many - few))
        services.append(further.services / (many - few))
    return {
        "workers": sizes,
        "controller_cpu_s": round(statistics.median(controller), 4),
        "services_cpu_s": round(statistics.median(services), 4),
        "controller_cpu_s_of_rounds": [round(one, 4) for one in controller],
    }


def main() -> None:
    """Measure what is asked for and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="clusters each way and topology; 0: none")
    parser.add_argument("--patience", type=float, default=0, help="seconds to wait for others to end, a topology")
    parser.add_argument("--topology", nargs="+", default=["1+2", "3+0"], help="control planes + workers")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of one further worker; 0: none")
    parser.add_argument("--pulled", type=int, nargs=2, default=[50, 550], help="workers that join by themselves")
    parser.add_argument("--pushed", type=int, nargs=2, default=[1, 4], help="workers that are joined")
    given = parser.parse_args()
    docker = find(Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror()))
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as root:

        def fresh() -> Path:
            return Path(tempfile.mkdtemp(dir=root))

        for topology in map(Topology.parse, given.topology if given.turns else ()):
            figures[str(topology)] = compare(docker, topology, given.turns, given.patience, fresh())
        if given.rounds:
            figures["pulled"] = pulled(given.rounds, given.pulled, fresh())
            figures["pushed"] = pushed(docker, given.rounds, given.pushed, fresh())
    sys.stdout.write(json.dumps({"bench": "real", "turns": given.turns, "rounds": given.rounds, **figures}) + "\n")


if __name__ == "__main__":
    main()
