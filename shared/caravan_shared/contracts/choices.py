"""Which value a cluster gets from which size on, and why: one table. `docs/large-clusters.md` is drawn from it.

A cluster's size is the number of its nodes, all sets together. A value holds from its size on until a larger one
follows; below the first, the part's own default counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caravan_shared.contracts.spec import ClusterSpec, Cni, Topology
from caravan_shared.contracts.tuning import GIB, KubeProxyMode

_K8S = "https://github.com/kubernetes/kubernetes/blob/v1.34.2"
_DOCS = "https://kubernetes.io/docs"
_LARGE = f"{_DOCS}/setup/best-practices/cluster-large/"
_KCM = f"{_DOCS}/reference/command-line-tools-reference/kube-controller-manager/"
_KUBELET = f"{_DOCS}/reference/config-api/kubelet-config.v1beta1/"
_NODES = f"{_DOCS}/reference/node/node-status/#heartbeats"
_ETCD_TUNING = "https://etcd.io/docs/v3.6/tuning/"
_CILIUM = "https://docs.cilium.io/en/v1.19"
_GCE = f"{_K8S}/cluster/gce/gci/configure-kubeapiserver.sh"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a choice needs beside a size, in words and as a test."""

    words: str
    holds: Callable[[ClusterSpec], bool]


@dataclass(frozen=True, slots=True)
class Choice:
    """One field of `Tuning`: its value from each size on, why, and where that is known from."""

    field: str
    steps: tuple[tuple[int, Any], ...]
    """(nodes, value from so many nodes on), ascending."""
    why: str
    source: str
    needs: Condition | None = None

    def value(self, spec: ClusterSpec, nodes: int) -> Any:
        """The value for a cluster of so many nodes; None where the part's default counts."""
        if self.needs and not self.needs.holds(spec):
            return None
        return next((value for at_least, value in reversed(self.steps) if nodes >= at_least), None)


EXTERNAL = Condition("external topology", lambda spec: spec.topology is Topology.EXTERNAL)
SEVERAL_APISERVERS = Condition("two or more control planes", lambda spec: spec.control_plane.count > 1)
CILIUM = Condition("Cilium", lambda spec: spec.network.cni is Cni.CILIUM)
NOT_CILIUM = Condition("another pod network than Cilium", lambda spec: spec.network.cni is not Cni.CILIUM)
CILIUM_EXTERNAL = Condition("Cilium, external topology", lambda spec: CILIUM.holds(spec) and EXTERNAL.holds(spec))
CILIUM_ETCD = Condition("Cilium with an etcd of its own", lambda spec: _has_cilium_etcd(spec))
NO_CILIUM_ETCD = Condition(
    "Cilium without an etcd of its own", lambda spec: CILIUM.holds(spec) and not _has_cilium_etcd(spec)
)
CILIUM_ETCD_FROM = 500  # nodes


def _has_cilium_etcd(spec: ClusterSpec) -> bool:
    if spec.tuning and spec.tuning.cilium_etcd is not None:
        return spec.tuning.cilium_etcd
    return CILIUM_EXTERNAL.holds(spec) and spec.node_count() >= CILIUM_ETCD_FROM


