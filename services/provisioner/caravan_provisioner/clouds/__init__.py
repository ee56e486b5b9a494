"""The clouds that machines come from: one adapter a kind, made as the settings name them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from caravan_provisioner.clouds.base import Cloud
from caravan_provisioner.clouds.docker import DockerCloud
from caravan_provisioner.clouds.docker_config import DockerConfig
from caravan_provisioner.clouds.sandbox import SandboxCloud, SandboxConfig

CloudConfig = Annotated[SandboxConfig | DockerConfig, Field(discriminator="kind")]
"""The configuration of one cloud; its `kind` picks the adapter."""


def make_clouds(configs: Mapping[str, CloudConfig]) -> dict[str, Cloud]:
    """An adapter for every configured cloud, by its name. Nothing is connected yet."""
    return {name: _make(name, config) for name, config in configs.items()}


def _make(name: str, config: CloudConfig) -> Cloud:
    match config:
        case SandboxConfig():
            return SandboxCloud(name, config)
        case DockerConfig():
            return DockerCloud(name, config)
