"""Where the API is and who is asking.

Each of url, token and team is taken from the first place that names it: the flags, the environment (`CARAVAN_URL`,
`CARAVAN_TOKEN`, `CARAVAN_TEAM`), then one file: the credentials of a local stack (`.caravan/credentials`, or in the
directory that `CARAVAN_STATE_DIR` names) if there is one, else `~/.config/caravan/config.yaml`. Both are YAML with
these three keys. A file's token never goes to another url than the file's own. A login (`caravan login`) for the url
goes before a file's token.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from caravan_cli.errors import UsageProblem
from caravan_cli.login.kept import LoginFile, login_file
from caravan_cli.private_files import write_private

DEFAULT_URL = "http://127.0.0.1:8780"
CREDENTIALS = "credentials"


@dataclass(frozen=True)
class Target:
    """Which API to talk to, as whom, and for which team (None: the token's own)."""

    url: str
    token: str | None
    team: str | None
    source: str
    """Where the url came from, for error messages."""
    login: LoginFile | None = None
    """Used instead of a token."""
    token_file: Path | None = None
    """The file that the token stands in; None where a flag or the environment gave it."""


def find_target(
    *, url: str | None = None, token: str | None = None, team: str | None = None, env: Mapping[str, str], home: Path
) -> Target:
    """The target that flags (the keyword arguments), environment and files add up to. UsageProblem on a broken file."""
    said_token = token or env.get("CARAVAN_TOKEN")
    target = _by_files(url or env.get("CARAVAN_URL"), said_token, team or env.get("CARAVAN_TEAM"), env, home)
    login = login_file(target.url, config_dir(env, home))
    return replace(target, token=None, login=login) if said_token is None and login.exists() else target


def config_dir(env: Mapping[str, str], home: Path) -> Path:
    """Where this user's configuration and logins are."""
    return Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "caravan"


def _by_files(
    said_url: str | None, said_token: str | None, said_team: str | None, env: Mapping[str, str], home: Path
) -> Target:
    for path in _files(env, home):
        found = _read(path)
        if said_url and found.get("url", said_url).rstrip("/") != said_url.rstrip("/"):
            continue
        return Target(
            url=(said_url or found.get("url") or DEFAULT_URL).rstrip("/"),
            token=said_token or found.get("token"),
            team=said_team or found.get("team"),
            source="the flags or the environment" if said_url else str(path),
            token_file=path if found.get("token") and not said_token else None,
        )
    source = "the flags or the environment" if said_url else "the default"
    return Target((said_url or DEFAULT_URL).rstrip("/"), said_token, said_team, source)


def found_again(target: Target) -> dict[str, str]:
    """What another process needs in its environment to find the same token in its file, wherever it runs; no secret."""
    if target.token_file is None:
        return {}
    # Its shell may have a token for another API, which would win over the file's.
    same = {"CARAVAN_TOKEN": ""}
    if target.token_file.name == CREDENTIALS:
        same["CARAVAN_STATE_DIR"] = str(target.token_file.parent.absolute())
    return same


def write_credentials(path: Path, *, url: str, token: str, nats_url: str) -> None:
    """Write a credentials file that only its owner can read. `nats_url` is where the team publishes its requests."""
    write_private(path, yaml.safe_dump({"url": url, "token": token, "nats_url": nats_url}))


def _files(env: Mapping[str, str], home: Path) -> Iterator[Path]:
    for path in (Path(env.get("CARAVAN_STATE_DIR", ".caravan")) / CREDENTIALS, config_dir(env, home) / "config.yaml"):
        if path.is_file():
            yield path


def _read(path: Path) -> dict[str, str]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UsageProblem(f"{path} cannot be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise UsageProblem(f"{path} is no mapping of url, token and team to texts")
    return content
