"""What kubeadm, scheduler and flannel are told, rendered as the bootstrapper renders: plain Jinja2, all defined."""

import json
from typing import Any

import pytest
import yaml

from caravan_shared.contracts.cluster_oidc import Oidc
from caravan_shared.contracts.tuning import KubeProxyMode, Tuning
from tests.support.kubeadm import PLAYBOOKS, documents, rendered

PROVIDER = Oidc(issuer_url="https://login.example.org/realms/main", client_id="kubernetes")


def kubeadm(mode: str, **variables: Any) -> dict[str, Any]:
    return documents(rendered("templates/kubeadm.yaml.j2", kubeadm_mode=mode, **variables))


def flags(component: dict[str, Any]) -> dict[str, str]:
    return {argument["name"]: argument["value"] for argument in component["extraArgs"] or ()}


def tuned(**values: Any) -> dict[str, Any]:
    return Tuning(**values).model_dump(mode="json")


def test_init_without_tuning_leaves_every_default_to_kubernetes() -> None:
    told = kubeadm("init")
    cluster = told["ClusterConfiguration"]
    assert [flags(cluster[part]) for part in ("apiServer", "controllerManager")] == [{}, {}]
    assert cluster["etcd"] == {"local": {"dataDir": "/var/lib/etcd", "extraArgs": None}}
    assert cluster["encryptionAlgorithm"] == "ECDSA-P256"
    assert told["KubeletConfiguration"].keys() == {"apiVersion", "kind", "rotateCertificates"}
    assert told["InitConfiguration"]["localAPIEndpoint"] == {"advertiseAddress": "10.0.0.4", "bindPort": 6443}


def test_missing_tuning_and_tuning_of_nothing_are_the_same() -> None:
    assert kubeadm("init") == kubeadm("init", caravan_tuning=None) == kubeadm("init", caravan_tuning=tuned())


@pytest.mark.parametrize(
    ("value", "component", "flag"),
    [
        ({"apiserver_max_requests_inflight": 3000}, "apiServer", ("max-requests-inflight", "3000")),
        ({"apiserver_goaway_chance": 0.001}, "apiServer", ("goaway-chance", "0.001")),
        ({"apiserver_event_ttl_s": 900}, "apiServer", ("event-ttl", "900s")),
        ({"apiserver_uncached_resources": ["events", "leases.coordination.k8s.io"]}, "apiServer",
         ("watch-cache-sizes", "events#0,leases.coordination.k8s.io#0")),
        ({"controller_manager_kube_api_qps": 100}, "controllerManager", ("kube-api-qps", "100")),
        ({"controller_manager_node_monitor_grace_period_s": 60}, "controllerManager",
         ("node-monitor-grace-period", "60s")),
    ],
)  # fmt: skip
def test_tuning_becomes_a_flag(value: dict[str, Any], component: str, flag: tuple[str, str]) -> None:
    cluster = kubeadm("init", caravan_tuning=tuned(**value))["ClusterConfiguration"]
    assert flags(cluster[component]) == dict([flag])


def test_every_value_of_the_tuning_reaches_a_file() -> None:
    """None may be promised in the plan and forgotten here; those of other files are named."""
    templates = ("templates/kubeadm.yaml.j2", "templates/scheduler.yaml.j2", "roles/linux/templates/etcd.yaml.j2")
    text = "".join((PLAYBOOKS / name).read_text() for name in templates)
    text += (PLAYBOOKS / "roles/linux/tasks/addons.yml").read_text()
    elsewhere = {name for name in Tuning.model_fields if name.startswith("cilium_")} | {"joins_in_flight"}
    assert {name for name in Tuning.model_fields if name not in text} <= elsewhere


def test_stacked_etcd_is_tuned_through_kubeadm() -> None:
    tuning = tuned(etcd_quota_backend_bytes=2**33, etcd_auto_compaction_retention_m=5)
    etcd = kubeadm("init", caravan_tuning=tuning)["ClusterConfiguration"]["etcd"]["local"]
    assert flags(etcd) == {
        "quota-backend-bytes": "8589934592",
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "5m",
    }


