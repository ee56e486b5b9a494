"""JSON merge patch (RFC 7386), which also stands in for kubectl's strategic merge patch. Pure.

A strategic patch differs for lists with merge keys only, such as conditions or container lists; nodes' taints, labels,
annotations and `spec.unschedulable`, which people do patch, come out the same.
"""

from typing import Any

MERGE_TYPES = ("application/merge-patch+json", "application/strategic-merge-patch+json")


def merge_patch(target: Any, patch: Any) -> Any:
    """The patched copy of `target`."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if name.startswith("$"):
            continue  # a strategic patch's directives
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
