"""`caravan compose secrets`: made once, chosen anew, for their owner alone."""

import re
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from typer.testing import CliRunner, Result

from caravan_cli.main import app

COMPOSE = Path(__file__).parents[3] / "compose.yaml"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with compose.yaml."""
    (tmp_path / "compose.yaml").write_text(COMPOSE.read_text())
    return tmp_path


def secrets(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["compose", "secrets", "--dir", str(folder), *words])


def made(folder: Path) -> dict[str, str | None]:
    return dotenv_values(folder / ".env")


def test_every_variable_that_compose_yaml_has_no_default_for_gets_a_value(checkout: Path) -> None:
    assert secrets(checkout).exit_code == 0
    needed = set(re.findall(r"\$\{(\w+)(?:\}|:\?)", COMPOSE.read_text()))
    assert needed
    assert all(made(checkout).get(name) for name in needed)


def test_secrets_are_made_once_and_choices_can_be_made_anew(checkout: Path) -> None:
    secrets(checkout)
    before = made(checkout)
    zone = (checkout / ".caravan/compose/zone.key").read_text()

    secrets(checkout, "--no-sandbox", "--nats-servers", "3", "--port", "8790")

    after = made(checkout)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"CARAVAN_NATS_URL", "CARAVAN_NATS_REPLICAS", "COMPOSE_PROFILES", "CARAVAN_API_PUBLISHED_PORT"}
    assert after["COMPOSE_PROFILES"] == "nats-cluster"
    assert after["CARAVAN_NATS_URL"] is not None
    assert after["CARAVAN_NATS_URL"].startswith(before["CARAVAN_NATS_URL"] or "none")
    assert (checkout / ".caravan/compose/zone.key").read_text() == zone


def test_what_somebody_wrote_into_the_file_stays(checkout: Path) -> None:
    (checkout / ".env").write_text("CARAVAN_NETWORK=172.25\nPOSTGRES_PASSWORD=of-our-own\n")
    secrets(checkout)
    assert made(checkout)["CARAVAN_NETWORK"] == "172.25"
    assert made(checkout)["POSTGRES_PASSWORD"] == "of-our-own"


def test_nobody_else_on_the_host_reads_them(checkout: Path) -> None:
    secrets(checkout)
    assert (checkout / ".env").stat().st_mode & 0o077 == 0
    assert (checkout / ".caravan/compose").stat().st_mode & 0o077 == 0


def test_dns_and_bind_have_the_same_key(checkout: Path) -> None:
    secrets(checkout)
    folder = checkout / ".caravan/compose"
    assert f'secret "{(folder / "zone.key").read_text()}"' in (folder / "zone.conf").read_text()


def test_the_command_line_finds_the_first_admins_token(checkout: Path) -> None:
    secrets(checkout, "--port", "8790")
    found = yaml.safe_load((checkout / ".caravan/compose/credentials").read_text())
    assert found["url"] == "http://127.0.0.1:8790"
    assert found["token"] == made(checkout)["CARAVAN_API_BOOTSTRAP_TOKEN"]


def test_a_folder_without_compose_yaml_is_left_alone(tmp_path: Path) -> None:
    refused = secrets(tmp_path)
    assert refused.exit_code != 0
    assert "There is no compose.yaml" in refused.output
    assert list(tmp_path.iterdir()) == []
