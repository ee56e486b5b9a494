"""The chart, installed and rolled over on a real cluster that Caravan's Docker cloud made."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from caravan_cli.nats import accounts
from caravan_shared.plumbing.sealing import KeyRing
from tests.real.conftest import Fleet, containers, engine
from tests.support.chart import CHART, SERVICES, VALUES, helm
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.real

TAG = "stand-in"
IMAGES = [*(f"caravan-{service}:{TAG}" for service in SERVICES), "caravan-stand-in:nats", "caravan-stand-in:postgres"]
DATABASES = Path(__file__).parents[2] / "deploy" / "compose" / "databases.sh"
PASSWORD = "of-a-test"
ROLLS_WITHIN = "8m"

LIGHT = {"requests": {"cpu": "10m", "memory": "64Mi"}}
OURS: dict[str, Any] = {
    **VALUES,
    "image": {"tag": TAG},
    "nats": {"secret": "nats", "replicas": 1},
    "services": {name: {**VALUES["services"][name], "resources": LIGHT} for name in SERVICES},
    "backup": {"claim": "backups", "keep": 1},
}
BACKUPS = "/var/lib/backups"


@pytest.fixture(scope="module")
def binary() -> Path:
    """helm."""
    found = helm()
    if found is None:
        pytest.skip("THE CHART IS NOT INSTALLED HERE: there is no helm; `make artifacts` makes one")
    if subprocess.run(["docker", "image", "inspect", *IMAGES], capture_output=True).returncode != 0:
        pytest.skip("THE CHART IS NOT INSTALLED HERE: there are no images; `make test-images` builds them")
    return found


@pytest.mark.timeout(1500)
async def test_replicas_are_installed_and_replaced_without_an_answer_lost(
    binary: Path, fleet: Fleet, tmp_path: Path
) -> None:
    cluster = await fleet.make("management", workers=[{"name": "workers", "count": 1}])
    kubectl = await fleet.kubectl("management")
    await asyncio.gather(*(_load(container) for container in await containers(cluster["id"])))
    await _far_ends(kubectl, tmp_path)
    keeper = (await containers(cluster["id"]))[0]
    await _volume(kubectl, keeper)

    await _helm(binary, kubectl, "install", OURS)
    ready = json.loads(await _said(kubectl, "get", "deployments", "--output", "json"))["items"]
    assert {each["metadata"]["name"]: each["status"].get("readyReplicas") for each in ready} == {
        **{f"caravan-{service}": 2 for service in SERVICES},
        "nats": 1,
        "postgres": 1,
    }

    rolled = asyncio.create_task(_helm(binary, kubectl, "upgrade", {**OURS, "podAnnotations": {"rolled": "over"}}))
    refused = 0
    while not rolled.done():
        asked = await kubectl.run("get", "--raw", "/api/v1/namespaces/default/services/caravan-api:http/proxy/readyz")
        refused += asked.out.strip() != "ok"
    await rolled
    assert refused == 0

    for number in (1, 2):
        await _said(kubectl, "create", "job", "--from=cronjob/caravan-backup", f"caravan-backup-{number}")
        await _said(
            kubectl, "wait", "--for=condition=complete", f"job/caravan-backup-{number}", "--timeout=240s", within=260
        )
    kept = await engine("exec", keeper, "find", BACKUPS, "-type", "f")
    assert sorted(kept.split()) == sorted(f"{BACKUPS}/caravan-backup-2/{service}.jsonl.gz" for service in SERVICES)


async def _volume(kubectl: Kubectl, container: str) -> None:
    """A disk of one node, and the claim on it that the values name."""
    await engine("exec", container, "mkdir", "--parents", BACKUPS)
    node = (await engine("exec", container, "hostname")).strip()
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    size, modes = {"storage": "1Gi"}, ["ReadWriteOnce"]
    objects = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "backups"},
            "spec": {
                "capacity": size,
                "accessModes": modes,
                "storageClassName": "",
                "claimRef": {"name": "backups", "namespace": "default"},
                "local": {"path": BACKUPS},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "backups"},
            "spec": {"accessModes": modes, "storageClassName": "", "resources": {"requests": size}},
        },
    ]
    applied = await kubectl.run("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))
    assert applied.code == 0, applied.err


async def _load(container: str) -> None:
    """Give a node's containerd the images, as a registry would."""
    process = await asyncio.create_subprocess_shell(
        f"docker save {' '.join(IMAGES)} | docker exec -i {container} ctr --namespace k8s.io images import -",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def _far_ends(kubectl: Kubectl, folder: Path) -> None:
    """NATS, PostgreSQL and the secrets that the chart's values name."""
    KeyRing.load(folder / "keys.json")
    nats = "listen: 0.0.0.0:4222\njetstream { store_dir: /tmp/nats }\n" + accounts.render(PASSWORD, PASSWORD, {})
    passwords = {f"POSTGRES_PASSWORD_{service.upper()}": PASSWORD for service in SERVICES}
    objects = [
        _secret("nats", {"url": f"nats://{accounts.OURS}:{PASSWORD}@nats:4222"}),
        _secret("key-ring", {"keys.json": (folder / "keys.json").read_text()}),
        *(
            _secret(
                f"{name}-database", {"url": f"postgresql+asyncpg://caravan_{name}:{PASSWORD}@postgres/caravan_{name}"}
            )
            for name in SERVICES
        ),
        *_server("nats", 4222, ["nats-server", "--config", "/config/nats.conf"], "/config", {"nats.conf": nats}, {}),
        *_server(
            "postgres",
            5432,
            ["postgres-entrypoint"],
            "/docker-entrypoint-initdb.d",
            {"databases.sh": DATABASES.read_text()},
            {"POSTGRES_PASSWORD": PASSWORD, **passwords},
        ),
    ]
    applied = await kubectl.run("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))
    assert applied.code == 0, applied.err
    for name in ("nats", "postgres"):
        await _said(kubectl, "rollout", "status", f"deployment/{name}", "--timeout", "240s", within=260)


def _secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def _server(
    name: str, port: int, command: list[str], folder: str, files: dict[str, str], env: dict[str, str]
) -> list[dict[str, Any]]:
    """One pod of a stand-in, with its Service and with these files in a folder."""
    labels, metadata = {"app": name}, {"name": name}
    container = {
        "name": name,
        "image": f"caravan-stand-in:{name}",
        "command": command,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "volumeMounts": [{"name": "files", "mountPath": folder}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
    }
    pod = {
        "containers": [container],
        "volumes": [{"name": "files", "configMap": {"name": name, "defaultMode": 0o755}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": port}]},
        },
    ]


async def _helm(binary: Path, kubectl: Kubectl, action: str, values: dict[str, Any]) -> None:
    process = await asyncio.create_subprocess_exec(
        binary,
        *("--kubeconfig", kubectl.kubeconfig, action, "caravan", CHART, "--values", "-"),
        *("--wait", "--timeout", ROLLS_WITHIN),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(yaml.safe_dump(values).encode())
    if process.returncode != 0:
        pods = await kubectl.run("get", "pods,jobs,events")
        pytest.fail(f"helm {action}: {said.decode()}\n{pods.out}")


async def _said(kubectl: Kubectl, *arguments: str, within: float = 60) -> str:
    answer = await kubectl.run(*arguments, within=within)
    assert answer.code == 0, answer.err
    return answer.out
