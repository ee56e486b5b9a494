"""Which availability zone a machine goes to: the one with the fewest of its set, so that a zone's loss costs least."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from caravan_provisioner.clouds.base import Machine, Owner

_Set = tuple[UUID, str]


class Zones:
    """How many machines of each node set are where: as a listing told, and as was asked for since."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._placed: defaultdict[_Set, Counter[str]] = defaultdict(Counter)

    def count(self, machines: Iterable[Machine], listed: Iterable[Mapping[str, Any]]) -> None:
        """Learn where the machines of a listing are, given as both what it says and what that means."""
        self._placed.clear()
        for machine, server in zip(machines, listed, strict=True):
            if machine.owner:
                self._placed[_set(machine.owner)][server.get("OS-EXT-AZ:availability_zone", "")] += 1

    def take(self, owner: Owner, machines: int = 1) -> str | None:
        """The zone for so many more machines of a set, which count there from now on. None: Nova shall choose."""
        if not self._names:
            return None
        placed = self._placed[_set(owner)]
        zone = min(self._names, key=lambda name: placed[name])
        placed[zone] += machines
        return zone


def _set(owner: Owner) -> _Set:
    return owner.cluster_id, owner.node_set
