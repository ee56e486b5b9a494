"""Bring what kubeadm keeps on a node to a version: static pods, cluster configuration, kubelet configuration.

The kubelet comes last in Kubernetes' order, after a drain and by another task. So its installed version says whether
this step has been done: while it is the old one, `kubeadm upgrade` runs (again), which is harmless wherever an earlier
run was killed.

Where etcd is exchanged under a kube-apiserver, that one is ended with it. Left alone it would keep its clients waiting,
kubelets among them, until their nodes count as lost (50 s), although other control planes could serve them; and the
kubelet here would wait for it (34 s) before it starts the new etcd.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from typing import Any

from ansible.module_utils import caravan_static_pods as static_pods
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_etcdctl import Etcdctl
from ansible.module_utils.caravan_kubectl import Kubectl, is_rolled_out
from ansible.module_utils.caravan_snapshot import save

DOCUMENTATION = r"""
module: upgrade_node
short_description: Bring what kubeadm keeps on a node to a version
description:
  - Does nothing where the kubelet on disk has the version, for that is exchanged afterwards.
options:
  version:
    description: Kubernetes version, such as 1.34.2.
    type: str
    required: true
  first:
    description: The first control plane of the cluster to be upgraded.
    type: bool
    default: false
  config:
    description: kubeadm's UpgradeConfiguration, as YAML.
    type: str
    required: true
  backup_dir:
    description: Where the snapshot goes that is taken before the first upgrade.
    type: path
    required: true
  etcd_endpoints:
    description: Client URLs of an external etcd; empty where etcd runs on the control planes.
    type: list
    elements: str
    default: []
author: [Caravan]
"""
EXAMPLES = r"""
- name: Ensure kubeadm has upgraded the node
  upgrade_node: {version: 1.34.2, config: "{{ text }}", backup_dir: /var/backups/caravan}
"""
RETURN = r"""
backup:
  description: The snapshot that was taken.
  type: dict
  returned: where it is the first and something was changed
"""

ASKED_WITHIN_S = 20
STARTS_WITHIN_S = 120
LOOK_EVERY_S = 0.5
APISERVER_GRACE_S = 2  # every request that it could finish needs etcd
HEALTH_CHECK, HEALTH_CHECKS = "[ERROR CreateJob]", 6
ROLLED_OUT_WITHIN_S = 120
UPGRADED_WITHIN_S = 1200  # four static pods, each with kubeadm's own limit of five minutes


def installed_kubelet() -> str:
    """Version of the kubelet on disk, such as 1.34.2."""
    return run(["kubelet", "--version"], ASKED_WITHIN_S).split()[-1].lstrip("v")


def upgrade(asked: dict[str, Any]) -> dict[str, Any]:
    """Upgrade; return what else to tell."""
    told = {}
    if static_pods.there(static_pods.MANIFESTS):
        with contextlib.suppress(static_pods.TooSlow):  # then kubeadm says what is wrong, or finds another one
            wait_s = STARTS_WITHIN_S  # an earlier try that was killed may have left it starting
            static_pods.wait_until(static_pods.apiserver_answers, wait_s, "the kube-apiserver does not answer")
    if asked["first"]:
        told["backup"] = save(Etcdctl(asked["etcd_endpoints"][:1]), asked["backup_dir"], f"before-{asked['version']}")
    ended = threading.Event()
    watch = threading.Thread(target=end_apiserver_with_etcd, args=(ended,), daemon=True)
    watch.start()
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
            config.write(asked["config"])
            config.flush()
            what = ["apply", "--yes"] if asked["first"] else ["node"]
            run_kubeadm(*what, "--config", config.name)
    finally:
        ended.set()
        watch.join()
    if static_pods.there(static_pods.MANIFESTS):
        with contextlib.suppress(static_pods.TooSlow):  # some node is dead: the others shall not wait for it
            wait_s = ROLLED_OUT_WITHIN_S
            static_pods.wait_until(kube_proxy_is_rolled_out, wait_s, "kube-proxy is not rolled out")
    return told


def kube_proxy_is_rolled_out() -> bool:
    """Whether every node's kube-proxy is the new one: one that starts does not hear of the pods that a drain moves."""
    found = Kubectl().get("daemonset", "kube-proxy", "--namespace", "kube-system")
    return found is None or is_rolled_out(found)


def run_kubeadm(*arguments: str, more_checks: int = HEALTH_CHECKS - 1) -> None:
    """Ask again while its health check fails: that gives a Job 15 s, too few for a control plane that still starts."""
    try:
        run(["kubeadm", "upgrade", *arguments], UPGRADED_WITHIN_S)
    except CommandFailed as error:
        if not more_checks or HEALTH_CHECK not in error.said:
            raise
        run_kubeadm(*arguments, more_checks=more_checks - 1)


def end_apiserver_with_etcd(ended: threading.Event) -> None:
    """Watch until etcd's container goes, end the kube-apiserver's that goes without, and leave it to the kubelet."""
    first = None
    while not ended.wait(LOOK_EVERY_S):
        try:
            running = static_pods.running()
            first = first or running.get("etcd")
            if first is None or running.get("etcd") == first:
                continue
            if "etcd" not in running and "kube-apiserver" in running:
                static_pods.end(running["kube-apiserver"][0], grace_s=APISERVER_GRACE_S)
            return
        except CommandFailed:  # the runtime is busy or starting; kubeadm's own result is what counts
            continue


def main() -> None:
    """Ansible's entry."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "first": {"type": "bool", "default": False},
            "config": {"type": "str", "required": True},
            "backup_dir": {"type": "path", "required": True},
            "etcd_endpoints": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        if installed_kubelet() == module.params["version"]:
            module.exit_json(changed=False)
        told = {} if module.check_mode else upgrade(module.params)
    except (CommandFailed, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, **told)


if __name__ == "__main__":
    main()
