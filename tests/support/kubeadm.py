"""The playbooks' templates rendered as the bootstrapper renders them: plain Jinja2, where nothing may be undefined."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
COMMON: dict[str, Any] = {
    "kubeadm_cluster": "demo",
    "kubeadm_version": "1.34.2",
    "kubeadm_endpoint": "demo.default.caravan.test:6443",
    "kubeadm_port": 6443,
    "kubeadm_ca_hash": f"sha256:{'0' * 64}",
    "kubeadm_certificates_dir": "/run/caravan/pki",
    "kubeadm_pod_cidr": "10.244.0.0/16",
    "kubeadm_service_cidr": "10.96.0.0/16",
    "kubeadm_dns_domain": "cluster.local",
    "kubeadm_etcd_endpoints": [],
    "kubeadm_tokens": [{"token": "abcdef.0123456789abcdef"}],
    "kubeadm_token": "abcdef.0123456789abcdef",
    "kubeadm_node": "demo-control-plane-1",
    "kubeadm_address": "10.0.0.4",
    "kubeadm_labels": [],
    "kubeadm_taints": None,
}
"""A first control plane of a stacked cluster, without tuning."""


def rendered(name: str, **variables: Any) -> str:
    """The file below `playbooks/`, as text."""
    return _template(name).render({**COMMON, **variables})


def documents(text: str) -> dict[str, Any]:
    """YAML documents by their kinds."""
    return {document["kind"]: document for document in yaml.safe_load_all(text) if document}


@lru_cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)
    environment.filters["to_json"] = json.dumps
    return environment.from_string((PLAYBOOKS / name).read_text())
