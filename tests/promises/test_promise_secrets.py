"""Secrets stay secret: whatever goes through a stack lies nowhere afterwards, though processes die in the middle of
their work, with a dump of their memory if nothing forbids that, and the key ring is turned meanwhile."""

import asyncio
import json
import os
import random
import resource
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES
from tests.promises.sizes import CANARIES
from tests.promises.trial import Trial
from tests.support import planting
from tests.support.api import FAST_SANDBOX, SMALL, Api
from tests.support.canaries import hits, keeps_secrets
from tests.support.operating import caravan, rotate_and_drop

CANARIES_A_KILL = 6
CANARIES_A_ROTATION = 50
FIRST_ROTATION = 12
"""After so many canaries: the short form has one too."""
LONGEST_WORK_S = 2.0
"""Until a process is killed, from the moment that a cluster was asked for: it is made within some four seconds."""
CLUSTER = "canaries"
DEATHS = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV)


@pytest.fixture
def leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where processes from now on are, and may leave a dump of whatever size when they die of a defect."""
    folder = tmp_path / "leftovers"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.fixture
def stack(tmp_path: Path, leftovers: Path) -> Iterator[Stack]:
    """All services as processes, with their runs' files where they can be searched."""
    runs = tmp_path / "runs"
    runs.mkdir()
    quick = {"CARAVAN_RESEAL_EVERY_S": "0.5", "CARAVAN_BOOTSTRAPPER_RUNS_DIR": str(runs)}
    with Stack(tmp_path / "stack", ports="auto", env=FAST_SANDBOX | quick) as running:
        yield running


@pytest.mark.promises(CANARIES)
async def test_no_secret_is_left_behind_by_processes_that_live_or_die(
    trial: Trial, stack: Stack, tmp_path: Path
) -> None:
    planted: set[str] = {stack.token, stack.accounts.credentials.ours.password}
    deaths = rotations = 0
    async with Api(stack) as api:
        cluster = str((await api.create(CLUSTER, SMALL))["id"])
        await api.until_ready(cluster, nodes=3)
        while trial.goes_on:
            planted.add(await _plant(trial.dice, stack, api, cluster))
            trial.did()
            if trial.done % CANARIES_A_KILL == 0:
                deaths += 1
                planted |= await _die_at_work(trial.dice, stack, api, f"dies-{deaths}")
            if trial.done % CANARIES_A_ROTATION == FIRST_ROTATION:
                rotations += 1
                planted |= _keys(stack)
                await rotate_and_drop(stack.state_dir)
        planted |= planting.kept_sealed(stack) | _keys(stack)
        await api.insist("DELETE", f"/clusters/{cluster}")
        await api.until_gone(cluster)
    _back_up(stack, tmp_path / "backup")
    keep_them = keeps_secrets(stack.state_dir)
    assert len(hits({"no secret": CLUSTER}, [tmp_path], but=keep_them)) > 3, "the search finds nothing at all"
    secrets = {f"secret {number}": secret for number, secret in enumerate(planted)}
    assert hits(secrets, [tmp_path], but=keep_them) == []
    trial.figures |= {"secrets, with those kept sealed": len(secrets), "deaths": deaths, "rotations": rotations}


async def _plant(dice: random.Random, stack: Stack, api: Api, cluster: str) -> str:
    match dice.randrange(4):
        case 0:
            return await planting.token(api)
        case 1:
            return await planting.private_key(api, cluster)
        case 2:
            return await planting.webhook(api)
        case _:
            return await planting.stray(stack)


async def _die_at_work(dice: random.Random, stack: Stack, api: Api, name: str) -> set[str]:
    """A service dies while a cluster is made, and is started again. What was kept sealed when the cluster was there."""
    cluster = str((await api.create(name, SMALL))["id"])
    await asyncio.sleep(dice.uniform(0, LONGEST_WORK_S))
    part = dice.choice(SERVICES)
    pid = stack.pid(part)
    assert pid
    os.kill(pid, dice.choice(DEATHS))
    await asyncio.to_thread(stack.restart, part)
    await api.until_ready(cluster, nodes=3)
    sealed = planting.kept_sealed(stack)
    await api.insist("DELETE", f"/clusters/{cluster}")
    await api.until_gone(cluster)
    return sealed


def _keys(stack: Stack) -> set[str]:
    """The ring's own."""
    ring = json.loads((stack.state_dir / "keys.json").read_text())
    return set(ring["keys"].values())


def _back_up(stack: Stack, folder: Path) -> None:
    """A dump of every store, as operators carry it away."""
    folder.mkdir()
    caravan("backup", str(folder / "all.tar"), "--state-dir", str(stack.state_dir))
    with tarfile.open(folder / "all.tar") as tar:
        tar.extractall(folder, filter="data")
