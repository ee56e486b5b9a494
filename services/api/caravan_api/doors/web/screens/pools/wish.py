"""What the form of a pool says, as a spec for admission. Pure.

Its template has the fields of the form for a cluster (see `create.wish`), under the same names; beside them stand the
pool's own, named as in its spec, but for leases: those are in hours. What is left empty is left to the default.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caravan_api.doors.web.screens.create import wish as create
from caravan_api.doors.web.screens.create.wish import Wish
from caravan_api.pools.spec import PoolSpec
from caravan_shared.contracts.events import CloudOffered

NUMBERS = ("spares", "max_size")
HOURS = {"lease_s": "lease_h", "max_lease_s": "max_lease_h"}
"""A field of the spec → the form's, in hours."""
DAYS = {
    "mon,tue,wed,thu,fri,sat,sun": "every day",
    "mon,tue,wed,thu,fri": "Monday to Friday",
    "sat,sun": "Saturday and Sunday",
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}
"""What spells of the schedule are offered to cover; another choice of days, made elsewhere, is kept."""

_OWN = re.compile(
    r"name|spares|max_size|lease_h|max_lease_h|timezone|shared_with|schedule\.\d{1,2}\.(days|from_hour|to_hour|spares)"
)
_SPELL = re.compile(r"schedule\.(\d+)\.(\w+)")
_MOST_SPELLS = 50
_HOUR_S = 3600
_MACHINE = ("count", "machine_type", "cloud")
"""What the form says of control planes and of etcd."""
_WORKERS = ("name", *_MACHINE)


@dataclass(frozen=True, slots=True)
class PoolWish:
    """The form's fields, by name: the pool's own, and those of its template."""

    own: Mapping[str, str]
    template: Wish

    def __getitem__(self, field: str) -> str:
        return self.own.get(field, "") or self.template[field]

    @property
    def name(self) -> str | None:
        """The name, once there is one."""
        return self["name"].strip() or None

    @property
    def rows(self) -> range:
        """The numbers of its worker sets."""
        return self.template.rows

    @property
    def spells(self) -> range:
        """The numbers of the spells in its schedule."""
        return range(len({found[1] for found in map(_SPELL.fullmatch, self.own) if found}))

    @property
    def is_external(self) -> bool:
        """True if etcd has nodes of its own."""
        return self.template.is_external

    @property
    def drawn(self) -> set[str]:
        """The names of all fields that the form has, and of its spells."""
        always = {"name", "version", "cloud", "topology", "network.cni", "timezone", "shared_with", *NUMBERS}
        spells = (f"schedule.{number}" for number in self.spells)
        return {*always, *HOURS.values(), *spells, *self.own, *self.template.fields}

    def cloud_of(self, part: str) -> str:
        """The cloud that a part's machines come from."""
        return self.template.cloud_of(part)

    def spec(self) -> dict[str, Any]:
        """The spec that is asked for, its values as they were typed."""
        said: dict[str, Any] = {field: self[field].strip() for field in (*NUMBERS, "timezone")}
        said |= {field: _seconds(self[hours]) for field, hours in HOURS.items()}
        spec: dict[str, Any] = {field: text for field, text in said.items() if text}
        spec["template"] = self.template.spec()
        spec["schedule"] = [self._spell(number) for number in self.spells]
        spec["shared_with"] = self["shared_with"].replace(",", " ").split()
        return spec

    def patch(self, was: Mapping[str, Any]) -> dict[str, Any]:
        """The merge patch (RFC 7396) that leads from a spec to what the form says. What it has no field for stays."""
        spec = self.spec()
        template, before = spec["template"], was["template"]
        sets = {each["name"]: _without(each, _WORKERS) for each in before["workers"]}
        return {
            **{field: spec.get(field) for field in (*NUMBERS, *HOURS, "timezone")},
            "schedule": spec["schedule"],
            "shared_with": spec["shared_with"],
            "template": {
                **{field: template.get(field) for field in ("version", "cloud", "topology")},
                "control_plane": _said(template, "control_plane", _MACHINE),
                "etcd": _said(template, "etcd", _MACHINE) if self.is_external else None,
                "workers": [{**sets.get(each.get("name"), {}), **each} for each in template["workers"]],
                "network": _said(template, "network", ("cni",)),
            },
        }

    def _spell(self, number: int) -> dict[str, Any]:
        spell = {part: self[f"schedule.{number}.{part}"].strip() for part in ("from_hour", "to_hour", "spares")}
        days = [day for day in self[f"schedule.{number}.days"].split(",") if day]
        return {"days": days, **{part: text for part, text in spell.items() if text}}


