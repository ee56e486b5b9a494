"""Cilium's values: by size and topology, in the words of the chart's version."""

from typing import Any

import pytest

from caravan_bootstrapper.cilium import Release, release, values
from caravan_shared.contracts.presets import effective
from caravan_shared.contracts.spec import ClusterSpec

MIRRORED = Release("1.19.3", mirrored=True, envoy=False)
OFFICIAL = Release("1.19.3", mirrored=False, envoy=True)
ETCD = ("10.0.0.7", "10.0.0.8", "fd00::9")


def chosen(
    workers: int = 2,
    release: Release = MIRRORED,
    *,
    external: bool = False,
    endpoint: str = "c.test:6443",
    **fields: Any,
) -> dict[str, Any]:
    topology = {"topology": "external"} if external else {}
    whole = {"version": "1.34.2", "control_plane": {"count": 1}, "workers": [{"count": workers}], **topology, **fields}
    spec = ClusterSpec.model_validate(whole)
    return values(spec, effective(spec), release, endpoint=endpoint, etcd=ETCD if external else ())


def test_a_small_cluster_keeps_identities_as_objects() -> None:
    got = chosen()
    assert (got["identityAllocationMode"], got["ciliumEndpointSlice"]) == ("crd", {"enabled": False})
    assert not {"etcd", "bpf", "k8sClientRateLimit", "disableEndpointCRD"} & set(got)


def test_a_large_cluster_with_etcd_nodes_keeps_them_in_an_etcd_there() -> None:
    got = chosen(1013, external=True)
    assert (got["identityAllocationMode"], got["disableEndpointCRD"]) == ("kvstore", True)
    endpoints = ["https://10.0.0.7:2399", "https://10.0.0.8:2399", "https://[fd00::9]:2399"]
    assert got["etcd"] == {"enabled": True, "ssl": True, "endpoints": endpoints}
    assert "ciliumEndpointSlice" not in got
    assert got["bpf"] == {"mapDynamicSizeRatio": 0.005, "policyMapMax": 65536, "lbMapMax": 131072}


def test_a_large_stacked_cluster_slices_endpoints() -> None:
    assert chosen(1013)["ciliumEndpointSlice"] == {"enabled": True}


@pytest.mark.parametrize(("version", "hands_over"), [("1.14.19", True), ("1.15.0", False), ("1.19.3", False)])
def test_events_are_handed_over_where_that_is_still_asked_for(version: str, hands_over: bool) -> None:
    got = chosen(1013, Release(version, mirrored=True, envoy=False), external=True)
    assert got.get("enableK8sEventHandover", False) is hands_over


@pytest.mark.parametrize(
    ("version", "name"), [("1.15.19", "enableCiliumEndpointSlice"), ("1.16.0", "ciliumEndpointSlice")]
)
def test_slices_have_the_name_of_the_version(version: str, name: str) -> None:
    got = chosen(1013, Release(version, mirrored=True, envoy=False))
    assert [key for key in got if key.lower().endswith("ciliumendpointslice")] == [name]


def test_agents_that_replace_kube_proxy_are_told_the_endpoint() -> None:
    got = chosen(endpoint="[fd00::1]:6443")
    assert (got["kubeProxyReplacement"], got["k8sServiceHost"], got["k8sServicePort"]) == ("true", "fd00::1", 6443)


def test_kube_proxy_may_stay() -> None:
    got = chosen(tuning={"kube_proxy_mode": "iptables"})
    assert got["kubeProxyReplacement"] == "false"
    assert "k8sServiceHost" not in got


@pytest.mark.parametrize(
    ("pods", "services", "family", "mask"),
    [
        ("10.244.0.0/16", "10.96.0.0/16", "IPv4", 24),
        ("10.244.0.0/25", "10.96.0.0/16", "IPv4", 25),
        ("fd00:1::/48", "fd00:2::/112", "IPv6", 64),
    ],
)
def test_pods_get_addresses_of_the_pod_range(pods: str, services: str, family: str, mask: int) -> None:
    got = chosen(network={"pod_cidr": pods, "service_cidr": services})
    pool = {f"clusterPool{family}PodCIDRList": [pods], f"clusterPool{family}MaskSize": mask}
    assert got["ipam"]["operator"] == pool
    assert (got["ipv4"]["enabled"], got["ipv6"]["enabled"]) == (family == "IPv4", family == "IPv6")


def test_a_lone_node_has_one_operator() -> None:
    assert chosen(0)["operator"]["replicas"] == 1
    assert chosen(0, external=True)["operator"]["replicas"] == 1
    assert chosen(1)["operator"]["replicas"] == 2


def test_images_of_a_mirror_have_no_digest_to_be_pulled_by() -> None:
    got = chosen()
    assert got["image"] == got["operator"]["image"] == {"useDigest": False}
    official = chosen(release=OFFICIAL)
    assert "image" not in official["envoy"]
    assert "image" not in official
    assert "image" not in official["operator"]


def test_pods_start_anew_where_their_configuration_changes() -> None:
    got = chosen(release=OFFICIAL)
    assert got["rollOutCiliumPods"]
    assert got["operator"]["rollOutPods"]
    assert got["envoy"]["rollOutPods"]


def test_without_an_image_of_envoy_there_is_no_envoy() -> None:
    got = chosen()
    assert (got["l7Proxy"], got["envoy"]) == (False, {"enabled": False})
    assert "l7Proxy" not in chosen(release=OFFICIAL)


ENVOY = {"name": "quay.io/cilium/cilium-envoy:v1.36.6"}
AGENT = {"name": "quay.io/cilium/cilium:v1.19.3"}


@pytest.mark.parametrize(
    ("images", "mirrored", "envoy"), [([], False, True), ([AGENT], True, False), ([AGENT, ENVOY], True, True)]
)
def test_what_is_installed_follows_from_the_artifacts(images: list[Any], mirrored: bool, envoy: bool) -> None:
    chart = {"name": "cilium", "url": "https://helm.cilium.io/cilium-1.19.3.tgz"}
    artifacts = {"control-plane": {"charts": [chart], "images": images}}
    assert release(artifacts) == Release("1.19.3", mirrored=mirrored, envoy=envoy)
