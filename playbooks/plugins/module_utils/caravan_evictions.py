"""Which pods still stand in the way of a drain, which disruption budgets hold them, and what to say of it. Pure."""

from __future__ import annotations

from typing import Any

MIRROR = "kubernetes.io/config.mirror"  # static pods; they end with their node
NAMED_AT_MOST = 5  # pods or budgets named in one sentence

Pod = dict[str, Any]
Budget = dict[str, Any]


def in_the_way(pods: list[Pod]) -> list[Pod]:
    """The pods that a drain has to move: not finished, not static, not of a DaemonSet."""
    return [pod for pod in pods if not (_is_static(pod) or _is_of_daemon_set(pod) or _is_finished(pod))]


def held_by(pod: Pod, budgets: list[Budget]) -> list[Budget]:
    """The budgets that select the pod and allow no disruption at the moment."""
    return [
        budget
        for budget in budgets
        if budget["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and budget.get("status", {}).get("disruptionsAllowed", 0) < 1
        and matches(budget["spec"].get("selector"), pod["metadata"].get("labels") or {})
    ]


def matches(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """Whether a label selector selects these labels (policy/v1: an empty one selects all, none at all selects none)."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or ())


def sentence(node: str, waited_s: int, pods: list[Pod], budgets: list[Budget], *, forced: bool) -> str:
    """Why the drain did not end, and what a person can do."""
    held = {_name(pod): held_by(pod, budgets) for pod in pods if not _is_ending(pod)}
    blocking = {_name(budget): budget for found in held.values() for budget in found}
    parts = [f"{node} was not drained within {waited_s} s."]
    for name, budget in list(blocking.items())[:NAMED_AT_MOST]:
        status = budget.get("status", {})
        has, needs = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        keeps = _listed([pod for pod, found in held.items() if name in map(_name, found)])
        parts.append(f"PodDisruptionBudget {name} (needs {needs} healthy pods, has {has}) keeps {keeps}.")
    if ending := [_name(pod) for pod in pods if _is_ending(pod)]:
        parts.append(f"Still ending: {_listed(ending)}.")
    if others := [pod for pod, found in held.items() if not found]:
        parts.append(f"Still there: {_listed(others)}.")
    if blocking and not forced:
        parts.append(
            "Add replicas, relax the budget, or set drain.force: true in the cluster's spec, which deletes these pods "
            "all the same."
        )
    return " ".join(parts)


def _holds(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    return {
        "In": key in labels and labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[operator]


def _is_static(pod: Pod) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def _is_of_daemon_set(pod: Pod) -> bool:
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner["kind"] == "DaemonSet" for owner in owners)


def _is_finished(pod: Pod) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _is_ending(pod: Pod) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _name(thing: dict[str, Any]) -> str:
    return f"{thing['metadata']['namespace']}/{thing['metadata']['name']}"


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
