"""Label and field selectors, as list and watch requests carry them. Pure.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from caravan_sandbox.kube.statuses import BadRequest

Matches = Callable[[Mapping[str, Any]], bool]

FIELDS = ("metadata.name", "metadata.namespace", "spec.nodeName", "spec.unschedulable", "status.phase", "type")

_TERMS = re.compile(r",(?![^(]*\))")  # commas outside of parentheses
_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")


def label_selector(text: str) -> Matches | None:
    """A predicate on objects; None where everything matches. Raises BadRequest."""
    tests = [_label_test(term.strip()) for term in _TERMS.split(text) if term.strip()]
    if not tests:
        return None
    return lambda body: all(test(body["metadata"].get("labels") or {}) for test in tests)


def field_selector(text: str) -> Matches | None:
    """A predicate on objects; None where everything matches. Raises BadRequest for other fields."""
    tests = [_field_test(term.strip()) for term in text.split(",") if term.strip()]
    if not tests:
        return None
    return lambda body: all(test(body) for test in tests)


def both(first: Matches | None, second: Matches | None) -> Matches | None:
    """Both must match; None where neither selects."""
    if first is None or second is None:
        return first or second
    return lambda body: first(body) and second(body)


def _label_test(term: str) -> Callable[[Mapping[str, str]], bool]:
    in_set = _SET.match(term)
    if in_set:
        key, operator, values = in_set[1], in_set[2], {value.strip() for value in in_set[3].split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    key, negated, value = _comparison(term)
    if value is None:
        wanted = not term.startswith("!")
        return lambda labels: (term.lstrip("!") in labels) is wanted
    if negated:
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _field_test(term: str) -> Matches:
    path, negated, value = _comparison(term)
    if value is None or path not in FIELDS:
        raise BadRequest(f"field label not supported: {path}")
    return lambda body: (_field(body, path) == value) is not negated


def _comparison(term: str) -> tuple[str, bool, str | None]:
    for operator in ("!=", "==", "="):
        if operator in term:
            key, _, value = term.partition(operator)
            return key.strip(), operator == "!=", value.strip()
    return term, False, None


def _field(body: Mapping[str, Any], path: str) -> str:
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or value is None:
        return str(bool(value)).lower() if path == "spec.unschedulable" else ""
    return str(value)
