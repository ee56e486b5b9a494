"""The way from one Kubernetes version to another: control planes go through every minor between. Pure.

Source: https://kubernetes.io/releases/version-skew-policy/
"""

from collections.abc import Iterable
from functools import lru_cache

from caravan_shared.contracts.spec import minor_of


class GapInVersions(ValueError):
    """No version of a minor is offered that has to be passed through."""

    def __init__(self, current: str, wanted: str, minor: tuple[int, int]) -> None:
        self.current, self.wanted, self.minor = current, wanted, minor
        super().__init__(
            f"no {minor[0]}.{minor[1]} version is offered, and the way from {current} to {wanted} leads through one"
        )


@lru_cache  # versions are few, and a look at a cluster compares that of each of its nodes
def version_key(version: str) -> tuple[int, int, int]:
    """`1.34.2` → (1, 34, 2), for comparing. Raises ValueError for what is no version."""
    return *minor_of(version), int(version.rpartition(".")[2])


def hops(current: str, wanted: str, offered: Iterable[str]) -> list[str]:
    """The versions to install one after the other: the highest patch of every minor between, then `wanted`.

    Empty where `current` is not older. Raises GapInVersions.
    """
    if version_key(current) >= version_key(wanted):
        return []
    (major, first), (last_major, last) = minor_of(current), minor_of(wanted)
    if major != last_major:
        raise GapInVersions(current, wanted, (last_major, 0))
    return [*(_highest(current, wanted, (major, minor), offered) for minor in range(first + 1, last)), wanted]


def _highest(current: str, wanted: str, minor: tuple[int, int], offered: Iterable[str]) -> str:
    patches = [version for version in offered if minor_of(version) == minor]
    if not patches:
        raise GapInVersions(current, wanted, minor)
    return max(patches, key=version_key)
