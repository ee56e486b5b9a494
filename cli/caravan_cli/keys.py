"""`caravan keys`: turn the key ring of a local stack. Elsewhere it is a secret of yours: see docs/backup.md."""

import time
from pathlib import Path

import typer

from caravan_cli.errors import NotFound, Refused
from caravan_cli.outcome import tell
from caravan_cli.up.command import StateDir
from caravan_cli.up.operations import act
from caravan_cli.up.parts import SERVICES
from caravan_shared.plumbing import sealing
from caravan_shared.plumbing.sealing import KeyRing

_KEYS = "keys.json"
_EVERY_SERVICE_HAS_READ_IT_S = 300  # they do each minute; and what was sealed meanwhile has been opened by then

app = typer.Typer(no_args_is_help=True, help="Turn the key ring that seals a local stack's secrets.")


@app.command()
def rotate(state_dir: StateDir = Path(".caravan")) -> None:
    """Add a key and make it the current one. Running services use it within a minute, and seal again what they keep.

    Old keys stay until `caravan keys drop`; backups need the keys of their time.
    """
    name = sealing.rotate(_ring(state_dir))
    tell(f"{name} is the current key. Services take it within a minute; then: caravan keys drop")


@app.command()
def drop(state_dir: StateDir = Path(".caravan")) -> None:
    """Take off the ring every key that is not current and that nothing in any store needs."""
    path = _ring(state_dir)
    waited_s = time.time() - path.stat().st_mtime
    if waited_s < _EVERY_SERVICE_HAS_READ_IT_S:
        raise Refused(
            f"The ring was changed {waited_s:.0f} s ago; services have read it after {_EVERY_SERVICE_HAS_READ_IT_S} s."
        )
    ring = KeyRing.load(path)
    used = {
        name
        for names in act(state_dir.absolute(), {each: ["keys"] for each in SERVICES}).values()
        for name in names.split()
    }
    unused = ring.names - used - {ring.current}
    if unused:
        sealing.drop(path, unused)
    still = sorted(used & ring.names - {ring.current})
    tell(f"Dropped: {', '.join(sorted(unused)) or 'none'}. Backups made before need them: keep a copy with those.")
    if still:
        raise Refused(f"Still in use: {', '.join(still)}. Services that run seal again within a minute.")


def _ring(state_dir: Path) -> Path:
    path = state_dir.absolute() / _KEYS
    if not path.is_file():
        raise NotFound(f"There is no key ring {path}.")
    return path
