"""Nodes replaced on request and by health's hand-off, and paused clusters: real nats-server, store and sandbox."""

import asyncio
from collections.abc import Sequence

from caravan_provisioner.settings import Settings
from caravan_shared.contracts.events import NodesFailed, NodesLeaving, NodesReady, NodesRemoved, NodesRepairHeld
from caravan_shared.contracts.facts import ReadyNode
from caravan_shared.contracts.states import Verdict
from tests.integration.provisioner.conftest import Around, Asker, Provisioner, Sandbox


def names(events: Sequence[NodesReady | NodesFailed | NodesLeaving | NodesRemoved]) -> set[str]:
    return {node.name for event in events for node in event.nodes}


async def joined(asker: Asker, workers: int) -> dict[str, list[ReadyNode]]:
    """A cluster all of whose nodes have joined."""
    await asker.want(workers)
    made = await asker.made()
    await asker.join(*(node for nodes in made.values() for node in nodes))
    return made


async def test_node_leaves_once_its_successor_has_joined_and_its_machine_goes(sandbox: Sandbox, asker: Asker) -> None:
    made = await joined(asker, workers=2)
    old = made["workers"][0]
    asker.replacing = (old.name,)
    await asker.announce()
    ready = await asker.until_told(NodesReady, lambda events: len(names(events)) == 4)
    assert await asker.told(NodesLeaving) == []
    (successor,) = [node for event in ready for node in event.nodes if node.name not in _all(made)]
    await asker.join(successor)
    assert names(await asker.until_told(NodesLeaving)) == {old.name}
    await asker.drain_leaving()
    assert names(await asker.until_told(NodesRemoved)) == {old.name}
    machines = {machine["name"] for machine in await sandbox.machines(cluster=str(asker.cluster_id))}
    assert machines == (_all(made) | {successor.name}) - {old.name}


async def test_node_that_stays_unreachable_is_told_as_failed_and_replaced(asker: Asker) -> None:
    lost = (await joined(asker, workers=3))["workers"][0]
    await asker.judge(Verdict.UNREACHABLE, lost)
    (failed,) = await asker.until_told(NodesFailed)
    assert ([node.name for node in failed.nodes], failed.nodes[0].will_be_replaced) == ([lost.name], True)
    assert "it is Unreachable" in failed.nodes[0].reason
    assert names(await asker.until_told(NodesLeaving)) == {lost.name}
    await asker.until_told(NodesReady, lambda events: len(names(events)) == 5)


async def test_node_that_comes_back_in_time_is_kept(asker: Asker) -> None:
    lost = (await joined(asker, workers=1))["workers"][0]
    await asker.judge(Verdict.UNREACHABLE, lost)
    await asker.judge(Verdict.HEALTHY, lost)
    await asyncio.sleep(1.5)
    assert await asker.told(NodesFailed) == []


async def test_too_many_at_once_are_held_and_told_until_a_person_retries(asker: Asker) -> None:
    lost = (await joined(asker, workers=3))["workers"]
    await asker.judge(Verdict.UNREACHABLE, *lost)
    (held, *_) = await asker.until_told(NodesRepairHeld)
    assert {node.name for node in held.nodes} == {node.name for node in lost}
    assert "more than 40%" in held.nodes[0].reason
    assert await asker.told(NodesFailed) == []
    await asker.announce(retry=True)
    await asker.until_told(NodesFailed, lambda events: names(events) == {node.name for node in lost})
    lifted = await asker.until_told(NodesRepairHeld, lambda events: len(events) > 1)
    assert {node.reason for node in lifted[-1].nodes} == {""}


async def test_storm_over_many_clusters_holds_each_of_them_until_it_is_over(around: Around, settings: Settings) -> None:
    provisioner = Provisioner(around, settings.model_copy(update={"repair_cloud_nodes": 1, "repair_after_s": 2}))
    async with provisioner.running() as service:
        askers = [provisioner.asker(service) for _ in range(2)]
        lost = [(await joined(asker, workers=3))["workers"][0] for asker in askers]
        for asker, node in zip(askers, lost, strict=True):
            await asker.judge(Verdict.UNREACHABLE, node)
        for asker, node in zip(askers, lost, strict=True):
            (held, *_) = await asker.until_told(NodesRepairHeld)
            assert [each.name for each in held.nodes] == [node.name]
            assert "more than 20% of all nodes on cloud sandbox" in held.nodes[0].reason
        await askers[0].judge(Verdict.HEALTHY, lost[0])
        assert names(await askers[1].until_told(NodesFailed)) == {lost[1].name}
        assert await askers[0].told(NodesFailed) == []


async def test_paused_cluster_gets_and_loses_nothing_until_it_is_resumed(sandbox: Sandbox, asker: Asker) -> None:
    made = await joined(asker, workers=1)
    await asker.want(3, paused=True)
    asker.replacing = (made["workers"][0].name,)
    await asker.announce()
    (held, *_) = await asker.until_told(NodesRepairHeld)
    assert held.nodes[0].reason == "the cluster is paused"
    await asker.want(0, paused=True)
    await asyncio.sleep(1)
    assert len(await sandbox.machines(cluster=str(asker.cluster_id))) == 2
    await asker.want(3)
    await asker.until_told(NodesReady, lambda events: len(names(events)) >= 4)


async def test_paused_cluster_can_be_deleted(sandbox: Sandbox, asker: Asker) -> None:
    await joined(asker, workers=1)
    await asker.want(1, paused=True)
    await asker.delete()
    await asker.until_told(NodesRemoved, lambda events: any(event.remaining == 0 for event in events))
    assert await sandbox.machines(cluster=str(asker.cluster_id)) == []


def _all(made: dict[str, list[ReadyNode]]) -> set[str]:
    return {node.name for nodes in made.values() for node in nodes}
