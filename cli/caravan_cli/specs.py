"""Make a request out of what was typed: flags, or a YAML file. Shape only: what is allowed is the API's to say."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from caravan_cli.errors import UsageProblem
from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ETCD_SET, WorkerSet

Json = dict[str, Any]


@dataclass(frozen=True)
class SpecFlags:
    """The flags of `cluster create` and `plan`; None or empty where not given, so that the API's default counts."""

    version: str | None = None
    control_planes: int | None = None
    workers: tuple[str, ...] = ()
    machine_types: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    etcd: int | None = None
    cni: str | None = None
    pod_cidr: str | None = None
    service_cidr: str | None = None
    virtual_ip: str | None = None
    drain_timeout: int | None = None
    force_drain: bool | None = None


def from_flags(flags: SpecFlags) -> Json:
    """The spec that the flags ask for; without a version where none was named. UsageProblem if they contradict."""
    types, clouds = _by_set(flags.machine_types), _by_set(flags.clouds)
    workers = [_worker_set(text) for text in flags.workers] or [{"name": WorkerSet().name}]
    control_plane: Json = {} if flags.control_planes is None else {"count": flags.control_planes}
    etcd: Json = {} if flags.etcd is None else {"count": flags.etcd}
    sets = {CONTROL_PLANE_SET: control_plane, ETCD_SET: etcd, **{each["name"]: each for each in workers}}
    if len(sets) != len(workers) + 2:
        raise UsageProblem("Two node sets have the same name: give every --workers one of its own, as in gpu=2.")
    for flag, by_set in (("--machine-type", types), ("--cloud", clouds)):
        if unknown := [name for name in by_set if name is not None and name not in sets]:
            raise UsageProblem(f"{flag} names the set {unknown[0]!r}; there are {', '.join(sets)}.")
    for name, node_set in sets.items():
        if machine_type := types.get(name, types.get(None)):
            node_set["machine_type"] = machine_type
        if name in clouds:
            node_set["cloud"] = clouds[name]
    network = {
        "cni": flags.cni,
        "pod_cidr": flags.pod_cidr,
        "service_cidr": flags.service_cidr,
        "virtual_ip": flags.virtual_ip,
    }
    spec: Json = {
        "version": flags.version,
        "cloud": clouds.get(None),
        "control_plane": control_plane,
        "workers": workers if flags.workers or types or clouds.keys() - {None} else None,
        "network": {key: value for key, value in network.items() if value},
        "drain": drain(flags.drain_timeout, flags.force_drain),
    }
    if flags.etcd is not None:
        spec |= {"topology": "external", "etcd": etcd}
    return {key: value for key, value in spec.items() if value}


def drain(timeout_s: int | None, force: bool | None) -> Json:
    """How nodes shall be emptied, as far as flags say so."""
    return {key: value for key, value in (("timeout_s", timeout_s), ("force", force)) if value is not None}


def from_file(path: str) -> Json:
    """The request in a YAML (or JSON) file, `-` for standard input: `{name, team, spec}`, or a bare spec."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageProblem(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageProblem(f"{path} holds no mapping; it should be a spec, or a name and a spec.")
    return content if "spec" in content else {"spec": content}


def counts(pairs: list[str]) -> dict[str, int]:
    """The `SET=COUNT` arguments of `cluster scale`. UsageProblem where one is something else."""
    found: dict[str, int] = {}
    for pair in pairs:
        name, _, count = pair.partition("=")
        if not name or not count.isascii() or not count.isdigit():
            raise UsageProblem(f"{pair!r} is not SET=COUNT, such as workers=4.")
        if name in found:
            raise UsageProblem(f"{name!r} is given twice.")
        found[name] = int(count)
    return found


def _worker_set(text: str) -> Json:
    """`3`, `gpu` or `gpu=2` as a worker set."""
    if text.isascii() and text.isdigit():
        return {"name": WorkerSet().name, "count": int(text)}
    name, has_count, count = text.partition("=")
    return {"name": name, **({"count": counts([text])[name]} if has_count or count else {})}


def _by_set(texts: tuple[str, ...]) -> dict[str | None, str]:
    """`large` (None: every set) and `gpu=large` as values by set."""
    found: dict[str | None, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        found[name if equals else None] = value
    return found
