"""A person's kubectl on a real stack: credentials that renew themselves, all of them revoked, groups of a provider."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from caravan_cli.up import Stack
from tests.support.api import FAST_SANDBOX, SMALL, Api, Json
from tests.support.kubectl import Kubectl

LIFE_S = 30
"""That every credential of this stack lives, whatever is asked for."""
KUBECTL = shutil.which("kubectl")
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]  # a stack and a cluster of our own come first
OIDC = {"issuer_url": "https://login.example.org", "client_id": "kubernetes", "admin_groups": ["ops", "night: shift"]}

needs_kubectl = pytest.mark.skipif(
    KUBECTL is None, reason="kubectl is not installed: apt-get install kubernetes-client"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of our own, where nothing is valid for long."""
    env = {**FAST_SANDBOX, "CARAVAN_DNS_GRANT_LONGEST_S": str(LIFE_S)}
    with Stack(tmp_path_factory.mktemp("stack"), ports="auto", env=env) as running:
        yield running


@pytest.fixture(scope="module")
async def made(stack: Stack) -> Json:
    """A cluster that people may sign in to."""
    async with Api(stack) as api:
        asked = await api.create("doors", {**SMALL, "workers": [{"name": "workers", "count": 1}], "oidc": OIDC})
        return await api.until_ready(asked["id"], nodes=2, healthy=False)


@dataclass(frozen=True)
class Person:
    """Somebody with a home, where their token is, and nothing else of the test's environment."""

    user: str
    token_id: str
    token: str
    home: Path

    @property
    def env(self) -> dict[str, str]:
        """What their shell has."""
        return {"HOME": str(self.home), "PATH": os.environ["PATH"]}

    async def caravan(self, *arguments: str) -> tuple[int, str, str]:
        """The command as they run it, in their home."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "caravan_cli", *arguments, env=self.env, cwd=self.home, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def kubectl(self, cluster: str, *flags: str) -> Kubectl:
        """Their kubectl, with a kubeconfig that they have just made."""
        assert KUBECTL
        file = self.home / "kubeconfig"
        code, _, err = await self.caravan("cluster", "kubeconfig", cluster, "--exec", *flags, "-f", str(file))
        assert code == 0, err
        return Kubectl(Path(KUBECTL), file, self.env)


@pytest.fixture
async def alice(stack: Stack, api: Api, tmp_path: Path) -> AsyncIterator[Person]:
    """A developer under a name that no other test has."""
    user = f"alice-{uuid4().hex[:8]}"
    token = await api.call("POST", "/tokens", {"user": user})
    config = tmp_path / ".config" / "caravan" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(yaml.safe_dump({"url": stack.url, "token": token["token"]}))
    yield Person(user, token["id"], token["token"], tmp_path)
    await api.call("DELETE", f"/grants?user={user}")


async def grants(api: Api, person: Person) -> list[Json]:
    return list((await api.call("GET", f"/grants?user={person.user}"))["items"])


@needs_kubectl
async def test_kubectl_has_new_credentials_got_when_the_old_ones_have_expired(
    api: Api, made: Json, alice: Person
) -> None:
    kubectl = await alice.kubectl(made["name"])
    text = kubectl.kubeconfig.read_text()
    assert not [secret for secret in ("client-key", "PRIVATE KEY", alice.token) if secret in text]
    assert "kube-system" in await kubectl("get", "namespaces")
    (first,) = await grants(api, alice)
    await asyncio.sleep(LIFE_S + 1)
    assert "kube-system" in await kubectl("get", "namespaces")
    *_, second, last = await grants(api, alice)
    assert (last["grant_id"], last["is_open"], second["is_open"]) == (first["grant_id"], False, True)
    forbidden = await kubectl.run("create", "namespace", "mine")
    assert (forbidden.code, "Forbidden" in forbidden.err) == (1, True), forbidden


@needs_kubectl
async def test_several_kubectls_at_once_ask_for_one_credential(api: Api, made: Json, alice: Person) -> None:
    kubectl = await alice.kubectl(made["name"])
    shutil.rmtree(alice.home / ".cache" / "caravan")
    await asyncio.gather(*(kubectl("get", "namespaces") for _ in range(4)))
    assert len(await grants(api, alice)) == 2, "the first came with the kubeconfig"


@needs_kubectl
async def test_person_whose_access_is_revoked_is_out_within_a_minute_and_stays_out(
    api: Api, made: Json, alice: Person
) -> None:
    kubectl = await alice.kubectl(made["name"], "--role", "admin")
    await kubectl("get", "nodes")
    await api.call("DELETE", f"/tokens/{alice.token_id}")
    at = time.monotonic()
    told = await api.call("DELETE", f"/grants?user={alice.user}&team=default")
    assert [grant["role"] for grant in told["revoked"]] == ["admin"]
    assert (told["pending"], told["tokens"]) == ([], 0)
    refused = await kubectl.run("get", "nodes")
    assert time.monotonic() - at < 60
    assert refused.code == 1
    # The latter where the credential has expired by now, so that another is asked for.
    assert "Forbidden" in refused.err or "Not authenticated" in refused.err, refused
    shutil.rmtree(alice.home / ".cache" / "caravan")
    again = await kubectl.run("get", "nodes")
    assert again.code == 1
    assert "Not authenticated" in again.err, "the reason is caravan's own, shown by kubectl"


async def test_person_revokes_and_lists_on_the_command_line(api: Api, made: Json, alice: Person) -> None:
    code, out, err = await alice.caravan("cluster", "kubeconfig", made["name"])
    assert (code, "client-key-data" in out) == (0, True), err
    code, out, _ = await alice.caravan("grants", "list", "--user", alice.user, "--open", "-o", "name")
    (grant,) = await grants(api, alice)
    assert out.split() == [grant["grant_id"]]
    code, _, err = await alice.caravan("grants", "revoke", alice.user, "--yes")
    assert (code, grant["grant_id"] in err) == (0, True), err
    assert "can ask for access again, with 1 valid token" in err


@needs_kubectl
async def test_groups_of_the_provider_are_bound_when_the_cluster_is_made(made: Json, alice: Person) -> None:
    kubectl = await alice.kubectl(made["name"], "--role", "admin")
    bound = [each for each in await kubectl.get("clusterrolebindings") if "oidc" in each["metadata"]["name"]]
    (admins,) = bound
    assert admins["roleRef"]["name"] == "cluster-admin"
    assert [subject["name"] for subject in admins["subjects"]] == ["oidc:ops", "oidc:night: shift"]


async def test_kubeconfig_for_signing_in_leads_to_the_same_cluster(made: Json, alice: Person) -> None:
    code, out, err = await alice.caravan("cluster", "kubeconfig", made["name"], "--oidc")
    assert code == 0, err
    _, plain, _ = await alice.caravan("cluster", "kubeconfig", made["name"])
    assert yaml.safe_load(out)["clusters"] == yaml.safe_load(plain)["clusters"]
    assert "--oidc-issuer-url=https://login.example.org" in out
    assert "client-key-data" not in out
