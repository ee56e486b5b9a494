"""What a run tells Ansible: groups, hosts and their variables. Pure.

Names of secrets' files are in it, secrets are not. All text goes out as `!unsafe`: Ansible must never take for a
template what a user may have written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from caravan_bootstrapper import cilium
from caravan_bootstrapper.kubeadm import control_plane_endpoint, registration
from caravan_bootstrapper.views import NodeView, Play
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.presets import effective
from caravan_shared.contracts.spec import ClusterSpec, Cni, NodeSet, Role, Topology
from caravan_shared.contracts.states import MembershipState
from caravan_shared.contracts.tuning import Tuning

PKI, TOKENS, SANDBOX_TOKEN, SSH_KEY, KNOWN_HOSTS, CILIUM_ETCD = (  # file names
    "pki.json",
    "tokens.json",
    "sandbox-token",
    "ssh-key",
    "known_hosts",
    "cilium-etcd.json",
)
ETCD_CLIENT_PORT, EVENTS_ETCD_CLIENT_PORT = 2379, 2389
GROUPS = (
    *("joining", "first_control_plane", "carriers", "etcd", "control_plane", "workers"),
    *("leaving", "manager", "bystanders"),
)
INSTALLING = frozenset({Play.SITE, Play.ADD_NODES, Play.UPGRADE})
PLATFORMS = {Connection.SANDBOX: "sandbox", Connection.SSH: "linux"}
"""The role that serves machines which are reached like this."""


@dataclass(frozen=True)
class Work:
    """What a run is about. `nodes` in their order: for site.yml the first is the first control plane."""

    play: Play
    cluster: str
    spec: ClusterSpec
    nodes: Sequence[NodeView]
    etcd: Sequence[NodeView]
    manager: NodeView | None
    endpoint: str
    secrets_dir: Path
    sandbox_url: str
    joins_in_flight: int
    upgrade_first: bool = False
    """No control plane runs the version yet."""
    bystanders: Sequence[NodeView] = ()
    """Other members that get the version's images first: an upgraded control plane puts pods of it everywhere."""
    artifacts: Mapping[str, Any] = field(default_factory=dict)
    """What nodes of each role install, as `Artifacts.for_roles` answers; real machines only."""
    resolvers: Sequence[str] = ()


def build(work: Work) -> dict[str, Any]:
    """The inventory: every group that a play names, empty or not, and each host's own variables."""
    sets = {node_set.name: node_set for node_set in work.spec.node_sets()}
    hosts = {node.name: _host(work, node, sets.get(node.node_set)) for node in work.nodes}
    beside = {
        node.name: _reached(node) | {"caravan_role": node.role.value if node.role else ""} for node in work.bystanders
    }
    if work.manager:
        beside = {work.manager.name: _reached(work.manager)} | beside
    hosts = beside | hosts
    groups: dict[str, Any] = {group: {"hosts": dict.fromkeys(names)} for group, names in _members(work).items()}
    return {"all": {"hosts": hosts, "vars": _common(work), "children": groups}}


def platform(nodes: Sequence[NodeView]) -> str:
    """The platform role that serves these nodes; a cluster's machines are all reached in one way."""
    return PLATFORMS[nodes[0].connection]


def bystanders(nodes: Iterable[NodeView], chosen: Sequence[NodeView]) -> list[NodeView]:
    """The members that pods of a new version come to when the first control plane is upgraded to it."""
    return [
        node
        for node in nodes
        if node.live
        and not node.dead
        and node.state is MembershipState.JOINED
        and node.role is not Role.ETCD
        and node.connection is Connection.SSH
        and node not in chosen
    ]


def join_file(node: str) -> str:
    """Name of the file with kubeadm's configuration that the node joins with."""
    return f"join-{node}.yaml"


def node_state_file(role: Role) -> str:
    """Name of the file with the state of every node of the role."""
    return f"node-state-{role.value}.json"


def to_yaml(inventory: dict[str, Any]) -> str:
    """The inventory as text; every value that is text is marked `!unsafe`."""
    return yaml.dump(_marked(inventory), Dumper=_Dumper, sort_keys=False, width=1000)


def _members(work: Work) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    names = [node.name for node in work.nodes]
    if work.play in (Play.SITE, Play.ADD_NODES):
        groups["joining"] = names
    if work.play in (Play.SITE, Play.ADD_NODES) and work.spec.network.virtual_ip:
        groups["carriers"] = [node.name for node in work.nodes if node.role is Role.CONTROL_PLANE]
    if work.play is Play.SITE:
        groups["first_control_plane"] = names[:1]
    if work.play in (Play.SITE, Play.UPGRADE, Play.RENEW):
        groups["etcd"] = [node.name for node in work.nodes if node.role is Role.ETCD]
    if work.play in (Play.UPGRADE, Play.RENEW):
        groups["control_plane"] = [node.name for node in work.nodes if node.role is Role.CONTROL_PLANE]
        groups["workers"] = [node.name for node in work.nodes if node.role is Role.WORKER]
    if work.play in (Play.REMOVE_NODES, Play.RESET):
        groups["leaving"] = names
    groups["bystanders"] = [node.name for node in work.bystanders]
    if work.manager:
        groups["manager"] = [work.manager.name]
    return groups


