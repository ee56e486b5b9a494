"""The values that Cilium's Helm chart is installed with, by a cluster's size and topology. Pure.

Sizes are decided in the tuning; here they become the chart's words, which change with Cilium's versions:
https://docs.cilium.io/en/stable/helm-reference/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.tuning import KubeProxyMode, Tuning

ETCD_CLIENT_PORT = 2399
"""Of Cilium's own etcd on the etcd nodes, beside the main one's 2379."""
AGENT, ENVOY = "quay.io/cilium/cilium:", "quay.io/cilium/cilium-envoy:"  # images, by their names' beginnings
HANDOVER_UNTIL = (1, 15)
"""Before it, events of a kvstore had to be told again to Kubernetes on request; since then nothing asks for them."""
SLICES_NAMED_SINCE = (1, 16)
MANY_NODES = 100
"""Nodes from which a fixed number of agents restarted at once would take an upgrade too long."""
WITHOUT_ENVOY = {"l7Proxy": False, "envoy": {"enabled": False}}
# A node's share of the pod range, as kube-controller-manager gives it.
NODE_PREFIX = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Release:
    """What is installed, and from where."""

    version: str
    """The chart's, such as 1.19.3; agent and operator are of the same."""
    mirrored: bool
    """Images come from a mirror under their tags; else they are pulled by the digests that the chart names."""
    envoy: bool
    """There is an image of Envoy. Without, no policy can look into HTTP, DNS or the like."""

    @property
    def minor(self) -> tuple[int, int]:
        """Such as (1, 19)."""
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)


def release(artifacts: Mapping[str, Any]) -> Release:
    """What a control plane's artifacts, as `Artifacts.for_roles` answers, say of Cilium. They name its chart."""
    mine = artifacts["control-plane"]
    (chart,) = (chart["url"] for chart in mine["charts"] if chart["name"] == "cilium")
    images = [image["name"] for image in mine["images"]]
    mirrored = any(name.startswith(AGENT) for name in images)
    return Release(
        version=chart.rpartition("cilium-")[2].removesuffix(".tgz"),
        mirrored=mirrored,
        envoy=not mirrored or any(name.startswith(ENVOY) for name in images),
    )


def values(
    spec: ClusterSpec, tuning: Tuning, release: Release, *, endpoint: str, etcd: Sequence[str] = ()
) -> dict[str, Any]:
    """The chart's values. `endpoint` is the kube-apiserver's `host:port`; `etcd` the etcd nodes' addresses."""
    return {
        **_network(spec),
        **_services(tuning, endpoint),
        **_state(tuning, release, etcd),
        **_sizes(spec, tuning),
        **_pods(spec, release),
        # Nothing here reads Hubble's flows, and its certificates would be made anew with every upgrade.
        "hubble": {"enabled": False},
    }


def _network(spec: ClusterSpec) -> dict[str, Any]:
    pods = spec.network.pod_cidr
    family = f"IPv{pods.version}"
    pool = {
        f"clusterPool{family}PodCIDRList": [str(pods)],
        f"clusterPool{family}MaskSize": max(NODE_PREFIX[pods.version], pods.prefixlen),
    }
    return {
        "ipv4": {"enabled": pods.version == 4},
        "ipv6": {"enabled": pods.version == 6},
        "ipam": {"mode": "cluster-pool", "operator": pool},
        # The network between the machines knows no pod addresses, and clouds drop packets with addresses not their own.
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
    }


def _services(tuning: Tuning, endpoint: str) -> dict[str, Any]:
    if tuning.kube_proxy_mode is not KubeProxyMode.NONE:
        return {"kubeProxyReplacement": "false"}
    # Without kube-proxy nothing leads to the kubernetes Service until the agents, which need it, run.
    host, _, port = endpoint.rpartition(":")
    return {"kubeProxyReplacement": "true", "k8sServiceHost": host.strip("[]"), "k8sServicePort": int(port)}


def _state(tuning: Tuning, release: Release, etcd: Sequence[str]) -> dict[str, Any]:
    """Where identities and endpoints are kept and how agents hear of them."""
    if tuning.cilium_etcd:
        endpoints = [f"https://{_in_url(address)}:{ETCD_CLIENT_PORT}" for address in etcd]
        kvstore: dict[str, Any] = {
            "identityAllocationMode": "kvstore",
            "etcd": {"enabled": True, "ssl": True, "endpoints": endpoints},
            "disableEndpointCRD": True,
        }
        handover = {"enableK8sEventHandover": True} if release.minor < HANDOVER_UNTIL else {}
        return {**kvstore, **handover}
    slices = bool(tuning.cilium_endpoint_slices)
    named = release.minor >= SLICES_NAMED_SINCE
    return {
        "identityAllocationMode": "crd",
        **({"ciliumEndpointSlice": {"enabled": slices}} if named else {"enableCiliumEndpointSlice": slices}),
    }


def _sizes(spec: ClusterSpec, tuning: Tuning) -> dict[str, Any]:
    bpf = {
        "mapDynamicSizeRatio": tuning.cilium_map_size_ratio,
        "policyMapMax": tuning.cilium_policy_map_max,
        "lbMapMax": tuning.cilium_lb_map_max,
    }
    client = {"qps": tuning.cilium_client_qps, "burst": tuning.cilium_client_burst}
    many = spec.node_count() >= MANY_NODES
    return {
        **({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "5%"}}} if many else {}),
        **_named("bpf", bpf),
        **_named("k8sClientRateLimit", client),
    }


def _pods(spec: ClusterSpec, release: Release) -> dict[str, Any]:
    nodes = sum(node_set.count for node_set in spec.node_sets() if node_set.role is not Role.ETCD)
    image = {"image": {"useDigest": False}} if release.mirrored else {}
    # A changed configuration is one that nobody has read until pods are started anew.
    return {
        **image,
        "rollOutCiliumPods": True,
        # One leads, one waits; two never share a node.
        "operator": {"replicas": min(2, nodes), "rollOutPods": True, **image},
        **({"envoy": {"rollOutPods": True, **image}} if release.envoy else WITHOUT_ENVOY),
    }


def _named(name: str, inner: dict[str, Any]) -> dict[str, Any]:
    """`inner` under its name, without what is None; nothing at all where nothing is left."""
    left = {key: value for key, value in inner.items() if value is not None}
    return {name: left} if left else {}


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
