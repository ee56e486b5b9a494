"""kubeadm's bootstrap tokens: minted ahead of the cluster, sealed in the store, made known to the cluster later.

Format and Secret: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
"""

import base64
import secrets
import string
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper.store import JoinToken, join_token_context
from caravan_shared.plumbing.sealing import KeyRing

LIFETIME = timedelta(hours=24)  # kubeadm's own default
RENEWED_BEFORE = timedelta(hours=12)  # a machine booted with it may still be retrying
DESCRIPTION = "Caravan: nodes join with it"
NODE_GROUP = "system:bootstrappers:kubeadm:default-node-token"
_ALPHABET = string.ascii_lowercase + string.digits


def mint() -> str:
    """A new token, `[a-z0-9]{6}.[a-z0-9]{16}`: 82 random bits in its secret half."""
    return f"{_random(6)}.{_random(16)}"


async def current(tx: AsyncSession, keys: KeyRing, cluster_id: UUID, node_set: str, now: datetime) -> str:
    """The token that machines of this set join with; a new one where the last is past half of its life."""
    table: Any = JoinToken
    of_set = select(JoinToken).where(table.cluster_id == cluster_id, table.node_set == node_set)
    newest = (await tx.exec(of_set.order_by(table.expires_at.desc()).limit(1))).first()
    if newest and newest.expires_at - now > RENEWED_BEFORE:
        return keys.open(newest.sealed, join_token_context(cluster_id))
    await tx.exec(delete(JoinToken).where(table.cluster_id == cluster_id, table.expires_at < now))
    token = mint()
    row = JoinToken(
        token_id=token.split(".")[0],
        cluster_id=cluster_id,
        node_set=node_set,
        sealed=keys.seal(token, join_token_context(cluster_id)),
        expires_at=now + LIFETIME,
    )
    tx.add(row)
    return token


async def all_of(session: AsyncSession, keys: KeyRing, cluster_id: UUID) -> list[tuple[str, datetime]]:
    """Every token of the cluster with its end of life."""
    table: Any = JoinToken
    found = await session.exec(select(JoinToken).where(table.cluster_id == cluster_id).order_by(table.token_id))
    return [(keys.open(row.sealed, join_token_context(cluster_id)), row.expires_at) for row in found]


async def not_ensured(session: AsyncSession, keys: KeyRing, cluster_id: UUID) -> list[tuple[str, datetime]]:
    """The tokens that the running cluster has not been told of."""
    table: Any = JoinToken
    found = await session.exec(select(JoinToken).where(table.cluster_id == cluster_id, ~table.ensured))
    return [(keys.open(row.sealed, join_token_context(cluster_id)), row.expires_at) for row in found]


async def mark_ensured(tx: AsyncSession, told: list[str]) -> None:
    """The running cluster knows these tokens."""
    table: Any = JoinToken
    ids = [token.split(".")[0] for token in told]
    await tx.exec(update(JoinToken).where(table.token_id.in_(ids)).values(ensured=True))


def init_entry(token: str, expires_at: datetime, now: datetime) -> dict[str, Any]:
    """The token in an InitConfiguration's `bootstrapTokens`.

    By its time to live: kubeadm sets a default one beside `expires`, and then refuses that there are both.
    """
    return {
        "token": token,
        "ttl": f"{max(1, int((expires_at - now).total_seconds()))}s",
        "usages": ["signing", "authentication"],
        "groups": [NODE_GROUP],
        "description": DESCRIPTION,
    }


def secret(token: str, expires_at: datetime) -> dict[str, Any]:
    """The token as the Secret that a running cluster reads it from."""
    token_id, token_secret = token.split(".")
    values = {
        "token-id": token_id,
        "token-secret": token_secret,
        "expiration": _rfc3339(expires_at),
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": NODE_GROUP,
        "description": DESCRIPTION,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in values.items()},
    }


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
