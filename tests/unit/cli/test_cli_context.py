"""Where the API is and who is asking."""

import stat
from pathlib import Path

import pytest

from caravan_cli.context import DEFAULT_URL, find_target, write_credentials
from caravan_cli.errors import UsageProblem


def _local_stack(folder: Path) -> dict[str, str]:
    state_dir = folder / "state"
    state_dir.mkdir()
    write_credentials(state_dir / "credentials", url="http://127.0.0.1:9000", token="local", nats_url="nats://x")
    return {"CARAVAN_STATE_DIR": str(state_dir)}


def test_nothing_said_and_no_file_means_the_usual_local_address(tmp_path: Path) -> None:
    target = find_target(env={"CARAVAN_STATE_DIR": str(tmp_path / "none")}, home=tmp_path)
    assert (target.url, target.token, target.team) == (DEFAULT_URL, None, None)


def test_flags_win_over_environment_and_environment_over_files(tmp_path: Path) -> None:
    env = _local_stack(tmp_path)
    assert find_target(env=env, home=tmp_path).token == "local"
    env |= {"CARAVAN_TOKEN": "from-env", "CARAVAN_TEAM": "blue"}
    assert find_target(env=env, home=tmp_path).token == "from-env"
    target = find_target(token="from-flag", team="red", env=env, home=tmp_path)
    assert (target.url, target.token, target.team) == ("http://127.0.0.1:9000", "from-flag", "red")


def test_local_stack_wins_over_the_config_file_of_the_home(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "caravan" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("url: https://caravan.example.org/\ntoken: far\nteam: red\n")
    far = find_target(env={"CARAVAN_STATE_DIR": str(tmp_path / "none")}, home=tmp_path)
    assert (far.url, far.token, far.team) == ("https://caravan.example.org", "far", "red")
    assert find_target(env=_local_stack(tmp_path), home=tmp_path).token == "local"


def test_token_of_a_file_never_goes_to_another_url(tmp_path: Path) -> None:
    target = find_target(url="https://elsewhere.example.org", env=_local_stack(tmp_path), home=tmp_path)
    assert (target.url, target.token) == ("https://elsewhere.example.org", None)


def test_credentials_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("old")
    path.chmod(0o644)
    write_credentials(path, url="http://x", token="t", nats_url="nats://x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["- a list", "url: [1, 2]", "{unclosed"])
def test_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials").write_text(text)
    with pytest.raises(UsageProblem, match="credentials"):
        find_target(env={"CARAVAN_STATE_DIR": str(tmp_path)}, home=tmp_path)