def read(items: Iterable[tuple[str, str]]) -> PoolWish:
    """The wish in a form's fields; what is no field is left out."""
    given = list(items)
    own = {name: text for name, text in given if _OWN.fullmatch(name)}
    numbers = sorted({int(found[1]) for found in map(_SPELL.fullmatch, own) if found})[:_MOST_SPELLS]
    return PoolWish(_renumbered(own, numbers), create.read(each for each in given if each[0] not in own))


def first(versions: Sequence[str], offers: Mapping[str, CloudOffered]) -> PoolWish:
    """What is proposed: spares of the cluster that is proposed elsewhere, and the defaults."""
    return PoolWish(_own_fields(_DEFAULTS), create.first(versions, offers))


def of(spec: PoolSpec) -> PoolWish:
    """The form as it says what a pool is like."""
    template = spec.template.model_dump(mode="json")
    fields = {field: str(template[field]) for field in ("version", "cloud", "topology")}
    parts = {"control_plane": template["control_plane"], "etcd": template["etcd"] or {}}
    for part, said in (*parts.items(), *((f"workers.{row}", each) for row, each in enumerate(template["workers"]))):
        fields |= {f"{part}.{name}": str(said[name]) for name in _WORKERS if said.get(name) is not None}
    fields["network.cni"] = template["network"]["cni"]
    return PoolWish(_own_fields(spec.model_dump(mode="json")), Wish(fields))


def settled(wish: PoolWish, offers: Mapping[str, CloudOffered]) -> PoolWish:
    """With a machine for each part that its cloud really offers."""
    return PoolWish(wish.own, create.settled(wish.template, offers))


def with_row(wish: PoolWish, offers: Mapping[str, CloudOffered]) -> PoolWish:
    """One worker set more."""
    return PoolWish(wish.own, create.with_row(wish.template, offers))


def without_row(wish: PoolWish, row: int) -> PoolWish:
    """One worker set less."""
    return PoolWish(wish.own, create.without_row(wish.template, row))


def with_spell(wish: PoolWish) -> PoolWish:
    """One spell more: working hours."""
    if len(wish.spells) >= _MOST_SPELLS:
        return wish
    spell = {"days": "mon,tue,wed,thu,fri", "from_hour": "8", "to_hour": "18", "spares": wish["spares"]}
    number = len(wish.spells)
    return PoolWish({**wish.own, **{f"schedule.{number}.{part}": text for part, text in spell.items()}}, wish.template)


def without_spell(wish: PoolWish, spell: int) -> PoolWish:
    """One spell less."""
    return PoolWish(_renumbered(wish.own, [number for number in wish.spells if number != spell]), wish.template)


def field_of(problem: str) -> str:
    """The form's field for a field of the request that admission names."""
    field = problem.removeprefix("spec.").removeprefix("template.")
    return HOURS.get(field, field)


def _own_fields(spec: Mapping[str, Any]) -> dict[str, str]:
    fields = {field: str(spec[field]) for field in (*NUMBERS, "timezone")}
    fields |= {hours: f"{spec[field] / _HOUR_S:.6g}" for field, hours in HOURS.items()}
    fields["shared_with"] = ", ".join(spec["shared_with"])
    for number, spell in enumerate(spec["schedule"]):
        fields[f"schedule.{number}.days"] = ",".join(spell["days"])
        fields |= {f"schedule.{number}.{part}": str(spell[part]) for part in ("from_hour", "to_hour", "spares")}
    return fields


_DEFAULTS = {name: field.default for name, field in PoolSpec.model_fields.items() if name != "template"}


def _seconds(hours: str) -> int | str | None:
    """Seconds for a number of hours; what is none is left to admission, which says so."""
    try:
        return round(float(hours) * _HOUR_S) if hours.strip() else None
    except (ValueError, OverflowError):
        return hours


def _said(template: Mapping[str, Any], part: str, fields: Sequence[str]) -> dict[str, Any]:
    """What the form says of a part; null, and so the default, where it says nothing."""
    return {field: template.get(part, {}).get(field) for field in fields}


def _without(values: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in fields}


def _renumbered(fields: Mapping[str, str], numbers: Sequence[int]) -> dict[str, str]:
    places = {number: place for place, number in enumerate(numbers)}
    kept = {}
    for name, text in fields.items():
        found = _SPELL.fullmatch(name)
        if found is None:
            kept[name] = text
        elif int(found[1]) in places:
            kept[f"schedule.{places[int(found[1])]}.{found[2]}"] = text
    return kept
