"""Kubeconfigs are short-lived and revocable: what is handed out, for how long it opens, and that it is shut in time."""

import asyncio
import base64
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import MaxRetryError

from caravan_cli.up import Stack
from tests.promises.sizes import KUBECONFIGS
from tests.promises.trial import Trial
from tests.support.api import SMALL, Api, Json
from tests.support.eventually import eventually
from tests.support.kube_client import core_v1

DEFAULT_S, LONGEST_S, SHORTEST_S = 3600, 8 * 3600, 60
BACKDATED = timedelta(minutes=10)
"""At most, for clocks that are behind."""
REVOKED_WITHIN_S = 60
ROLES = ("viewer", "editor", "admin")


@dataclass(frozen=True)
class Handed:
    """A kubeconfig that was handed out."""

    grant_id: str
    kubeconfig: str

    @property
    def certificate(self) -> x509.Certificate:
        """Its client certificate."""
        user = yaml.safe_load(self.kubeconfig)["users"][0]["user"]
        return x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))

    async def answer(self) -> HTTPStatus | None:
        """What the cluster's kube-apiserver says to its holder, who wants to list nodes; None: it hangs up."""
        try:
            await asyncio.to_thread(lambda: core_v1(self.kubeconfig).list_node())
        except ApiException as error:
            return HTTPStatus(error.status)
        except MaxRetryError:
            return None
        return HTTPStatus.OK


REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@pytest.mark.promises(KUBECONFIGS)
async def test_kubeconfigs_end_by_themselves_and_are_shut_when_revoked(trial: Trial, stack: Stack) -> None:
    """`slowest_s` is the longest from a revocation until the kube-apiserver refused."""
    slowest_s = 0.0
    async with Api(stack) as api:
        cluster = str((await api.create("opened", SMALL))["id"])
        await api.until_ready(cluster, nodes=3, healthy=False)
        await _too_long_is_refused(api, cluster)
        ends_soon, at = await _hand_out(api, cluster, {"ttl_s": SHORTEST_S}), time.monotonic()
        while trial.goes_on:
            asked: Json = {"role": trial.dice.choice(ROLES)}
            if trial.dice.random() < 0.5:
                asked["ttl_s"] = trial.dice.randint(SHORTEST_S, LONGEST_S)
            handed = await _hand_out(api, cluster, asked)
            _lasts(handed, asked.get("ttl_s", DEFAULT_S))
            assert await handed.answer() is HTTPStatus.OK
            if trial.dice.random() < 0.5:
                slowest_s = max(slowest_s, await _revoked(api, cluster, handed))
            trial.did()
        await asyncio.sleep(max(0.0, SHORTEST_S + 1 - (time.monotonic() - at)))
        assert await ends_soon.answer() in (*REFUSALS, None), "it has expired"
    trial.figures["slowest_s"] = round(slowest_s, 2)


async def _hand_out(api: Api, cluster: str, asked: Json) -> Handed:
    answer = await api.call("POST", f"/clusters/{cluster}/kubeconfig", asked)
    return Handed(answer["grant_id"], answer["kubeconfig"])


async def _too_long_is_refused(api: Api, cluster: str) -> None:
    with pytest.raises(AssertionError, match="422"):
        await _hand_out(api, cluster, {"ttl_s": LONGEST_S + 1})


def _lasts(handed: Handed, ttl_s: int) -> None:
    """It is its holder's own, no administrator's, and ends in time."""
    certificate = handed.certificate
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(seconds=ttl_s) - BACKDATED < left <= timedelta(seconds=ttl_s)
    assert (
        certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(seconds=LONGEST_S) + BACKDATED
    )
    groups = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert groups
    assert not any(str(group).startswith("system:") for group in groups), groups
    assert "client-key-data" in handed.kubeconfig


async def _revoked(api: Api, cluster: str, handed: Handed) -> float:
    """Take it back; seconds until the kube-apiserver refuses it."""
    began = time.monotonic()
    await api.call("DELETE", f"/clusters/{cluster}/grants/{handed.grant_id}")

    async def refused() -> bool:
        return await handed.answer() in REFUSALS

    await eventually(refused, within=REVOKED_WITHIN_S, saying="a revoked kubeconfig is refused")
    return time.monotonic() - began
