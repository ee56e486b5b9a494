"""What the form says, as a request to admission. Pure.

A field's name is its path in the spec (`workers.0.count`), but for `name` and `lifetime_h`. Fields left empty are not
asked for: the default counts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.spec import ControlPlane, Topology, WorkerSet
from caravan_shared.contracts.tuning import Tuning

_FIELD = re.compile(
    r"name|lifetime_h|version|cloud|topology|(control_plane|etcd)\.(count|machine_type|cloud)"
    r"|workers\.\d{1,2}\.(name|count|machine_type|cloud)"
    r"|network\.(cni|pod_cidr|service_cidr|dns_domain|virtual_ip)|drain\.(timeout_s|force)|tuning\.[a-z_]{1,64}",
)
"""What the form may say; anything else is none of its fields."""
_ROW = re.compile(r"workers\.(\d+)\.(\w+)")
_MOST_SETS = 20
_HOUR_S = 3600

TUNED = {
    "kube_proxy_mode": "kube-proxy",
    "kubelet_max_pods": "Pods of a node, at most",
    "joins_in_flight": "Nodes that join at a time",
    "coredns_replicas": "Pods of CoreDNS",
    "apiserver_event_ttl_s": "Seconds that events are kept",
}
"""What people set themselves most, and what it is called here; all else is chosen by size, or said in a file."""
assert set(TUNED) <= set(Tuning.model_fields), "they are fields of it"


@dataclass(frozen=True, slots=True)
class Wish:
    """The form's fields, by name."""

    fields: Mapping[str, str]

    def __getitem__(self, field: str) -> str:
        return self.fields.get(field, "")

    @property
    def name(self) -> str | None:
        """The name, once there is one."""
        return self["name"].strip() or None

    @property
    def lifetime_s(self) -> int | None:
        """Seconds until it is deleted; None: never. ValueError for what is no number of hours."""
        hours = self["lifetime_h"].strip()
        return int(float(hours) * _HOUR_S) if hours else None

    @property
    def rows(self) -> range:
        """The numbers of its worker sets."""
        return range(len({found[1] for found in map(_ROW.fullmatch, self.fields) if found}))

    @property
    def is_external(self) -> bool:
        """True if etcd has nodes of its own."""
        return self["topology"] == Topology.EXTERNAL

    def cloud_of(self, part: str) -> str:
        """The cloud that a part's machines come from."""
        return self[f"{part}.cloud"] or self["cloud"]

    def spec(self) -> dict[str, Any]:
        """The spec that is asked for, its values as they were typed."""
        spec: dict[str, Any] = {"workers": [{} for _ in self.rows]}
        for field, text in self.fields.items():
            if (
                field in ("name", "lifetime_h")
                or not text.strip()
                or (field.startswith("etcd.") and not self.is_external)
            ):
                continue
            *path, last = field.split(".")
            place: Any = spec
            for part in path:
                place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
            place[last] = text.strip()
        return spec


def read(items: Iterable[tuple[str, str]]) -> Wish:
    """The wish in a form's fields. Its rows are numbered anew where one is missing; what is no field is left out."""
    given = {name: text for name, text in items if _FIELD.fullmatch(name)}
    numbers = sorted({int(found[1]) for found in map(_ROW.fullmatch, given) if found})[:_MOST_SETS]
    return Wish(_renumbered(given, numbers))


def first(versions: Sequence[str], offers: Mapping[str, CloudOffered]) -> Wish:
    """What is proposed: a small cluster of the newest version."""
    workers = WorkerSet()
    fields = {
        "version": versions[0],
        "cloud": next(iter(offers)),
        "control_plane.count": str(ControlPlane().count),
        "workers.0.name": workers.name,
        "workers.0.count": str(workers.count),
    }
    return settled(Wish(fields), offers)


def with_row(wish: Wish, offers: Mapping[str, CloudOffered]) -> Wish:
    """One worker set more, of a name that is free."""
    number = len(wish.rows)
    taken = {wish[f"workers.{row}.name"] for row in wish.rows}
    name = next(each for each in (f"workers-{count}" for count in range(2, _MOST_SETS + 2)) if each not in taken)
    if number >= _MOST_SETS:
        return wish
    return settled(Wish({**wish.fields, f"workers.{number}.name": name, f"workers.{number}.count": "1"}), offers)


def without_row(wish: Wish, row: int) -> Wish:
    """One worker set less."""
    return Wish(_renumbered(wish.fields, [number for number in wish.rows if number != row]))


def settled(wish: Wish, offers: Mapping[str, CloudOffered]) -> Wish:
    """With a machine for each part that its cloud really offers, where none is chosen or another cloud's is."""
    fields = dict(wish.fields)
    parts = ["control_plane", *(["etcd"] if wish.is_external else []), *(f"workers.{row}" for row in wish.rows)]
    for part in parts:
        offered = [each.name for each in machines_of(wish.cloud_of(part), offers)]
        if offered and fields.get(f"{part}.machine_type") not in offered:
            usual = ControlPlane().machine_type
            fields[f"{part}.machine_type"] = usual if usual in offered else offered[0]
    if wish.is_external:
        fields.setdefault("etcd.count", "3")
    return Wish(fields)


def machines_of(cloud: str, offers: Mapping[str, CloudOffered]) -> Sequence[Any]:
    """The machine types of a cloud."""
    return offers[cloud].machine_types if cloud in offers else ()


def _renumbered(fields: Mapping[str, str], numbers: Sequence[int]) -> dict[str, str]:
    places = {number: place for place, number in enumerate(numbers)}
    kept = {}
    for name, text in fields.items():
        found = _ROW.fullmatch(name)
        if found is None:
            kept[name] = text
        elif int(found[1]) in places:
            kept[f"workers.{places[int(found[1])]}.{found[2]}"] = text
    return kept
