"""Hand out kubeconfigs and take them back.

A grant is recorded before its binding is made and closed only after its binding is gone, so that whatever dies in
between, no binding is ever left that the record does not know; `close_due` clears up.

Nothing slips past the revocation of all that a person holds: it marks every grant on record, those that are still being
made among them, and what is marked is not handed out (`_hand_out`). What is recorded later was asked for later.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID, uuid4

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_dns import bindings, store
from caravan_dns.authority import Subject, sign_client
from caravan_dns.credentials import Credentials, Issuer
from caravan_dns.errors import (
    ClusterRefused,
    ClusterUnreachable,
    NoSuchCluster,
    NoSuchGrant,
    NotYet,
    RefusedLifetime,
    RevokedMeanwhile,
)
from caravan_dns.kubeconfigs import render
from caravan_dns.names import checked_user
from caravan_dns.store import Grant, GrantState
from caravan_shared.contracts.events import KubeconfigIssued, KubeconfigRevoked
from caravan_shared.contracts.requests import (
    AskKubeconfig,
    AskRevoke,
    AskRevokeAll,
    Kubeconfig,
    Revoked,
    RevokedAll,
    TakenBack,
)
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.reconciler import Turn

log = get_logger(__name__)

ACT_LIFETIME = timedelta(minutes=5)
"""Of the certificate under which a binding is made or removed: one act and a clock that is a little off."""
CLOSE_AGAIN_S = 10.0
"""Between attempts to remove a binding from a cluster that does not let us; revoked shall mean revoked within 60 s."""
MADE_WITHIN = timedelta(minutes=1)
"""A grant that takes longer to make was left by a process that died: binding it takes `bindings.TIMEOUT_S` at most."""
CLOSE_WITHIN_S = 15.0
"""For all clusters of one answer together: the asker waits 20 s."""
CLUSTERS_AT_ONCE = 32
"""That bindings are removed from for one answer, so that some that do not answer hold up few."""
LISTED = 1000
"""Grants in one answer: about 300 KB, where the bus carries 1 MiB."""


def facts_of(grants: Iterable[Grant]) -> list[KubeconfigIssued | KubeconfigRevoked]:
    """All that there is to say of these grants: those in force, and those taken back."""
    facts: list[KubeconfigIssued | KubeconfigRevoked] = []
    for grant in grants:
        if grant.state == GrantState.OPEN or (grant.revoked and grant.state != GrantState.OPENING):
            facts.append(_issued(grant))
        if grant.state == GrantState.CLOSED and grant.revoked:
            facts.append(_revoked(grant))
    return facts


@dataclass(frozen=True)
class Grants:
    """Issue, revoke, and close what is due. `wake(key)` has the reconciler look at a cluster."""

    credentials: Credentials
    wake: Callable[[str], None]

    async def issue(self, request: AskKubeconfig) -> Kubeconfig:
        """Grant someone access. Raises RefusedUser, RefusedLifetime, NoSuchCluster, NotYet, ClusterUnreachable."""
        user, lifetime = checked_user(request.user), self._lifetime(request.ttl_s)
        issuer = await self.credentials.issuer(request.cluster_id)
        if not issuer.endpoint.addresses:
            raise NotYet(f"{issuer.endpoint.host} has no control plane yet")
        grant_id, now = uuid4(), self.credentials.clock.now()
        subject = Subject(user=user, group=bindings.group_of(grant_id))
        client, expires_at = sign_client(issuer.pki.ca, subject, now, lifetime)
        grant = Grant(
            id=grant_id,
            cluster_id=request.cluster_id,
            user=user,
            role=request.role,
            issued_at=now,
            expires_at=expires_at,
        )
        await self._open(issuer, grant)
        log.info("kubeconfig issued", cluster=str(request.cluster_id), grant=str(grant_id), user=user, role=grant.role)
        text = render(issuer.cluster, user, issuer.endpoint, issuer.pki.ca.public, client)
        return Kubeconfig(grant_id=grant_id, kubeconfig=text, expires_at=expires_at)

    async def revoke(self, request: AskRevoke) -> Revoked:
        """Take access away; twice is fine. Raises NoSuchCluster, NoSuchGrant, ClusterUnreachable.

        The wish is stored first: a cluster that can't be reached now loses the binding as soon as it can.
        """
        issuer = await self.credentials.issuer(request.cluster_id, even_leaving=True)
        async with self.credentials.database.transaction() as tx:
            grant = await tx.get(Grant, request.grant_id, with_for_update=True)
            if grant is None or grant.cluster_id != request.cluster_id:
                raise NoSuchGrant(request.grant_id)
            if grant.state != GrantState.CLOSED:
                grant.state, grant.revoked = GrantState.CLOSING, True
        self.wake(str(request.cluster_id))
        if grant.state == GrantState.CLOSING:
            await self._close_now(issuer, grant)
        return Revoked()

    async def revoke_all(self, request: AskRevokeAll) -> RevokedAll:
        """Take all that a person holds away; twice is fine.

        The wish is stored first, as in `revoke`; what could not be removed at once is told as pending.
        """
        reach = store.reach(request.team, request.clusters)
        async with self.credentials.database.transaction() as tx:
            grants = await store.take_back(tx, request.user, reach)
        by_cluster = {cluster: list(those) for cluster, those in groupby(grants, lambda grant: grant.cluster_id)}
        for cluster_id in by_cluster:
            self.wake(str(cluster_id))
        reasons = await self._closed_now(by_cluster)
        async with self.credentials.database.reading() as session:
            still = {grant.id for grant in await store.held_by(session, request.user, reach)}
        log.info("all access revoked", user=request.user, team=request.team, grants=len(grants), pending=len(still))
        taken = [_taken_back(grant, reasons.get(grant.cluster_id), is_held=grant.id in still) for grant in grants]
        return RevokedAll(items=tuple(taken[:LISTED]), more=len(taken[LISTED:]))

    async def close_due(self, turn: Turn, cluster_id: UUID) -> float | None:
        """Remove the bindings of revoked, expired and unfinished grants; seconds until the next one is due.

        A cluster that does not let us is asked again later: its endpoint is none the worse for it.
        """
        async with turn.reading() as session:
            open_grants = [g for g in await store.grants_of(session, cluster_id) if g.state != GrantState.CLOSED]
        due = [grant for grant in open_grants if _due_at(grant) <= turn.now()]
        try:
            for grant in due:
                issuer = await self.credentials.issuer(cluster_id, even_leaving=True)
                await bindings.unbind(self._access(issuer), grant.id)
                async with turn.transaction() as tx:
                    await _close(tx, grant.id)
        except (ClusterUnreachable, ClusterRefused) as trouble:
            log.warning("bindings stay for now", cluster=str(cluster_id), grants=len(due), why=trouble.reason)
            return CLOSE_AGAIN_S
        except NoSuchCluster:  # deleted a moment ago, and its grants with it
            return None
        later = [(_due_at(grant) - turn.now()).total_seconds() for grant in open_grants if grant not in due]
        return max(0.0, min(later)) if later else None

    def _lifetime(self, ttl_s: int) -> timedelta:
        settings = self.credentials.settings
        if ttl_s < 0:
            raise RefusedLifetime(ttl_s)
        return timedelta(seconds=min(ttl_s or settings.grant_default_s, settings.grant_longest_s))

    async def _open(self, issuer: Issuer, grant: Grant) -> None:
        database = self.credentials.database
        async with database.transaction() as tx:
            tx.add(grant)
        try:
            await bindings.bind(self._access(issuer), grant.id, grant.role)
            async with database.transaction() as tx:
                await _hand_out(tx, grant.id)
        except CaravanError:
            async with database.transaction() as tx:
                if unfinished := await tx.get(Grant, grant.id, with_for_update=True):
                    unfinished.state, unfinished.revoked = GrantState.CLOSING, False  # nobody ever had it
            raise
        finally:
            self.wake(str(grant.cluster_id))

    async def _closed_now(self, by_cluster: Mapping[UUID, Sequence[Grant]]) -> Mapping[UUID, str]:
        """Remove the bindings of all, as far as that is quick; by cluster, why they stay."""
        reasons: dict[UUID, str] = {}
        turns = asyncio.Semaphore(CLUSTERS_AT_ONCE)

        async def close(cluster_id: UUID, grants: Sequence[Grant]) -> None:
            async with turns:
                try:
                    issuer = await self.credentials.issuer(cluster_id, even_leaving=True)
                    await self._close_now(issuer, *(g for g in grants if g.state == GrantState.CLOSING))
                except (ClusterUnreachable, ClusterRefused, NoSuchCluster) as trouble:
                    reasons[cluster_id] = trouble.reason

        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S), asyncio.TaskGroup() as group:
                for cluster_id, grants in by_cluster.items():
                    group.create_task(close(cluster_id, grants))
        return reasons

    async def _close_now(self, issuer: Issuer, *grants: Grant) -> None:
        access = self._access(issuer)
        for grant in grants:
            await bindings.unbind(access, grant.id)
            async with self.credentials.database.transaction() as tx:
                await _close(tx, grant.id)

    def _access(self, issuer: Issuer) -> bindings.Access:
        client = self.credentials.sign_for_ourselves(issuer.pki.ca, ACT_LIFETIME)
        return bindings.Access(issuer.endpoint, issuer.pki.ca.public, client)


async def _hand_out(tx: AsyncSession, grant_id: UUID) -> None:
    grant = await tx.get(Grant, grant_id, with_for_update=True)
    if grant and grant.revoked:
        raise RevokedMeanwhile
    if grant is None or grant.state != GrantState.OPENING:
        raise NotYet("the cluster or the lifetime ended while access was being made")
    grant.state = GrantState.OPEN
    await say(tx, _issued(grant))


async def _close(tx: AsyncSession, grant_id: UUID) -> None:
    grant = await tx.get(Grant, grant_id, with_for_update=True)
    if grant is None or grant.state == GrantState.CLOSED:
        return
    grant.revoked = grant.revoked and grant.state != GrantState.OPENING  # nobody ever had one that was not opened
    grant.state = GrantState.CLOSED
    if grant.revoked:
        await say(tx, _revoked(grant))


def _due_at(grant: Grant) -> datetime:
    """When its binding has to go."""
    if grant.state == GrantState.CLOSING:
        return grant.issued_at
    return min(grant.expires_at, grant.issued_at + MADE_WITHIN) if grant.revoked else grant.expires_at


def _taken_back(grant: Grant, reason: str | None, *, is_held: bool) -> TakenBack:
    pending = None
    if is_held and grant.state == GrantState.OPENING:
        pending = "it was being made at this moment, and is not handed out"
    elif is_held:
        pending = reason or "its cluster has not answered yet"
    return TakenBack(
        cluster_id=grant.cluster_id,
        grant_id=grant.id,
        role=grant.role,
        expires_at=grant.expires_at,
        pending=pending,
    )


def _issued(grant: Grant) -> KubeconfigIssued:
    return KubeconfigIssued(
        cluster_id=grant.cluster_id,
        grant_id=grant.id,
        user=grant.user,
        role=grant.role,
        expires_at=grant.expires_at,
    )


def _revoked(grant: Grant) -> KubeconfigRevoked:
    return KubeconfigRevoked(cluster_id=grant.cluster_id, grant_id=grant.id, user=grant.user)
