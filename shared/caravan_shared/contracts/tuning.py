"""How a cluster's parts are set for its size: one flat set of values, each of which a spec may override.

The shape only; which value a size gets, from which size and why, stands in `presets`. A field left None means that
nothing is set and the part's own default counts, which its description names. Every name that a description gives in
quotes is one of Kubernetes 1.33 and 1.34, etcd 3.5 and 3.6, or Cilium 1.19.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# resource[.group], as `--watch-cache-sizes` of kube-apiserver names it.
Resource = Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z0-9.-]+)?$", max_length=253)]
Int32 = Annotated[int, Field(le=2**31 - 1)]  # as Kubernetes, etcd and Cilium read most of them
GIB = 2**30


class KubeProxyMode(StrEnum):
    """How traffic to a Service reaches a pod."""

    IPTABLES = "iptables"
    IPVS = "ipvs"
    NFTABLES = "nftables"
    NONE = "none"
    """Without kube-proxy: Cilium's eBPF programs do it."""


class Tuning(BaseModel):
    """Values for a cluster's size. Durations end in _s (seconds) or _ms, sizes in _bytes; None sets nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    joins_in_flight: int | None = Field(
        None, ge=1, le=200, description="Nodes that join at the same time, a wave. Default: the bootstrapper's setting."
    )
    coredns_replicas: int | None = Field(None, ge=1, le=500, description="Pods of CoreDNS. Default: 2, by kubeadm.")
    kube_proxy_mode: KubeProxyMode | None = Field(
        None, description="`mode` of kube-proxy, or `none`. Default: iptables. Fixed when the cluster is made."
    )
    separate_events_etcd: bool | None = Field(
        None,
        description="Events live in an etcd of their own beside the main one on the etcd nodes "
        "(`--etcd-servers-overrides`). Default: no. Fixed when the cluster is made.",
    )

    apiserver_max_requests_inflight: Int32 | None = Field(
        None, ge=1, description="`--max-requests-inflight`: reads served at once, each kube-apiserver. Default: 400."
    )
    apiserver_max_mutating_requests_inflight: Int32 | None = Field(
        None,
        ge=1,
        description="`--max-mutating-requests-inflight`: writes; the sum of both is shared out. Default: 200.",
    )
    apiserver_goaway_chance: float | None = Field(
        None, ge=0, le=0.02, description="`--goaway-chance`: part of requests whose client must reconnect. Default: 0."
    )
    apiserver_uncached_resources: tuple[Resource, ...] | None = Field(
        None,
        description="`--watch-cache-sizes` with 0: resources without a watch cache. Sizes other than 0 are not "
        "offered: caches size themselves, and `--default-watch-cache-size` is deprecated. Default: events only.",
    )
    apiserver_event_ttl_s: Int32 | None = Field(
        None, ge=60, description="`--event-ttl`: seconds that events are kept. Default: 3600."
    )

    controller_manager_kube_api_qps: Int32 | None = Field(
        None, ge=1, description="`--kube-api-qps`: requests a second to the kube-apiserver. Default: 20."
    )
    controller_manager_kube_api_burst: Int32 | None = Field(
        None, ge=1, description="`--kube-api-burst`: requests at once above that. Default: 30."
    )
    controller_manager_concurrent_deployment_syncs: Int32 | None = Field(
        None, ge=1, description="`--concurrent-deployment-syncs`: workers. Default: 5."
    )
    controller_manager_concurrent_replicaset_syncs: Int32 | None = Field(
        None, ge=1, description="`--concurrent-replicaset-syncs`: workers. Default: 5."
    )
    controller_manager_concurrent_daemonset_syncs: Int32 | None = Field(
        None, ge=1, description="`--concurrent-daemonset-syncs`: workers. Default: 2."
    )
    controller_manager_concurrent_job_syncs: Int32 | None = Field(
        None, ge=1, description="`--concurrent-job-syncs`: workers. Default: 5."
    )
    controller_manager_concurrent_service_endpoint_syncs: Int32 | None = Field(
        None, ge=1, description="`--concurrent-service-endpoint-syncs`: workers for EndpointSlices. Default: 5."
    )
    controller_manager_concurrent_namespace_syncs: Int32 | None = Field(
        None, ge=1, description="`--concurrent-namespace-syncs`: workers. Default: 10."
    )
    controller_manager_concurrent_gc_syncs: Int32 | None = Field(
        None, ge=1, description="`--concurrent-gc-syncs`: workers of the garbage collector. Default: 20."
    )
    controller_manager_node_monitor_grace_period_s: Int32 | None = Field(
        None,
        ge=46,
        description="`--node-monitor-grace-period`: seconds of a node's silence until it is NotReady. More than the "
        "kubelet's lease, and than the 45 s in which an idle HTTP/2 connection is given up. Default: 50.",
    )

    scheduler_percentage_of_nodes_to_score: int | None = Field(
        None,
        ge=1,
        le=100,
        description="`percentageOfNodesToScore`: the search for a pod's node ends when so many, of all nodes in "
        "percent and never fewer than 100, could take it. Default: from 50 at 100 nodes down to 10 at 5,000.",
    )
    scheduler_client_qps: Int32 | None = Field(
        None, ge=1, description="`clientConnection.qps` of the scheduler: requests a second. Default: 50."
    )
    scheduler_client_burst: Int32 | None = Field(
        None, ge=1, description="`clientConnection.burst` of the scheduler: requests at once above that. Default: 100."
    )

    kubelet_max_pods: Int32 | None = Field(None, ge=1, description="`maxPods` of a node. Default: 110.")
    kubelet_node_status_update_frequency_s: Int32 | None = Field(
        None, ge=1, description="`nodeStatusUpdateFrequency`: seconds between looks at the node itself. Default: 10."
    )
    kubelet_node_status_report_frequency_s: Int32 | None = Field(
        None,
        ge=1,
        description="`nodeStatusReportFrequency`: seconds between reports of a status that did not change. "
        "Default: 300; but the update frequency, where that is set and this is not.",
    )
    kubelet_node_lease_duration_s: Int32 | None = Field(
        None, ge=4, description="`nodeLeaseDurationSeconds`; the lease is renewed four times as often. Default: 40."
    )
    kubelet_serialize_image_pulls: bool | None = Field(
        None, description="`serializeImagePulls`: one image after the other. Default: yes."
    )
    kubelet_max_parallel_image_pulls: Int32 | None = Field(
        None, ge=1, description="`maxParallelImagePulls` of a node. Default: no limit, where pulls are not serialised."
    )
    kubelet_registry_pull_qps: Int32 | None = Field(
        None, ge=0, description="`registryPullQPS`: pulls a second from one node; 0 is no limit. Default: 5."
    )
    kubelet_registry_burst: Int32 | None = Field(
        None, ge=1, description="`registryBurst`: pulls at once above that. Default: 10."
    )
    kubelet_event_record_qps: Int32 | None = Field(
        None, ge=0, description="`eventRecordQPS`: events a second from one node; 0 is no limit. Default: 50."
    )
    kubelet_event_burst: Int32 | None = Field(
        None, ge=1, description="`eventBurst`: events at once above that. Default: 100."
    )
    kubelet_kube_api_qps: Int32 | None = Field(
        None, ge=1, description="`kubeAPIQPS`: requests a second from one node to the kube-apiserver. Default: 50."
    )
    kubelet_kube_api_burst: Int32 | None = Field(
        None, ge=1, description="`kubeAPIBurst`: requests at once above that. Default: 100."
    )

    etcd_quota_backend_bytes: int | None = Field(
        None,
        ge=GIB // 2,
        le=8 * GIB,
        description="`--quota-backend-bytes`: with so many, etcd takes no more writes. Default: 2 GiB.",
    )
    etcd_snapshot_count: Int32 | None = Field(
        None, ge=1000, description="`--snapshot-count`: writes between snapshots to disk. Default: 10,000, by kubeadm."
    )
    etcd_auto_compaction_retention_m: Int32 | None = Field(
        None,
        ge=1,
        description="`--auto-compaction-retention` in minutes, mode periodic: history that is kept of what the "
        "kube-apiserver does not compact. Default: all of it.",
    )
    etcd_heartbeat_interval_ms: int | None = Field(
        None, ge=10, le=10_000, description="`--heartbeat-interval` of the leader. Default: 100."
    )
    etcd_election_timeout_ms: int | None = Field(
        None, ge=50, le=50_000, description="`--election-timeout` of a follower that hears nothing. Default: 1,000."
    )

    cilium_etcd: bool | None = Field(
        None,
        description="Cilium keeps identities and endpoints in an etcd of its own on the etcd nodes "
        "(`identityAllocationMode: kvstore`). Default: no. Fixed when the cluster is made.",
    )
    cilium_endpoint_slices: bool | None = Field(
        None, description="`ciliumEndpointSlice.enabled`: endpoints are told in batches of 100. Default: no."
    )
    cilium_client_qps: Int32 | None = Field(
        None, ge=1, description="`k8sClientRateLimit.qps` of an agent: requests a second. Default: 10."
    )
    cilium_client_burst: Int32 | None = Field(
        None, ge=1, description="`k8sClientRateLimit.burst` of an agent: requests at once above that. Default: 20."
    )
    cilium_map_size_ratio: float | None = Field(
        None,
        gt=0,
        le=0.05,
        description="`bpf.mapDynamicSizeRatio`: part of the memory for connection and NAT tables. Default: 0.0025.",
    )
    cilium_policy_map_max: int | None = Field(
        None, ge=256, le=65_536, description="`bpf.policyMapMax`: identities an endpoint may talk to. Default: 16,384."
    )
    cilium_lb_map_max: Int32 | None = Field(
        None, ge=1024, description="`bpf.lbMapMax`: services and their endpoints, all together. Default: 65,536."
    )


FIXED_AT_CREATION = ("kube_proxy_mode", "separate_events_etcd", "cilium_etcd")
"""What a running cluster cannot change: growth leaves it as it is, and a request to change it is refused."""
