"""Who we are to the clouds: the id in the tags of all machines of ours, the same for as long as the store lives."""

from caravan_provisioner import store
from caravan_shared.plumbing.database import Database


class Installation:
    """Reads the id once, making it at the first start."""

    def __init__(self, db: Database, configured: str | None) -> None:
        self._db, self._id = db, configured

    async def id(self) -> str:
        """The id."""
        if self._id is None:
            async with self._db.transaction() as tx:
                self._id = await store.installation(tx)
        return self._id
