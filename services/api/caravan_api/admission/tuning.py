"""Overrides of a cluster's tuning that contradict its shape, each other, or what was fixed when it was made.

Judged is what results, presets included: an override may also contradict a value that the cluster's size has chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from caravan_api.admission.networks import NODE_PREFIX
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.presets import effective, fixed
from caravan_shared.contracts.spec import ClusterSpec, Cni, Topology
from caravan_shared.contracts.tuning import KubeProxyMode, Tuning

# Of a node's addresses, the network's, the broadcast's and the gateway's are no pod's.
ADDRESSES_FOR_PODS = 2 ** (32 - NODE_PREFIX[4]) - 3
# etcd refuses a shorter election timeout at its start.
HEARTBEATS_AN_ELECTION = 5
# A kubelet may miss so many reports before its node is NotReady.
REPORTS_A_GRACE_PERIOD = 4


@dataclass(frozen=True, slots=True)
class _AtMost:
    """One value may not be more than another; `default` is what the part takes where the value is not set."""

    lesser: str
    lesser_default: int
    greater: str
    greater_default: int
    times: int = 1
    strictly: bool = False

    def broken(self, tuning: Tuning) -> bool:
        least, most = self._value(tuning, self.lesser), self._value(tuning, self.greater)
        return least * self.times > most or (self.strictly and least * self.times == most)

    def problem(self, tuning: Tuning, named: Tuning) -> FieldProblem:
        """Told of the one that the spec names; of the greater where it names both."""
        field = self.greater if getattr(named, self.greater) is not None else self.lesser
        most, least = self._value(tuning, self.greater), self._value(tuning, self.lesser)
        factor = f"{self.times} times " if self.times > 1 else ""
        compared = "not more than" if self.strictly else "less than"
        return FieldProblem(
            field=f"spec.tuning.{field}",
            problem=f"{self.greater} of {most} is {compared} {factor}the {self.lesser} of {least}",
            remedy=f"let {self.greater} be {'more than' if self.strictly else 'at least'} {least * self.times}",
        )

    def _value(self, tuning: Tuning, name: str) -> int:
        value: int | None = getattr(tuning, name)
        if value is not None:
            return value
        return self.lesser_default if name == self.lesser else self.greater_default


_GRACE = "controller_manager_node_monitor_grace_period_s"
_ORDERED = (
    _AtMost("controller_manager_kube_api_qps", 20, "controller_manager_kube_api_burst", 30),
    _AtMost("scheduler_client_qps", 50, "scheduler_client_burst", 100),
    _AtMost("kubelet_kube_api_qps", 50, "kubelet_kube_api_burst", 100),
    _AtMost("kubelet_registry_pull_qps", 5, "kubelet_registry_burst", 10),
    _AtMost("kubelet_event_record_qps", 50, "kubelet_event_burst", 100),
    _AtMost("cilium_client_qps", 10, "cilium_client_burst", 20),
    _AtMost("etcd_heartbeat_interval_ms", 100, "etcd_election_timeout_ms", 1000, times=HEARTBEATS_AN_ELECTION),
    _AtMost("kubelet_node_status_update_frequency_s", 10, _GRACE, 50, times=REPORTS_A_GRACE_PERIOD),
    _AtMost("kubelet_node_status_update_frequency_s", 10, "kubelet_node_status_report_frequency_s", 300),
    _AtMost("kubelet_node_lease_duration_s", 40, _GRACE, 50, strictly=True),
)


def tuning_problems(spec: ClusterSpec, current: ClusterSpec | None) -> Iterator[FieldProblem]:
    """What is wrong with a spec's overrides; nothing where it has none: presets agree among themselves."""
    if spec.tuning is None:
        return
    named, tuning = spec.tuning, effective(spec)
    yield from _out_of_shape(spec, named)
    yield from _at_odds(tuning, named)
    if current is not None:
        yield from _fixed(spec, named, current)


def _out_of_shape(spec: ClusterSpec, named: Tuning) -> Iterator[FieldProblem]:
    cilium, external = spec.network.cni is Cni.CILIUM, spec.topology is Topology.EXTERNAL
    if named.separate_events_etcd and not external:
        yield _problem("separate_events_etcd", "it needs etcd nodes, and a stacked topology has none", "use external")
    if named.cilium_etcd and not external:
        yield _problem("cilium_etcd", "it needs etcd nodes, and a stacked topology has none", "use external")
    if named.cilium_etcd and not cilium:
        yield _problem("cilium_etcd", f"the pod network is {spec.network.cni}", "leave it out, or use cni cilium")
    if named.kube_proxy_mode is KubeProxyMode.NONE and not cilium:
        problem = f"{spec.network.cni} does not carry Services, so that nothing would"
        yield _problem("kube_proxy_mode", problem, "use iptables or nftables, or cni cilium")
    if named.apiserver_goaway_chance and spec.control_plane.count == 1:
        problem = "with one kube-apiserver clients could only come back to the same"
        yield _problem("apiserver_goaway_chance", problem, "leave it out, or use several control planes")
    if named.kubelet_max_pods and spec.network.pod_cidr.version == 4 and named.kubelet_max_pods > ADDRESSES_FOR_PODS:
        problem = f"a node has {ADDRESSES_FOR_PODS} addresses for pods (a /{NODE_PREFIX[4]} of the pod range)"
        yield _problem("kubelet_max_pods", problem, f"give at most {ADDRESSES_FOR_PODS}")


def _at_odds(tuning: Tuning, named: Tuning) -> Iterator[FieldProblem]:
    for rule in _ORDERED:
        touched = getattr(named, rule.lesser) is not None or getattr(named, rule.greater) is not None
        if touched and rule.broken(tuning):
            yield rule.problem(tuning, named)
    parallel = tuning.kubelet_max_parallel_image_pulls or 1
    if parallel > 1 and tuning.kubelet_serialize_image_pulls is not False:
        asked = named.kubelet_serialize_image_pulls
        field = "kubelet_serialize_image_pulls" if asked else "kubelet_max_parallel_image_pulls"
        problem = f"pulls one after the other cannot be {parallel} at once, and the kubelet would not start"
        yield _problem(field, problem, "set kubelet_serialize_image_pulls false, or kubelet_max_parallel_image_pulls 1")
    if named.cilium_endpoint_slices and tuning.cilium_etcd:
        problem = "endpoints are in Cilium's own etcd here, so that there are none to slice"
        yield _problem("cilium_endpoint_slices", problem, "leave it out, or set cilium_etcd false")


def _fixed(spec: ClusterSpec, named: Tuning, current: ClusterSpec) -> Iterator[FieldProblem]:
    then, now = fixed(current), fixed(spec)
    for name, value in then.items():
        if getattr(named, name) is not None and now[name] != value:
            yield _problem(name, "it is fixed when a cluster is made", f"leave it {_json(value)}, or out")


def _problem(name: str, problem: str, remedy: str) -> FieldProblem:
    return FieldProblem(field=f"spec.tuning.{name}", problem=problem, remedy=remedy)


def _json(value: object) -> str:
    return str(value).lower()
