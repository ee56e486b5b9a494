"""The simulated kube-apiserver through a real kubectl, where there is one."""

import asyncio
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.sandbox import Made

KUBECTL = shutil.which("kubectl")


class Kubectl:
    """Runs kubectl with a kubeconfig."""

    def __init__(self, made: Made, folder: Path, *who: str) -> None:
        self._config, self._cache = folder / f"{'-'.join(who) or 'admin'}.yaml", folder / "cache"
        self._config.write_text(yaml.safe_dump(made.authority.kubeconfig(made.address, *who)))

    async def __call__(self, line: str) -> tuple[int, str]:
        """Exit code and output, both streams."""
        assert KUBECTL
        options = ["--kubeconfig", str(self._config), "--cache-dir", str(self._cache), "--request-timeout", "10s"]
        pipe, merged = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        process = await asyncio.create_subprocess_exec(KUBECTL, *options, *line.split(), stdout=pipe, stderr=merged)
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode is not None
        return process.returncode, output.decode()


@pytest.fixture
def kubectl(made: Made, tmp_path: Path) -> Kubectl:
    """An administrator's kubectl."""
    if not KUBECTL:
        pytest.skip("kubectl is not installed: apt-get install kubernetes-client")
    return Kubectl(made, tmp_path)


async def test_everyday_commands_work(kubectl: Kubectl) -> None:
    expected = {
        "get nodes": "control-plane",
        "get nodes -o wide": "Caravan sandbox (simulated)",
        "get nodes -o json": '"caravan.dev/simulated": "true"',
        "get nodes --chunk-size=1": "w-2",
        "get node w-1 -o yaml": "kubeletVersion: v1.34.2",
        "describe node w-1": "KubeletReady",
        "version": "v1.34.2+caravan-sandbox",
        "cluster-info": "CoreDNS is running",
        "get --raw /readyz?verbose": "readyz check passed",
        "get ns": "kube-node-lease",
        "get pods -A": "kube-apiserver-cp-1",
        "get clusterrolebindings": "ClusterRole/cluster-admin",
        "cordon w-1": "cordoned",
        "label node w-1 colour=red": "labeled",
        "taint node w-1 a=b:NoSchedule": "tainted",
        "drain w-2 --ignore-daemonsets": "drained",
        "delete node w-1": "deleted",
    }
    for line, text in expected.items():
        code, output = await kubectl(line)
        assert (code, text in output) == (0, True), f"kubectl {line}: {output}"


async def test_authorization_questions_are_answered(made: Made, kubectl: Kubectl, tmp_path: Path) -> None:
    assert (await kubectl("auth can-i delete nodes"))[0] == 0
    stranger = Kubectl(made, tmp_path, "bob", "strangers")
    code, output = await stranger("auth can-i delete nodes")
    assert (code, "no" in output) == (1, True)
    code, output = await stranger("delete node w-1")
    assert code == 1
    assert "Forbidden" in output


async def test_watch_shows_nodes(made: Made, kubectl: Kubectl) -> None:
    assert KUBECTL
    arguments = ["--kubeconfig", str(kubectl._config), "get", "nodes", "--watch"]
    process = await asyncio.create_subprocess_exec(KUBECTL, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            while b"w-2" not in await process.stdout.readline():
                pass
            await kubectl("cordon w-1")
            while b"SchedulingDisabled" not in await process.stdout.readline():
                pass
    finally:
        process.terminate()
        await process.communicate()
