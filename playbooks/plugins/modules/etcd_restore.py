"""Exchange what etcd holds for what a backup holds: stand still, exchange, run again. Each step on every node at once.

Three steps of one module, because between them every node has to wait for all the others: members that start while one
still holds the old content would take the old cluster up again. Each step can be killed and repeated.
"""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils import caravan_static_pods as static_pods
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_etcdctl import Etcdctl
from ansible.module_utils.caravan_snapshot import sha256

DOCUMENTATION = r"""
module: etcd_restore
short_description: Exchange what etcd holds for what a backup holds
description:
  - Each state is reached on every node before the next is asked for.
options:
  state:
    description:
      - C(stopped) - no kube-apiserver and no etcd runs here; a member's snapshot is whole.
      - C(restored) - a member holds the snapshot's content; needs C(stopped) on every node.
      - C(started) - they run again and answer; needs C(restored) on every member.
    type: str
    choices: [stopped, restored, started]
    required: true
  snapshot:
    description: File of the backup on a member.
    type: path
    required: true
  sha256:
    description: Its checksum; empty asks for none.
    type: str
    default: ""
  name:
    description: Name of this node.
    type: str
    required: true
  members:
    description: Address of every member of etcd by its name.
    type: dict
    required: true
author: [Caravan]
"""
EXAMPLES = r"""
- name: Ensure the members hold the backup's content
  etcd_restore: {state: restored, snapshot: /var/lib/caravan/restore.db, name: cp-1, members: {cp-1: 10.0.0.4}}
"""
RETURN = r"""
done:
  description: What was changed.
  type: list
  elements: str
  returned: always
"""

ADMIN = Path("/etc/kubernetes/admin.conf")  # only a control plane has it
DATA = Path("/var/lib/etcd")
UNIT = "etcd.service"  # of an external member
PEER_PORT = 2380
RESTORED_WITHIN_S = 1800  # 8 GiB onto a slow disk
ENDS_WITHIN_S = 120
ANSWERS_WITHIN_S = 300
REVISIONS_AHEAD = 1_000_000_000  # past any that a watcher has seen, as etcd's page on Kubernetes' caches advises


class Refused(Exception):
    """It must not or cannot be done; the text is for a person."""


def stop(asked: dict[str, Any], *, only_look: bool) -> list[str]:
    """Nothing reads or writes etcd's data here."""
    if asked["name"] in asked["members"]:
        _verify(Path(asked["snapshot"]), asked["sha256"])
    if ADMIN.exists():
        done = [f"stopped {pod}" for pod in static_pods.there(static_pods.MANIFESTS)]
        if not only_look:
            static_pods.stop_all()
        return done
    if not _runs(UNIT):
        return []
    if not only_look:
        run(["systemctl", "stop", UNIT], ENDS_WITHIN_S)
    return [f"stopped {UNIT}"]


def restore(asked: dict[str, Any], *, only_look: bool) -> list[str]:
    """Put the snapshot's content where the member's data is; the old content stays beside it."""
    if asked["name"] not in asked["members"]:
        return []
    if only_look:
        return ["restored the member"]
    new = DATA / "restoring"
    shutil.rmtree(new, ignore_errors=True)
    peers = {name: f"https://{_in_url(address)}:{PEER_PORT}" for name, address in asked["members"].items()}
    what = ["etcdutl", "snapshot", "restore", asked["snapshot"], "--data-dir", str(new), "--name", asked["name"]]
    what += ["--initial-cluster", ",".join(f"{name}={url}" for name, url in peers.items())]
    what += ["--initial-cluster-token", sha256(Path(asked["snapshot"]))]  # members of the old cluster stay strangers
    what += ["--initial-advertise-peer-urls", peers[asked["name"]]]
    run([*what, "--bump-revision", str(REVISIONS_AHEAD), "--mark-compacted"], RESTORED_WITHIN_S)
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    if (DATA / "member").exists():
        os.replace(DATA / "member", DATA / f"before-{moment}")
    _give_to_owner_of(DATA, new)
    os.replace(new / "member", DATA / "member")
    new.rmdir()
    return ["restored the member"]


def start(_: dict[str, Any], *, only_look: bool) -> list[str]:
    """What was stopped runs again and answers."""
    if ADMIN.exists():
        done = [f"started {pod}" for pod in static_pods.there(static_pods.ASIDE)]
        if not only_look:
            static_pods.start_all()
        return done
    done = [] if _runs(UNIT) else [f"started {UNIT}"]
    if not only_look:
        run(["systemctl", "start", "--no-block", UNIT], ENDS_WITHIN_S)  # it is ready only when a quorum is
        static_pods.wait_until(_etcd_answers, ANSWERS_WITHIN_S, "etcd does not answer")
    return done


def _verify(snapshot: Path, expected: str) -> None:
    if expected and (found := sha256(snapshot)) != expected:
        raise Refused(f"{snapshot}: its SHA-256 is {found}, but {expected} is expected; nothing was touched")
    run(["etcdutl", "snapshot", "status", str(snapshot)], RESTORED_WITHIN_S)


def _runs(unit: str) -> bool:
    state = run(["systemctl", "show", "--property=ActiveState", "--value", unit], ENDS_WITHIN_S).strip()
    return state in ("active", "activating")


def _etcd_answers() -> bool:
    Etcdctl().tell("endpoint", "health")
    return True


def _give_to_owner_of(model: Path, tree: Path) -> None:
    owner = model.stat()
    for path in (tree, *tree.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def main() -> None:
    """Ansible's entry."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["stopped", "restored", "started"]},
            "snapshot": {"type": "path", "required": True},
            "sha256": {"type": "str", "default": ""},
            "name": {"type": "str", "required": True},
            "members": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    act = {"stopped": stop, "restored": restore, "started": start}[module.params["state"]]
    try:
        done = act(module.params, only_look=module.check_mode)
    except (Refused, static_pods.TooSlow, CommandFailed, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
