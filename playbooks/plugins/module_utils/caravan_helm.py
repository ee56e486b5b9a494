"""Why a Helm release is not as it shall be. Pure."""

from __future__ import annotations

from typing import Any

DEPLOYED = "deployed"
PENDING = "pending-"  # of a helm that was killed; the lock that it means would stand for ever


def differences(stands: dict[str, Any] | None, chart_version: str, values: dict[str, Any]) -> list[str]:
    """Why a release is not as it shall be. `stands`: its version, status and values; None where there is none. Pure."""
    if stands is None:
        return [f"chart {chart_version} installed"]
    changes = []
    if stands["version"] != chart_version:
        changes.append(f"chart {stands['version']} upgraded to {chart_version}")
    if stands["status"] != DEPLOYED:
        changes.append(f"release that is {stands['status']} taken up again")
    names = sorted({*stands["values"], *values})
    changed = [name for name in names if stands["values"].get(name) != values.get(name)]
    if changed:
        changes.append(f"values changed: {', '.join(changed)}")
    return changes


def is_pending(stands: dict[str, Any]) -> bool:
    """Whether an earlier helm never came to its end."""
    return str(stands["status"]).startswith(PENDING)
