"""The provisioner at work: real nats-server, real store, real sandbox process."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import uuid4

from caravan_shared.contracts.events import (
    CloudOffered,
    NodesCreating,
    NodesFailed,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.service import Service
from tests.integration.provisioner.conftest import Around, Asker, Provisioner, Sandbox


def complete(generation: int):  # type: ignore[no-untyped-def]
    return lambda events: any(event.generation == generation and event.complete for event in events)


def gone(events: list[NodesRemoved]) -> bool:
    return any(event.remaining == 0 for event in events)


async def owned(sandbox: Sandbox, asker: Asker) -> list[str]:
    return sorted(machine["name"] for machine in await sandbox.machines(cluster=str(asker.cluster_id)))


async def test_cluster_gets_its_machines_scales_and_goes(sandbox: Sandbox, around: Around, asker: Asker) -> None:
    await asker.want(workers=2)
    ready = await asker.until_told(NodesReady, complete(1))
    nodes = {node.name: node for event in ready for node in event.nodes}
    assert Counter(node.node_set for node in nodes.values()) == {"control-plane": 1, "workers": 2}
    assert {node.joins_by_itself for node in nodes.values() if node.node_set == "workers"} == {True}
    assert {node.joins_by_itself for node in nodes.values() if node.node_set == "control-plane"} == {False}
    assert await owned(sandbox, asker) == sorted(nodes)
    assert {ref.name for event in await asker.told(NodesCreating) for ref in event.nodes} == set(nodes)
    assert around.asked == {"workers": 1}

    await asker.want(workers=4)
    await asker.until_told(NodesReady, complete(2))
    assert len(await owned(sandbox, asker)) == 5

    await asker.want(workers=1)
    await asker.until_told(NodesReady, complete(3))
    leaving = names(await asker.until_told(NodesLeaving, lambda events: len(names(events)) == 3))
    assert len(await owned(sandbox, asker)) == 5
    await asker.drain_leaving()
    removed = await asker.until_told(NodesRemoved, lambda events: len(names(events)) == 3)
    assert names(removed) == leaving
    assert removed[-1].remaining == 2

    await asker.delete()
    await asker.until_told(NodesRemoved, gone)
    assert await owned(sandbox, asker) == []


async def test_lost_reply_makes_no_second_machine(sandbox: Sandbox, asker: Asker) -> None:
    await sandbox.fault("create_lost_reply", times=2)
    await asker.want(workers=3)
    await asker.until_told(NodesReady, complete(1))
    machines = await owned(sandbox, asker)
    assert len(machines) == len(set(machines)) == 4


async def test_cloud_in_trouble_is_waited_for(sandbox: Sandbox, asker: Asker) -> None:
    await sandbox.fault("create_error", times=2)
    await sandbox.fault("api_503", times=2)
    await asker.want(workers=1)
    await asker.until_told(NodesReady, complete(1))
    assert len(await owned(sandbox, asker)) == 2


async def test_machine_in_error_is_replaced(sandbox: Sandbox, asker: Asker) -> None:
    await sandbox.fault("machine_error", times=1)
    await asker.want(workers=2)
    await asker.until_told(NodesReady, complete(1))
    (failed,) = [node for event in await asker.told(NodesFailed) for node in event.nodes]
    assert failed.will_be_replaced
    removed = await asker.until_told(NodesRemoved)
    assert [ref.name for event in removed for ref in event.nodes] == [failed.name]


async def test_machine_that_vanishes_is_replaced(sandbox: Sandbox, asker: Asker) -> None:
    await asker.want(workers=1)
    (worker,) = [
        node for event in await asker.until_told(NodesReady, complete(1)) for node in event.nodes
        if node.node_set == "workers"
    ]  # fmt: skip
    await sandbox.delete(worker.machine_id)
    failed = await asker.until_told(NodesFailed)
    assert [node.name for node in failed[0].nodes] == [worker.name]
    await asker.until_told(NodesReady, lambda events: events[-1].complete and len(events) > 1)
    await asker.until_told(NodesLeaving)
    await asker.drain_leaving()
    await asker.until_told(NodesRemoved)
    assert len(await owned(sandbox, asker)) == 2


def names(events: Sequence[NodesFailed | NodesLeaving | NodesRemoved]) -> set[str]:
    return {node.name for event in events for node in event.nodes}


async def test_set_that_cannot_be_filled_gives_up_until_a_person_retries(sandbox: Sandbox, asker: Asker) -> None:
    await asker.want(workers=2, machine_type="no-such-type")
    failed = await asker.until_told(NodesFailed, lambda events: any(event.gave_up for event in events))
    assert {(node.who_can_fix, node.will_be_replaced) for event in failed for node in event.nodes} == {
        (WhoCanFix.USER, False)
    }
    asked_before = len(failed)
    await asyncio.sleep(1)
    assert len(await asker.told(NodesFailed)) == asked_before
    await asker.announce(retry=True)
    await asker.until_told(NodesFailed, lambda events: len({n.name for e in events for n in e.nodes}) == 4)
    await asker.want(workers=2)
    await asker.until_told(NodesReady, complete(2))
    given_up = names(await asker.told(NodesFailed))
    await asker.until_told(NodesRemoved, lambda events: names(events) >= given_up)


async def test_cluster_on_an_unknown_cloud_fails_visibly_and_can_be_deleted(asker: Asker) -> None:
    asker.generation, asker.spec = 1, asker.spec.model_copy(update={"cloud": "nowhere"})
    await asker.announce()
    (failed, *_) = await asker.until_told(NodesFailed)
    assert failed.gave_up
    assert "nowhere" in failed.nodes[0].reason
    await asker.delete()
    await asker.until_told(NodesRemoved, gone)


async def test_workers_wait_for_their_user_data_and_control_planes_do_not(around: Around, asker: Asker) -> None:
    around.user_data["workers"] = Retry("the endpoint is not issued yet", after=0.1)
    await asker.want(workers=1)
    (ready, *_) = await asker.until_told(NodesReady)
    assert [node.node_set for node in ready.nodes] == ["control-plane"]
    assert not ready.complete
    del around.user_data["workers"]
    await asker.until_told(NodesReady, complete(1))


async def test_user_data_that_is_refused_fails_the_workers(around: Around, asker: Asker) -> None:
    around.user_data["workers"] = GiveUp("version 9.9.9 is not offered", who_can_fix=WhoCanFix.USER)
    await asker.want(workers=1)
    (failed, *_) = await asker.until_told(NodesFailed)
    assert (failed.gave_up, failed.nodes[0].reason) == (True, "version 9.9.9 is not offered")


async def test_higher_announcement_has_everything_told_again(asker: Asker) -> None:
    await asker.want(workers=1)
    await asker.until_told(NodesReady, complete(1))
    before = await asker.told(NodesReady)
    await asker.announce()
    again = await asker.until_told(NodesReady, lambda events: len(events) > len(before))
    assert again[-1].complete
    assert {node.name for node in again[-1].nodes} == {node.name for event in before for node in event.nodes}


async def test_deletion_of_a_cluster_never_heard_of_is_answered(asker: Asker) -> None:
    await asker.delete()
    assert [event.remaining for event in await asker.until_told(NodesRemoved)] == [0]
    await asker.delete(announcement=2)
    await asker.until_told(NodesRemoved, lambda events: len(events) == 2)


async def test_request_that_comes_after_the_deletion_makes_nothing(sandbox: Sandbox, asker: Asker) -> None:
    await asker.delete()
    await asker.until_told(NodesRemoved, gone)
    await asker.deleted()
    await asker.want(workers=1)
    await asyncio.sleep(1)
    assert await owned(sandbox, asker) == []
    assert await asker.told(NodesCreating) == []


async def test_lost_store_is_rebuilt_from_the_clouds_tags(sandbox: Sandbox, provisioner: Provisioner) -> None:
    async with provisioner.running() as service:
        asker = provisioner.asker(service)
        await asker.want(workers=2)
        await asker.until_told(NodesReady, complete(1))
        before = await owned(sandbox, asker)
    for file in provisioner.settings.state_dir.glob("provisioner.db*"):
        file.unlink()
    async with provisioner.running() as service:
        asker.service = service
        await asker.announce()
        ready = await asker.until_told(NodesReady, complete(1))
        assert sorted(node.name for event in ready for node in event.nodes) == before
    assert await owned(sandbox, asker) == before


async def test_many_clusters_share_one_listing(provisioner: Provisioner, service: Service) -> None:
    askers = [provisioner.asker(service) for _ in range(8)]
    await asyncio.gather(*(asker.want(workers=1) for asker in askers))
    for asker in askers:
        await asker.until_told(NodesReady, complete(1))


async def test_offers_are_told_at_start(service: Service) -> None:
    asker = Asker(None, service, uuid4(), "")  # type: ignore[arg-type]
    asker.cluster_id = ""  # type: ignore[assignment]  # offers are about no cluster
    (offered, *_) = await asker.until_told(CloudOffered)
    assert (offered.cloud, offered.simulated) == ("sandbox", True)
    assert "small" in [machine_type.name for machine_type in offered.machine_types]
