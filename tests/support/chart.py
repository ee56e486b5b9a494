"""The chart, as somebody installs it: values that name every secret, and a helm to render them with."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from caravan_cli.up.clouds import filled_mirror
from caravan_cli.up.errors import StackError

CHART = Path(__file__).parents[2] / "deploy" / "chart"
SERVICES = ["api", "provisioner", "bootstrapper", "health", "dns"]
KUBERNETES = "1.34.2"
VALUES: dict[str, Any] = {
    "nats": {"secret": "nats"},
    "keyRing": {"secret": "key-ring"},
    "services": {service: {"database": {"secret": f"{service}-database"}} for service in SERVICES},
}


def helm() -> Path | None:
    """PATH's helm, else the one of this machine's artifact mirror; None where there is neither."""
    if on_path := shutil.which("helm"):
        return Path(on_path)
    try:
        mirror = Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror())
    except StackError:
        return None
    return next(iter(mirror.glob("helm/*/helm")), None)


def render(binary: Path, values: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    """`helm template` with these values over the chart's own."""
    words = ("template", "caravan", CHART, "--kube-version", KUBERNETES, "--values", "-")
    return subprocess.run(
        [binary, *words], input=yaml.safe_dump(values), capture_output=True, text=True, check=False, timeout=60
    )
