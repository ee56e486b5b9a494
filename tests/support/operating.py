"""What an operator does to a local stack from its command line."""

import os
import time
from pathlib import Path

from typer.testing import CliRunner

from caravan_cli.main import app
from caravan_shared.plumbing.sealing import KeyRing
from tests.support.eventually import eventually

_LONG_AGO_S = 600


def caravan(*words: str) -> str:
    """What the command prints; it must succeed."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


async def rotate_and_drop(state_dir: Path) -> None:
    """Turn the running stack's key ring until the old key is gone."""
    ring = state_dir / "keys.json"
    (old,) = KeyRing.load(ring).names
    caravan("keys", "rotate", "--state-dir", str(state_dir))
    new = KeyRing.load(ring).current
    soon = CliRunner().invoke(app, ["keys", "drop", "--state-dir", str(state_dir)])
    assert (soon.exit_code, KeyRing.load(ring).names) == (4, {old, new})
    os.utime(ring, (time.time() - _LONG_AGO_S,) * 2)  # as if the services had had their time

    async def is_dropped() -> bool:
        CliRunner().invoke(app, ["keys", "drop", "--state-dir", str(state_dir)])
        return KeyRing.load(ring).names == {new}

    await eventually(is_dropped, within=120, every=0.5)
