"""`caravan doctor`: what is to be mended, and an exit code for scripts."""

import json
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from tests.support.rest import FakeApi

OK = {"about": "dns", "level": "ok", "says": "2 replicas, version 1.0", "mend": ""}
LETTERS = {"about": "dead letters", "level": "warning", "says": "2 messages could not be handled", "mend": "Replay."}
GONE = {"about": "health", "level": "fatal", "says": "nobody answers", "mend": "Start it."}


def doctor(*findings: dict[str, Any], well: bool, words: tuple[str, ...] = ()) -> Result:
    api = FakeApi()
    api.on("GET /v1/doctor", {"well": well, "version": "1.0", "findings": findings})
    return CliRunner().invoke(app, ["--url", "http://caravan.test", "--token", "t", "doctor", *words], obj=api)


def test_well_installation_ends_with_zero_and_shows_warnings_alone() -> None:
    done = doctor(OK, LETTERS, well=True)
    assert done.exit_code == 0, done.output
    assert "dead letters: 2 messages could not be handled.\n  Replay." in done.stdout
    assert "2 replicas" not in done.stdout
    assert done.stdout.endswith("The installation is well: 2 findings, 1 of them warnings.\n")


def test_all_shows_what_is_well_too() -> None:
    assert "2 replicas" in doctor(OK, well=True, words=("--all",)).stdout


def test_broken_installation_ends_with_one_and_says_what_to_mend() -> None:
    done = doctor(OK, GONE, well=False)
    assert done.exit_code == 1
    assert "health: nobody answers.\n  Start it." in done.stdout
    assert "NOT well" in done.stdout


def test_json_carries_everything_and_the_same_exit_code() -> None:
    done = doctor(OK, GONE, well=False, words=("-o", "json"))
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"] == [OK, GONE]


def test_api_that_does_not_answer_is_the_finding() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    words = ["--url", "http://caravan.test", "--token", "t", "doctor"]
    done = CliRunner().invoke(app, words, obj=httpx.MockTransport(refuse))
    assert done.exit_code == 1
    assert "api: http://caravan.test" in done.stdout
    assert "Start the api" in done.stdout
