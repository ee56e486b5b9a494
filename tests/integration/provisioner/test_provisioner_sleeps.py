"""Clusters put to sleep and woken: real nats-server, store and sandbox."""

from caravan_shared.contracts.events import CloudOffered, NodesFailed, NodesLeaving, NodesPowerChanged, NodesReady
from caravan_shared.contracts.states import Verdict
from tests.integration.provisioner.conftest import Asker, Provisioner, Sandbox
from tests.support.eventually import eventually
from tests.support.outbox import said


async def _awake(asker: Asker, workers: int = 2) -> list[str]:
    """A cluster all of whose nodes have joined; their names."""
    await asker.want(workers)
    made = await asker.made()
    nodes = [node for of_set in made.values() for node in of_set]
    await asker.join(*nodes)
    return sorted(node.name for node in nodes)


async def _powered(sandbox: Sandbox, asker: Asker) -> dict[str, bool]:
    machines = await sandbox.machines(cluster=str(asker.cluster_id))
    return {machine["name"]: machine["powered_on"] for machine in machines}


async def test_machines_are_stopped_kept_and_started_again(sandbox: Sandbox, asker: Asker) -> None:
    names = await _awake(asker)
    slept = await asker.sleep()
    assert (slept.asleep, slept.running, slept.stopped) == (True, 0, 3)
    assert await _powered(sandbox, asker) == dict.fromkeys(names, False)
    before = {machine["name"]: machine["address"] for machine in await sandbox.machines(cluster=str(asker.cluster_id))}
    woken = await asker.sleep(asleep=False)
    assert (woken.asleep, woken.running, woken.stopped) == (False, 3, 0)
    after = await sandbox.machines(cluster=str(asker.cluster_id))
    assert {machine["name"]: machine["address"] for machine in after} == before
    assert all(machine["running"] for machine in after)


async def test_machine_that_somebody_starts_meanwhile_is_stopped_again(sandbox: Sandbox, asker: Asker) -> None:
    await _awake(asker)
    await asker.sleep()
    machine = (await sandbox.machines(cluster=str(asker.cluster_id)))[0]
    await sandbox.power(machine["id"], on=True)

    async def sleeps() -> bool:
        told = await asker.told(NodesPowerChanged)
        return len(told) > 2 and told[-1].complete and not any((await _powered(sandbox, asker)).values())

    await eventually(sleeps, within=asker.patience_s)


async def test_dead_nodes_are_not_replaced_while_their_cluster_sleeps(sandbox: Sandbox, asker: Asker) -> None:
    await asker.want(2)
    nodes = [node for of_set in (await asker.made()).values() for node in of_set]
    await asker.join(*nodes)
    await asker.sleep()
    await asker.judge(Verdict.UNREACHABLE, nodes[0])
    lost = (await sandbox.machines(cluster=str(asker.cluster_id)))[-1]
    await sandbox.delete(lost["id"])
    await asker.until_told(
        NodesFailed, lambda events: {node.name for e in events for node in e.nodes} == {lost["name"]}
    )
    await asker.announce()
    assert await asker.told(NodesLeaving) == []
    assert len(await sandbox.machines(cluster=str(asker.cluster_id))) <= 3
    await asker.sleep(asleep=False)
    ready = await asker.until_told(
        NodesReady, lambda events: len({n.name for e in events for n in e.nodes}) > len(nodes)
    )
    assert ready


async def test_what_was_told_of_its_sleep_is_told_again_when_it_is_announced_again(asker: Asker) -> None:
    await _awake(asker, workers=1)
    await asker.sleep()
    before = len(await asker.told(NodesPowerChanged))
    await asker.announce()
    told = await asker.until_told(NodesPowerChanged, lambda events: len(events) > before)
    assert told[-1].complete


async def test_sleep_that_was_asked_for_in_another_life_of_the_process_is_kept(
    sandbox: Sandbox, provisioner: Provisioner
) -> None:
    async with provisioner.running() as service:
        asker = provisioner.asker(service)
        await _awake(asker, workers=1)
        await asker.sleep()
    async with provisioner.running() as service:
        asker.service = service
        machine = (await sandbox.machines(cluster=str(asker.cluster_id)))[0]
        await sandbox.power(machine["id"], on=True)

        async def sleeps() -> bool:
            return not any((await _powered(sandbox, asker)).values())

        await eventually(sleeps, within=asker.patience_s)
        woken = await asker.sleep(asleep=False)
        assert woken.running == 2


async def test_sandbox_is_offered_as_a_cloud_whose_clusters_can_sleep(asker: Asker) -> None:
    async def offered() -> bool:
        return any(offer.stops_machines for offer in await said(asker.service.db, CloudOffered))

    await eventually(offered, within=asker.patience_s)
