"""What the tests ask a real OpenStack to make, and the waiting for it."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from caravan_provisioner.clouds.base import CloudMachineState, Machine, MachineBatch, Owner
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_shared.contracts.spec import Role
from tests.contracts.cloud_suite import eventually
from tests.openstack.conftest import PATIENCE_S


def batch(
    installation: str,
    *numbers: int,
    role: Role = Role.WORKER,
    cluster: UUID | None = None,
    machine_type: str = "small",
) -> MachineBatch:
    """Machines `suite-<role>-<number>` of one set; of a cluster of their own by default."""
    node_set = "workers" if role is Role.WORKER else "control-plane"
    owner = Owner(installation, cluster or uuid4(), node_set, role, "k3x9")
    return MachineBatch(f"suite-{role.value}", numbers, machine_type, owner, "#cloud-config\n{}\n")


async def all_in(cloud: OpenStackCloud, installation: str, state: CloudMachineState, count: int) -> Sequence[Machine]:
    """All machines of the installation, once they are so many and each in that state."""
    return await eventually(
        lambda: cloud.machines(installation),
        lambda machines: [machine.state for machine in machines] == [state] * count,
        PATIENCE_S,
    )
