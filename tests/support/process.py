"""One of our services, or the sandbox, as a process of its own: what it says is in a log, and it may be killed."""

import os
from collections.abc import Mapping
from pathlib import Path

from caravan_cli.up.parts import module
from caravan_cli.up.processes import Module, Process, Program


def start(part: str, log: Path, settings: Mapping[str, object]) -> Process:
    """Start it with these settings, and without waiting for it. Whoever starts it ends it."""
    told = {f"CARAVAN_{part.upper()}_{name.upper()}": str(value) for name, value in settings.items()}
    return Process(Program(part, Module(module(part)), 0, None), log, os.environ | told)
