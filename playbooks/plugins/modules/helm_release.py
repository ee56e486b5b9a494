"""A Helm release that is as it shall be: installed or upgraded only where chart version or values differ.

`helm upgrade --install` makes a new revision each time it is asked, and agents that are rolled out anew each time would
be no idempotence. So the release is looked at first, with what Helm itself has stored of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_helm import differences, is_pending

DOCUMENTATION = r"""
module: helm_release
short_description: Install or upgrade a Helm release where it differs
description:
  - Compares the release's chart version, values and status with those wanted, and upgrades it where they differ.
  - A release that an interrupted run left pending is taken up again.
options:
  name:
    description: The release.
    type: str
    required: true
  namespace:
    description: Where it lives.
    type: str
    required: true
  chart:
    description: The chart, a packed file on the machine.
    type: path
    required: true
  values:
    description: The chart's values.
    type: dict
    default: {}
  kubeconfig:
    description: How the cluster is reached; by default as its administrator, on a control plane.
    type: path
    default: /etc/kubernetes/admin.conf
attributes:
  check_mode:
    support: full
"""

RETURN = r"""
changes:
  description: Why it was upgraded, or in check mode would be; empty where it is as it shall be.
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Ensure Cilium is installed
  helm_release:
    name: cilium
    namespace: kube-system
    chart: /var/lib/caravan/charts/cilium-1.19.3.tgz
"""

LOOK_WITHIN_S = 60
UPGRADE_WITHIN_S = 300  # objects are written, not waited for


def main() -> None:
    """Compare, then upgrade."""
    spec = {
        "name": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "chart": {"type": "path", "required": True},
        "values": {"type": "dict", "default": {}},
        "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
    }
    module = AnsibleModule(spec, supports_check_mode=True)
    wanted = module.params
    os.environ["KUBECONFIG"] = wanted["kubeconfig"]
    try:
        stands = _stands(wanted)
        changes = differences(stands, _chart_version(wanted["chart"]), wanted["values"])
        if changes and not module.check_mode:
            _upgrade(wanted, stands)
    except CommandFailed as failed:
        module.fail_json(msg=str(failed), said=failed.said)
    module.exit_json(changed=bool(changes), changes=changes)


def _stands(wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The release's version, status, values and revision; None where there is none."""
    known = ["--namespace", wanted["namespace"]]
    listed = json.loads(
        run(["helm", "list", "--all", *known, "--filter", f"^{wanted['name']}$", "--output", "json"], LOOK_WITHIN_S)
    )
    if not listed:
        return None
    told = json.loads(run(["helm", "get", "metadata", wanted["name"], *known, "--output", "json"], LOOK_WITHIN_S))
    values = json.loads(run(["helm", "get", "values", wanted["name"], *known, "--output", "json"], LOOK_WITHIN_S))
    return {
        "version": told["version"],
        "status": told["status"],
        "revision": int(told["revision"]),
        "values": values or {},
    }


def _chart_version(chart: str) -> str:
    """The `version` of the chart's Chart.yaml."""
    shown = run(["helm", "show", "chart", chart], LOOK_WITHIN_S)
    return next(
        line.split(":", 1)[1].strip().strip("\"'") for line in shown.splitlines() if line.startswith("version:")
    )


def _upgrade(wanted: dict[str, Any], stands: dict[str, Any] | None) -> None:
    if stands and is_pending(stands):
        secret = f"sh.helm.release.v1.{wanted['name']}.v{stands['revision']}"
        run(["kubectl", "--namespace", wanted["namespace"], "delete", "secret", secret], LOOK_WITHIN_S)
    values = Path("/run/caravan/helm-values.json")
    values.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        values.touch(mode=0o600)
        values.write_text(json.dumps(wanted["values"]))
        command = ["helm", "upgrade", "--install", wanted["name"], wanted["chart"], "--reset-values"]
        run([*command, "--namespace", wanted["namespace"], "--values", str(values)], UPGRADE_WITHIN_S)
    finally:
        values.unlink()


if __name__ == "__main__":
    main()
