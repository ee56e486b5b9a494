"""What the release before left behind: a backup of each service's store, and the key ring that goes with them."""

from pathlib import Path

FOLDER = Path(__file__).parent
KEY_RING = FOLDER / "keys.json"
"""Of a sandbox that was thrown away; it opens nothing but these backups."""


def backup_of(service: str) -> Path:
    """The service's backup."""
    return FOLDER / f"{service}.jsonl.gz"
