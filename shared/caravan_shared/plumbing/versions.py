"""Which version of a service runs: that of its package."""

from importlib.metadata import PackageNotFoundError, version


def version_of(service: str) -> str:
    """As `0.1.0`; `unknown` for a service that was not installed as a package."""
    try:
        return version(f"caravan-{service}")
    except PackageNotFoundError:
        return "unknown"
