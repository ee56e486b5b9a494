"""Read a spec of any shape, and say what is wrong with its shape in words that help.

A malformed field is set aside for its default, so that the rest of the spec can be judged in the same go.
"""

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from caravan_api.admission.surroundings import Surroundings
from caravan_shared.contracts.cluster_oidc import Oidc
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterName, ClusterSpec, ControlPlane, Drain, Etcd, Network, Taint, WorkerSet
from caravan_shared.contracts.tuning import Tuning

_NAME: TypeAdapter[str] = TypeAdapter(ClusterName)
_LONGEST_SHOWN = 60
_PARTS: tuple[type[BaseModel], ...] = (ClusterSpec, ControlPlane, Etcd, WorkerSet, Network, Drain, Taint, Tuning, Oidc)
KNOWN_FIELDS = sorted({name for part in _PARTS for name in part.model_fields})
# What pydantic puts into a path beside fields: a branch of `IPv4Network | IPv6Network`, or a key instead of its value.
_NO_FIELDS = ("lax-or-strict[", "ipv4network", "ipv6network", "ipv4address", "ipv6address", "[key]")
_DNS_LABEL_REMEDY = "use lower-case letters, digits and '-', starting with a letter and not ending with '-'"

_REMEDIES = {
    "missing": "give this field",
    "int_type": "give a whole number",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "string_type": "give a text",
    "dict_type": "give an object",
    "model_type": "give an object",
    "model_attributes_type": "give an object",
    "tuple_type": "give a list",
    "too_short": "give at least one",
    "issuer_url": "give the provider's URL as its tokens name it, such as https://login.example.org/realms/main",
    "ip_v4_network": "give an address range such as 10.244.0.0/16, with no bits set after the prefix",
    "ip_v6_network": "give an address range such as 10.244.0.0/16, with no bits set after the prefix",
    "ip_v4_address": "give one address such as 10.0.0.250, without a prefix",
    "ip_v6_address": "give one address such as 10.0.0.250, without a prefix",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A spec as far as it could be read, what was wrong with its shape, and which fields were set aside."""

    spec: ClusterSpec | None
    problems: tuple[FieldProblem, ...] = ()
    repaired: tuple[str, ...] = ()


def shown(value: object) -> str:
    """A user's value for a message: escaped and cut, whatever it is."""
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def read_name(name: object) -> Iterator[FieldProblem]:
    """What keeps something from being a cluster name."""
    try:
        _NAME.validate_python(name, strict=True)
    except ValidationError:
        remedy = f"{_DNS_LABEL_REMEDY}; at most 32 characters"
        problem = "a name is missing" if name is None else f"{shown(name)} is not a DNS label of at most 32 characters"
        yield FieldProblem(field="name", problem=problem, remedy=remedy)


def read_spec(raw: object, around: Surroundings) -> Reading:
    """Read a spec; on malformed fields read it again without them."""
    if not isinstance(raw, Mapping):
        problem = "a spec is missing" if raw is None else f"{shown(raw)} is not an object"
        return Reading(
            None, (FieldProblem(field="spec", problem=problem, remedy="give a spec with at least a version"),)
        )
    try:
        return Reading(ClusterSpec.model_validate(raw))
    except ValidationError as error:
        errors = error.errors(include_url=False)
    paths = [_path(details["loc"]) for details in errors]
    spec = _reread(raw, [path for path in paths if path], around)
    return Reading(spec, tuple(describe(errors, root="spec")), tuple(_dotted(("spec", *path)) for path in paths))


def describe(errors: Sequence[ErrorDetails], *, root: str = "") -> Iterator[FieldProblem]:
    """Pydantic's findings as problems, one a field, each with a remedy."""
    told: set[str] = set()
    for details in errors:
        path = _path(details["loc"])
        field = _dotted((root, *path) if root else path) or "body"
        if field not in told:
            told.add(field)
            yield FieldProblem(field=field, problem=_problem(details), remedy=_remedy(details, path))


def _problem(details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return "it is missing"
    if details["type"] == "extra_forbidden":
        return "there is no such field"
    if details["type"] == "value_error" and isinstance(details.get("input"), Mapping):
        return str(details["ctx"]["error"])  # a rule about several fields: it names them
    return f"{shown(details.get('input'))}: {details['msg'][:1].lower()}{details['msg'][1:]}"


def _remedy(details: ErrorDetails, path: Sequence[int | str]) -> str:
    if details["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]) if path else "", KNOWN_FIELDS, n=1)
        return f"leave it out, or did you mean {near[0]}?" if near else "leave it out"
    context = details.get("ctx", {})
    bounds = {"greater_than_equal": ("ge", "at least"), "less_than_equal": ("le", "at most")}
    if details["type"] in bounds:
        key, words = bounds[details["type"]]
        return f"give {words} {context[key]}"
    if details["type"] == "string_pattern_mismatch":
        if path and path[-1] == "name":
            return _DNS_LABEL_REMEDY
        return "use a version such as 1.34.2" if path and path[-1] == "version" else f"match {context['pattern']}"
    return _REMEDIES.get(details["type"], "see this field in /openapi.json")


def _path(location: Sequence[int | str]) -> tuple[int | str, ...]:
    return tuple(part for part in location if not str(part).startswith(_NO_FIELDS))


def _dotted(path: Sequence[int | str]) -> str:
    return ".".join(str(part)[:_LONGEST_SHOWN].encode("ascii", "backslashreplace").decode() for part in path)


def _reread(
    raw: Mapping[str, Any], malformed: Sequence[Sequence[int | str]], around: Surroundings
) -> ClusterSpec | None:
    repaired = copy.deepcopy(dict(raw))
    for path in malformed:
        _set_aside(repaired, path)
    if "version" not in repaired and around.versions:
        repaired["version"] = around.versions[0]
    try:
        return ClusterSpec.model_validate(repaired)
    except ValidationError:
        return None


def _set_aside(spec: Any, path: Sequence[int | str]) -> None:
    for part in path[:-1]:
        inside = part in spec if isinstance(spec, dict) else isinstance(spec, list) and 0 <= int(part) < len(spec)
        if not inside:
            return
        spec = spec[part]
    if isinstance(spec, dict):
        spec.pop(path[-1], None)
