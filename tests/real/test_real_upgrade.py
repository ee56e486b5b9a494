"""A minor upgrade under a deployment that must not notice, with the bootstrapper killed in the middle of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest

from caravan_cli.up import Stack
from tests.real.conftest import OLDER, VERSION, Fleet, until_step
from tests.support import smoke_image
from tests.support.eventually import eventually
from tests.support.smoke import load_image, smoke

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]

NODE_PORT = 30080
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 1
              podAffinityTerm: {labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}
      containers:
        - name: web
          image: %(image)s
          imagePullPolicy: Never
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
          lifecycle: {preStop: {sleep: {seconds: 8}}}  # until no kube-proxy sends it anything any more
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: %(port)s}]
"""


@dataclass
class Load:
    """Requests that were answered, and when and why others were not."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


async def test_upgrade_of_a_minor_fails_no_request(fleet: Fleet, stack: Stack) -> None:
    cluster = await fleet.make("older", version=OLDER)
    kubectl = await fleet.kubectl("older")
    await asyncio.gather(*(load_image(node) for node in await kubectl.get("nodes")))
    await kubectl.apply(DEPLOYMENT % {"image": smoke_image.tag(), "port": NODE_PORT})
    await kubectl("rollout", "status", "deployment/web", "--timeout=120s", within=130)

    url = f"http://{cluster['endpoint']['addresses'][0]}:{NODE_PORT}/"
    await eventually(lambda: answers(url), within=30, saying="kube-proxy leads to the new service")
    async with load(url) as seen:
        await fleet.change("older", version=VERSION)
        await until_step(fleet, "older", "kubeadm has upgraded the node")
        stack.kill("bootstrapper")
        await asyncio.to_thread(stack.restart, "bootstrapper")
        await eventually(lambda: runs(fleet, VERSION), within=900, every=2, saying=f"every node at {VERSION}")
    assert not seen.failures, "\n".join(seen.failures)
    assert seen.answered > 100
    cluster = await fleet.api.until_ready(cluster["id"], nodes=3, within=120)
    versions = {node["status"]["nodeInfo"]["kubeletVersion"] for node in await kubectl.get("nodes")}
    assert versions == {f"v{VERSION}"}
    assert not any(node["spec"].get("unschedulable") for node in await kubectl.get("nodes"))
    await smoke(kubectl)
    await fleet.delete(cluster)


async def runs(fleet: Fleet, version: str) -> bool:
    cluster = await fleet.api.cluster("older")
    assert cluster["phase"] != "Failed", cluster["failure"]
    return cluster["version"] == version and cluster["phase"] == "Ready"


async def answers(url: str) -> bool:
    try:
        await ask(url)
    except httpx.HTTPError:
        return False
    return True


async def ask(url: str) -> None:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        (await client.get(url)).raise_for_status()


@asynccontextmanager
async def load(url: str) -> AsyncIterator[Load]:
    """Some ten requests a second, each over a connection of its own, for as long as the block runs."""
    seen = Load()

    async def ask_again_and_again() -> None:
        while True:
            try:
                await ask(url)
                seen.answered += 1
            except httpx.HTTPError as error:
                seen.failures.append(f"{datetime.now(UTC):%H:%M:%S.%f} {error!r}")
            await asyncio.sleep(0.1)

    task = asyncio.create_task(ask_again_and_again())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
