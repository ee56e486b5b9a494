"""How machines are entered: one key pair a cluster, sealed in the store, and host keys that are known beforehand.

The public half reaches machines by their user-data, or is put on an inventory's machine when a cluster claims it; the
private half leaves the store for the length of a run only. Host keys come from the cloud, never from whoever answers,
so that a machine put in another's place is refused. An inventory's machines let in one more key, its operator's.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper.errors import OperatorKeyUnreadable
from caravan_bootstrapper.store import OperatorKey, SshKey, operator_key_context, ssh_key_context
from caravan_bootstrapper.views import NodeView
from caravan_shared.plumbing.database import upsert
from caravan_shared.plumbing.sealing import KeyRing
from caravan_shared.plumbing.ssh_keys import SshKeyPair, make_ssh_key_pair

DEFAULT_PORT = 22
COMMENT = "caravan"
OPERATOR_COMMENT = "caravan-operator"
_BANNER = b"SSH-"  # RFC 4253, section 4.2
_LOOK_EVERY_S = 0.5
_LOOK_TIMEOUT_S = 5.0


class Reached(Protocol):
    """A machine, as far as entering it goes."""

    @property
    def address(self) -> str:
        """Its IP address."""

    @property
    def ssh_port(self) -> int:
        """Where its SSH server listens."""

    @property
    def host_keys(self) -> Sequence[str]:
        """Its public host keys, `<type> <base64>`."""


async def key_pair(tx: AsyncSession, keys: KeyRing, cluster_id: UUID) -> SshKeyPair:
    """The cluster's key pair, made at the first asking; of two that ask at once both get the same."""
    kept = await tx.get(SshKey, cluster_id)
    if kept is None:
        made = make_ssh_key_pair(COMMENT)
        sealed = keys.seal(made.private, ssh_key_context(cluster_id))
        row = SshKey(cluster_id=cluster_id, public=made.public, sealed_private=sealed)
        await upsert(tx, SshKey, [row.model_dump()], key=("cluster_id",), update=())
        kept = await tx.get_one(SshKey, cluster_id)
    return SshKeyPair(kept.public, keys.open(kept.sealed_private, ssh_key_context(cluster_id)))


async def operator_key(tx: AsyncSession, keys: KeyRing, cloud: str, file: Path | None) -> SshKeyPair:
    """The key pair for an inventory's machines: that of the file, or one of the cloud's own, made at the first asking.

    Raises `OperatorKeyUnreadable`.
    """
    if file is not None:
        return _read_key_pair(file)
    kept = await tx.get(OperatorKey, cloud)
    if kept is None:
        made = make_ssh_key_pair(OPERATOR_COMMENT)
        sealed = keys.seal(made.private, operator_key_context(cloud))
        row = OperatorKey(cloud=cloud, public=made.public, sealed_private=sealed)
        await upsert(tx, OperatorKey, [row.model_dump()], key=("cloud",), update=())
        kept = await tx.get_one(OperatorKey, cloud)
    return SshKeyPair(kept.public, keys.open(kept.sealed_private, operator_key_context(cloud)))


def known_hosts(machines: Iterable[Reached]) -> str:
    """The text of a `known_hosts` file (sshd(8)) that pins every machine to the keys its cloud told."""
    return "".join(f"{_known_as(machine)} {key}\n" for machine in machines for key in machine.host_keys)


async def silent(nodes: Sequence[NodeView], within_s: float) -> tuple[NodeView, ...]:
    """Wait until every machine answers as an SSH server; those that do not within so many seconds."""
    answers = await asyncio.gather(*(_answers(node, within_s) for node in nodes))
    return tuple(node for node, answered in zip(nodes, answers, strict=True) if not answered)


def _known_as(machine: Reached) -> str:
    return machine.address if machine.ssh_port == DEFAULT_PORT else f"[{machine.address}]:{machine.ssh_port}"


def _read_key_pair(file: Path) -> SshKeyPair:
    try:
        private = file.read_text()
        key = load_ssh_private_key(private.encode(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise OperatorKeyUnreadable(file, error) from error
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return SshKeyPair(f"{public} {OPERATOR_COMMENT}", private)


async def _answers(machine: Reached, within_s: float) -> bool:
    clock = asyncio.get_running_loop().time
    until = clock() + within_s
    while not (greeted := await _greets(machine)) and clock() < until:  # noqa: ASYNC110  # nobody tells when it starts
        await asyncio.sleep(_LOOK_EVERY_S)
    return greeted


async def _greets(machine: Reached) -> bool:
    writer: Any = None
    try:
        async with asyncio.timeout(_LOOK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(machine.address, machine.ssh_port)
            return (await reader.read(len(_BANNER))) == _BANNER
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()
