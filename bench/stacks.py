"""Local stacks whose workers are pushed over SSH, or a console, as control planes are; else they join by themselves."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from caravan_cli.up import Stack, layout
from caravan_cli.up.docker import Docker
from caravan_cli.up.layout import Layout, Ports

CLOUDS = "CARAVAN_PROVISIONER_CLOUDS"


def pushing(folder: Path, docker: Docker | None, env: Mapping[str, str]) -> Stack:
    """A stack with the cloud `docker` where there is one, else with `sandbox`."""
    network, claim = layout.claim_network(None)
    claim.close()
    settled = replace(Layout(), ports=Ports.free(), network=network)
    layout.save(folder, settled)
    sandbox = {"kind": "sandbox", "url": settled.sandbox_url, "token": settled.sandbox_token}
    told = docker.env(settled) if docker else {CLOUDS: json.dumps({"sandbox": sandbox})}
    clouds = {name: {**cloud, "pull": False} for name, cloud in json.loads(told[CLOUDS]).items()}
    return Stack(folder, ports="auto", env={**env, **told, CLOUDS: json.dumps(clouds)})
