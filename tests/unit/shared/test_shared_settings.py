"""Settings: an argument wins over the service's variable, that over the installation's, that over the default."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, ValidationError

from caravan_shared.plumbing.settings import HTTP_PORTS, ServiceSettings, settings_config


class Settings(ServiceSettings):
    model_config = settings_config("dns")
    zone: str = Field("embedded", description="Which zone.")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("CARAVAN_")]:
        monkeypatch.delenv(name)


def test_service_runs_without_any_setting() -> None:
    settings = Settings()
    assert settings.http_port == HTTP_PORTS["dns"] == 8784
    assert settings.state_dir == Path(".caravan").absolute()
    assert settings.database_url == f"sqlite+aiosqlite:///{settings.state_dir}/dns.db"
    assert settings.key_ring == settings.state_dir / "keys.json"


@pytest.mark.parametrize(
    ("variables", "arguments", "expected"),
    [
        ({}, {}, "embedded"),
        ({"CARAVAN_ZONE": "all"}, {}, "all"),
        ({"CARAVAN_ZONE": "all", "CARAVAN_DNS_ZONE": "ours"}, {}, "ours"),
        ({"CARAVAN_ZONE": "all", "CARAVAN_DNS_ZONE": "ours"}, {"zone": "given"}, "given"),
        ({"CARAVAN_API_ZONE": "theirs"}, {}, "embedded"),
    ],
)
def test_nearest_setting_wins(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], arguments: dict[str, Any], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings(**arguments).zone == expected


def test_plumbings_own_settings_follow_the_same_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CARAVAN_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CARAVAN_NATS_URL", "nats://everywhere:4222")
    monkeypatch.setenv("CARAVAN_DNS_NATS_URL", "nats://here:4222")
    monkeypatch.setenv("CARAVAN_DNS_DATABASE_URL", "postgresql+asyncpg://db/dns")
    settings = Settings()
    assert settings.nats_url == "nats://here:4222"
    assert settings.database_url == "postgresql+asyncpg://db/dns"
    assert settings.key_ring == tmp_path / "keys.json"


def test_each_service_has_a_store_and_a_port_of_its_own_and_all_share_the_key_ring() -> None:
    class Other(ServiceSettings):
        model_config = settings_config("health")

    assert Other().database_url != Settings().database_url
    assert Other().http_port != Settings().http_port
    assert Other().key_ring == Settings().key_ring


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_FORMAT", "xml"),
        ("LEASE_S", "0"),
        ("RESYNC_EVERY_S", "-1"),
        ("RECONCILE_WORKERS", "0"),
        ("HTTP_PORT", "web"),
    ],
)
def test_nonsense_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CARAVAN_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_every_setting_is_described() -> None:
    assert all(field.description for field in ServiceSettings.model_fields.values())
