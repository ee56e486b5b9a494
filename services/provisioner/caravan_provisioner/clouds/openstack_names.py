"""Names that a cloud does not have: told together with those that are near."""

import difflib
from collections.abc import Iterable

from caravan_provisioner.clouds.base import CloudRefused


class UnknownName(CloudRefused):
    """The configuration names something that the cloud does not have; lists what is near."""

    def __init__(self, cloud: str, kind: str, name: str, names: Iterable[str]) -> None:
        super().__init__(cloud, f"it has no {kind} {name!r}; there is {near(name, names) or 'none at all'}")
        self.kind, self.name = kind, name


def near(name: str, names: Iterable[str]) -> str:
    """The names most like this one, or some at all."""
    everything = sorted(set(names))
    return ", ".join(difflib.get_close_matches(name, everything, n=3) or everything[:8])