def test_kubelet_is_tuned_in_its_own_units() -> None:
    tuning = tuned(kubelet_max_pods=200, kubelet_node_status_update_frequency_s=30, kubelet_serialize_image_pulls=False)
    kubelet = kubeadm("init", caravan_tuning=tuning)["KubeletConfiguration"]
    assert (kubelet["maxPods"], kubelet["nodeStatusUpdateFrequency"]) == (200, "30s")
    assert kubelet["serializeImagePulls"] is False


def test_external_etcd_is_reached_with_a_certificate_of_its_authority() -> None:
    endpoints = ["https://10.0.0.7:2379", "https://10.0.0.8:2379"]
    cluster = kubeadm("init", kubeadm_etcd_endpoints=endpoints)["ClusterConfiguration"]
    assert cluster["etcd"]["external"]["endpoints"] == endpoints
    assert cluster["etcd"].keys() == {"external"}


def test_events_go_to_their_own_etcd_by_the_port_it_has() -> None:
    """kube-apiserver takes `group/resource#servers`, servers separated by semicolons."""
    endpoints = ["https://10.0.0.7:2379", "https://10.0.0.8:2379"]
    tuning = tuned(separate_events_etcd=True)
    cluster = kubeadm("init", kubeadm_etcd_endpoints=endpoints, caravan_tuning=tuning)["ClusterConfiguration"]
    assert flags(cluster["apiServer"]) == {
        "etcd-servers-overrides": "/events#https://10.0.0.7:2389;https://10.0.0.8:2389"
    }


def test_events_stay_where_etcd_is_stacked() -> None:
    cluster = kubeadm("init", caravan_tuning=tuned(separate_events_etcd=True))["ClusterConfiguration"]
    assert flags(cluster["apiServer"]) == {}


def test_without_kube_proxy_none_is_installed_nor_configured() -> None:
    told = kubeadm("init", caravan_tuning=tuned(kube_proxy_mode=KubeProxyMode.NONE))
    assert told["ClusterConfiguration"]["proxy"] == {"disabled": True}
    assert "KubeProxyConfiguration" not in told


def test_kube_proxy_leaves_the_kernels_limit_of_connections_alone() -> None:
    proxy = kubeadm("init", caravan_tuning=tuned(kube_proxy_mode=KubeProxyMode.NFTABLES))["KubeProxyConfiguration"]
    assert (proxy["mode"], proxy["conntrack"]) == ("nftables", {"maxPerCore": 0, "min": 0})


def test_control_plane_waits_its_turn_at_etcd() -> None:
    joining = kubeadm("join")["JoinConfiguration"]
    assert joining["timeouts"]["etcdAPICall"] == "10m0s"
    assert joining["controlPlane"]["localAPIEndpoint"]["advertiseAddress"] == "10.0.0.4"
    assert joining["nodeRegistration"]["name"] == "demo-control-plane-1"


@pytest.mark.parametrize(("name", "patience"), [("demo-workers-1", "5m0s"), (None, "30m0s")])
def test_who_joins_by_itself_waits_longer_for_the_cluster(name: str | None, patience: str) -> None:
    joining = kubeadm("join", kubeadm_node=name, kubeadm_address=None)["JoinConfiguration"]
    assert joining["timeouts"] == {"discovery": patience}
    assert ("controlPlane" in joining, "name" in joining["nodeRegistration"]) == (False, name is not None)


def test_certificates_are_asked_for_with_an_etcd_of_kubeadms_own() -> None:
    told = kubeadm("certificates", kubeadm_certificates_dir="/run/pki", kubeadm_etcd_endpoints=["https://a:2379"])
    assert "etcd" not in told["ClusterConfiguration"]
    assert told["ClusterConfiguration"]["certificatesDir"] == "/run/pki"


def test_scheduler_looks_at_as_many_nodes_as_wanted() -> None:
    tuning = tuned(scheduler_percentage_of_nodes_to_score=20, scheduler_client_qps=200)
    scheduler = documents(rendered("templates/scheduler.yaml.j2", caravan_tuning=tuning))["KubeSchedulerConfiguration"]
    assert scheduler["percentageOfNodesToScore"] == 20
    assert scheduler["clientConnection"] == {"kubeconfig": "/etc/kubernetes/scheduler.conf", "qps": 200}


