"""What machines boot with: who may enter them, the node's state, and how it joins with kubeadm, as user-data. Pure.

Configuration and state of nodes that the playbooks push are rendered here too, so there is one text of each only.
"""

import base64
import gzip
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from caravan_shared.contracts.spec import ClusterSpec, NodeSet, Role

JOIN_CONFIG = "/etc/kubernetes/kubeadm-join.yaml"
NODE_STATE, NODE_DOCUMENT = "/var/lib/caravan/node_state.py", "/var/lib/caravan/node.json"
CLUSTER_INFO = "/var/lib/caravan/cluster_info.py"
JOINED = "/var/lib/kubelet/pki/kubelet-client-current.pem"
"""The certificate that the cluster gives a kubelet when it lets it in."""
RETRY_S = 5
LOOK_EVERY_S = 1.0
"""Seconds between a machine's looks whether its cluster lets it in, where that makes no more than `LOOKS_A_SECOND`."""
LOOKS_A_SECOND = 200
"""Of all machines of a cluster together; so many then join a second. That is the pace of 1,000 that kubeadm keeps."""
USER_DATA_LIMIT = 65535
"""Bytes of user-data in base64 that Nova takes, the least of our clouds."""


@dataclass(frozen=True)
class NodeState:
    """What makes a machine ready for kubeadm: the program that is run on it and the document (JSON) it applies."""

    program: str
    document: str


@dataclass(frozen=True)
class Discovery:
    """How a node finds the cluster that it joins, and knows it: kubeadm's discovery by a bootstrap token.

    `endpoint`: `host:port` that nodes know the kube-apiserver by. `ca_hash`: `sha256:` and the hash of its CA's key.
    """

    endpoint: str
    token: str
    ca_hash: str


@dataclass(frozen=True)
class Join:
    """How a machine joins by itself: kubeadm's configuration, and the program that waits for the cluster before."""

    configuration: str
    program: str
    arguments: tuple[str, ...]


def registration(node_set: NodeSet) -> dict[str, Any]:
    """The template's variables that say how a node of this set registers itself.

    Taints are None for control planes: kubeadm then sets its own default one.
    """
    taints = [taint.model_dump() for taint in node_set.taints]
    return {"kubeadm_labels": [list(label) for label in node_set.labels.items()], "kubeadm_taints": taints or None}


def control_plane_endpoint(spec: ClusterSpec, endpoint: str) -> str:
    """`host:port` that nodes know the kube-apiserver by: the endpoint's, or its virtual IP, which needs no resolver."""
    address = spec.network.virtual_ip
    if address is None:
        return endpoint
    return f"{f'[{address}]' if address.version == 6 else address}:{endpoint.rpartition(':')[2]}"


def join_configuration(
    playbooks_dir: Path,
    node_set: NodeSet,
    discovery: Discovery,
    *,
    node: str | None = None,
    address: str | None = None,
) -> str:
    """A JoinConfiguration (kubeadm.k8s.io/v1beta4) for a node of the set.

    `node`: its name; None for any worker, whose name is then its host name. `address`: a control plane's, else None.
    """
    variables: Mapping[str, Any] = {
        **registration(node_set),
        "kubeadm_mode": "join",
        "kubeadm_endpoint": discovery.endpoint,
        "kubeadm_port": int(discovery.endpoint.rpartition(":")[2]),
        "kubeadm_token": discovery.token,
        "kubeadm_ca_hash": discovery.ca_hash,
        "kubeadm_node": node,
        "kubeadm_address": address,
    }
    return _load(playbooks_dir / "templates" / "kubeadm.yaml.j2").render(variables)


def join(playbooks_dir: Path, node_set: NodeSet, discovery: Discovery, *, machines: int) -> Join:
    """How one of so many machines joins that may all be waiting for the same control plane."""
    configuration = join_configuration(playbooks_dir, node_set, discovery)
    token_id, every_s = discovery.token.partition(".")[0], f"{look_every_s(machines):g}"
    return Join(configuration, _program(playbooks_dir, "cluster_info"), (discovery.endpoint, token_id, every_s))


def look_every_s(machines: int) -> float:
    """Seconds between the looks of one of so many machines."""
    return max(LOOK_EVERY_S, machines / LOOKS_A_SECOND)


def node_state(playbooks_dir: Path, document: str) -> NodeState:
    """What brings a machine to the state that the document describes."""
    return NodeState(_program(playbooks_dir, "node_state"), document)


def node_document(
    playbooks_dir: Path,
    *,
    role: Role,
    artifacts: Mapping[str, Any],
    resolvers: Sequence[str],
    zone: str,
    pod_cidr: str,
) -> str:
    """The state (JSON) of any node of the role, whatever its address. `artifacts`: as `Artifacts.for_roles` answers."""
    variables: Mapping[str, Any] = {
        "caravan_role": role.value,
        "caravan_artifacts": artifacts,
        "caravan_resolvers": list(resolvers),
        "caravan_zone": zone,
        "kubeadm_pod_cidr": pod_cidr,
    }
    return json.dumps(yaml.safe_load(_load(playbooks_dir / "templates" / "node.yaml.j2").render(variables)))


def user_data(*, join: Join | None, node: NodeState | None, authorized_key: str, version: str) -> str:
    """`#cloud-config` of a machine, below `USER_DATA_LIMIT`.

    `join`: how it joins, at first boot and until the cluster lets it in; None: it is only entered. `node`: applied
    before; None where the image brings kubeadm and kubelet. `authorized_key`: the public key that root is entered with
    over SSH; empty: nobody enters.
    """
    document: dict[str, Any] = {}
    if authorized_key:
        document |= {"disable_root": False, "ssh_authorized_keys": [authorized_key]}
    if join is not None:
        files = [_compressed(NODE_STATE, node.program), _compressed(NODE_DOCUMENT, node.document)] if node else []
        files += [_compressed(CLUSTER_INFO, join.program), _private(JOIN_CONFIG, content=join.configuration)]
        document["write_files"] = files
        document["runcmd"] = [["sh", "-c", _until_joined(join.arguments, prepared=node is not None)]]
    purpose = f"Joins a Kubernetes {version} cluster at first boot." if join is not None else "Lets the playbooks in."
    return f"#cloud-config\n# {purpose}\n" + yaml.safe_dump(document, sort_keys=False, width=1000)


def _until_joined(arguments: Sequence[str], *, prepared: bool) -> str:
    """A mirror may be away for a while, and a control plane that does not run yet lets nobody in."""
    prepare = f"python3 {NODE_STATE} {NODE_DOCUMENT} && " if prepared else ""
    join = f"{shlex.join(('python3', CLUSTER_INFO, *arguments))} ; kubeadm join --config {JOIN_CONFIG}"
    return f"until {prepare}{{ {join} ; }} || test -s {JOINED} ; do sleep {RETRY_S} ; done"


def _program(playbooks_dir: Path, name: str) -> str:
    return (playbooks_dir / "plugins" / "module_utils" / f"{name}.py").read_text()


def _private(path: str, **more: str) -> dict[str, str]:
    return {"path": path, "owner": "root:root", "permissions": "0600", **more}


def _compressed(path: str, text: str) -> dict[str, str]:
    packed = gzip.compress(text.encode(), mtime=0)  # the same bytes each time: equal texts are one user-data
    return _private(path, encoding="gz+b64", content=base64.b64encode(packed).decode())


@lru_cache(maxsize=4)
def _load(template: Path) -> jinja2.Template:
    # YAML, not HTML: every value passes through to_json, as in Ansible, which trims blocks the same way.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["to_json"] = json.dumps
    return environment.from_string(template.read_text())
