"""Cilium's real chart takes our values: real helm, a real kube-apiserver, and the task that the playbooks run."""

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from caravan_bootstrapper.cilium import Release, values
from caravan_cli.up.clouds import filled_mirror
from caravan_cli.up.errors import StackError
from caravan_shared.contracts.presets import effective
from caravan_shared.contracts.spec import ClusterSpec
from tests.support import kube_apiserver

pytestmark = pytest.mark.real
VERSION, CHART = "1.34.2", "1.19.3"
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
SIZES: dict[str, dict[str, Any]] = {
    "3 nodes": {"workers": [{"count": 2}]},
    "100 nodes": {"control_plane": {"count": 3}, "workers": [{"count": 97}]},
    "1,019 nodes, stacked": {"control_plane": {"count": 3}, "workers": [{"count": 1016}]},
    "1,019 nodes, external": {
        "topology": "external",
        "control_plane": {"count": 14},
        "etcd": {"count": 5},
        "workers": [{"count": 1000}],
    },
    "3 nodes, IPv6": {"network": {"pod_cidr": "fd00:1::/48", "service_cidr": "fd00:2::/112"}},
    "3 nodes with kube-proxy": {"tuning": {"kube_proxy_mode": "iptables"}},
}


@pytest.fixture(scope="module")
def mirror() -> Path:
    """A mirror with the chart, helm and what a kube-apiserver needs."""
    try:
        found = Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror())
    except StackError as error:
        pytest.skip(f"CILIUM'S CHART IS NOT TESTED HERE: {error}")
    lacking = kube_apiserver.missing(found, VERSION)
    lacking += [path for path in ("helm", "kubernetes", f"charts/cilium-{CHART}.tgz") if not (found / path).exists()]
    if lacking:
        pytest.skip(
            f"CILIUM'S CHART IS NOT TESTED HERE: {found} lacks {', '.join(lacking)}; `make artifacts` makes them"
        )
    return found


@pytest.fixture(scope="module")
def kubeconfig(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An administrator's, of a kube-apiserver for this file."""
    with kube_apiserver.running(mirror, VERSION, tmp_path_factory.mktemp("kube")) as admin:
        yield admin


@pytest.fixture(scope="module")
def chart(mirror: Path) -> Path:
    """The chart."""
    return mirror / "charts" / f"cilium-{CHART}.tgz"


def chosen(fields: dict[str, Any], *, envoy: bool = False) -> dict[str, Any]:
    """The values that the bootstrapper chooses."""
    network = {"pod_cidr": "10.0.0.0/12", **fields.get("network", {})}
    spec = ClusterSpec.model_validate({"version": VERSION, **fields, "network": network})
    release = Release(CHART, mirrored=True, envoy=envoy)
    return values(spec, effective(spec), release, endpoint="c.caravan.test:6443", etcd=["10.1.0.1", "10.1.0.2"])


def helm(mirror: Path, *words: str | Path, stdin: str) -> str:
    """What helm answers; the test fails with its own words where it fails."""
    (binary,) = mirror.glob("helm/*/helm")
    done = subprocess.run([binary, *words], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("envoy", [True, False], ids=["with Envoy", "without"])
def test_chart_takes_the_values_of_every_size(mirror: Path, chart: Path, size: str, envoy: bool) -> None:
    given = yaml.safe_dump(chosen(SIZES[size], envoy=envoy))
    helm(mirror, "lint", chart, "--strict", "--kube-version", VERSION, "--values", "-", stdin=given)
    words = ("template", "cilium", chart, "--namespace", "kube-system", "--kube-version", VERSION, "--values", "-")
    objects = [each for each in yaml.safe_load_all(helm(mirror, *words, stdin=given)) if each]
    kinds = {each["metadata"]["name"] for each in objects if each["kind"] == "DaemonSet"}
    assert kinds == ({"cilium", "cilium-envoy"} if envoy else {"cilium"})
    (config,) = (each["data"] for each in objects if each["metadata"]["name"] == "cilium-config")
    kvstore = "external" in size
    assert config["identity-allocation-mode"] == ("kvstore" if kvstore else "crd")
    assert ("https://10.1.0.2:2399" in config.get("etcd-config", "")) is kvstore
    assert config.get("enable-cilium-endpoint-slice", "false") == ("true" if "stacked" in size else "false")
    assert config["kube-proxy-replacement"] == ("false" if "kube-proxy" in size else "true")


class Playbook:
    """The task that installs Cilium, run by Ansible on this machine."""

    def __init__(self, mirror: Path, chart: Path, kubeconfig: Path) -> None:
        (helm_binary,) = mirror.glob("helm/*/helm")
        kubectl = mirror / "kubernetes" / f"v{VERSION}"
        path = f"{helm_binary.parent}:{kubectl}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._env = {**os.environ, "PATH": path}
        self._given = {"name": "cilium", "namespace": "kube-system", "chart": str(chart), "kubeconfig": str(kubeconfig)}

    def __call__(self, given: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
        """The task's result."""
        task = ["--module-name", "helm_release", "--args", json.dumps({**self._given, "values": given})]
        here = ["--connection", "local", "--extra-vars", f"ansible_python_interpreter={sys.executable}"]
        done = subprocess.run(
            ["ansible", "localhost", "--one-line", *here, *task, *(["--check"] if check else [])],
            cwd=PLAYBOOKS,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout.partition("=>")[2])
        return result


@pytest.fixture
def install(mirror: Path, chart: Path, kubeconfig: Path) -> Playbook:
    """The task."""
    return Playbook(mirror, chart, kubeconfig)


@pytest.mark.parametrize("size", ["3 nodes", "1,019 nodes, stacked", "1,019 nodes, external", "3 nodes, IPv6"])
def test_kube_apiserver_takes_what_is_installed_and_a_second_run_changes_nothing(install: Playbook, size: str) -> None:
    given = chosen(SIZES[size], envoy=True)
    assert install(given, check=True)["changes"]
    assert install(given)["changes"]
    assert install(given)["changed"] is False


def test_an_upgrade_that_was_killed_is_taken_up_again(
    install: Playbook, mirror: Path, chart: Path, kubeconfig: Path
) -> None:
    given = chosen(SIZES["3 nodes"])
    install(given)
    (kubectl,) = mirror.glob(f"kubernetes/v{VERSION}/kubectl")
    names: list[str | Path] = [kubectl, "--kubeconfig", kubeconfig, "--namespace", "kube-system"]
    listed = subprocess.run(
        [*names, "get", "secrets", "--selector", "owner=helm,status=deployed", "--output", "name"],
        capture_output=True,
        text=True,
        check=True,
    )
    (latest,) = listed.stdout.split()
    _mark_pending(names, latest)
    assert install(given)["changes"] == ["release that is pending-upgrade taken up again"]
    assert install(given)["changed"] is False


def _mark_pending(kubectl: list[str | Path], secret: str) -> None:
    """Leave a release as a helm that was killed in the middle of an upgrade leaves it."""
    read = subprocess.run([*kubectl, "get", secret, "--output", "json"], capture_output=True, text=True, check=True)
    stored = json.loads(read.stdout)
    release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(stored["data"]["release"]))))
    release["info"]["status"] = "pending-upgrade"
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))).decode()
    stored["data"]["release"] = packed
    stored["metadata"]["labels"]["status"] = "pending-upgrade"
    subprocess.run([*kubectl, "replace", "--filename", "-"], input=json.dumps(stored), text=True, check=True)
