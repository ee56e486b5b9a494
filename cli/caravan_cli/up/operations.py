"""Run one action of each service's command on the stores of a local stack: `backup`, `restore`, `keys`."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from caravan_cli.errors import Refused
from caravan_cli.up import layout as layouts
from caravan_cli.up.layout import LOOPBACK, Layout
from caravan_cli.up.parts import module
from caravan_cli.up.wiring import common_env


def act(state_dir: Path, actions: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What each service (a key) printed when told so (its value), side by side. Refused says which fail."""
    layout = layouts.load(state_dir) or Layout()
    without_password = f"nats://{LOOPBACK}:{layout.ports.nats}"  # no action on a store connects there
    env = common_env(layout, state_dir, without_password, {})
    running = {
        service: subprocess.Popen(  # noqa: S603  # our own modules
            [sys.executable, "-m", module(service), *action],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for service, action in actions.items()
    }
    said = {service: process.communicate() for service, process in running.items()}
    if failed := [said[service][1].strip() for service, process in running.items() if process.returncode]:
        raise Refused("\n".join(failed))
    return {service: out for service, (out, _) in said.items()}
