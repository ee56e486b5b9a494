"""`caravan backup` and `caravan restore`: all stores of a local stack into one file, and back.

    dns.jsonl.gz … api.jsonl.gz     each service's own backup (`caravan-<service> backup`)
    keys.json                       only with --with-keys, as what follows: the key ring
    stack.json                      the stack's ports, network and passwords
    accounts/credentials.yaml       passwords on its NATS server

The api's store is taken last: what the others know of a cluster's generations, the api's copy then knows as well. Not
in it are the far ends (the sandbox's machines, Docker's containers) and NATS's streams, which the services fill again.
"""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from caravan_cli.errors import NotFound, Refused
from caravan_cli.nats.folder import PASSWORDS
from caravan_cli.outcome import tell
from caravan_cli.private_files import new_private
from caravan_cli.up.accounts import FOLDER
from caravan_cli.up.claim import Claim
from caravan_cli.up.command import StateDir
from caravan_cli.up.layout import FILE as STACK_FILE
from caravan_cli.up.operations import act
from caravan_cli.up.parts import SERVICES
from caravan_cli.up.wiring import NATS_STORE

KEYS = "keys.json"
_SUFFIX = ".jsonl.gz"
_LAST = "api"
_SECRET = (KEYS, STACK_FILE, f"{FOLDER}/{PASSWORDS}")

Archive = Annotated[Path, typer.Argument(metavar="FILE.tar", show_default=False)]


def backup(
    file: Archive,
    state_dir: StateDir = Path(".caravan"),
    with_keys: Annotated[
        bool,
        typer.Option("--with-keys", help="Put the key ring and passwords in: whoever has it, has all."),
    ] = False,
) -> None:
    """Write all that a local stack keeps into one new file. The stack may run meanwhile.

    Secrets in it are sealed. Without the key ring (keys.json in the state directory) they never open again: keep a copy
    of it elsewhere, or use --with-keys and keep the file as you would keep the keys.

    Examples:

      caravan backup monday.tar
    """
    state_dir = state_dir.absolute()
    if not (state_dir / STACK_FILE).is_file():
        raise NotFound(f"There is no {STACK_FILE} in {state_dir}: no local stack was ever started there.")
    with new_private(file) as draft, tempfile.TemporaryDirectory(dir=file.absolute().parent) as folder:
        for services in ([service for service in SERVICES if service != _LAST], [_LAST]):
            act(state_dir, {service: ["backup", f"{folder}/{service}{_SUFFIX}"] for service in services})
        with tarfile.open(draft, "w") as tar:
            for service in SERVICES:
                tar.add(f"{folder}/{service}{_SUFFIX}", f"{service}{_SUFFIX}")
            for name in _SECRET if with_keys else ():
                tar.add(state_dir / name, name)
    if with_keys:
        tell(f"WARNING: {file} holds the key ring and passwords. Whoever reads it opens every secret of every cluster.")
    else:
        tell(f"{file} is written. Its secrets open only with {state_dir / KEYS}: keep a copy of that elsewhere.")


def restore(file: Archive, state_dir: StateDir = Path(".caravan")) -> None:
    """Fill an empty state directory from such a file. Nothing is touched unless all of it would be taken.

    Put the key ring (and stack.json, to keep ports and passwords) there first if they are not in the file. Then start
    the stack: it takes the clusters over again, and touches no machine for that. Machines of clusters made after the
    backup are kept until `caravan cloud release-sweep`.
    """
    state_dir = state_dir.absolute()
    with _claimed(state_dir), tempfile.TemporaryDirectory() as name, _opened(file) as tar:
        folder = Path(name)
        _extract(file, tar, folder)
        if (state_dir / NATS_STORE).exists():
            raise Refused(f"{state_dir / NATS_STORE} has streams of another time. Remove it, or restore elsewhere.")
        if not ((state_dir / KEYS).exists() or (folder / KEYS).exists()):
            raise Refused(f"The key ring is not in {file}. Put the one that was kept elsewhere at {state_dir / KEYS}.")
        placed = _place_secrets(folder, state_dir)
        files = {service: f"{folder}/{service}{_SUFFIX}" for service in SERVICES}
        try:
            act(state_dir, {service: ["restore", "--check", path] for service, path in files.items()})
        except BaseException:
            for path in placed:
                path.unlink()
            raise
        act(state_dir, {service: ["restore", path] for service, path in files.items()})
    tell(f"All stores are restored to {state_dir}. Start it with: caravan up --state-dir {state_dir}")
    tell("Then look at `caravan cloud sweep NAME` for machines that came after the backup; they are kept until")
    tell("`caravan cloud release-sweep`.")


@contextmanager
def _claimed(state_dir: Path) -> Iterator[None]:
    """The directory is ours meanwhile. Refused while a stack runs there."""
    claim = Claim(state_dir)
    claim.take()
    try:
        if strays := claim.strays():
            raise Refused(f"Processes of a stack still run in {state_dir}: {', '.join(strays)}. Stop them first.")
        yield
    finally:
        claim.give_back()


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file) as tar:
            yield tar
    except FileNotFoundError as error:
        raise NotFound(f"There is no {file}.") from error
    except tarfile.TarError as error:
        raise Refused(f"{file} is no backup, or damaged: {error}") from error


def _extract(file: Path, tar: tarfile.TarFile, folder: Path) -> None:
    wanted = {f"{service}{_SUFFIX}" for service in SERVICES}
    there = set(tar.getnames())
    if not wanted <= there <= wanted | set(_SECRET):
        raise Refused(f"{file} is not what `caravan backup` writes: it has {', '.join(sorted(there)) or 'nothing'}.")
    tar.extractall(folder, filter="data")


def _place_secrets(folder: Path, state_dir: Path) -> list[Path]:
    """Put the key ring and the layout of the file where there are none; which those are."""
    placed = []
    for name in _SECRET:
        kept, place = folder / name, state_dir / name
        if kept.exists() and not place.exists():
            place.parent.mkdir(mode=0o700, exist_ok=True)
            with new_private(place) as draft:
                draft.write_bytes(kept.read_bytes())
            placed.append(place)
    return placed
