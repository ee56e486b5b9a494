"""How machines are entered: one key pair a cluster, sealed in the store, and host keys that are known beforehand.

The public half reaches machines by their user-data; the private half leaves the store for the length of a run
only. Host keys come from the cloud, never from whoever answers, so that a machine put in another's place is refused.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper.store import SshKey
from caravan_bootstrapper.views import NodeView
from caravan_shared.plumbing.database import upsert
from caravan_shared.plumbing.sealing import KeyRing

PORT = 22
COMMENT = "caravan"
_BANNER = b"SSH-"  # RFC 4253, section 4.2
_LOOK_EVERY_S = 0.5
_LOOK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class KeyPair:
    """OpenSSH texts: the line for `authorized_keys`, and the private key."""

    public: str
    private: str = field(repr=False)


async def key_pair(tx: AsyncSession, keys: KeyRing, cluster_id: UUID) -> KeyPair:
    """The cluster's key pair, made at the first asking; of two that ask at once both get the same."""
    kept = await tx.get(SshKey, cluster_id)
    if kept is None:
        made = make_key_pair()
        row = SshKey(
            cluster_id=cluster_id, public=made.public, sealed_private=keys.seal(made.private, _context(cluster_id))
        )
        await upsert(tx, SshKey, [row.model_dump()], key=("cluster_id",), update=())
        kept = await tx.get_one(SshKey, cluster_id)
    return KeyPair(kept.public, keys.open(kept.sealed_private, _context(cluster_id)))


def make_key_pair() -> KeyPair:
    """A new Ed25519 key pair."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return KeyPair(f"{public} {COMMENT}", private)


def known_hosts(nodes: Iterable[NodeView]) -> str:
    """The text of a `known_hosts` file (sshd(8)) that pins every machine to the keys its cloud told."""
    return "".join(f"{node.address} {key}\n" for node in nodes for key in node.host_keys)


async def silent(nodes: Sequence[NodeView], within_s: float) -> tuple[NodeView, ...]:
    """Wait until every machine answers as an SSH server; those that do not within so many seconds."""
    answers = await asyncio.gather(*(_answers(node.address, within_s) for node in nodes))
    return tuple(node for node, answered in zip(nodes, answers, strict=True) if not answered)


async def _answers(address: str, within_s: float) -> bool:
    clock = asyncio.get_running_loop().time
    until = clock() + within_s
    while not (greeted := await _greets(address)) and clock() < until:  # noqa: ASYNC110  # nobody tells when it starts
        await asyncio.sleep(_LOOK_EVERY_S)
    return greeted


async def _greets(address: str) -> bool:
    writer: Any = None
    try:
        async with asyncio.timeout(_LOOK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address, PORT)
            return (await reader.read(len(_BANNER))) == _BANNER
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()


def _context(cluster_id: UUID) -> str:
    return f"{cluster_id}/ssh-key"
