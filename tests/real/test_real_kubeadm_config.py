"""kubeadm's own judgement of every configuration it is given, by the kubeadm of each version in the mirror."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from caravan_cli.up import StackError
from caravan_cli.up.clouds import filled_mirror
from caravan_shared.contracts.cluster_oidc import Oidc
from caravan_shared.contracts.presets import effective
from caravan_shared.contracts.spec import ClusterSpec
from tests.support.kubeadm import rendered

pytestmark = pytest.mark.real

EXTERNAL = ["https://10.0.0.7:2379", "https://10.0.0.8:2379", "https://10.0.0.9:2379"]
TAINTS = [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
OIDC = Oidc(issuer_url="https://login.example.org", client_id="k", ca_certificate="PEM").model_dump(mode="json")
VARIANTS: dict[str, dict[str, Any]] = {
    "init": {"kubeadm_mode": "init"},
    "init-external-etcd": {"kubeadm_mode": "init", "kubeadm_etcd_endpoints": EXTERNAL},
    "init-oidc": {"kubeadm_mode": "init", "caravan_oidc": OIDC},
    "init-ipv6": {"kubeadm_mode": "init", "kubeadm_pod_cidr": "fd00:1::/48", "kubeadm_service_cidr": "fd00:2::/112",
                  "kubeadm_address": "fd00::4"},
    "join-control-plane": {"kubeadm_mode": "join"},
    "join-worker": {"kubeadm_mode": "join", "kubeadm_address": None, "kubeadm_labels": [["tier", "1"], ["a/b", ""]],
                    "kubeadm_taints": TAINTS},
    "join-by-itself": {"kubeadm_mode": "join", "kubeadm_address": None, "kubeadm_node": None},
    "upgrade": {"kubeadm_mode": "upgrade"},
    "certificates": {"kubeadm_mode": "certificates"},
}  # fmt: skip
WORKERS = (0, 100, 600, 5000)


@pytest.fixture(scope="module")
def kubeadms() -> dict[str, Path]:
    """Every kubeadm of the mirror by its version."""
    try:
        mirror = Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror())
    except StackError as error:
        pytest.skip(f"KUBEADM'S CONFIGURATION IS NOT TESTED HERE: {error}")
    found = {path.parent.name.removeprefix("v"): path for path in mirror.glob("kubernetes/v*/kubeadm")}
    assert len(found) > 1, f"{mirror} has kubeadm for {', '.join(found) or 'no version'}; two are needed"
    return found


async def verdict(kubeadm: Path, text: str, folder: Path) -> str:
    """What `kubeadm config validate` says of the text; empty if it is content."""
    file = folder / "kubeadm.yaml"
    file.write_text(text)
    process = await asyncio.create_subprocess_exec(
        kubeadm,
        "config",
        "validate",
        "--config",
        file,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return "" if process.returncode == 0 and said.strip() == b"ok" else said.decode()


@pytest.mark.parametrize("name", VARIANTS)
async def test_kubeadm_of_each_version_is_content(name: str, kubeadms: dict[str, Path], tmp_path: Path) -> None:
    for version, kubeadm in kubeadms.items():
        text = rendered("templates/kubeadm.yaml.j2", kubeadm_version=version, **VARIANTS[name])
        assert not await verdict(kubeadm, text, tmp_path), version


@pytest.mark.parametrize("workers", WORKERS)
async def test_kubeadm_is_content_with_each_size(workers: int, kubeadms: dict[str, Path], tmp_path: Path) -> None:
    spec = {"version": "1.34.2", "topology": "external", "workers": [{"count": workers}], "control_plane": {"count": 3}}
    tuning = effective(ClusterSpec.model_validate(spec)).model_dump(mode="json")
    for version, kubeadm in kubeadms.items():
        text = rendered(
            "templates/kubeadm.yaml.j2",
            kubeadm_mode="init",
            kubeadm_version=version,
            kubeadm_etcd_endpoints=EXTERNAL,
            caravan_tuning=tuning,
        )
        assert not await verdict(kubeadm, text, tmp_path), version


async def test_kubeadm_does_find_what_is_wrong(kubeadms: dict[str, Path], tmp_path: Path) -> None:
    """Else its contentment would say nothing."""
    for kubeadm in kubeadms.values():
        text = rendered("templates/kubeadm.yaml.j2", kubeadm_mode="init", kubeadm_pod_cidr="10.0.0.0/33")
        assert "couldn't parse subnet" in await verdict(kubeadm, text, tmp_path)
