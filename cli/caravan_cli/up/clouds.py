"""Which clouds a local stack has, as the commands that start one ask for it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from caravan_cli.artifacts import sums
from caravan_cli.artifacts.catalogue import load
from caravan_cli.artifacts.command import wanted
from caravan_cli.artifacts.places import Origin, default_mirror
from caravan_cli.up import docker
from caravan_cli.up.errors import StackError


class Clouds(StrEnum):
    """Where a local stack's clusters run."""

    SANDBOX = "sandbox"
    """Nowhere: they are simulated."""
    DOCKER = "docker"
    """In containers of this machine's Docker engine: real Kubernetes."""


CloudOption = Annotated[
    Clouds, typer.Option("--cloud", help="`docker` for real clusters in containers, `sandbox` for simulated ones.")
]
MirrorOption = Annotated[
    Path | None,
    typer.Option(
        "--mirror",
        help="Directory that `make artifacts` filled; for --cloud docker.",
        envvar="CARAVAN_MIRROR",
        show_default="the one that `make artifacts` fills",
    ),
]


def engine(cloud: Clouds, mirror: Path | None) -> docker.Docker | None:
    """The Docker engine, where the stack shall use it. StackError says what is missing."""
    return docker.find(mirror or filled_mirror()) if cloud is Clouds.DOCKER else None


def filled_mirror() -> Path:
    """The mirror that `make artifacts` filled for this checkout, however. StackError where there is none."""
    catalogues = load()
    for origin in Origin:
        mirror = default_mirror(origin, wanted(catalogues, None, origin))
        if (mirror / sums.NAME).is_file():
            return mirror
    raise StackError("No mirror of Kubernetes' artifacts is on this machine. Fill one with `make artifacts`.")
