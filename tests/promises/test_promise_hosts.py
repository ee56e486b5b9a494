"""Only the right host is configured: where another answers in a machine's place, it sees no command and no login."""

import pwd
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from os import getuid
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from caravan_bootstrapper.app import build
from caravan_bootstrapper.settings import Settings
from caravan_shared.contracts.events import MachinesHandedBack, MachinesHandedOver
from caravan_shared.contracts.machines import MachineToWork, MachineWork
from caravan_shared.contracts.requests import AskOperatorKey, OperatorKey
from caravan_shared.plumbing.service import Service
from tests.promises.sizes import HOSTS_SUBSTITUTED
from tests.promises.trial import Trial
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.outbox import said
from tests.support.ports import free_port
from tests.support.publishing import publish
from tests.support.sshd import ADDRESS, HostKey, Sshd, missing, sshd

CLOUD = "metal"
A_RUN = 10
"""Hosts in one run, the right ones among them."""
PATIENCE_S = 120.0
KINDS = ("ed25519", "ecdsa", "rsa")
REFUSED = "its SSH host key is not the one that was told; another machine may stand in its place"


@dataclass(frozen=True)
class Host:
    """A machine as it was told of, and who answers there."""

    machine: MachineToWork
    answers: Sshd
    is_substituted: bool


@pytest.fixture
async def bootstrapper(tmp_path: Path, nats_server: NatsServer) -> AsyncIterator[Service]:
    """One that tries everything once."""
    if reason := missing():
        pytest.skip(f"NO HOST IS SUBSTITUTED HERE: {reason}")
    (tmp_path / "runs").mkdir()
    settings = Settings(
        state_dir=tmp_path,
        nats_url=nats_server.url,
        http_port=free_port(),
        runs_dir=tmp_path / "runs",
        machine_tries=1,
    )
    async with build(settings).running() as service:
        yield service


@pytest.mark.promises(HOSTS_SUBSTITUTED)
async def test_a_host_that_is_not_the_one_that_was_told_of_is_never_entered(
    trial: Trial, tmp_path: Path, bootstrapper: Service
) -> None:
    """Among right ones, in one run with them: those are entered, else the refusals would prove nothing."""
    operator = await bootstrapper.ask(AskOperatorKey(cloud=CLOUD), OperatorKey)
    runs = entered = 0
    while trial.goes_on:
        runs += 1
        substituted = trial.at_most(trial.dice.randint(A_RUN // 2, A_RUN - 1))
        with ExitStack() as running:
            hosts = list(_hosts(trial, tmp_path / f"run-{runs}", running, operator.public, substituted))
            problems = await _worked_on(bootstrapper, trial.dice.choice(list(MachineWork)), hosts)
            for host in hosts:
                _was_met_rightly(host, problems[host.machine.id])
        trial.did(substituted)
        entered += len(hosts) - substituted
    trial.figures |= {"runs": runs, "right hosts entered": entered}


def _hosts(trial: Trial, folder: Path, running: ExitStack, lets_in: str, substituted: int) -> Iterator[Host]:
    """Some machines; in the place of the first ones answers somebody else, or the machine told of next."""
    folder.mkdir()
    keys = [HostKey.new(folder / f"key-{number}", trial.dice.choice(KINDS)) for number in range(A_RUN)]
    for number, key in enumerate(keys):
        is_substituted = number < substituted
        theirs = key
        if is_substituted:
            stranger = HostKey.new(folder / f"stranger-{number}", trial.dice.choice(KINDS))
            theirs = trial.dice.choice([stranger, keys[number + 1]])
        answers = running.enter_context(sshd(folder / f"host-{number}", theirs, lets_in))
        yield Host(_machine(f"host-{number}", answers, key), answers, is_substituted)


def _machine(name: str, answers: Sshd, key: HostKey) -> MachineToWork:
    return MachineToWork(
        id=uuid4(),
        ticket=1,
        name=name,
        cloud=CLOUD,
        address=ADDRESS,
        ssh_port=answers.port,
        ssh_user=pwd.getpwuid(getuid()).pw_name,
        host_keys=(key.public,),
        cluster_id=uuid4(),
        node=f"node-of-{name}",
    )


async def _worked_on(bootstrapper: Service, work: MachineWork, hosts: list[Host]) -> dict[UUID, str | None]:
    """Hand the machines over as the provisioner would; what went wrong on which."""
    event = MachinesHandedOver(work=work, machines=tuple(host.machine for host in hosts))
    await publish(bootstrapper.bus, event)
    wanted = {host.machine.id for host in hosts}

    async def told() -> dict[UUID, str | None]:
        backs = await said(bootstrapper.db, MachinesHandedBack)
        found = {machine.id: machine.problem for back in backs for machine in back.machines}
        return found if wanted <= set(found) else {}

    return await eventually(told, within=PATIENCE_S, every=0.2, saying="all machines are handed back")


def _was_met_rightly(host: Host, problem: str | None) -> None:
    if host.is_substituted:
        assert REFUSED in (problem or ""), problem
        assert host.answers.commands == [], "it was told to do something"
        assert "userauth-request" not in host.answers.log, "somebody tried to log in"
    else:
        assert problem is None or REFUSED not in problem, problem
        assert host.answers.commands, "the right host was not entered either"