def _common(work: Work) -> dict[str, Any]:
    network = work.spec.network
    etcd = [node.address for node in work.etcd]
    external = work.spec.topology is Topology.EXTERNAL
    return {
        "caravan_version": work.spec.version,
        "caravan_cni": network.cni.value,
        "caravan_joins_in_flight": work.joins_in_flight,
        "caravan_etcd_members": etcd,
        "caravan_pki_file": str(work.secrets_dir / PKI),
        "caravan_tokens_file": str(work.secrets_dir / TOKENS),
        **({"caravan_oidc": work.spec.oidc.model_dump(mode="json")} if work.spec.oidc else {}),
        **(_of_sandbox(work) if work.nodes[0].connection is Connection.SANDBOX else _of_linux(work)),
        "kubeadm_cluster": work.cluster,
        "kubeadm_version": work.spec.version,
        "kubeadm_endpoint": control_plane_endpoint(work.spec, work.endpoint),
        "kubeadm_port": int(work.endpoint.rpartition(":")[2]),
        "kubeadm_pod_cidr": str(network.pod_cidr),
        "kubeadm_service_cidr": str(network.service_cidr),
        "kubeadm_dns_domain": network.dns_domain,
        "kubeadm_etcd_endpoints": _etcd_urls(work, ETCD_CLIENT_PORT) if external else [],
    }


def _of_sandbox(work: Work) -> dict[str, Any]:
    return {
        "caravan_sandbox_url": work.sandbox_url,
        "caravan_sandbox_token_file": str(work.secrets_dir / SANDBOX_TOKEN),
        "caravan_manager_machine_id": work.manager.machine_id if work.manager else "",
    }


def way_in(secrets_dir: Path) -> dict[str, Any]:
    """How every machine of a run is entered: with one key, and only where its host key is the one that was told."""
    pinned = (
        f"-o UserKnownHostsFile={secrets_dir / KNOWN_HOSTS} -o GlobalKnownHostsFile=/dev/null "
        "-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    )
    return {
        "ansible_ssh_private_key_file": str(secrets_dir / SSH_KEY),
        "ansible_ssh_common_args": pinned,
        # Connections are kept open and shared by address: those of a run with another key must not be.
        "ansible_control_path": f"%(directory)s/{secrets_dir.parent.name[:8]}-%%C",
    }


def _of_linux(work: Work) -> dict[str, Any]:
    tuning = effective(work.spec)
    name, virtual_ip = work.endpoint.rpartition(":")[0], work.spec.network.virtual_ip
    return {
        **way_in(work.secrets_dir),
        "caravan_manager": work.manager.name if work.manager else "",
        "caravan_etcd_names": [node.name for node in work.etcd],
        "caravan_artifacts": work.artifacts,
        "caravan_resolvers": list(work.resolvers),
        "caravan_zone": name,
        "caravan_virtual_ip": str(virtual_ip) if virtual_ip else "",
        "kubeadm_cert_sans": [name] if virtual_ip else [],  # nodes know the address, everyone else the name
        "caravan_tuning": tuning.model_dump(mode="json"),
        **({"caravan_joins_in_flight": tuning.joins_in_flight} if tuning.joins_in_flight else {}),
        **(_of_cilium(work, tuning) if work.play is Play.SITE and work.spec.network.cni is Cni.CILIUM else {}),
        "kubeadm_events_etcd_endpoints": _etcd_urls(work, EVENTS_ETCD_CLIENT_PORT)
        if tuning.separate_events_etcd
        else [],
        "caravan_upgrade_first": work.upgrade_first,
        "caravan_drain_timeout_s": work.spec.drain.timeout_s,
        "caravan_drain_force": work.spec.drain.force,
    }


def _of_cilium(work: Work, tuning: Tuning) -> dict[str, Any]:
    etcd = [node.address for node in work.etcd]
    release = cilium.release(work.artifacts)
    return {
        "caravan_cilium_values": cilium.values(
            work.spec, tuning, release, endpoint=control_plane_endpoint(work.spec, work.endpoint), etcd=etcd
        ),
        "caravan_cilium_etcd_file": str(work.secrets_dir / CILIUM_ETCD),
    }


def _etcd_urls(work: Work, port: int) -> list[str]:
    return [f"https://{_in_url(node.address)}:{port}" for node in work.etcd]


def _reached(node: NodeView) -> dict[str, Any]:
    at = {"ansible_host": node.address, "caravan_machine_id": node.machine_id}
    if node.connection is Connection.SANDBOX:
        # Its tasks run here: by the Python that runs Ansible, for this host may have no other.
        return {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}", **at}
    return {"ansible_user": node.ssh_user, "ansible_port": node.ssh_port, **at}


def _host(work: Work, node: NodeView, node_set: NodeSet | None) -> dict[str, Any]:
    variables: dict[str, Any] = {
        **_reached(node),
        "caravan_role": node.role.value if node.role else "",
        "caravan_node_dead": node.dead,
    }
    if node_set is not None:
        variables |= {
            "caravan_join_file": str(work.secrets_dir.parent / join_file(node.name)),
            "kubeadm_node": node.name,
            "kubeadm_address": node.address if node.role is Role.CONTROL_PLANE else None,
            **registration(node_set),
        }
    if node.role and work.artifacts and work.play in INSTALLING:
        variables["caravan_node_state_file"] = str(work.secrets_dir.parent / node_state_file(node.role))
    return variables


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class _Unsafe(str):
    """Text that Ansible must not template."""


class _Dumper(yaml.SafeDumper):
    """Writes `_Unsafe` text under Ansible's own tag."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never write anchors: they would make the inventory hard to read for nothing."""
        return True


_Dumper.add_representer(_Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return _Unsafe(value)
    if isinstance(value, dict):
        return {key: _marked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(inner) for inner in value]
    return value
