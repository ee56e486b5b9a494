"""The tuning that holds for a cluster: chosen by its size and shape, overridden by its spec. Pure."""

from typing import Any

from caravan_shared.contracts.choices import CHOICES
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.tuning import FIXED_AT_CREATION, KubeProxyMode, Tuning


def preset(spec: ClusterSpec) -> Tuning:
    """What a cluster of this size and shape gets, before its own overrides."""
    nodes = spec.node_count()
    chosen = {choice.field: value for choice in CHOICES if (value := choice.value(spec, nodes)) is not None}
    return Tuning(**chosen)


def effective(spec: ClusterSpec) -> Tuning:
    """What holds for a cluster: its preset, and over it what its spec's `tuning` names."""
    named = spec.tuning.model_dump(exclude_none=True) if spec.tuning else {}
    return preset(spec).model_copy(update=named)


def fixed(spec: ClusterSpec) -> dict[str, Any]:
    """What a cluster of this spec is made with for good, defaults spelt out: they must not depend on its size later."""
    tuning = effective(spec)
    defaults = {"kube_proxy_mode": KubeProxyMode.IPTABLES}
    return {
        name: defaults.get(name, False) if getattr(tuning, name) is None else getattr(tuning, name)
        for name in FIXED_AT_CREATION
    }


def kept(spec: ClusterSpec, current: ClusterSpec) -> ClusterSpec:
    """The spec; where its new size alone would choose otherwise, with what the cluster was made with named."""
    then, now = fixed(current), fixed(spec)
    differing = {name: value for name, value in then.items() if now[name] != value}
    if not differing:
        return spec
    return spec.model_copy(update={"tuning": (spec.tuning or Tuning()).model_copy(update=differing)})
