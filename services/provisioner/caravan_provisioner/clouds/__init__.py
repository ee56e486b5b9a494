"""The clouds that machines come from: one adapter a kind, made as the settings name them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from caravan_provisioner.clouds.base import Cloud
from caravan_provisioner.clouds.docker import DockerCloud
from caravan_provisioner.clouds.docker_config import DockerConfig
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.sandbox import SandboxCloud, SandboxConfig
from caravan_provisioner.clouds.static import StaticCloud, StaticConfig
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

CloudConfig = Annotated[SandboxConfig | DockerConfig | OpenStackConfig | StaticConfig, Field(discriminator="kind")]
"""The configuration of one cloud; its `kind` picks the adapter."""


def make_clouds(configs: Mapping[str, CloudConfig], db: Database, clock: Clock, keys: KeyRing) -> dict[str, Cloud]:
    """An adapter for every configured cloud, by its name. Nothing is connected yet.

    Inventories are kept in `db`, their BMCs' passwords sealed by `keys`.
    """
    return {name: _make(name, config, db, clock, keys) for name, config in configs.items()}


def _make(name: str, config: CloudConfig, db: Database, clock: Clock, keys: KeyRing) -> Cloud:
    match config:
        case SandboxConfig():
            return SandboxCloud(name, config)
        case DockerConfig():
            return DockerCloud(name, config)
        case StaticConfig():
            return StaticCloud(name, config, db, clock, keys)
        case OpenStackConfig():
            return OpenStackCloud(name, config)
