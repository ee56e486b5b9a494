"""What every zone backend can do, and how a record is known to be ours.

Beside its addresses every name carries a TXT record with its owner. A name without it, or with another one, was made by
someone else: it is never changed and never removed.
"""

import re
from dataclasses import dataclass
from typing import Protocol

_MARKER = re.compile(r"heritage=caravan,installation=(?P<installation>[^,]+),cluster=(?P<cluster>[^,]+)")


@dataclass(frozen=True)
class Owner:
    """The cluster that a record belongs to."""

    installation: str
    """Tells apart several Caravans that write into one zone."""
    cluster: str

    @property
    def marker(self) -> str:
        """The text of the TXT record."""
        return f"heritage=caravan,installation={self.installation},cluster={self.cluster}"

    @classmethod
    def of_marker(cls, text: str) -> "Owner | None":
        """The owner that a TXT record's text names; None if it is not a marker of ours."""
        match = _MARKER.fullmatch(text)
        return cls(match["installation"], match["cluster"]) if match else None

    def __str__(self) -> str:
        return f"cluster {self.cluster} of the Caravan installation {self.installation}"


@dataclass(frozen=True)
class Record:
    """What a zone holds under one name."""

    addresses: tuple[str, ...]
    """IPv4 and IPv6 mixed, each in its A or AAAA record; empty where the name is only claimed."""
    ttl: int
    """Seconds."""
    owner: Owner | None
    """None: not ours."""

    def same_as(self, other: "Record | None") -> bool:
        """Whether both say the same; the order of addresses means nothing in DNS."""
        return (
            other is not None
            and (self.ttl, self.owner) == (other.ttl, other.owner)
            and set(self.addresses) == set(other.addresses)
        )


class Zone(Protocol):
    """A zone that endpoint names live in. Every call is idempotent and may be repeated at any time.

    Names are fully qualified, without the final dot. Raises Retry for what passes, GiveUp for what a person must mend.
    """

    kind: str
    """What the backend is called in settings and events."""

    async def ensure(self, name: str, addresses: tuple[str, ...], ttl: int, owner: Owner) -> bool:
        """Make the name have exactly these addresses; True if anything had to change. Raises NameTaken."""

    async def remove(self, name: str, owner: Owner) -> bool:
        """Take the name away if it is this owner's, else leave it alone; True if anything had to change."""

    async def read(self, name: str) -> Record | None:
        """What the zone holds under the name; None if it has no such name."""
