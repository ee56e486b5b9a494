"""The request that the form makes, as YAML and as a command: for those who will do it again. Pure."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ETCD_SET

_NAMELESS = "demo"
"""Stands where no name was typed yet."""
_IN_FLAGS = {
    "": {"version", "cloud", "topology", "control_plane", "etcd", "workers", "network", "drain"},
    "network": {"cni", "pod_cidr", "service_cidr", "virtual_ip"},
    "drain": {"timeout_s", "force"},
}
"""What has flags of its own; whatever else is asked for needs the file."""


def as_yaml(name: str | None, spec: Mapping[str, Any]) -> str:
    """The file that `caravan cluster create -f` takes."""
    text: str = yaml.safe_dump({"name": name or _NAMELESS, "spec": dict(spec)}, sort_keys=False)
    return text


def as_command(name: str | None, spec: Mapping[str, Any], lifetime_h: str) -> str:
    """The command that asks for the same."""
    words = ["caravan", "cluster", "create", name or _NAMELESS]
    words += _flags(spec) if _fits_flags(spec) else ["-f", "cluster.yaml"]
    if lifetime_h:
        words += ["--lifetime", f"{lifetime_h}h"]
    return shlex.join([*words, "--wait"])


def _fits_flags(spec: Mapping[str, Any]) -> bool:
    parts = {part: spec.get(part, {}) for part in _IN_FLAGS if part}
    return spec.keys() <= _IN_FLAGS[""] and all(given.keys() <= _IN_FLAGS[part] for part, given in parts.items())


def _flags(spec: Mapping[str, Any]) -> Iterator[str]:
    network, drain = spec.get("network", {}), spec.get("drain", {})
    sets = [(CONTROL_PLANE_SET, spec.get("control_plane", {}))]
    if "etcd" in spec:
        sets.append((ETCD_SET, spec["etcd"]))
    sets += [(each.get("name", ""), each) for each in spec.get("workers", ())]
    named: list[tuple[str, Any]] = [
        ("--version", spec.get("version")),
        ("--cloud", spec.get("cloud")),
        ("--control-planes", spec.get("control_plane", {}).get("count")),
        ("--etcd", spec.get("etcd", {}).get("count")),
        *(("--workers", f"{each.get('name', '')}={each.get('count', '')}") for each in spec.get("workers", ())),
        *(("--machine-type", f"{name}={each['machine_type']}") for name, each in sets if "machine_type" in each),
        *(("--cloud", f"{name}={each['cloud']}") for name, each in sets if each.get("cloud")),
        ("--cni", network.get("cni")),
        ("--pod-cidr", network.get("pod_cidr")),
        ("--service-cidr", network.get("service_cidr")),
        ("--virtual-ip", network.get("virtual_ip")),
        ("--drain-timeout", drain.get("timeout_s")),
    ]
    for flag, value in named:
        if value is not None:
            yield from (flag, str(value))
    if drain.get("force"):
        yield "--force-drain"
