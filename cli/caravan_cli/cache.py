"""Where this user's machine keeps what can be had again."""

import os
from pathlib import Path


def cache_home() -> Path:
    """CARAVAN_CACHE or ~/.cache/caravan."""
    return Path(os.environ.get("CARAVAN_CACHE") or Path.home() / ".cache" / "caravan")
