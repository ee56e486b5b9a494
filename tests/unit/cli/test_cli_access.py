"""Kubeconfigs that get their credentials themselves, and the command that kubectl runs for them."""

import json
import stat
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from caravan_cli.context import CREDENTIALS, write_credentials
from caravan_cli.credential_cache import Credential, at_hand
from caravan_cli.main import app
from tests.support.rest import FakeApi, cluster, problem

ID = str(cluster()["id"])
ROUTE = f"POST /v1/clusters/{ID}/kubeconfig"
SERVER = {"server": "https://127.64.0.1:6443", "tls-server-name": "demo.default.caravan.test"}
CA = {"certificate-authority-data": b64encode(b"authority").decode()}
OIDC = {"issuer_url": "https://login.example.org", "client_id": "kubernetes", "extra_scopes": ["email", "groups"]}


def issued(number: int = 1, lasts_s: float = 3600) -> dict[str, Any]:
    """An answer of the API, of which each number's key differs."""
    secret = {
        "client-certificate-data": b64encode(f"certificate {number}".encode()).decode(),
        "client-key-data": b64encode(f"key {number}".encode()).decode(),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "demo", "cluster": SERVER | CA}],
        "users": [{"name": "alice", "user": secret}],
        "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "alice"}}],
        "current-context": "demo",
    }
    expires_at = datetime.now(UTC) + timedelta(seconds=lasts_s)
    return {"grant_id": "g", "kubeconfig": yaml.safe_dump(config), "expires_at": expires_at.isoformat()}


