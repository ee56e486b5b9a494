"""The clouds that machines come from: one adapter a kind, made as the settings name them."""

from collections.abc import Mapping

from caravan_provisioner.clouds.base import Cloud
from caravan_provisioner.clouds.sandbox import SandboxCloud, SandboxConfig

CloudConfig = SandboxConfig
"""The configuration of one cloud; its `kind` picks the adapter."""


def make_clouds(configs: Mapping[str, CloudConfig]) -> dict[str, Cloud]:
    """An adapter for every configured cloud, by its name. Nothing is connected yet."""
    return {name: SandboxCloud(name, config) for name, config in configs.items()}