@pytest.mark.parametrize(("cidr", "key"), [("10.32.0.0/12", "Network"), ("fd00:10::/48", "IPv6Network")])
def test_flannel_serves_the_pods_network(cidr: str, key: str) -> None:
    images = {"daemon": "example.org/flannel:v1", "plugin": "example.org/flannel-cni-plugin:v1"}
    objects = documents(rendered("manifests/flannel.yaml.j2", kubeadm_pod_cidr=cidr, flannel_images=images))
    network = json.loads(objects["ConfigMap"]["data"]["net-conf.json"])
    assert (network[key], network["Backend"]) == (cidr, {"Type": "vxlan"})
    pod = objects["DaemonSet"]["spec"]["template"]["spec"]
    assert [c["image"] for c in (*pod["initContainers"], *pod["containers"])] == [
        images["plugin"],
        images["daemon"],
        images["daemon"],
    ]


def test_certificates_of_kube_apiservers_name_what_they_are_told() -> None:
    assert kubeadm("init")["ClusterConfiguration"]["apiServer"]["certSANs"] == []
    told = kubeadm("init", kubeadm_endpoint="10.0.0.250:6443", kubeadm_cert_sans=["demo.default.caravan.test"])
    cluster = told["ClusterConfiguration"]
    assert cluster["controlPlaneEndpoint"] == "10.0.0.250:6443"  # kubeadm signs for its host by itself
    assert cluster["apiServer"]["certSANs"] == ["demo.default.caravan.test"]


def test_provider_that_people_sign_in_with_becomes_the_apiservers_flags() -> None:
    cluster = kubeadm("init", caravan_oidc=PROVIDER.model_dump(mode="json"))["ClusterConfiguration"]
    assert flags(cluster["apiServer"]) == {
        "oidc-issuer-url": "https://login.example.org/realms/main",
        "oidc-client-id": "kubernetes",
        "oidc-username-claim": "sub",
        "oidc-username-prefix": "oidc:",
        "oidc-groups-claim": "groups",
        "oidc-groups-prefix": "oidc:",
    }
    assert flags(cluster["controllerManager"]) == {}


def test_provider_goes_with_tuning_and_a_ca_of_its_own() -> None:
    oidc = PROVIDER.model_copy(update={"ca_certificate": "-----BEGIN CERTIFICATE-----"}).model_dump(mode="json")
    tuning = tuned(apiserver_event_ttl_s=900)
    told = flags(kubeadm("init", caravan_oidc=oidc, caravan_tuning=tuning)["ClusterConfiguration"]["apiServer"])
    assert (told["event-ttl"], told["oidc-ca-file"]) == ("900s", "/etc/kubernetes/pki/oidc-ca.crt")


@pytest.mark.parametrize("mode", ["join", "upgrade", "certificates"])
def test_provider_is_told_to_kubeadm_once(mode: str) -> None:
    """Control planes that come later and upgrades read it in the cluster."""
    assert kubeadm(mode, caravan_oidc=PROVIDER.model_dump(mode="json")) == kubeadm(mode)


def test_providers_groups_are_bound_to_roles_under_their_prefix() -> None:
    oidc = PROVIDER.model_copy(update={"viewer_groups": ("staff",), "admin_groups": ("platform: team", "ops")})
    text = rendered("manifests/oidc.yaml.j2", caravan_oidc=oidc.model_dump(mode="json"))
    bindings = {each["metadata"]["name"]: each for each in yaml.safe_load_all(text)}
    assert {name: each["roleRef"]["name"] for name, each in bindings.items()} == {
        "caravan-oidc-viewer": "view",
        "caravan-oidc-admin": "cluster-admin",
    }
    subjects = bindings["caravan-oidc-admin"]["subjects"]
    assert [(one["kind"], one["name"]) for one in subjects] == [
        ("Group", "oidc:platform: team"),
        ("Group", "oidc:ops"),
    ]


def test_provider_without_groups_binds_nothing() -> None:
    assert yaml.safe_load(rendered("manifests/oidc.yaml.j2", caravan_oidc=PROVIDER.model_dump(mode="json"))) is None
