"""What a booting machine does with its user-data: the little of cloud-init that joins a node. Pure.

Source: https://cloudinit.readthedocs.io/en/latest/reference/modules.html (write_files, runcmd)
"""

import base64
from functools import lru_cache
from typing import Any

from caravan_sandbox.yamltext import load_mappings

HEADER = "#cloud-config"


class UserDataError(ValueError):
    """The user-data can't be acted on; the message says why."""


@lru_cache(maxsize=256)  # a thousand machines boot with one text
def join_config(user_data: str) -> str | None:
    """The JoinConfiguration text that the user-data joins with; None where it joins nothing. Raises UserDataError."""
    if not user_data.startswith(HEADER):
        raise UserDataError(f"user-data has to begin with {HEADER}")
    try:
        documents = load_mappings(user_data)
    except ValueError as error:
        raise UserDataError(str(error)) from error
    config = documents[0] if documents else {}
    path = _joins_with(config.get("runcmd") or [])
    if path is None:
        return None
    for file in config.get("write_files") or []:
        if file.get("path") == path:
            return _content(file)
    raise UserDataError(f"runcmd joins with {path}, which write_files does not write")


def _joins_with(commands: list[Any]) -> str | None:
    for command in commands:
        line = " ".join(map(str, command)) if isinstance(command, list) else str(command)
        words = line.split()
        if "kubeadm" in words and "join" in words:
            if "--config" not in words[:-1]:
                raise UserDataError("kubeadm join has to name its --config")
            return words[words.index("--config") + 1]
    return None


def _content(file: dict[str, Any]) -> str:
    content = str(file.get("content", ""))
    encoding = file.get("encoding", "text/plain")
    if encoding in ("b64", "base64"):
        return base64.b64decode(content).decode()
    if encoding != "text/plain":
        raise UserDataError(f"the sandbox does not know the encoding {encoding!r}")
    return content
