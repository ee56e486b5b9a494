"""From machines to a cluster and on: site, add, remove, upgrade, over the real bus with real playbook runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select, update

from caravan_bootstrapper.store import JoinToken, Run
from caravan_shared.contracts.events import (
    BootstrapDone,
    BootstrapFailed,
    BootstrapHeld,
    BootstrapProgress,
    BootstrapStarted,
    NodesDrained,
    NodesJoined,
)
from caravan_shared.plumbing.service import Service
from tests.integration.bootstrapper.conftest import Subject, World
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.process import start

SMALL = {
    "version": "1.34.1",
    "control_plane": {"count": 1},
    "workers": [{"name": "workers", "count": 2, "labels": {"team": "blue"}}],
}


def cluster(world: World, service: Service | None = None, **changes: Any) -> Subject:
    """A cluster that nobody has asked for yet."""
    return Subject(world, service, SMALL | changes)


def names(events: list[Any]) -> set[str]:
    """The nodes that these events name."""
    return {node.name for event in events for node in event.nodes}


@pytest.mark.long
async def test_cluster_comes_up_grows_shrinks_and_is_upgraded(world: World, service: Service) -> None:
    subject = cluster(world, service)
    await subject.request()
    pulled = await subject.make("workers", 1, 2, pull=True, complete=False)
    pushed = await subject.make("control-plane", 1)
    (done,) = await subject.until(BootstrapDone)
    assert (done.generation, done.version, done.nodes) == (1, "1.34.1", 3)
    assert names(await subject.told(NodesJoined)) == {*pulled, *pushed}
    (started,) = await subject.told(BootstrapStarted)
    assert started.first_node == pushed[0]
    steps = [event.step for event in await subject.told(BootstrapProgress)]
    assert steps
    assert all(step.startswith("ensure ") for step in steps)
    assert len(steps) == len(set(steps))

    await subject.change(workers=[{"name": "workers", "count": 3}, {"name": "more", "count": 2}])
    third = await subject.make("workers", 3, pull=True, complete=False)
    more = await subject.make("more", 1, 2)
    done = (await subject.until(BootstrapDone, count=2))[-1]
    assert (done.generation, done.nodes) == (2, 6)
    assert all((await subject.members()).values())

    await subject.change(workers=[{"name": "workers", "count": 3}, {"name": "more", "count": 1}])
    await subject.leave("more", more[1])
    await subject.make("more", complete=True)
    assert names(await subject.until(NodesDrained)) == {more[1]}
    assert not (await subject.members())[more[1]]
    done = (await subject.until(BootstrapDone, count=3))[-1]
    assert (done.generation, done.nodes) == (3, 5)

    await subject.change(version="1.34.2")
    await subject.make("more", complete=True)
    done = (await subject.until(BootstrapDone, count=4))[-1]
    assert (done.generation, done.version, done.nodes) == (4, "1.34.2", 5)
    for name in (*pulled, *third, *pushed, more[0]):
        assert (await subject.command(name, "inspect"))["kubelet_version"] == "1.34.2"
    assert await subject.told(BootstrapFailed) == []


async def test_upgrade_waits_for_its_window_and_nothing_is_done_to_a_sleeping_cluster(
    world: World, service: Service
) -> None:
    subject = cluster(world, service, workers=[])
    await subject.request()
    await subject.make("control-plane", 1)
    await subject.until(BootstrapDone)
    tomorrow = datetime.now(UTC) + timedelta(hours=20)
    window = {"days": [f"{tomorrow:%a}".lower()], "start": f"{tomorrow:%H:%M}", "duration_s": 3600}
    await subject.change(version="1.34.2", maintenance={"windows": [window]})
    await subject.make("control-plane", complete=True)
    (held,) = await subject.until(BootstrapHeld)
    assert held.reason.startswith("the upgrade to 1.34.2 waits for the maintenance window: next ")

    subject.asleep, subject.announcement = True, subject.announcement + 1
    await subject.request()
    again = await subject.until(BootstrapHeld, count=2)
    assert again[-1] == held, "it was heard, and all is said again"
    await subject.change(maintenance={"windows": [window], "at_once": "1.34.2"})
    await subject.make("control-plane", complete=True)
    await asyncio.sleep(1)
    async with service.db.reading() as session:
        plays = (await session.exec(select(Run.play).where(Run.cluster_id == subject.id))).all()
    assert plays == ["site"]
    subject.asleep, subject.announcement = False, subject.announcement + 1
    await subject.request()
    done = (await subject.until(BootstrapDone, count=2))[-1]
    assert (done.generation, done.version) == (3, "1.34.2")
    assert (await subject.told(BootstrapHeld))[-1].reason == ""


async def test_external_etcd_and_a_control_plane_that_comes_late(world: World, service: Service) -> None:
    subject = cluster(world, service, control_plane={"count": 3}, topology="external", etcd={"count": 3}, workers=[])
    await subject.request()
    await subject.make("control-plane", 1, 2, complete=False)
    await subject.make("etcd", 1, 2, 3, complete=False)
    await subject.until(NodesJoined)
    await subject.make("control-plane", 3)
    (done,) = await subject.until(BootstrapDone)
    assert done.nodes == 6
    assert len(names(await subject.told(NodesJoined))) == 6
    said = {kind: await subject.told(kind) for kind in (BootstrapStarted, NodesJoined, BootstrapDone)}
    subject.announcement += 1
    await subject.request()
    await subject.until(BootstrapDone, count=2)
    for kind, before in said.items():
        again = (await subject.told(kind))[len(before) :]
        assert again, f"{kind.subject} is said again when the cluster is announced again"
        assert names(again) == names(before) if kind is NodesJoined else again == before[-1:]


async def test_failing_run_is_told_with_its_reason_and_a_retry_mends_it(world: World, service: Service) -> None:
    subject = cluster(world, service, workers=[])
    await subject.request()
    fault = {"kind": "command_error", "times": 1, "command": "kubeadm-init"}
    await world.cloud.call("POST", "/v1/faults", fault)
    (first,) = await subject.make("control-plane", 1)
    (failed,) = await subject.until(BootstrapFailed)
    assert failed.reason == (
        f"{first}: failed to ensure the first control plane is initialised: simulated fault: kubeadm-init failed"
    )
    assert failed.run_id
    subject.retry += 1
    await subject.request()
    await subject.until(BootstrapDone)


async def test_repeated_site_tells_its_new_token_to_the_control_plane_that_runs_already(
    world: World, service: Service
) -> None:
    subject = cluster(world, service, workers=[{"name": "workers", "count": 1}])
    await subject.request()
    await world.cloud.call("POST", "/v1/faults", {"kind": "command_error", "times": 1, "command": "kubeadm-join"})
    await subject.make("workers", 1, complete=False)
    await subject.make("control-plane", 1)
    await subject.until(BootstrapFailed)
    nearly_over = datetime.now(UTC) + timedelta(hours=11)
    async with service.db.transaction() as tx:
        await tx.exec(update(JoinToken).where(col(JoinToken.cluster_id) == subject.id).values(expires_at=nearly_over))
    subject.retry += 1
    await subject.request()
    await subject.until(BootstrapDone)
    async with service.db.reading() as session:
        tokens = (await session.exec(select(JoinToken).where(col(JoinToken.cluster_id) == subject.id))).all()
    assert len([token for token in tokens if token.expires_at > nearly_over]) == 2, "each set's token was renewed"
    assert len(await subject.told(BootstrapFailed)) == 1


async def test_before_a_cluster_runs_user_data_is_given_out_and_nodes_may_leave(world: World, service: Service) -> None:
    subject = cluster(world, service)
    await subject.request()
    assert await subject.user_data("workers") == await subject.user_data("workers")
    waiting = await subject.make("workers", 1, 2, pull=True, complete=False)
    await subject.leave("workers", waiting[0])
    assert names(await subject.until(NodesDrained)) == {waiting[0]}
    assert await subject.told(BootstrapProgress) == []


@pytest.mark.long
async def test_run_of_a_killed_process_is_done_again_by_the_next(lonely_world: World) -> None:
    settings = lonely_world.settings
    told = {**settings.model_dump(exclude_none=True), "sandbox_token": settings.sandbox_token.get_secret_value()}
    first_life = start("bootstrapper", settings.state_dir / "first-life.log", {**told, "http_port": free_port()})
    subject = cluster(lonely_world, workers=[])
    await subject.request()
    await subject.make("control-plane", 1)
    await eventually(lambda: list(settings.runs_dir.rglob("pki.json")))  # the run has its files
    first_life.kill()
    async with lonely_world.bootstrapper() as second_life:
        subject.service = second_life
        await subject.until(BootstrapDone)
        assert await subject.told(BootstrapFailed) == []


async def test_deletion_ends_the_run_and_starts_no_other(world: World, service: Service) -> None:
    subject = cluster(world, service, workers=[])
    await subject.request()
    await subject.make("control-plane", 1)
    await subject.until(BootstrapProgress)
    await subject.delete()

    async def ended() -> list[str]:
        async with service.db.reading() as session:
            runs = (await session.exec(select(Run).where(Run.cluster_id == subject.id))).all()
        return [run.state for run in runs] if all(run.ended_at for run in runs) else []

    assert await eventually(ended) in (["Cancelled"], ["Succeeded"])


@pytest.fixture(autouse=True)
def no_secret_is_left_behind(world: World) -> Any:
    """Whatever a test does, no run's directory outlives it."""
    yield
    assert not list(world.settings.state_dir.rglob("join-token-*"))
