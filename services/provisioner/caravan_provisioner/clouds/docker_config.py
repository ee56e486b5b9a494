"""What the Docker cloud can be told."""

import os
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints


class Size(BaseModel):
    """How large the containers of a machine type are. Limits, not reservations."""

    cpus: int = Field(ge=1)
    memory_mib: int = Field(ge=256)
    disk_gib: int = Field(20, description="Told only: containers share the engine's disk.")


class DockerConfig(BaseModel):
    """How to make machines on a Docker engine."""

    kind: Literal["docker"] = "docker"
    url: Annotated[str, StringConstraints(pattern=r"^(unix|tcp|http|https)://.")] = Field(
        default_factory=lambda: os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock",
        validate_default=True,
        description="The engine; DOCKER_HOST where that is set.",
    )
    image: str = Field("caravan-node:latest", description="What machines are made of; `make node-image` builds it.")
    machine_types: dict[str, Size] = Field(
        default={
            "small": Size(cpus=2, memory_mib=2048),
            "medium": Size(cpus=2, memory_mib=4096),
            "large": Size(cpus=4, memory_mib=8192),
        },
        description="Machine types by name, as upper limits of processors and memory where the engine can set them.",
    )
    mounts: tuple[Annotated[str, StringConstraints(pattern=r"^/[^:]*:/[^:]+(:ro|:rw)?$")], ...] = Field(
        (), description="`/path/on/the/engine's/host:/path/in/the/machine:ro`, such as the directory of a mirror."
    )
    pull: bool = Field(True, description="Workers join by themselves through their user-data instead of over SSH.")
    machines_limit: int = Field(50, ge=1, description="Most machines of all installations on this engine.")
    subnets: IPv4Network = Field(
        IPv4Network("10.89.0.0/16"),
        description="Where clusters' networks come from: a subnet each that has room for `machines_limit` machines. "
        "Nothing that the engine's host or a cluster uses otherwise. The lowest free one is taken, but for a cluster "
        "with a virtual IP: that brings its own, so choose it high.",
    )
    timeout_s: float = Field(120, gt=0, description="Seconds for one call; removing a busy machine takes several.")
