"""Signing in to a real cluster by OpenID Connect: kube-apiserver asks the provider, and takes nobody else's word.

kubectl uses the kubeconfig that `caravan cluster kubeconfig --oidc` writes. kubelogin, which it runs to get a token by
a browser, is replaced by a program that prints one.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caravan_cli.main import app
from caravan_cli.up import Stack
from caravan_cli.up.docker import Docker
from tests.real.conftest import VERSION, Fleet
from tests.support.eventually import eventually
from tests.support.kubectl import Kubectl
from tests.support.oidc import certificate
from tests.support.oidc.provider import Provider
from tests.support.oidc.setup import CODE_CLIENT, OTHER_CLIENT
from tests.support.oidc.tokens import claims_at, rsa_key, signed

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

KUBELOGIN = """#!/bin/sh
printf '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%s"}}' "$TOKEN"
"""
ASKED_WITHIN_S = 60  # kube-apiserver asks a provider again 10 s after it did not answer


@dataclass(frozen=True)
class Issuer:
    """A provider that machines reach, and the certificate of its authority."""

    provider: Provider
    authority: str


@pytest.fixture
def issuer(docker: Docker, tmp_path: Path) -> Iterator[Issuer]:
    """The tests' provider, at the address of this machine that containers reach."""
    authority, server = certificate.for_address(tmp_path, docker.gateway)
    provider = Provider(tmp_path / "oidc", host=docker.gateway, authority=authority, certificate=server)
    provider.start()
    yield Issuer(provider, authority.read_text())
    provider.stop()


async def test_who_signs_in_at_the_provider_is_let_in_as_the_groups_say_and_nobody_else(
    fleet: Fleet, stack: Stack, issuer: Issuer, tmp_path: Path
) -> None:
    oidc = {
        "issuer_url": issuer.provider.issuer,
        "client_id": CODE_CLIENT,
        "username_claim": "email",
        "ca_certificate": issuer.authority,
        "admin_groups": ["platform"],
    }
    cluster = await fleet.make("signed", workers=[], oidc=oidc)
    kubectl = fleet.mirror / "kubernetes" / f"v{VERSION}" / "kubectl"
    kubeconfig = written(stack, "signed", tmp_path)

    def holding(token: str) -> Kubectl:
        return Kubectl(kubectl, kubeconfig, env(kubectl, tmp_path, token))

    alice = holding(issuer.provider.id_token("alice"))
    await eventually(lambda: is_let_in(alice), within=ASKED_WITHIN_S, every=1, saying="alice is let in")
    told = json.loads(await alice("auth", "whoami", "--output", "json"))["status"]["userInfo"]
    assert told["username"] == "oidc:Alice@Example.org"
    assert {"oidc:platform", "oidc:oncall"} <= set(told["groups"])
    assert len(await alice.ready_nodes()) == 1

    for whose, token in foreign(issuer.provider).items():
        answer = await holding(token).run("get", "nodes")
        assert (answer.code, "Unauthorized" in answer.err) == (1, True), f"{whose}: {answer}"
    await fleet.delete(cluster)


def foreign(provider: Provider) -> dict[str, str]:
    """Tokens that say what alice's says, or nearly."""
    claims = {"iss": provider.issuer, "aud": CODE_CLIENT, "email": "Alice@Example.org", "email_verified": True}
    return {
        "signed by a stranger": signed(claims_at(datetime.now(UTC), **claims), rsa_key("strange"), alg="RS256"),
        "for another client": provider.id_token("alice", OTHER_CLIENT),
        "of an address that nobody has verified": provider.id_token("mallory"),
    }


async def is_let_in(kubectl: Kubectl) -> bool:
    return (await kubectl.run("get", "nodes")).code == 0


def written(stack: Stack, cluster: str, folder: Path) -> Path:
    """The kubeconfig as a person gets it."""
    file = folder / "oidc.kubeconfig"
    words = ["--url", stack.url, "--token", stack.token, "cluster", "kubeconfig", cluster, "--oidc", "-f", str(file)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return file


def env(kubectl: Path, folder: Path, token: str) -> dict[str, str]:
    """What kubectl and its plugin find: each other, and the token."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    login = programs / "kubectl-oidc_login"
    login.write_text(KUBELOGIN)
    login.chmod(0o755)
    return {"PATH": f"{programs}:{kubectl.parent}:{os.environ['PATH']}", "HOME": str(folder), "TOKEN": token}
