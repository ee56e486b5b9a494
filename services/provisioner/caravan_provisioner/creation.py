"""Ask a cloud for the machines of planned nodes, several calls side by side.

Each call is noted before it is made and its outcome as soon as it is known. In between lies the one moment that nobody
can be sure about: a node whose call was noted and has no outcome is left alone until a listing tells (see `observe`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from caravan_provisioner.clouds.base import Capabilities, MachineBatch, Owner
from caravan_provisioner.ledger import Ledger
from caravan_provisioner.nodes import Node
from caravan_provisioner.observe import made
from caravan_provisioner.site import Site
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.requests import AskUserData, UserData
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MachineState
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.reconciler import Turn

log = get_logger(__name__)

AskForUserData = Callable[[AskUserData], Awaitable[UserData]]


@dataclass(frozen=True, slots=True)
class _Boot:
    """What machines boot with, and whether it joins them to their cluster."""

    user_data: str | None = None
    joins: bool = False


def unasked(nodes: Iterable[Node]) -> list[Node]:
    """The planned nodes that the cloud has surely not been asked for."""
    return [node for node in nodes if node.state is MachineState.PLANNED and node.asked_at is None]


def question_about(node: Node, can: Capabilities) -> AskUserData | None:
    """What to ask for the machines of the node's set to boot with; None where they boot with nothing.

    Every machine that is reached over SSH has to let us in. Else only workers need user-data, where they join by
    themselves: control plane and etcd need secrets that no user-data should carry.
    """
    joins = can.pull and node.role is Role.WORKER
    if not can.user_data or not (can.connection is Connection.SSH or joins):
        return None
    return AskUserData(cluster_id=node.cluster_id, node_set=node.node_set, connection=can.connection, pull=can.pull)


class Creation:
    """The creates of one turn."""

    def __init__(
        self, turn: Turn, ledger: Ledger, sites: Mapping[str, Site], installation: str, ask: AskForUserData
    ) -> None:
        self._turn, self._ledger, self._sites, self._installation, self._ask = turn, ledger, sites, installation, ask

    async def run(self) -> float | None:
        """Make the calls; return in how many seconds to try what did not work, or None if all did."""
        by_set: dict[str, list[Node]] = defaultdict(list)
        for node in unasked(self._ledger.nodes.values()):
            by_set[node.node_set].append(node)
        return await _together(self._create_set(nodes) for nodes in by_set.values())

    async def _create_set(self, nodes: Sequence[Node]) -> float | None:
        """One question for user-data serves all machines of a set; the other sets do not wait for its answer."""
        try:
            boot = await self._boot(nodes[0])
        except GiveUp as error:
            await self._ledger.give_up_on(nodes, error)
            return None
        by_batch: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            by_batch[node.batch].append(node)
        return await _together(self._create_batch(batch, boot) for batch in by_batch.values())

    async def _boot(self, node: Node) -> "_Boot":
        can = self._sites[node.cloud].cloud.capabilities
        question = question_about(node, can)
        if question is None:
            return _Boot()
        answer = await self._ask(question)
        return _Boot(answer.user_data, joins=can.pull and answer.joins)

    async def _create_batch(self, nodes: list[Node], boot: "_Boot") -> float | None:
        site = self._sites[nodes[0].cloud]
        async with site.creates:
            now = self._turn.now()
            asked = [replace(node, asked_at=now, joins_by_itself=boot.joins) for node in nodes]
            # Writing this down under the lease also keeps a worker that lost it from asking the cloud.
            await self._ledger.record(asked)
            try:
                machines = await site.cloud.create(self._batch(asked, boot.user_data))
            except GiveUp as error:
                await self._ledger.give_up_on([replace(node, asked_at=None) for node in asked], error)
                return None
        by_name = {machine.name: machine for machine in machines}
        now = self._turn.now()
        await self._ledger.record(made(node, by_name[node.name], now) for node in asked if node.name in by_name)
        log.info("machines asked for", batch=nodes[0].prefix, machines=len(machines))
        return None

    def _batch(self, nodes: Sequence[Node], user_data: str | None) -> MachineBatch:
        first = nodes[0]
        return MachineBatch(
            prefix=first.prefix,
            numbers=tuple(node.number for node in nodes),
            machine_type=first.machine_type,
            owner=Owner(self._installation, first.cluster_id, first.node_set, first.role, first.batch),
            user_data=user_data,
            virtual_ip=self._ledger.spec.network.virtual_ip,
        )


async def _together(works: Iterable[Coroutine[Any, Any, float | None]]) -> float | None:
    """Run all to their end; the shortest wait that any wants. A `Retry` is a wait; other errors are raised."""
    waits: list[float] = []
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, Retry):
            log.info("will ask again", reason=outcome.reason, after_s=outcome.after)
            waits.append(outcome.after)
        elif isinstance(outcome, BaseException):
            raise outcome
        elif outcome is not None:
            waits.append(outcome)
    return min(waits, default=None)
