"""The modules that Ansible carries to machines, imported under the names that they have there."""

import importlib
from pathlib import Path
from types import ModuleType

import ansible.module_utils

UTILS = Path(__file__).parents[2] / "playbooks/plugins/module_utils"


def carried(name: str) -> ModuleType:
    """One of `playbooks/plugins/module_utils`."""
    if str(UTILS) not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(str(UTILS))
    return importlib.import_module(f"ansible.module_utils.{name}")
