"""What machines boot with to join by themselves: kubeadm's join configuration as cloud-init user-data. Pure.

The configuration is rendered from the template that the playbooks use for nodes they push, so there is one text only.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from caravan_shared.contracts.spec import NodeSet

JOIN_CONFIG = "/etc/kubernetes/kubeadm-join.yaml"


def registration(node_set: NodeSet) -> dict[str, Any]:
    """The template's variables that say how a node of this set registers itself.

    Taints are None for control planes: kubeadm then sets its own default one.
    """
    taints = [taint.model_dump() for taint in node_set.taints]
    return {"kubeadm_labels": [list(label) for label in node_set.labels.items()], "kubeadm_taints": taints or None}


def join_configuration(template: Path, *, node_set: NodeSet, endpoint: str, token: str, ca_hash: str) -> str:
    """A JoinConfiguration (kubeadm.k8s.io/v1beta4) for any worker of the set; the node's name is its host name."""
    variables: Mapping[str, Any] = {
        **registration(node_set),
        "kubeadm_mode": "join",
        "kubeadm_endpoint": endpoint,
        "kubeadm_token": token,
        "kubeadm_ca_hash": ca_hash,
        "kubeadm_node": None,
        "kubeadm_address": None,
    }
    return _load(template).render(variables)


def user_data(join: str, version: str) -> str:
    """`#cloud-config` that writes the configuration and joins with it. The image brings kubeadm and kubelet."""
    document = {
        "write_files": [
            {"path": JOIN_CONFIG, "owner": "root:root", "permissions": "0600", "content": join},
        ],
        "runcmd": [["kubeadm", "join", "--config", JOIN_CONFIG]],
    }
    header = f"#cloud-config\n# Joins a Kubernetes {version} cluster at first boot.\n"
    return header + yaml.safe_dump(document, sort_keys=False)


@lru_cache(maxsize=4)
def _load(template: Path) -> jinja2.Template:
    # YAML, not HTML: every value passes through to_json, as in Ansible, which trims blocks the same way.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["to_json"] = json.dumps
    return environment.from_string(template.read_text())
