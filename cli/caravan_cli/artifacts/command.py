"""`caravan artifacts`: the files that clusters are made of, and mirrors of them for closed networks."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from caravan_cli.artifacts import download, fill
from caravan_cli.artifacts.catalogue import CATALOGUES, Artifact, Catalogue, load
from caravan_cli.artifacts.mirror import Mirror, filling
from caravan_cli.artifacts.places import Origin, cache, default_mirror
from caravan_cli.artifacts.problems import unknown_version
from caravan_cli.artifacts.progress import progress_on
from caravan_cli.render import Output, document, say, stderr, stdout, table

app = typer.Typer(
    no_args_is_help=True, help="Mirrors of the files that clusters are made of: list, fill and verify them."
)

Versions = Annotated[
    list[str] | None,
    typer.Option("--version", help="Kubernetes version; the newest of each minor if you name none. Repeat it."),
]
From = Annotated[Origin, typer.Option("--from", help="Download from upstream's hosts, or build here from source.")]
Folder = Annotated[
    Path | None,
    typer.Option("--mirror", help="The mirror's folder; one of its own below ~/.cache/caravan if you name none."),
]
Catalogues = Annotated[Path, typer.Option("--catalogues", help="Folder of the catalogues.", show_default=False)]
Form = Annotated[Output, typer.Option("--output", "-o", help="Form of the answer.")]


@app.command("list")
def list_files(
    version: Versions = None,
    origin: From = Origin.OFFICIAL,
    catalogues: Catalogues = CATALOGUES,
    output: Form = Output.TABLE,
) -> None:
    """List the files of Kubernetes versions, where they come from and what they must hash to."""
    artifacts = wanted(load(catalogues), version, origin)
    if output in {Output.JSON, Output.YAML}:
        document([artifact.model_dump(mode="json", exclude={"source"}) for artifact in artifacts], output)
        return
    rows = [
        (each.kind, each.path, each.url or each.image or "-", each.sha256 or each.digest or "-") for each in artifacts
    ]
    table(stdout(), ("KIND", "PATH", "FROM", "SUM"), rows)


@app.command("fill")
def fill_mirror(
    version: Versions = None, origin: From = Origin.OFFICIAL, mirror: Folder = None, catalogues: Catalogues = CATALOGUES
) -> None:
    """Fill a mirror with all that Kubernetes versions need; what is there already is left alone. Prints its folder."""
    artifacts = wanted(load(catalogues), version, origin)
    folder = mirror or default_mirror(origin, artifacts)
    began = time.monotonic()
    with filling(folder) as place, progress_on(stderr()) as report:
        if origin is Origin.SOURCE:
            fill.from_source(place, artifacts, report, cache())
        else:
            with download.client() as http:
                fill.from_official(place, artifacts, report, http)
    there = sum(not place.lacks(artifact) for artifact in artifacts)
    say(stderr(), f"{there} of {len(artifacts)} files, {time.monotonic() - began:.1f} s")
    typer.echo(folder)


@app.command("verify")
def verify(mirror: Annotated[Path, typer.Argument(help="The mirror's folder.")]) -> None:
    """Read every file of a mirror and check it against its SHA256SUMS."""
    began = time.monotonic()
    sizes = [size for _, size in Mirror(mirror).verify()]
    typer.echo(f"{len(sizes)} files, {sum(sizes) / 1e6:.0f} MB, all right ({time.monotonic() - began:.1f} s)")


def wanted(catalogues: Sequence[Catalogue], versions: Sequence[str] | None, origin: Origin) -> list[Artifact]:
    """The files of the versions asked for, each once; of the newest of each minor where none is. Raises CliError."""
    known = {patch: catalogue for catalogue in catalogues for patch in catalogue.patches}
    if not versions:
        versions = [patch for each in catalogues if (patch := newest(each, origin))]
    for version in versions:
        if version.removeprefix("v") not in known:
            raise unknown_version(version, tuple(known))
    patches = [version.removeprefix("v") for version in versions]
    by_path = {artifact.path: artifact for patch in patches for artifact in known[patch].artifacts(patch)}
    return list(by_path.values())


def newest(catalogue: Catalogue, origin: Origin) -> str | None:
    """The newest patch of a minor that this origin has."""
    return catalogue.patches[0] if origin is Origin.SOURCE else catalogue.newest_downloadable()
