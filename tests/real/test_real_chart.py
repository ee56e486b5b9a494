"""A real kube-apiserver takes all that the chart makes, field by field."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from caravan_cli.up.clouds import filled_mirror
from caravan_cli.up.errors import StackError
from tests.support import kube_apiserver
from tests.support.chart import KUBERNETES, VALUES, helm, render

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def mirror() -> Path:
    """A mirror with helm and what a kube-apiserver needs."""
    try:
        found = Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror())
    except StackError as error:
        pytest.skip(f"THE CHART IS NOT APPLIED HERE: {error}")
    lacking = kube_apiserver.missing(found, KUBERNETES)
    lacking += [] if helm() else ["helm"]
    if lacking:
        pytest.skip(f"THE CHART IS NOT APPLIED HERE: {found} lacks {', '.join(lacking)}; `make artifacts` makes them")
    return found


@pytest.fixture(scope="module")
def kubeconfig(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An administrator's, of a kube-apiserver for this file."""
    with kube_apiserver.running(mirror, KUBERNETES, tmp_path_factory.mktemp("kube")) as admin:
        yield admin


def test_a_kube_apiserver_takes_every_object_strictly(mirror: Path, kubeconfig: Path) -> None:
    binary = helm()
    assert binary
    rendered = render(binary, {**VALUES, "backup": {"claim": "backups"}})
    assert rendered.returncode == 0, rendered.stderr

    (kubectl,) = mirror.glob(f"kubernetes/v{KUBERNETES}/kubectl")
    strictly = ["create", "--dry-run=server", "--validate=strict", "--output", "name", "--filename", "-"]
    made = subprocess.run(
        [kubectl, "--kubeconfig", kubeconfig, *strictly], input=rendered.stdout, capture_output=True, text=True
    )

    assert made.returncode == 0, made.stderr
    assert len(made.stdout.split()) == rendered.stdout.count("\nkind: ")