CHOICES: tuple[Choice, ...] = (
    Choice(
        "joins_in_flight",
        ((100, 25), (500, 50)),
        "Every join is a TLS bootstrap and a signed certificate, and kubeadm waits no longer than its timeouts: at "
        "some 300 at once they are hit. Waves of 50 keep a thousand nodes below 20 rounds.",
        f"{_DOCS}/reference/config-api/kubeadm-config.v1beta4/#kubeadm-k8s-io-v1beta4-Timeouts",
    ),
    Choice(
        "coredns_replicas",
        ((100, 3), (250, 4), (500, 6), (1000, 10), (2000, 20), (5000, 40)),
        "Two pods answer for two hundred nodes; beyond that their CPU is the limit: one more for every hundred.",
        f"{_DOCS}/tasks/administer-cluster/dns-horizontal-autoscaling/",
    ),
    Choice(
        "kube_proxy_mode",
        ((1, KubeProxyMode.NONE),),
        "Cilium carries Services in eBPF maps: one datapath instead of two, and no table that is written anew.",
        f"{_CILIUM}/network/kubernetes/kubeproxy-free/",
        CILIUM,
    ),
    Choice(
        "kube_proxy_mode",
        ((500, KubeProxyMode.NFTABLES),),
        "iptables grows and is searched line by line with each Service; nftables looks one up in a map and changes "
        "only what differs. ipvs would too, but is being given up. Needs Linux 5.13.",
        f"{_DOCS}/reference/networking/virtual-ips/#proxy-mode-nftables",
        NOT_CILIUM,
    ),
    Choice(
        "separate_events_etcd",
        ((500, True),),
        "Events are most of the writes and the least of the worth: apart they cannot slow or fill what counts.",
        f"{_LARGE}#etcd-storage",
        EXTERNAL,
    ),
    Choice(
        "apiserver_max_requests_inflight",
        ((500, 1500), (3000, 3000)),
        "With every node's kubelet and agents the 400 seats run out, and health checks queue behind lists.",
        _GCE,
    ),
    Choice(
        "apiserver_max_mutating_requests_inflight",
        ((500, 500), (3000, 1000)),
        "Lease renewals alone are a hundred writes a second at 1,000 nodes. The sum of both is what Priority and "
        "Fairness shares out.",
        _GCE,
    ),
    Choice(
        "apiserver_goaway_chance",
        ((100, 0.001),),
        "HTTP/2 connections live for ever: after a restart one kube-apiserver would carry all clients. One reconnect "
        "in a thousand requests evens that out.",
        f"{_DOCS}/reference/command-line-tools-reference/kube-apiserver/",
        SEVERAL_APISERVERS,
    ),
    Choice(
        "apiserver_event_ttl_s",
        ((3000, 1800),),
        "Half an hour of events of 3,000 nodes is still more than anyone reads, and half of what etcd holds of them.",
        f"{_DOCS}/reference/command-line-tools-reference/kube-apiserver/",
    ),
    Choice(
        "controller_manager_kube_api_qps",
        ((100, 50), (500, 100), (3000, 200)),
        "20 requests a second bind all controllers together: 1,000 pods of a dead zone would take a minute to replace.",
        _KCM,
    ),
    Choice(
        "controller_manager_kube_api_burst",
        ((1, 150), (3000, 300)),
        "A new cluster's controllers ask for accounts of their own, more than 100 requests at once, before the first "
        "node is let in: a burst of 30 makes that 5 s. From 500 nodes on it is half as much again as the rate.",
        _KCM,
    ),
    Choice(
        "controller_manager_concurrent_deployment_syncs",
        ((500, 10), (3000, 20)),
        "Many teams roll out at once; a worker waits for the API most of its time.",
        _KCM,
    ),
    Choice(
        "controller_manager_concurrent_replicaset_syncs",
        ((500, 20), (3000, 50)),
        "One creates pods for a whole ReplicaSet, in slow-starting batches: large ones hold up small ones.",
        _KCM,
    ),
    Choice(
        "controller_manager_concurrent_daemonset_syncs",
        ((500, 4), (3000, 8)),
        "A sync walks over every node, and with two workers a new node waits for its agents.",
        _KCM,
    ),
    Choice(
        "controller_manager_concurrent_job_syncs",
        ((500, 20), (3000, 40)),
        "Batch is what most large clusters are for.",
        _KCM,
    ),
    Choice(
        "controller_manager_concurrent_service_endpoint_syncs",
        ((500, 10), (3000, 20)),
        "Each pod that turns Ready is a sync of its Services: traffic waits for it.",
        _KCM,
    ),
    Choice(
        "controller_manager_concurrent_namespace_syncs",
        ((500, 20),),
        "Deleting a namespace asks for every kind in it; CI deletes them by the dozen.",
        _KCM,
    ),
    Choice(
        "controller_manager_concurrent_gc_syncs",
        ((500, 40),),
        "Every deleted owner leaves dependents behind; the backlog grows with the pods.",
        _KCM,
    ),
    Choice(
        "controller_manager_node_monitor_grace_period_s",
        ((1000, 75), (3000, 100)),
        "A quarter more than the kubelet's lease, as in the default: four renewals may be missed. Caravan's own "
        "verdict does not wait for it.",
        _NODES,
    ),
    Choice(
        "scheduler_percentage_of_nodes_to_score",
        ((500, 30), (1000, 20), (3000, 10), (5000, 5)),
        "Some 200 candidates are choice enough; by default nearly half of 500 nodes or of 1,000 are scored.",
        f"{_DOCS}/concepts/scheduling-eviction/scheduler-perf-tuning/",
    ),
    Choice(
        "scheduler_client_qps",
        ((500, 100), (3000, 200)),
        "A pod costs two or three requests, so that 50 a second schedule about 20 pods.",
        f"{_DOCS}/reference/config-api/kube-scheduler-config.v1/#ClientConnectionConfiguration",
    ),
    Choice(
        "scheduler_client_burst",
        ((500, 200), (3000, 400)),
        "Twice the rate, as in the default.",
        f"{_DOCS}/reference/config-api/kube-scheduler-config.v1/#ClientConnectionConfiguration",
    ),
    Choice(
        "kubelet_node_status_update_frequency_s",
        ((1000, 15), (3000, 20)),
        "A look that finds a change is a write of the whole node, some 15 KB. As often as the lease is renewed.",
        _NODES,
    ),
    Choice(
        "kubelet_node_status_report_frequency_s",
        ((1000, 300), (3000, 600)),
        "Named, because naming the update frequency alone would make every look a write.",
        f"{_K8S}/pkg/kubelet/apis/config/v1beta1/defaults.go",
    ),
    Choice(
        "kubelet_node_lease_duration_s",
        ((1000, 60), (3000, 80)),
        "Renewals are the steady load of an idle cluster: at 5,000 nodes 500 writes/s by default, 250 with 80 s.",
        _NODES,
    ),
    Choice(
        "kubelet_serialize_image_pulls",
        ((100, False),),
        "One huge image no longer holds up every other pod of the node.",
        f"{_DOCS}/concepts/containers/images/#maximum-parallel-image-pulls",
    ),
    Choice(
        "kubelet_max_parallel_image_pulls",
        ((100, 3),),
        "Without a limit a node that starts full would pull 30 images at once and its disk would be the limit.",
        f"{_DOCS}/concepts/containers/images/#maximum-parallel-image-pulls",
    ),
    Choice(
        "kubelet_registry_pull_qps",
        ((1000, 2),),
        "1,000 nodes that roll out together ask a registry 5,000 times a second by default.",
        _KUBELET,
    ),
    Choice("kubelet_registry_burst", ((1000, 5),), "Likewise.", _KUBELET),
    Choice(
        "kubelet_event_record_qps",
        ((1000, 5),),
        "A node in trouble may say 50 events a second, and trouble comes to many nodes together.",
        _KUBELET,
    ),
    Choice("kubelet_event_burst", ((1000, 20),), "Likewise.", _KUBELET),
    Choice(
        "etcd_quota_backend_bytes",
        ((100, 4 * GIB), (500, 8 * GIB)),
        "A full etcd takes no write until someone compacts it. 8 GiB is the most that etcd advises.",
        "https://etcd.io/docs/v3.6/dev-guide/limit/",
    ),
    Choice(
        "etcd_snapshot_count",
        ((1000, 50_000),),
        "At 1,000 writes a second 10,000 are ten seconds: a snapshot would follow the other. Costs memory.",
        f"{_ETCD_TUNING}#snapshots",
    ),
    Choice(
        "etcd_auto_compaction_retention_m",
        ((1, 60),),
        "The kube-apiserver compacts its own etcd every 5 minutes, but nobody that of Cilium.",
        "https://etcd.io/docs/v3.6/op-guide/maintenance/#history-compaction-v3-api-key-value-database",
        CILIUM_ETCD,
    ),
    Choice(
        "etcd_heartbeat_interval_ms",
        ((1000, 200),),
        "Long fsyncs under load delay heartbeats; a lost leader costs more than 100 ms of knowing it later.",
        f"{_ETCD_TUNING}#time-parameters",
    ),
    Choice(
        "etcd_election_timeout_ms",
        ((1000, 2000),),
        "Ten heartbeats, as etcd advises.",
        f"{_ETCD_TUNING}#time-parameters",
    ),
    Choice(
        "cilium_etcd",
        ((CILIUM_ETCD_FROM, True),),
        "Each identity and endpoint as an object is told to every agent by the kube-apiserver: nodes times pods. An "
        "etcd of Cilium's own takes that off the control plane.",
        f"{_CILIUM}/installation/k8s-install-external-etcd/",
        CILIUM_EXTERNAL,
    ),
    Choice(
        "cilium_endpoint_slices",
        ((250, True),),
        "Without an etcd of its own, Cilium tells endpoints as objects: a hundred in each makes a hundredth of the "
        "watch events.",
        f"{_CILIUM}/network/kubernetes/ciliumendpointslice/",
        NO_CILIUM_ETCD,
    ),
    Choice(
        "cilium_client_qps",
        ((1000, 5),),
        "Agents on 1,000 nodes that restart together (an upgrade) ask 10,000 times a second by default.",
        f"{_CILIUM}/network/kubernetes/configuration/",
        CILIUM,
    ),
    Choice(
        "cilium_client_burst",
        ((1000, 10),),
        "Twice the rate, as in the default.",
        f"{_CILIUM}/network/kubernetes/configuration/",
        CILIUM,
    ),
    Choice(
        "cilium_map_size_ratio",
        ((500, 0.005),),
        "Pods that talk to peers on hundreds of nodes fill the connection table, and what it drops is broken.",
        f"{_CILIUM}/network/ebpf/maps/",
        CILIUM,
    ),
    Choice(
        "cilium_policy_map_max",
        ((1000, 65_536),),
        "A policy that allows a namespace holds one entry for each of its identities; 16,384 is what a large one has.",
        f"{_CILIUM}/network/ebpf/maps/",
        CILIUM,
    ),
    Choice(
        "cilium_lb_map_max",
        ((500, 131_072), (3000, 262_144)),
        "One entry for every endpoint of every Service: 10,000 Services with five pods each fill 65,536.",
        f"{_CILIUM}/network/ebpf/maps/",
        CILIUM,
    ),
)
