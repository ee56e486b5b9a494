"""`caravan cloud`: what it prints, and the exit code that tells a script whether a cloud is usable."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from tests.support.rest import FakeApi

OK = {"about": "auth", "level": "ok", "says": "logged in to the project demo", "mend": ""}
FULL = {"about": "quota", "level": "fatal", "says": "10 of 10 machines in use, 0 free", "mend": "Have it raised."}


def caravan(api: FakeApi, *words: str) -> Result:
    return CliRunner().invoke(app, ["--url", "http://caravan.test", "--token", "t", "cloud", *words], obj=api)


def api(*findings: dict[str, Any], usable: bool) -> FakeApi:
    fake = FakeApi()
    fake.on("GET /v1/clouds/lab/check", {"cloud": "lab", "kind": "openstack", "usable": usable, "findings": findings})
    return fake


def test_usable_cloud_ends_with_zero() -> None:
    done = caravan(api(OK, usable=True), "check", "lab")
    assert done.exit_code == 0, done.output
    assert "logged in to the project demo" in done.stdout
    assert done.stdout.endswith("The cloud lab (openstack) is usable.\n")


def test_unusable_cloud_ends_with_one_and_says_what_to_mend() -> None:
    done = caravan(api(OK, FULL, usable=False), "check", "lab")
    assert done.exit_code == 1
    assert "quota: 10 of 10 machines in use, 0 free.\n  Have it raised." in done.stdout
    assert "is NOT usable" in done.stdout


@pytest.mark.parametrize("usable", [True, False])
def test_json_carries_everything_and_the_same_exit_code(usable: bool) -> None:
    done = caravan(api(OK, FULL, usable=usable), "check", "lab", "-o", "json")
    assert done.exit_code == (0 if usable else 1)
    assert json.loads(done.stdout)["findings"] == [OK, FULL]


def test_sweep_lists_machines_and_what_happens_to_them() -> None:
    fake = FakeApi()
    sighted = {
        "machine_id": "m-1",
        "name": "old-workers-k3x9-1",
        "cluster_id": "0190f6f0-5b7c-7000-8000-000000000001",
        "reason": "its cluster was deleted",
        "verdict": "seen once",
        "first_seen_at": "2026-05-01T12:00:00Z",
        "last_seen_at": "2026-05-01T12:00:00Z",
    }
    fake.on("GET /v1/clouds/lab/sweep", {"items": [sighted]})
    done = caravan(fake, "sweep", "lab")
    assert done.exit_code == 0, done.output
    assert "old-workers-k3x9-1" in done.stdout
    assert "its cluster was deleted" in done.stdout


@pytest.mark.parametrize(("was_held", "said"), [(True, "The sweep goes on."), (False, "The sweep was not held.")])
def test_release_of_the_sweep_says_whether_it_was_held(was_held: bool, said: str) -> None:
    fake = FakeApi()
    fake.on("POST /v1/sweep/release", {"was_held": was_held})
    assert said in caravan(fake, "release-sweep").stdout
