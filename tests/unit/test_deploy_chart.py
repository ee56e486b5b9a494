"""The chart says of every service what Kubernetes must know, and refuses values that are none."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.chart import CHART, SERVICES, VALUES, helm, render
from tests.support.settings import SETTINGS

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
Objects = dict[str, dict[str, Any]]


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid upon `values`, as helm lays a person's values upon the chart's."""
    both = {**values}
    for name, value in over.items():
        mapping = isinstance(value, dict) and isinstance(both.get(name), dict)
        both[name] = merged(both[name], value) if mapping else value
    return both


def problems(over: dict[str, Any]) -> list[str]:
    """What the schema says of the chart's values with these upon them."""
    values = merged(yaml.safe_load((CHART / "values.yaml").read_text()), over)
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(values)]


def test_values_that_name_every_secret_are_taken() -> None:
    assert problems(VALUES) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"keyRing": {"secret": ""}},
        {"services": {"dns": {"database": {"secret": ""}}}},
        {"services": {"dns": {"replica": 3}}},
        {"services": {"zone": {"replicas": 3, "database": {"secret": "a", "key": "url"}}}},
        {"nats": {"replicas": 2}},
        {"networkPolicies": {"enabled": True}},
        {"backup": {"keep": 0}},
    ],
    ids=[
        "no key ring",
        "no database",
        "a misspelt value",
        "an unknown service",
        "an even quorum",
        "an unknown part",
        "none",
    ],
)
def test_values_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    assert problems(merged(VALUES, wrong))


@pytest.fixture(scope="module")
def binary() -> Path:
    """helm."""
    found = helm()
    if found is None:
        pytest.skip("THE CHART IS NOT RENDERED HERE: no helm is on PATH, nor in a mirror that `make artifacts` fills")
    return found


@pytest.fixture(scope="module")
def rendered(binary: Path) -> dict[str, Objects]:
    """What the chart makes of `VALUES`: by kind, by name."""
    done = render(binary, merged(VALUES, {"services": {"api": {"settings": {"oidc_scopes": ["openid", "email"]}}}}))
    assert done.returncode == 0, done.stderr
    found: dict[str, Objects] = defaultdict(dict)
    for each in yaml.safe_load_all(done.stdout):
        if each:
            found[each["kind"]][each["metadata"]["name"]] = each
    return found


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"])
@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_one_of_each(rendered: dict[str, Objects], kind: str, service: str) -> None:
    assert f"caravan-{service}" in rendered[kind]


def test_secrets_are_named_and_never_made(rendered: dict[str, Objects]) -> None:
    assert "Secret" not in rendered


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_is_told_nothing_that_its_service_does_not_know(rendered: dict[str, Objects], service: str) -> None:
    names = [each["name"] for each in _container(rendered["Deployment"][f"caravan-{service}"])["env"]]
    fields = {name.removeprefix("CARAVAN_").removeprefix(f"{service.upper()}_").lower() for name in names}
    assert fields <= set(SETTINGS[service].model_fields)
    assert {"instance", "nats_url", "database_url", "key_ring"} <= fields


def test_a_setting_that_is_no_text_reaches_the_service_as_json(rendered: dict[str, Objects]) -> None:
    env = {each["name"]: each for each in _container(rendered["Deployment"]["caravan-api"])["env"]}
    assert json.loads(env["CARAVAN_API_OIDC_SCOPES"]["value"]) == ["openid", "email"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_store_is_migrated_by_the_new_image_before_any_new_pod(rendered: dict[str, Objects], service: str) -> None:
    job = rendered["Job"][f"caravan-{service}-migrate"]
    pod = _container(rendered["Deployment"][f"caravan-{service}"])
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert _container(job)["args"] == ["migrate"]
    assert _container(job)["image"] == pod["image"]
    assert _container(job)["env"] == pod["env"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_may_do_no_more_than_it_must(rendered: dict[str, Objects], service: str) -> None:
    pod = rendered["Deployment"][f"caravan-{service}"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    guarded = pod["containers"][0]["securityContext"]
    assert guarded["readOnlyRootFilesystem"]
    assert guarded["capabilities"] == {"drop": ["ALL"]}
    assert not guarded["allowPrivilegeEscalation"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_is_asked_whether_it_lives_and_whether_it_is_ready(rendered: dict[str, Objects], service: str) -> None:
    container = _container(rendered["Deployment"][f"caravan-{service}"])
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_backups_are_made_where_a_volume_is_named(binary: Path) -> None:
    assert "kind: CronJob" not in render(binary, VALUES).stdout


def test_a_backup_is_of_all_stores_and_the_apis_is_the_last(binary: Path) -> None:
    files = {"provisioner": {"files": {"keys": "of-clouds"}}, "dns": {"files": {"keys": "of-the-zone"}}}
    rendered = render(binary, merged(VALUES, {"backup": {"claim": "backups", "keep": 3}, "services": files}))
    (job,) = [each for each in yaml.safe_load_all(rendered.stdout) if each and each["kind"] == "CronJob"]
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    wanted = ["dns", "provisioner", "bootstrapper", "health", "api"]
    assert [each["name"] for each in pod["initContainers"]] == wanted
    assert [each["args"] for each in pod["initContainers"]] == [
        ["backup", f"/backup/$(BACKUP)/{service}.jsonl.gz"] for service in wanted
    ]
    volumes = {each["name"] for each in pod["volumes"]}
    assert len(volumes) == len(pod["volumes"])
    for container in [*pod["initContainers"], *pod["containers"]]:
        mounts = {each["name"] for each in container["volumeMounts"]}
        assert "backup" in mounts
        assert mounts <= volumes


def test_a_zone_that_somebody_else_serves_has_no_service_of_ours(binary: Path) -> None:
    elsewhere = merged(VALUES, {"services": {"dns": {"settings": {"zone": "rfc2136"}}}})
    assert "name: caravan-zone" in render(binary, VALUES).stdout
    assert "name: caravan-zone" not in render(binary, elsewhere).stdout


def _container(owner: dict[str, Any]) -> dict[str, Any]:
    (container,) = owner["spec"]["template"]["spec"]["containers"]
    return dict(container)
