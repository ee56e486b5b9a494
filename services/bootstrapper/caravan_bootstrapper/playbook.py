"""`ansible-playbook` as our runs start it: what every run or every task would make anew is made once.

Ansible forks a process for each task and host; it loads the plugins that the task needs, and ends. And each run packs
its modules for the machines anew, 0.4 CPU seconds a module, while the hosts wait. So the plugins that nearly every
task needs are loaded before the first fork, and so is the JSON that modules speak; and what was packed is kept for the
next run (docs/decisions/0021).
"""

import gc
import os
import sys
from pathlib import Path

PACKED = "PACKED_MODULES"
"""In the environment: the directory of packed modules. They are code alone; arguments are added for each host."""

CACHE = "ansiballz_cache"
"""Where Ansible looks for a packed module, in a run's own temporary directory, before it packs it."""


def main() -> None:
    """Run the playbook that the command line names; ends the process with Ansible's exit code."""
    gc.disable()  # nothing that is imported becomes garbage; looking for some there is an eighth of a start
    from ansible import constants
    from ansible.cli.playbook import main as ansible_playbook

    Path(constants.DEFAULT_LOCAL_TMP, CACHE).symlink_to(os.environ[PACKED])
    _load_plugins()
    _load_json_of_modules()
    gc.freeze()
    gc.enable()
    sys.argv[0] = "ansible-playbook"
    ansible_playbook()


def _load_plugins() -> None:
    from ansible.plugins import loader

    for plugins, name in (
        (loader.connection_loader, "ssh"),
        (loader.shell_loader, "sh"),
        (loader.action_loader, "normal"),
        (loader.lookup_loader, "file"),
        (loader.lookup_loader, "template"),
        (loader.filter_loader, "default"),  # of filters and tests, one brings all
        (loader.test_loader, "defined"),
    ):
        plugins.get(name, class_only=True)


def _load_json_of_modules() -> None:
    from ansible.module_utils.common.json import Direction, get_module_decoder, get_module_encoder

    get_module_encoder("legacy", Direction.CONTROLLER_TO_MODULE)
    get_module_decoder("legacy", Direction.MODULE_TO_CONTROLLER)


if __name__ == "__main__":
    main()
