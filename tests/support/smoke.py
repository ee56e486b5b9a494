"""A short Sonobuoy: does this cluster do what a cluster is for? With the real kubectl, on every node of it.

Checked are pods on every node, a service and its name, cluster DNS, traffic from each node to each other, logs, exec
and a volume. The image comes into the nodes' containerd through the engine, for there is no registry to pull from.
"""

import asyncio
import json
from typing import Any

from tests.support import smoke_image
from tests.support.kubectl import Kubectl

NAMESPACE = "caravan-smoke"
WITHIN_S = 180  # pods on every node of a cluster that has just come up on a slow machine

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: %(namespace)s}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: smoke, namespace: %(namespace)s}
spec:
  selector: {matchLabels: {app: smoke}}
  template:
    metadata: {labels: {app: smoke}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers:
        - name: smoke
          image: %(image)s
          imagePullPolicy: Never
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
          volumeMounts: [{name: scratch, mountPath: /scratch}]
      volumes: [{name: scratch, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: smoke, namespace: %(namespace)s}
spec:
  selector: {app: smoke}
  ports: [{port: 80, targetPort: 8080}]
"""

Pod = dict[str, Any]


async def smoke(kubectl: Kubectl) -> None:
    """Fail with the first thing that the cluster does not do; leave nothing behind."""
    nodes = await kubectl.get("nodes")
    await asyncio.gather(*(load_image(node) for node in nodes))
    await kubectl.apply(MANIFEST % {"namespace": NAMESPACE, "image": smoke_image.tag()})
    try:
        pods = await _pods_on_every_node(kubectl, {node["metadata"]["name"] for node in nodes})
        await asyncio.gather(*(_check(kubectl, pod, pods) for pod in pods))
    finally:
        await kubectl("delete", "namespace", NAMESPACE, "--wait", within=WITHIN_S)


async def load_image(node: dict[str, Any]) -> None:
    """Have the smoke image in the containerd of a node that is a container of the local engine."""
    container = await _container_of(node)
    archive = await asyncio.to_thread(smoke_image.archive)
    with archive.open("rb") as image:
        await _engine("exec", "-i", container, "ctr", "--namespace", "k8s.io", "images", "import", "-", stdin=image)


async def _pods_on_every_node(kubectl: Kubectl, nodes: set[str]) -> list[Pod]:
    patience = f"--timeout={WITHIN_S}s"
    await kubectl("rollout", "status", "daemonset/smoke", "-n", NAMESPACE, patience, within=WITHIN_S + 10)
    pods = await kubectl.get("pods", "-n", NAMESPACE, "--selector", "app=smoke")
    assert {pod["spec"]["nodeName"] for pod in pods} == nodes
    return pods


async def _check(kubectl: Kubectl, pod: Pod, pods: list[Pod]) -> None:
    name, names = pod["metadata"]["name"], {each["metadata"]["name"] for each in pods}

    async def execute(*command: str) -> list[str]:
        return (await kubectl("exec", "-n", NAMESPACE, name, "--", "/smoke", *command)).split()

    assert (await execute("lookup", "kubernetes.default"))[0], "cluster DNS"
    assert set(await execute("get", "http://smoke/")) <= names, "service by its name"
    others = [f"http://{_in_url(each['status']['podIP'])}:8080/" for each in pods]
    assert set(await execute("get", *others)) == names, "traffic from node to node"
    await execute("write", "/scratch/note", name)
    assert await execute("read", "/scratch/note") == [name], "volume"
    assert "serving on" in await kubectl("logs", "-n", NAMESPACE, name), "logs"


async def _container_of(node: dict[str, Any]) -> str:
    addresses = {each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"}
    running = (await _engine("ps", "--quiet", "--no-trunc")).split()
    for container in json.loads(await _engine("inspect", *running)) if running else ():
        networks = container["NetworkSettings"]["Networks"].values()
        if addresses & {each[key] for each in networks for key in ("IPAddress", "GlobalIPv6Address")}:
            return str(container["Id"])
    raise AssertionError(f"no container of the local engine has the address of {node['metadata']['name']}: {addresses}")


async def _engine(*arguments: str, stdin: Any = asyncio.subprocess.DEVNULL) -> str:
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"docker {' '.join(arguments)}: {err.decode()}"
    return out.decode()


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
