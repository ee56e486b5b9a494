"""`caravan nats accounts`, against an API of laid-down answers: passwords are made once and seen by one owner."""

from pathlib import Path

import bcrypt
import pytest
import yaml
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from tests.support.rest import FakeApi, problem


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    _teams(api, "payments", "search")
    return api


def _teams(api: FakeApi, *names: str) -> None:
    api.on("GET /v1/teams", {"items": [{"name": name} for name in names], "next": None})


def _accounts(api: FakeApi, folder: Path, *words: str) -> Result:
    target = ["--url", "http://caravan.test", "--token", "t"]
    return CliRunner().invoke(app, [*target, "nats", "accounts", "--dir", str(folder / "nats"), *words], obj=api)


def _files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "nats").iterdir()}


def _passwords(folder: Path) -> dict[str, str]:
    content = yaml.safe_load(_files(folder)["credentials.yaml"])
    return {name: had["password"] for name, had in content["teams"].items()}


def test_every_team_on_record_gets_an_account_whose_password_only_its_owner_can_read(
    api: FakeApi, tmp_path: Path
) -> None:
    api.on(
        "GET /v1/teams",
        {"items": [{"name": "payments"}], "next": "more"},
        {"items": [{"name": "search"}], "next": None},
    )
    done = _accounts(api, tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path}/nats/accounts.conf\n"
    assert "nats-server --signal reload" in done.stderr
    files, passwords = _files(tmp_path), _passwords(tmp_path)
    assert set(passwords) == {"payments", "search"}
    assert len(set(passwords.values())) == 2
    for path in (tmp_path / "nats").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    for password in passwords.values():
        assert password not in files["accounts.conf"]
        assert password not in done.output


def test_second_run_changes_nothing_and_a_new_team_changes_no_other(api: FakeApi, tmp_path: Path) -> None:
    _accounts(api, tmp_path)
    first, passwords = _files(tmp_path), _passwords(tmp_path)
    _accounts(api, tmp_path)
    assert _files(tmp_path) == first
    _teams(api, "builds", "payments", "search")
    done = _accounts(api, tmp_path)
    assert "New account: builds" in done.stderr
    assert "payments" not in done.stderr
    assert {name: _passwords(tmp_path)[name] for name in passwords} == passwords


def test_team_that_went_loses_its_password_for_good(api: FakeApi, tmp_path: Path) -> None:
    _accounts(api, tmp_path)
    before = _passwords(tmp_path)["search"]
    _teams(api, "payments")
    assert "Removed: search" in _accounts(api, tmp_path).stderr
    assert "search" not in _files(tmp_path)["accounts.conf"]
    _teams(api, "payments", "search")
    _accounts(api, tmp_path)
    assert _passwords(tmp_path)["search"] != before


def test_rotation_changes_one_password_and_its_hash(api: FakeApi, tmp_path: Path) -> None:
    _accounts(api, tmp_path)
    before = yaml.safe_load(_files(tmp_path)["credentials.yaml"])
    assert "New password: search" in _accounts(api, tmp_path, "--rotate", "search").stderr
    after = yaml.safe_load(_files(tmp_path)["credentials.yaml"])
    assert {name for name in after["teams"] if after["teams"][name] != before["teams"][name]} == {"search"}
    assert (after["ours"], after["system"]) == (before["ours"], before["system"])
    rotated = after["teams"]["search"]
    assert bcrypt.checkpw(rotated["password"].encode(), rotated["bcrypt"].encode())
    assert rotated["bcrypt"] in _files(tmp_path)["accounts.conf"]


def test_rotation_of_a_stranger_is_refused_before_anything_is_written(api: FakeApi, tmp_path: Path) -> None:
    refused = _accounts(api, tmp_path, "--rotate", "serach")
    assert refused.exit_code == 2
    assert "no team serach" in refused.stderr
    assert not (tmp_path / "nats").exists()


def test_nothing_is_written_where_the_api_refuses(api: FakeApi, tmp_path: Path) -> None:
    _accounts(api, tmp_path)
    before = _files(tmp_path)
    api.on("GET /v1/teams", problem(403, "Not allowed", detail="needs the role admin"))
    assert _accounts(api, tmp_path).exit_code == 6
    assert _files(tmp_path) == before


@pytest.mark.parametrize("broken", ["- a list", "ours: {}", "{ours: {password: p}, system: 1, teams: {}}", "{"])
def test_broken_file_of_passwords_is_named_and_left_alone(api: FakeApi, tmp_path: Path, broken: str) -> None:
    (tmp_path / "nats").mkdir()
    path = tmp_path / "nats" / "credentials.yaml"
    path.write_text(broken)
    refused = _accounts(api, tmp_path)
    assert refused.exit_code == 2
    assert "credentials.yaml" in refused.stderr
    assert path.read_text() == broken


def test_folder_that_cannot_be_made_is_named(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "nats").write_text("in the way")
    refused = _accounts(api, tmp_path)
    assert refused.exit_code == 2
    assert "cannot be made" in refused.stderr
