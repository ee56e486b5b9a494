"""The zone that serves nothing: for a first look where no name has to resolve. It says so."""

from caravan_dns.zones.base import Owner, Record
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)


class NullZone:
    """Accepts every record and keeps none."""

    kind = "null"

    def __init__(self) -> None:
        log.warning("the null zone serves nothing: no cluster name will resolve anywhere", zone=self.kind)

    async def ensure(self, name: str, addresses: tuple[str, ...], ttl: int, owner: Owner) -> bool:
        """Only say that it was not written."""
        log.warning("record not written, the zone is null", name=name, addresses=addresses, cluster=owner.cluster)
        return False

    async def remove(self, name: str, owner: Owner) -> bool:
        """Nothing to take away."""
        return False

    async def read(self, name: str) -> Record | None:
        """Nothing is ever there."""
        return None
