"""What every cloud must do, whatever is behind it: inherit `CloudSuite`, provide a `cloud` fixture.

The suite makes few and small machines and deletes all of them; it may run against a real project.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import monotonic
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from caravan_provisioner.clouds.base import (
    Cloud,
    CloudMachineState,
    CloudRefused,
    Machine,
    MachineBatch,
    Owner,
    Rebootable,
    Stoppable,
    UnknownMachineType,
)
from caravan_shared.contracts.spec import Role

T = TypeVar("T")


class CloudSuite:
    """The behaviour that the provisioner relies on."""

    machine_type = "small"
    """A small machine type that the cloud has."""
    patience_s = 10.0
    """Seconds within which a machine boots or goes."""
    names_are_unique = False
    """A repeated create finds what the first one made: only where the machines are in a store of our own."""

    @pytest.fixture
    async def installation(self, cloud: Cloud) -> AsyncIterator[str]:
        """An installation of the test's own; all its machines are deleted afterwards."""
        installation = f"suite-{uuid4()}"
        yield installation
        await cloud.delete([machine.id for machine in await cloud.machines(installation)])
        await self.until(cloud, installation, lambda all_of: not all_of)

    def batch(
        self, installation: str, *numbers: int, cluster: UUID | None = None, machine_type: str | None = None
    ) -> MachineBatch:
        """A batch with these numbers."""
        owner = Owner(installation, cluster or uuid4(), "workers", Role.WORKER, "k3x9")
        return MachineBatch("suite-workers-k3x9", numbers or (1,), machine_type or self.machine_type, owner)

    async def until(
        self, cloud: Cloud, installation: str, met: Callable[[Sequence[Machine]], bool]
    ) -> Sequence[Machine]:
        """The listing that first meets a condition."""
        return await eventually(lambda: cloud.machines(installation), met, self.patience_s)

    async def test_offers_name_machine_types_and_quota(self, cloud: Cloud) -> None:
        offers = await cloud.offers()
        assert self.machine_type in [offered.name for offered in offers.machine_types]
        assert offers.quota.machines_used >= 0
        assert offers.seconds_to_boot >= 0

    async def test_one_call_makes_every_machine_of_a_batch(self, cloud: Cloud, installation: str) -> None:
        batch = self.batch(installation, 1, 2, 3)
        created = await cloud.create(batch)
        listed = await cloud.machines(installation)
        assert sorted(machine.name for machine in listed) == batch.names()
        assert {machine.id for machine in created} <= {machine.id for machine in listed}
        assert {machine.owner for machine in listed} == {batch.owner}

    async def test_machine_of_one_has_its_number_in_the_name_too(self, cloud: Cloud, installation: str) -> None:
        await cloud.create(self.batch(installation, 7))
        (machine,) = await cloud.machines(installation)
        assert machine.name == "suite-workers-k3x9-7"

    async def test_machines_become_active_with_an_address(self, cloud: Cloud, installation: str) -> None:
        await cloud.create(self.batch(installation, 1, 2))
        machines = await self.until(
            cloud, installation, lambda all_of: all(m.state is CloudMachineState.ACTIVE for m in all_of)
        )
        addresses = {machine.address for machine in machines}
        assert len(addresses) == 2
        assert None not in addresses

    async def test_listing_shows_one_installation_alone(self, cloud: Cloud, installation: str) -> None:
        await cloud.create(self.batch(installation, 1))
        assert await cloud.machines(f"{installation}-other") == []

    async def test_repeated_create_makes_a_second_machine_unless_names_are_unique(
        self, cloud: Cloud, installation: str
    ) -> None:
        batch = self.batch(installation, 1)
        await cloud.create(batch)
        await cloud.create(batch)
        made = 1 if self.names_are_unique else 2
        assert [machine.name for machine in await cloud.machines(installation)] == batch.names() * made

    async def test_deletion_is_by_id_and_unknown_ids_are_fine(self, cloud: Cloud, installation: str) -> None:
        await cloud.create(self.batch(installation, 1, 2))
        first, second = await cloud.machines(installation)
        await cloud.delete([first.id, "no-such-machine"])
        left = await self.until(cloud, installation, lambda all_of: len(all_of) == 1)
        assert [machine.id for machine in left] == [second.id]
        await cloud.delete([first.id])

    async def test_machine_is_stopped_and_started_again_at_its_address_where_the_cloud_can(
        self, cloud: Cloud, installation: str
    ) -> None:
        if not isinstance(cloud, Stoppable):
            pytest.skip("this cloud cannot stop machines")
        await cloud.create(self.batch(installation, 1, 2))
        active = await self.until(cloud, installation, lambda all_of: _are(all_of, CloudMachineState.ACTIVE))
        ids = [machine.id for machine in active]
        await cloud.stop([*ids, "no-such-machine"])
        stopped = await self.until(cloud, installation, lambda all_of: _are(all_of, CloudMachineState.STOPPED))
        assert sorted(machine.id for machine in stopped) == sorted(ids)
        await cloud.stop(ids)
        await cloud.start([*ids, "no-such-machine"])
        woken = await self.until(cloud, installation, lambda all_of: _are(all_of, CloudMachineState.ACTIVE))
        assert {(each.id, each.name, each.address) for each in woken} == {
            (each.id, each.name, each.address) for each in active
        }
        await cloud.start(ids)

    async def test_machine_is_rebooted_at_its_address_and_one_that_is_gone_is_refused_where_the_cloud_can(
        self, cloud: Cloud, installation: str
    ) -> None:
        if not isinstance(cloud, Rebootable):
            pytest.skip("this cloud cannot reboot machines")
        await cloud.create(self.batch(installation, 1))
        (before,) = await self.until(cloud, installation, lambda all_of: _are(all_of, CloudMachineState.ACTIVE))
        await cloud.reboot(before.id)
        (after,) = await self.until(
            cloud,
            installation,
            lambda all_of: _are(all_of, CloudMachineState.ACTIVE) and _is_touched_since(all_of[0], before),
        )
        assert (after.id, after.name, after.address) == (before.id, before.name, before.address)
        with pytest.raises(CloudRefused):
            await cloud.reboot(str(uuid4()))

    async def test_unknown_machine_type_is_an_error_of_its_own_and_makes_nothing(
        self, cloud: Cloud, installation: str
    ) -> None:
        with pytest.raises(UnknownMachineType):
            await cloud.create(self.batch(installation, machine_type="no-such-type"))
        assert await cloud.machines(installation) == []

    async def test_largest_batch_is_one_call(self, cloud: Cloud, installation: str) -> None:
        numbers = tuple(range(1, cloud.capabilities.max_batch + 1))
        await cloud.create(self.batch(installation, *numbers))
        assert len(await cloud.machines(installation)) == len(numbers)


def _are(machines: Sequence[Machine], state: CloudMachineState) -> bool:
    return all(machine.state is state for machine in machines)


def _is_touched_since(machine: Machine, before: Machine) -> bool:
    """Whether the cloud tells that it did something to the machine, where it tells such things at all."""
    return before.touched_at is None or (machine.touched_at is not None and machine.touched_at > before.touched_at)


async def eventually(
    look: Callable[[], Awaitable[T]],
    met: Callable[[T], bool],
    patience_s: float,
) -> T:
    """Look until the condition is met; fail when patience ends."""
    ends_at = monotonic() + patience_s
    while not met(seen := await look()):
        assert monotonic() < ends_at, f"not so after {patience_s} s: {seen}"
        await asyncio.sleep(0.05)
    return seen
