"""compose.yaml tells every service what it must know and nothing else, and grants no more than needed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.settings import SETTINGS

CHECKOUT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
SERVICES = [name for name in SETTINGS if name != "sandbox"]
SAID = {"CARAVAN_NATS_URL": "nats://CARAVAN:secret@nats:4222"}


def environment(service: str) -> dict[str, str]:
    """What a service is told, with every variable of .env filled in."""
    said = COMPOSE["services"][service]["environment"]
    return {name: _filled(str(value)) for name, value in said.items()}


def _filled(text: str) -> str:
    def value(match: "re.Match[str]") -> str:
        name, default = match[1], match[2] or ""
        return SAID.get(name) or (default if default and not default.startswith("make") else "secret")

    return re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", value, text)


@pytest.mark.parametrize("service", SETTINGS)
def test_a_service_is_told_nothing_that_it_does_not_know(service: str) -> None:
    known = SETTINGS[service].model_fields
    for name in environment(service):
        field = name.removeprefix("CARAVAN_").removeprefix(f"{service.upper()}_").lower()
        theirs = field.startswith("sandbox_")  # said to all, meant for those who have it
        assert field in known or theirs, f"{service} has no setting {name}"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_its_far_ends(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(service).items():
        monkeypatch.setenv(name, value)

    settings: Any = SETTINGS[service]()

    assert settings.database_url == f"postgresql+asyncpg://caravan_{service}:secret@postgres/caravan_{service}"
    assert settings.nats_url == SAID["CARAVAN_NATS_URL"]
    assert settings.nats_replicas == 1


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_no_container_writes_to_its_image_or_keeps_what_docker_grants_by_default(service: str) -> None:
    said = COMPOSE["services"][service]
    assert said["read_only"]
    assert said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_runs_as_root(service: str) -> None:
    assert "user" not in COMPOSE["services"][service]
    assert "\nUSER 10001:10001\n" in (CHECKOUT / "deploy/images/Dockerfile").read_text()


@pytest.mark.parametrize("service", ["nats", "nats-2", "nats-3", "postgres", "zone", "prometheus", "grafana", "jaeger"])
def test_an_image_of_others_is_pinned_by_its_digest(service: str) -> None:
    assert re.search(r"@sha256:[0-9a-f]{64}\}$", COMPOSE["services"][service]["image"])


def test_the_images_base_is_pinned_by_its_digest() -> None:
    (base,) = re.findall(r"^ARG BASE=(.*)$", (CHECKOUT / "deploy/images/Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", base)


def test_the_version_of_the_images_is_that_of_the_packages() -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)
    for service in SETTINGS:
        assert (
            COMPOSE["services"][service]["image"]
            == f"${{CARAVAN_IMAGES:-}}caravan-{service}:${{CARAVAN_VERSION:-{version}}}"
        )
    chart = yaml.safe_load((CHECKOUT / "deploy/chart/Chart.yaml").read_text())
    assert chart["appVersion"] == version
