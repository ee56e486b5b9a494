"""What machines boot with, from the template that the playbooks share."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_bootstrapper import kubeadm, tokens, versions
from caravan_bootstrapper.settings import Settings
from caravan_shared.contracts.spec import NodeSet, Role, Taint

PLAYBOOKS: Path = Settings.model_fields["playbooks_dir"].default
TEMPLATE = PLAYBOOKS / "templates" / "kubeadm.yaml.j2"
JOIN = {"endpoint": "demo.default.caravan.test:6443", "token": "abcdef.0123456789abcdef", "ca_hash": "sha256:00"}


def node_set(**more: Any) -> NodeSet:
    return NodeSet(name="workers", role=Role.WORKER, count=1, machine_type="medium", **more)


def test_join_configuration_says_where_to_join_and_what_to_trust() -> None:
    config = yaml.safe_load(kubeadm.join_configuration(TEMPLATE, node_set=node_set(), **JOIN))
    assert config == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": "demo.default.caravan.test:6443",
                "token": "abcdef.0123456789abcdef",
                "caCertHashes": ["sha256:00"],
            }
        },
        "timeouts": {"discovery": "30m0s"},
        "nodeRegistration": {"criSocket": "unix:///run/containerd/containerd.sock", "imagePullSerial": False},
    }


def test_join_configuration_registers_labels_and_taints() -> None:
    taint = Taint(key="gpu", value="yes", effect="NoSchedule")
    wanted = node_set(labels={"team": "blue", "tier": "1"}, taints=(taint,))
    registration = yaml.safe_load(kubeadm.join_configuration(TEMPLATE, node_set=wanted, **JOIN))["nodeRegistration"]
    assert registration["kubeletExtraArgs"] == [{"name": "node-labels", "value": "team=blue,tier=1"}]
    assert registration["taints"] == [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]


@settings(deadline=None, max_examples=100)
@given(text=st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1))
def test_user_text_stays_one_yaml_string(text: str) -> None:
    rendered = kubeadm.join_configuration(TEMPLATE, node_set=node_set(labels={"team": text}), **JOIN)
    (argument,) = yaml.safe_load(rendered)["nodeRegistration"]["kubeletExtraArgs"]
    assert argument["value"] == f"team={text}"


def test_user_data_writes_the_configuration_and_joins_with_it() -> None:
    text = kubeadm.user_data("kind: JoinConfiguration\n", "1.34.2")
    assert text.startswith("#cloud-config\n")
    document = yaml.safe_load(text)
    (file,) = document["write_files"]
    assert (file["permissions"], file["content"]) == ("0600", "kind: JoinConfiguration\n")
    assert document["runcmd"] == [["kubeadm", "join", "--config", file["path"]]]


def test_tokens_have_kubeadms_form_and_differ() -> None:
    minted = {tokens.mint() for _ in range(100)}
    assert len(minted) == 100
    assert all(re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token) for token in minted)


def test_token_is_told_to_kubeadm_and_to_a_running_cluster_alike() -> None:
    until = datetime(2026, 1, 2, tzinfo=UTC)
    entry = tokens.init_entry("abcdef.0123456789abcdef", until, datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert entry["ttl"] == "43200s"
    secret = tokens.secret("abcdef.0123456789abcdef", until)
    assert secret["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    assert secret["type"] == "bootstrap.kubernetes.io/token"
    assert secret["data"]["expiration"] == "MjAyNi0wMS0wMlQwMDowMDowMFo="


def test_offered_versions_are_newest_first(tmp_path: Path) -> None:
    (tmp_path / "versions.yml").write_text("versions: [1.33.6, 1.34.2, 1.34.10]")
    assert versions.read(tmp_path) == ("1.34.10", "1.34.2", "1.33.6")
    assert versions.read(PLAYBOOKS)[0] == "1.34.2"


def test_offered_version_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "versions.yml").write_text("versions: [latest]")
    with pytest.raises(ValueError, match="latest"):
        versions.read(tmp_path)
