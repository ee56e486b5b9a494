"""Ask clouds to reboot the machines of nodes that health cannot reach.

As with creates, each call is noted before it is made (the plan that asks for it is recorded first) and its outcome as
soon as it is known; what was noted and has no outcome is left alone until a listing tells (see `observe`).
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from caravan_provisioner.clouds.base import Cloud, CloudRefused, Rebootable
from caravan_provisioner.ledger import Ledger
from caravan_provisioner.nodes import Node
from caravan_provisioner.site import Site
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.reconciler import Turn

log = get_logger(__name__)

_AT_ONCE = 8  # calls; machines that boot together slow each other down


class Rebooting:
    """The reboots of one turn."""

    def __init__(self, turn: Turn, ledger: Ledger, sites: Mapping[str, Site]) -> None:
        self._turn, self._ledger, self._sites = turn, ledger, sites
        self._few = asyncio.Semaphore(_AT_ONCE)

    async def run(self, names: Iterable[str]) -> float | None:
        """Make the calls; 0 where one was refused, so that its node has to be seen to at once."""
        works = [self._reboot(self._ledger.nodes[name]) for name in names]
        if not works:
            return None
        async with self._turn.kept():  # a BMC may take longer than the lease lasts
            outcomes = await asyncio.gather(*works, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return None if all(outcomes) else 0.0

    async def _reboot(self, node: Node) -> bool:
        """False where the cloud refused, which is an outcome like any other: the node is replaced."""
        try:
            await self._ask(self._sites[node.cloud].cloud, node)
        except GiveUp as error:
            log.warning("reboot refused", node=node.name, reason=error.reason)
            await self._ledger.record([replace(node, reboot_refused=error.reason)])
            return False
        except Retry as error:
            log.warning("nobody knows whether a machine reboots", node=node.name, reason=error.reason)
            return True
        log.info("reboot asked for", node=node.name)
        await self._ledger.record([replace(node, rebooted_at=self._turn.now())])
        return True

    async def _ask(self, cloud: Cloud, node: Node) -> None:
        assert node.machine_id
        if not isinstance(cloud, Rebootable):
            raise CloudRefused(cloud.name, "its machines cannot be rebooted")
        async with self._few:
            await cloud.reboot(node.machine_id)
