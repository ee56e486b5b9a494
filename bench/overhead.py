"""What Caravan adds to a large cluster's making. Prints one JSON object.

A whole local stack (real nats-server, SQLite, five services, the sandbox as far end) creates a cluster of 20
control-plane nodes, 999 workers and 3 etcd nodes, once with the far end's latencies at zero and once with machines that
take 10 s and joins that take 2 s, give or take a fifth. Per profile:

    wall_s                  from the request to Ready
    beyond_simulated_s      less the time the far end simulates on the way (boot + init + join, the slowest of each)
    services_cpu_s          of the five services and everything they started (Ansible included), from /proc
    nats_cpu_s sandbox_cpu_s    beside it: the broker, and the simulation itself
    cloud_calls_a_node      HTTP calls to the cloud to create and poll, counted by the cloud
    events                  facts stored by the bus
    peak_memory_mib         each process's high-water mark

Goals: <= 10 s beyond, <= 20 CPU-s, <= 0.15 calls a node.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from bench.spent import Meter

from caravan_cli.up import Stack
from caravan_cli.up.parts import PARTS, SERVICES

JITTER = 0.2
READY_WITHIN_S = 300.0
SPEC: dict[str, Any] = {
    "version": "1.34.2",
    "cloud": "sandbox",
    "topology": "external",
    "control_plane": {"count": 20},
    "etcd": {"count": 3},
    "network": {"pod_cidr": "10.64.0.0/12"},
}


@dataclass(frozen=True)
class Profile:
    """The far end's latencies, seconds."""

    name: str
    vm_boot_s: float
    init_s: float
    join_s: float
    jitter: float

    def environment(self) -> dict[str, str]:
        """How the sandbox is told."""
        values = {"VM_BOOT_S": self.vm_boot_s, "INIT_S": self.init_s, "JOIN_S": self.join_s, "JITTER": self.jitter}
        return {f"CARAVAN_SANDBOX_{name}": str(value) for name, value in values.items()}

    def simulated_s(self) -> float:
        """The longest chain that the far end simulates: a control plane boots, is initialised, another joins it."""
        return (self.vm_boot_s + self.init_s + self.join_s) * (1 + self.jitter)


PROFILES = (Profile("zero", 0, 0, 0, 0), Profile("vm", 10, 2, 2, JITTER))


def measure(profile: Profile, workers: int) -> dict[str, Any]:
    """One create on a fresh stack."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), ports="auto", env=profile.environment()) as stack:
        spec = {**SPEC, "workers": [{"name": "workers", "count": workers}]}
        nodes = workers + SPEC["control_plane"]["count"] + SPEC["etcd"]["count"]
        meter, calls_before = Meter(stack), _cloud_calls(stack)
        before = meter.read()
        wall_s = _create(stack, spec)
        spent, calls = meter.read() - before, _cloud_calls(stack) - calls_before
        return {
            "nodes": nodes,
            "wall_s": round(wall_s, 2),
            "beyond_simulated_s": round(wall_s - profile.simulated_s(), 2),
            "services_cpu_s": round(spent.services, 1),
            "cpu_s": {part: round(seconds, 1) for part, seconds in spent.parts.items()},
            "cloud_calls_a_node": round(calls / nodes, 3),
            "events": _events(stack),
            "peak_memory_mib": {part: _peak_mib(stack, part) for part in PARTS},
        }


def _create(stack: Stack, spec: dict[str, Any]) -> float:
    with httpx.Client(
        base_url=f"{stack.url}/v1", headers={"Authorization": f"Bearer {stack.token}"}, timeout=60
    ) as api:
        asked_at = time.monotonic()
        answer = api.post("/clusters", json={"name": "large", "spec": spec})
        answer.raise_for_status()
        while (cluster := api.get("/clusters/large").json())["phase"] != "Ready":
            if cluster["phase"] == "Failed" or time.monotonic() - asked_at > READY_WITHIN_S:
                raise SystemExit(f"the cluster did not become Ready: {cluster['phase']} {cluster['failure']}")
            time.sleep(0.25)
        return time.monotonic() - asked_at


def _cloud_calls(stack: Stack) -> int:
    """Calls that create or list machines; the console's commands are Ansible's, not the cloud's."""
    headers = {"Authorization": f"Bearer {stack.layout.sandbox_token}"}
    counts = httpx.get(f"{stack.layout.sandbox_url}/v1/calls", headers=headers).json()
    return sum(number for route, number in counts.items() if route in {"POST /v1/machines", "GET /v1/machines"})


def _peak_mib(stack: Stack, part: str) -> int:
    status = Path(f"/proc/{stack.pid(part)}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def _events(stack: Stack) -> int:
    """Facts published by the services, from their own metrics."""
    total = 0.0
    for part in SERVICES:
        text = httpx.get(f"http://127.0.0.1:{getattr(stack.layout.ports, part)}/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("caravan_events_published_total{")]
        total += sum(float(line.rsplit(" ", 1)[1]) for line in lines)
    return int(total)


def main() -> None:
    """Run each profile once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=999)
    parser.add_argument("--profile", choices=[profile.name for profile in PROFILES], help="only this one")
    arguments = parser.parse_args()
    chosen = [profile for profile in PROFILES if arguments.profile in (None, profile.name)]
    figures = {profile.name: measure(profile, arguments.workers) for profile in chosen}
    goal = {"beyond_simulated_s": 10, "services_cpu_s": 20, "cloud_calls_a_node": 0.15}
    sys.stdout.write(json.dumps({"bench": "overhead", **figures, "goal": goal}) + "\n")


if __name__ == "__main__":
    main()