class Caravan:
    """The command with an API that a test lays down, and a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.api = home, FakeApi()
        self.api.on("GET /v1/clusters/demo", cluster())
        self.api.on(ROUTE, issued())

    def __call__(self, *words: str, token: str = "t", **env: str | None) -> Result:
        around = {"CARAVAN_URL": "http://caravan.test", "CARAVAN_TOKEN": token, "HOME": str(self.home), **env}
        return CliRunner().invoke(app, ["cluster", *words], obj=self.api, env=around)

    def credential(self, **more: Any) -> Result:
        return self("credential", ID, **more)

    def asked(self) -> int:
        """How often a kubeconfig was asked for."""
        return len(self.api.bodies(ROUTE))

    @property
    def kept(self) -> list[Path]:
        """The credentials at hand."""
        return sorted((self.home / ".cache/caravan/credentials").glob("*.json"))


@pytest.fixture
def caravan(tmp_path: Path) -> Caravan:
    return Caravan(tmp_path)


def plugin(text: str) -> dict[str, Any]:
    """The program that a kubeconfig names."""
    (user,) = yaml.safe_load(text)["users"]
    assert user["user"].keys() == {"exec"}
    return dict(user["user"]["exec"])


def key(done: Result) -> str:
    """The key that was printed."""
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["status"]["clientKeyData"])


def test_refreshing_kubeconfig_names_the_cluster_and_holds_no_secret(caravan: Caravan) -> None:
    done = caravan("kubeconfig", "demo", "--exec", "--role", "admin", "--ttl", "600", token="letmein")
    assert done.exit_code == 0, done.output
    config = yaml.safe_load(done.stdout)
    assert config["clusters"] == [{"name": "demo", "cluster": SERVER | CA}]
    assert config["contexts"][0]["context"]["user"] == config["users"][0]["name"] == "alice@demo"
    assert not [secret for secret in ("letmein", "client-key", issued()["kubeconfig"][-40:]) if secret in done.stdout]
    program = plugin(done.stdout)
    assert (program["apiVersion"], program["interactiveMode"]) == ("client.authentication.k8s.io/v1", "Never")
    assert "caravan cluster kubeconfig demo --exec" in program["installHint"]
    words = " ".join(program["args"])
    assert words.endswith(f"--url http://caravan.test --team default cluster credential {ID} --role admin --ttl 600")
    assert caravan.api.bodies(ROUTE) == [{"role": "admin", "ttl_s": 600}]


def test_first_credentials_are_those_that_came_with_the_kubeconfig(caravan: Caravan) -> None:
    program = plugin(caravan("kubeconfig", "demo", "--exec").stdout)
    words = program["args"][program["args"].index("--url") :]
    done = CliRunner().invoke(app, words, obj=caravan.api, env={"CARAVAN_TOKEN": "t", "HOME": str(caravan.home)})
    assert key(done) == "key 1"
    assert caravan.asked() == 1


def test_token_in_a_file_is_found_again_from_anywhere(
    caravan: Caravan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".caravan").mkdir()
    write_credentials(tmp_path / ".caravan" / CREDENTIALS, url="http://caravan.test", token="filed", nats_url="")
    monkeypatch.chdir(tmp_path)
    done = caravan("kubeconfig", "demo", "--exec", CARAVAN_TOKEN=None, CARAVAN_URL=None)
    assert done.exit_code == 0, done.output
    env = {each["name"]: each["value"] for each in plugin(done.stdout)["env"]}
    assert env == {"CARAVAN_STATE_DIR": str(tmp_path / ".caravan"), "CARAVAN_TOKEN": ""}
    assert "filed" not in done.stdout
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    args = plugin(done.stdout)["args"]
    foreign = {"CARAVAN_URL": "http://other.test", "HOME": str(tmp_path), **env}
    again = CliRunner().invoke(app, args[args.index("--url") :], obj=caravan.api, env=foreign)
    assert key(again) == "key 1"
    assert caravan.asked() == 1, "the same person's"


def test_token_that_is_in_no_file_is_told(caravan: Caravan) -> None:
    done = caravan("kubeconfig", "demo", "--exec")
    assert plugin(done.stdout)["env"] == []
    assert "kubectl needs CARAVAN_TOKEN" in done.stderr


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_credentials_come_in_the_version_that_kubectl_speaks(caravan: Caravan, version: str) -> None:
    info = {"apiVersion": f"client.authentication.k8s.io/{version}", "kind": "ExecCredential", "spec": {}}
    done = caravan.credential(KUBERNETES_EXEC_INFO=json.dumps(info))
    told = json.loads(done.stdout)
    assert (told["apiVersion"], told["kind"]) == (info["apiVersion"], "ExecCredential")
    assert told["status"]["clientCertificateData"] == "certificate 1"
    ends = datetime.fromisoformat(told["status"]["expirationTimestamp"])
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.parametrize("info", ['{"apiVersion": "client.authentication.k8s.io/v1alpha1"}', "{", "[]", "{}"])
def test_question_that_is_not_understood_is_refused_before_anything_is_asked(caravan: Caravan, info: str) -> None:
    done = caravan.credential(KUBERNETES_EXEC_INFO=info)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert caravan.asked() == 0


def test_credentials_are_kept_for_their_owner_alone_until_shortly_before_their_end(caravan: Caravan) -> None:
    caravan.api.on(ROUTE, issued(1), issued(2))
    assert [key(caravan.credential()) for _ in range(2)] == ["key 1", "key 1"]
    (place,) = caravan.kept
    assert (stat.S_IMODE(place.stat().st_mode), stat.S_IMODE(place.parent.stat().st_mode)) == (0o600, 0o700)
    place.write_text(aged(place, ends_in_s=4 * 60))
    assert key(caravan.credential()) == "key 2"
    assert caravan.asked() == 2


def aged(place: Path, *, ends_in_s: float) -> str:
    """The credential as it will be so long before its end."""
    kept = Credential.model_validate_json(place.read_text())
    by = kept.expires_at - datetime.now(UTC) - timedelta(seconds=ends_in_s)
    moved = {"expires_at": kept.expires_at - by, "renew_at": kept.renew_at - by}
    return kept.model_copy(update=moved).model_dump_json()


def test_short_lived_credentials_are_kept_for_most_of_their_life(caravan: Caravan) -> None:
    caravan.api.on(ROUTE, issued(1, lasts_s=60), issued(2, lasts_s=60))
    assert key(caravan.credential()) == "key 1"
    (place,) = caravan.kept
    place.write_text(aged(place, ends_in_s=15))
    assert key(caravan.credential()) == "key 1"
    place.write_text(aged(place, ends_in_s=5))
    assert key(caravan.credential()) == "key 2"


def test_api_that_is_away_is_bridged_as_long_as_the_last_ones_are_valid(
    caravan: Caravan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caravan_cli.client.PAUSES_S", ())
    caravan.api.on(ROUTE, issued(1), problem(503, "Not possible right now", detail="dns is not there to answer"))
    caravan.credential()
    (place,) = caravan.kept
    place.write_text(aged(place, ends_in_s=60))
    bridged = caravan.credential()
    assert key(bridged) == "key 1"
    assert "dns is not there" in bridged.stderr
    place.write_text(aged(place, ends_in_s=-1))
    refused = caravan.credential()
    assert (refused.exit_code, refused.stdout) == (7, "")
    assert "dns is not there" in refused.stderr


def test_refusal_is_told_and_what_is_at_hand_is_not_used_instead(caravan: Caravan) -> None:
    caravan.api.on(ROUTE, issued(1), problem(401, "Not authenticated"))
    caravan.credential()
    (place,) = caravan.kept
    place.write_text(aged(place, ends_in_s=60))
    assert caravan.credential().exit_code == 6


def test_no_one_gets_what_was_kept_for_another(caravan: Caravan) -> None:
    caravan.api.on(ROUTE, *(issued(number) for number in range(1, 5)))
    mine = key(caravan.credential())
    others = [
        caravan.credential(token="other"),
        caravan("credential", ID, "--role", "admin"),
        caravan.credential(CARAVAN_TEAM="builds"),
    ]
    assert len({mine, *map(key, others)}) == 4
    assert key(caravan.credential()) == mine


def test_spoilt_file_is_replaced(caravan: Caravan) -> None:
    caravan.credential()
    (place,) = caravan.kept
    place.write_text("{")
    assert key(caravan.credential()) == "key 1"
    assert caravan.asked() == 2


def test_place_that_cannot_be_used_is_named(caravan: Caravan, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = caravan.credential(CARAVAN_CACHE=str(tmp_path / "file"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "CARAVAN_CACHE" in done.stderr


def test_several_at_once_ask_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def ask() -> Credential:
        asked.append(1)
        soon = datetime.now(UTC) + timedelta(hours=1)
        return Credential(certificate="c", key=f"key {len(asked)}", expires_at=soon, renew_at=soon)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: at_hand(tmp_path / "one.json", ask), range(8)))
    assert {each.key for each in found} == {"key 1"}


def test_kubeconfig_for_signing_in_says_where_and_as_whom(caravan: Caravan) -> None:
    oidc = OIDC | {"ca_certificate": "-----BEGIN"}
    caravan.api.on("GET /v1/clusters/demo", cluster(spec={"version": "1.34.2", "oidc": oidc}))
    done = caravan("kubeconfig", "demo", "--oidc")
    assert done.exit_code == 0, done.output
    program = plugin(done.stdout)
    assert (program["command"], program["interactiveMode"]) == ("kubectl", "IfAvailable")
    assert program["args"][:-1] == [
        "oidc-login",
        "get-token",
        "--oidc-issuer-url=https://login.example.org",
        "--oidc-client-id=kubernetes",
        "--oidc-extra-scope=email",
        "--oidc-extra-scope=groups",
    ]
    name, _, authority = program["args"][-1].partition("=")
    assert (name, b64decode(authority)) == ("--certificate-authority-data", b"-----BEGIN")
    assert "krew install oidc-login" in program["installHint"]
    assert yaml.safe_load(done.stdout)["clusters"][0]["cluster"] == SERVER | CA
    assert caravan.api.bodies(ROUTE) == [{"role": "viewer", "ttl_s": 60}]
    assert not caravan.kept


def test_signing_in_is_refused_where_the_cluster_knows_no_provider(caravan: Caravan) -> None:
    done = caravan("kubeconfig", "demo", "--oidc")
    assert done.exit_code == 2
    assert "without `oidc`" in done.stderr
    assert caravan.asked() == 0
    assert caravan("kubeconfig", "demo", "--oidc", "--exec").exit_code == 2
