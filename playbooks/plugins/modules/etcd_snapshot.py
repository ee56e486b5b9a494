"""Save what etcd holds into a new file, on a control plane or an etcd node."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed
from ansible.module_utils.caravan_etcdctl import Etcdctl
from ansible.module_utils.caravan_snapshot import save

DOCUMENTATION = r"""
module: etcd_snapshot
short_description: Save what etcd holds into a new file
description:
  - Every run saves a new file, named by the moment; a file that is not whole never gets its name.
options:
  folder:
    description: Where the file goes; made with mode 0700.
    type: path
    required: true
  prefix:
    description: Beginning of the file's name.
    type: str
    required: true
  endpoints:
    description: Client URLs of an external etcd; the first is asked. Empty asks the member on this machine.
    type: list
    elements: str
    default: []
author: [Caravan]
"""
EXAMPLES = r"""
- name: Ensure a backup is taken
  etcd_snapshot: {folder: /var/backups/caravan, prefix: shop}
"""
RETURN = r"""
path:
  description: The file.
  type: str
  returned: changed
sha256:
  description: Its checksum.
  type: str
  returned: changed
bytes:
  description: Its size.
  type: int
  returned: changed
revision:
  description: The revision of etcd in it.
  type: int
  returned: changed
keys:
  description: Keys in it.
  type: int
  returned: changed
"""


def main() -> None:
    """Ansible's entry."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "prefix": {"type": "str", "required": True},
            "endpoints": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        saved = save(Etcdctl(module.params["endpoints"][:1]), module.params["folder"], module.params["prefix"])
    except (CommandFailed, OSError) as error:
        module.fail_json(msg=f"no backup was taken: {error}")
    module.exit_json(changed=True, **saved)


if __name__ == "__main__":
    main()
