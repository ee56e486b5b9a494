"""Where a stack listens, what it keeps, how its NATS is set up."""

import json
import stat
from pathlib import Path

import pytest

from caravan_cli import client as client_module
from caravan_cli.up.accounts import Accounts
from caravan_cli.up.errors import StackError
from caravan_cli.up.layout import Layout, Ports, load, save
from caravan_cli.up.nats import binary, config
from caravan_cli.up.parts import PARTS
from caravan_cli.up.wiring import common_env, own_env

NATS_URL = "nats://CARAVAN:secret@127.0.0.1:4222"


def test_layout_is_kept_for_the_next_start_and_from_other_eyes(tmp_path: Path) -> None:
    layout = Layout(ports=Ports().moved_by(100), network="127.70.0.0/16")
    assert load(tmp_path) is None
    save(tmp_path, layout)
    assert load(tmp_path) == layout
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["{", "[]", '{"ports": {"nats": 1, "colour": 2}}'])
def test_broken_layout_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    with pytest.raises(StackError, match=r"stack\.json"):
        load(tmp_path)


def test_secrets_differ_between_stacks_and_stay_out_of_sight() -> None:
    one, other = Layout(), Layout()
    assert one.api_token != other.api_token
    assert one.api_token not in repr(one)
    assert one.sandbox_token not in repr(one)


def test_every_port_is_told_to_its_service_and_only_the_api_gets_the_token(tmp_path: Path) -> None:
    layout = Layout(ports=Ports().moved_by(1))
    extra = {"CARAVAN_SANDBOX_VM_BOOT_S": "0", "CARAVAN_API_HTTP_PORT": "1"}
    env = common_env(layout, tmp_path, NATS_URL, extra)
    assert env["CARAVAN_NATS_URL"] == NATS_URL
    assert env["CARAVAN_API_HTTP_PORT"] == "8781"
    assert env["CARAVAN_DNS_EMBEDDED_PORT"] == "15354"
    assert env["CARAVAN_SANDBOX_VM_BOOT_S"] == "0"
    assert layout.api_token not in env.values()
    assert [part for part in PARTS if layout.api_token in own_env(part, layout).values()] == ["api"]


def test_clients_own_settings_do_not_reach_the_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CARAVAN_TOKEN", "mine")
    assert "CARAVAN_TOKEN" not in common_env(Layout(), tmp_path, NATS_URL, {})


def test_layout_of_a_stack_that_kept_passwords_of_nats_in_it_is_still_one(tmp_path: Path) -> None:
    save(tmp_path, Layout())
    file = tmp_path / "stack.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "nats_password": "p", "team_password": "q"}))
    assert load(tmp_path) is not None


def test_nats_syncs_every_write_listens_on_loopback_and_includes_the_accounts(tmp_path: Path) -> None:
    layout = Layout()
    text = config(layout, tmp_path / "with space")
    assert "sync_interval: always" in text
    assert 'listen: "127.0.0.1:4222"' in text
    assert f'store_dir: "{tmp_path}/with space"' in text
    assert 'include "accounts/accounts.conf"' in text


def test_accounts_of_a_stack_begin_with_the_first_team_and_are_kept(tmp_path: Path) -> None:
    first = Accounts(tmp_path, Layout(), lambda _text: None)
    assert '"subject": "intake.default.cluster.requested"' in (tmp_path / "accounts" / "accounts.conf").read_text()
    assert first.team_url("default").startswith("nats://default:")
    assert Accounts(tmp_path, Layout(), lambda _text: None).credentials == first.credentials
    with pytest.raises(StackError, match="payments"):
        first.team_url("payments")


def test_accounts_are_looked_after_though_the_api_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAUSES_S", (0.0,))
    said: list[str] = []
    accounts = Accounts(tmp_path, Layout(ports=Ports.free()), said.append)
    accounts.look()
    assert said == []


def test_nats_server_is_the_one_from_the_package() -> None:
    assert binary().name == "nats-server"
