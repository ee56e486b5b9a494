"""What admission must know of the world to judge a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from caravan_shared.contracts.addresses import IPAddress
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.spec import ClusterSpec


@dataclass(frozen=True, slots=True)
class Limits:
    """How big things may get; None is no limit."""

    max_nodes: int
    """In one cluster."""
    max_nodes_per_team: int | None = None
    max_clusters_per_team: int | None = None


@dataclass(frozen=True, slots=True)
class Current:
    """The cluster that a request changes."""

    spec: ClusterSpec
    running_version: str | None
    """None until it has run once."""

    @property
    def at(self) -> str:
        """The version from which an upgrade starts."""
        return self.running_version or self.spec.version


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Offers, limits and what the team has already."""

    versions: tuple[str, ...]
    """Offered Kubernetes versions, newest first."""
    clouds: Mapping[str, CloudOffered]
    limits: Limits
    names_taken: frozenset[str] = frozenset()
    """Those of the team's live clusters that the request could collide with."""
    virtual_ips_taken: frozenset[tuple[str, IPAddress]] = frozenset()
    """(control plane's cloud, address) of all live clusters, whosever they are."""
    team_nodes: int = 0
    """Nodes wanted by the team's other clusters."""
    team_clusters: int = 0
    """The team's other clusters."""
    current: Current | None = field(default=None)
    """None for a new cluster."""
