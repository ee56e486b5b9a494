"""What is watched: where a cluster's kube-apiserver is, who it must prove to be, and which nodes it should have."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Target:
    """A watched cluster as the store has it. `version` rises with every change of any of its facts."""

    cluster_id: UUID
    version: int
    host: str
    port: int
    addresses: tuple[str, ...]
    ca_certificate: str
    nodes: frozenset[str] = frozenset()
    """Every node Caravan made and keeps."""
    joined: frozenset[str] = frozenset()
    """Those of them that the cluster once listed."""
    leaving: frozenset[str] = frozenset()
    """Nodes on their way out: whatever becomes of them is no fault."""

    def dialled(self) -> tuple[str, ...]:
        """What to connect to: the live control planes, or the name where none is known."""
        return self.addresses or (self.host,)
