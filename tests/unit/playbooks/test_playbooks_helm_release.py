"""A Helm release is upgraded where it differs, and only there."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HELM = Path(__file__).parents[3] / "playbooks/plugins/module_utils/caravan_helm.py"
STANDS = {"version": "1.19.3", "status": "deployed", "revision": 2, "values": {"l7Proxy": False}}


@pytest.fixture(scope="module")
def helm() -> ModuleType:
    """The decisions, which Ansible would copy to a machine."""
    spec = importlib.util.spec_from_file_location("caravan_helm", HELM)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize(
    ("stands", "version", "values", "says"),
    [
        (None, "1.19.3", {}, ["chart 1.19.3 installed"]),
        (STANDS, "1.19.3", {"l7Proxy": False}, []),
        (STANDS, "1.20.2", {"l7Proxy": False}, ["chart 1.19.3 upgraded to 1.20.2"]),
        (STANDS, "1.19.3", {"bpf": {"policyMapMax": 1}}, ["values changed: bpf, l7Proxy"]),
        (STANDS | {"status": "pending-upgrade"}, "1.19.3", {"l7Proxy": False}, ["pending-upgrade taken up again"]),
    ],
)
def test_differences_are_told(
    helm: ModuleType, stands: dict[str, Any] | None, version: str, values: dict[str, Any], says: list[str]
) -> None:
    told = helm.differences(stands, version, values)
    assert len(told) == len(says)
    assert all(words in line for words, line in zip(says, told, strict=True))


@pytest.mark.parametrize(("status", "pending"), [("pending-install", True), ("deployed", False), ("failed", False)])
def test_an_upgrade_that_was_killed_is_known(helm: ModuleType, status: str, pending: bool) -> None:
    assert helm.is_pending({"status": status}) is pending
