"""Ask another replica what it sees of clusters that miss here, before anybody says Unreachable.

Asked over NATS: a replica that is cut off from clusters may well hear from the others still. What misses within a
moment is one question to each replica: a hundred clusters that die together are a few messages, not a hundred.
"""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from caravan_health import metrics
from caravan_health.shares import second
from caravan_health.verdict import SecondLook
from caravan_shared.contracts.requests import AskSecondLooks, SecondLooks
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

_GATHER_S = 0.05  # adds this much to the wait for a word
_AT_ONCE = 200  # clusters in one question

Ask = Callable[[str, AskSecondLooks], Awaitable[SecondLooks]]
_SECOND_LOOKS = {word: metrics.SECOND_LOOKS.labels(word) for word in ("answers", "silent", "no_word")}

Waiting = dict[UUID, asyncio.Future[SecondLook | None]]


class Others:
    """The other replicas, as far as they live: whom to ask for a second look."""

    def __init__(self, ask: Ask, replica: str) -> None:
        self._ask, self._replica = ask, replica
        self._live: tuple[str, ...] = ()
        self._waiting: Waiting = {}
        self._wanted = asyncio.Event()

    def live_now(self, replicas: tuple[str, ...]) -> None:
        """Note who lives, this replica among them."""
        self._live = replicas

    async def look(self, cluster_id: UUID) -> SecondLook | None:
        """What another replica sees of a cluster; None where there is none, or it does not say."""
        if second(cluster_id, self._live, self._replica) is None:
            return None
        answer = self._waiting.setdefault(cluster_id, asyncio.get_running_loop().create_future())
        self._wanted.set()
        return await answer

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wanted.wait()
                await asyncio.sleep(_GATHER_S)
                self._wanted.clear()
                for replica, waiting in self._take_questions():
                    tasks.create_task(self._put(replica, waiting))

    def _take_questions(self) -> list[tuple[str, Waiting]]:
        by_replica: dict[str, Waiting] = {}
        for cluster_id, answer in self._waiting.items():
            replica = second(cluster_id, self._live, self._replica)
            if replica is None:  # it left within this moment
                _tell(answer, None)
            else:
                by_replica.setdefault(replica, {})[cluster_id] = answer
        self._waiting = {}
        return [(replica, batch) for replica, waiting in by_replica.items() for batch in _batches(waiting)]

    async def _put(self, replica: str, waiting: Waiting) -> None:
        try:
            said = await self._ask(replica, AskSecondLooks(cluster_ids=tuple(waiting)))
        except CaravanError as error:
            log.warning("no second look at silent clusters", clusters=len(waiting), replica=replica, why=error.reason)
            said = SecondLooks()
        answering, silent = set(said.answering), set(said.silent)
        for cluster_id, answer in waiting.items():
            known = cluster_id in answering or cluster_id in silent
            _tell(answer, SecondLook(self._replica, replica, cluster_id in answering) if known else None)


def _batches(waiting: Waiting) -> list[Waiting]:
    ids = list(waiting)
    return [{key: waiting[key] for key in ids[start : start + _AT_ONCE]} for start in range(0, len(ids), _AT_ONCE)]


def _tell(answer: asyncio.Future[SecondLook | None], second_look: SecondLook | None) -> None:
    _SECOND_LOOKS[_result(second_look)].inc()
    if not answer.done():  # nobody waits any more where the watch has ended
        answer.set_result(second_look)


def _result(second_look: SecondLook | None) -> str:
    if second_look is None:
        return "no_word"
    return "answers" if second_look.answers else "silent"
