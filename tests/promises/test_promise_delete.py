"""Delete completes from every state: wherever a cluster is, whatever else is told of it, it ends Deleted."""

import itertools
from pathlib import Path
from uuid import UUID

import pytest

from caravan_api.handlers import CLUSTER_FACTS
from caravan_api.store import Cluster
from caravan_shared.contracts.facts import ClusterEvent, Event
from tests.integration.api.bare_store import Store, bare_store, facts_of
from tests.integration.api.conftest import gone_facts
from tests.promises.sizes import DELETED_ANYWHERE
from tests.promises.trial import Trial

LAST = 1_000_000
"""Sequence from which what is told last is counted."""


@pytest.mark.promises(DELETED_ANYWHERE)
async def test_a_cluster_is_deleted_from_every_state_whatever_is_told_late(trial: Trial, tmp_path: Path) -> None:
    """A state is how many facts of the way to Ready were heard; each is tried with each event that comes late."""
    async with bare_store(f"sqlite+aiosqlite:///{tmp_path}/api.db") as store:
        states = range(len(await facts_of(store, await store.create())) + 1)
        pairs = list(itertools.product(states, CLUSTER_FACTS))
        trial.dice.shuffle(pairs)
        trial.figures["pairs"] = len(pairs)
        for heard, late in itertools.islice(itertools.cycle(pairs), trial.asked):
            cluster_id = await store.create()
            for sequence, event in (await facts_of(store, cluster_id))[:heard]:
                await store.hear(sequence, event)
            async with store.db.transaction() as tx:
                await store.desired.delete(tx, await tx.get_one(Cluster, cluster_id), "tester")
            await _tell_the_end(trial, store, cluster_id, late)
            assert (await store.view(cluster_id))["phase"] == "Deleted", f"stuck: {heard} facts, late {late.subject}"
            trial.did()


async def _tell_the_end(trial: Trial, store: Store, cluster_id: UUID, late: type[ClusterEvent]) -> None:
    """Everything is gone, and somewhere between arrives an event of before, once or twice."""
    told: list[tuple[int, Event]] = list(enumerate(gone_facts({"id": str(cluster_id)}), start=LAST))
    for _ in range(trial.dice.randint(1, 2)):
        event = late.model_validate({**late.example, "cluster_id": cluster_id})
        told.insert(trial.dice.randint(0, len(told)), (trial.dice.randint(1, 100), event))
    for sequence, fact in told:
        await store.hear(sequence, fact)
