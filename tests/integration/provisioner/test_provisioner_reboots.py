"""Silent nodes rebooted before they are replaced: real nats-server, store and sandbox."""

import asyncio
from collections.abc import Sequence

import pytest

from caravan_provisioner.clouds.sandbox import SandboxCloud
from caravan_provisioner.settings import Settings
from caravan_shared.contracts.events import NodesFailed, NodesRepairHeld
from caravan_shared.contracts.facts import ReadyNode
from caravan_shared.contracts.states import Verdict
from tests.integration.provisioner.conftest import Around, Asker, Provisioner, Sandbox
from tests.support.eventually import eventually


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With more time for a reboot to help than any test takes."""
    return settings.model_copy(update={"reboot_wait_s": 600})


async def silent(asker: Asker) -> ReadyNode:
    """The worker of a new cluster, which health finds Unreachable."""
    await asker.want(1)
    made = await asker.made()
    await asker.join(*(node for nodes in made.values() for node in nodes))
    (node,) = made["workers"]
    await asker.judge(Verdict.UNREACHABLE, node)
    return node


async def until_held(asker: Asker, *reasons: str) -> None:
    """Wait until it was told to be held for these reasons, one after the other."""

    def is_so(events: Sequence[NodesRepairHeld]) -> bool:
        told = [node.reason for event in events for node in event.nodes]
        return len(told) == len(reasons) and all(map(str.startswith, told, reasons))

    await asker.until_told(NodesRepairHeld, is_so)


async def until_rebooted(sandbox: Sandbox, asker: Asker, before: int) -> None:
    """Wait until a reboot was asked for beyond those before, and all the cluster's machines run."""

    async def is_so() -> bool:
        machines = await sandbox.machines(cluster=str(asker.cluster_id))
        return await sandbox.reboots() > before and all(machine["running"] for machine in machines)

    await eventually(is_so, within=asker.patience_s, saying="the machine was rebooted")


async def test_reboot_is_told_and_a_node_that_it_heals_stays(sandbox: Sandbox, asker: Asker) -> None:
    before = await sandbox.reboots()
    node = await silent(asker)
    await until_held(asker, "it is rebooted first: Unreachable for 1 s")
    await until_rebooted(sandbox, asker, before)
    await asker.judge(Verdict.HEALTHY, node)
    await until_held(asker, "it is rebooted first", "")
    assert await sandbox.reboots() - before == 1
    assert await asker.told(NodesFailed) == []


async def test_node_that_a_reboot_does_not_heal_is_replaced(
    sandbox: Sandbox, around: Around, settings: Settings
) -> None:
    before = await sandbox.reboots()
    provisioner = Provisioner(around, settings.model_copy(update={"reboot_wait_s": 1}))
    async with provisioner.running() as service:
        asker = provisioner.asker(service)
        node = await silent(asker)
        (failed,) = await asker.until_told(NodesFailed)
    assert failed.nodes[0].name == node.name
    assert failed.nodes[0].reason.endswith("a reboot did not help")
    assert await sandbox.reboots() - before == 1


async def test_node_whose_cloud_refuses_to_reboot_it_is_replaced_and_the_refusal_told(
    sandbox: Sandbox, asker: Asker
) -> None:
    await sandbox.fault("machine_locked")
    await silent(asker)
    (failed,) = await asker.until_told(NodesFailed)
    assert "it was not rebooted: cloud 'sandbox' refused: 409" in failed.nodes[0].reason


async def test_reboot_whose_answer_is_lost_is_not_asked_for_again(sandbox: Sandbox, asker: Asker) -> None:
    before = await sandbox.reboots()
    await sandbox.fault("reboot_lost_reply")
    await silent(asker)
    await until_rebooted(sandbox, asker, before)
    await asyncio.sleep(2 * asker.service.settings.resync_every_s)
    assert await sandbox.reboots() - before == 1
    assert await asker.told(NodesFailed) == []


@pytest.mark.parametrize("is_carried_out", [True, False], ids=["after the cloud was asked", "before it was asked"])
async def test_process_that_dies_between_noting_a_reboot_and_its_outcome_neither_repeats_nor_loses_it(
    sandbox: Sandbox, provisioner: Provisioner, monkeypatch: pytest.MonkeyPatch, is_carried_out: bool
) -> None:
    before, noted = await sandbox.reboots(), asyncio.Event()
    reboot = SandboxCloud.reboot

    async def dies(cloud: SandboxCloud, machine_id: str) -> None:
        if is_carried_out:
            await reboot(cloud, machine_id)
        noted.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(SandboxCloud, "reboot", dies)
    async with provisioner.running() as service:
        asker = provisioner.asker(service)
        await silent(asker)
        await asyncio.wait_for(noted.wait(), asker.patience_s)
    monkeypatch.setattr(SandboxCloud, "reboot", reboot)
    async with provisioner.running() as service:
        asker.service = service
        await until_rebooted(sandbox, asker, before)
        await asyncio.sleep(2 * provisioner.settings.resync_every_s)
        assert await sandbox.reboots() - before == 1
        assert await asker.told(NodesFailed) == []
