"""What is watched: where a cluster's kube-apiserver is, who it must prove to be, and which nodes it should have."""

from dataclasses import dataclass
from datetime import datetime, timedelta
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
    virtual_ip: str | None = None
    """What users dial, where the control planes share an address. They are asked themselves all the same."""
    woken_at: datetime | None = None
    """When it last was to sleep no more: its machines take their time to boot."""
    nodes: frozenset[str] = frozenset()
    """Every node Caravan made and keeps."""
    joined: frozenset[str] = frozenset()
    """Those of them that the cluster once listed."""
    leaving: frozenset[str] = frozenset()
    """Nodes on their way out: whatever becomes of them is no fault."""

    def way_in(self) -> tuple[object, ...]:
        """All that a connection is made from."""
        return self.host, self.port, self.addresses, self.virtual_ip, self.ca_certificate

    def is_waking(self, now: datetime, within_s: float) -> bool:
        """Whether it was woken so lately that silence is no fault."""
        return self.woken_at is not None and now - self.woken_at < timedelta(seconds=within_s)

    def dialled(self) -> tuple[str, ...]:
        """What to connect to: the live control planes, or the name where none is known."""
        return self.addresses or (self.host,)
