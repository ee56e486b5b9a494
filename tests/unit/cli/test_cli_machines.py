"""`caravan machine`: what files and options ask of the API, and what is shown of it."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from caravan_cli import entries
from caravan_cli.errors import UsageProblem
from caravan_cli.main import app
from tests.support.rest import FakeApi, problem

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
CSV = f"""\
name,address,machine_type,cpus,memory_mib,host_keys,labels,bmc_address,bmc_password
rack1-07,10.0.0.7,large,16,65536,{KEY};{KEY},rack=1; room=b,10.9.0.7,secret
rack1-08,10.0.0.8,large,many,65536,{KEY},,,
"""
MACHINES = "/v1/machines"


def machine(**changes: Any) -> dict[str, Any]:
    return {
        "name": "rack1-07",
        "cloud": "metal",
        "address": "10.0.0.7",
        "machine_type": "large",
        "cpus": 16,
        "memory_mib": 65536,
        "state": "Quarantined",
        "since": "2026-01-01T00:00:00Z",
        "reason": "rack1-07 cannot be reached",
        "etag": '"7"',
        **changes,
    }


@pytest.fixture
def api() -> FakeApi:
    """An API with one machine."""
    api = FakeApi()
    api.on(f"GET {MACHINES}", {"items": [machine()], "next": None})
    api.on(f"GET {MACHINES}/rack1-07", machine())
    return api


def caravan(api: FakeApi, *words: str) -> Result:
    return CliRunner().invoke(app, ["--url", "http://caravan.test", "--token", "t", "machine", *words], obj=api)


def test_csv_becomes_entries_as_the_api_knows_them(tmp_path: Path) -> None:
    file = tmp_path / "rack.csv"
    file.write_text(CSV)
    first, second = entries.from_file(str(file))
    assert first == {
        "name": "rack1-07",
        "address": "10.0.0.7",
        "machine_type": "large",
        "cpus": 16,
        "memory_mib": 65536,
        "host_keys": [KEY, KEY],
        "labels": {"rack": "1", "room": "b"},
        "bmc": {"address": "10.9.0.7", "password": "secret"},
    }
    assert second["cpus"] == "many", "what is no number is the API's to refuse, with the row's place"
    assert not {"bmc", "labels"} & second.keys()


def test_yaml_is_a_list_or_names_one(tmp_path: Path) -> None:
    file = tmp_path / "rack.yaml"
    for text in ("- {name: a}\n", "machines:\n- {name: a}\n"):
        file.write_text(text)
        assert entries.from_file(str(file)) == [{"name": "a"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rack.csv", "name,cpus\na\n"),
        ("rack.csv", "name,cpus\na,1,2\n"),
        ("rack.csv", 'name\n"a\n'),
        ("rack.csv", "name,labels\na,rack\n"),
        ("rack.yaml", "name: a\n"),
        ("rack.yaml", "[a, b]\n"),
        ("rack.yaml", "{"),
    ],
)
def test_file_that_holds_no_machines_is_told_apart(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(UsageProblem):
        entries.from_file(str(file))


def test_import_sends_all_rows_at_once_with_the_cloud_of_those_that_name_none(api: FakeApi, tmp_path: Path) -> None:
    api.on(f"POST {MACHINES}", {"items": [machine(), machine(name="b")], "next": None})
    file = tmp_path / "rack.yaml"
    file.write_text("- {name: a}\n- {name: b, cloud: other}\n")
    done = caravan(api, "import", str(file), "--cloud", "metal", "-o", "name")
    assert (done.exit_code, done.stdout) == (0, "rack1-07\nb\n"), done.output
    assert api.bodies(f"POST {MACHINES}") == [
        {"machines": [{"name": "a", "cloud": "metal"}, {"name": "b", "cloud": "other"}]}
    ]


def test_refused_import_shows_every_problem(api: FakeApi, tmp_path: Path) -> None:
    told = [{"field": f"machines.{row}.address", "problem": f"wrong {row}", "remedy": "correct it"} for row in range(2)]
    api.on(f"POST {MACHINES}", problem(422, "Malformed request", detail="no", problems=told))
    file = tmp_path / "rack.yaml"
    file.write_text("- {name: a}\n")
    done = caravan(api, "import", str(file))
    assert done.exit_code == 4
    assert all(f"machines.{row}.address" in done.stderr for row in range(2))


def test_machine_is_added_with_the_key_of_a_file(api: FakeApi, tmp_path: Path) -> None:
    api.on(f"POST {MACHINES}", {"items": [machine()], "next": None})
    file = tmp_path / "host.pub"
    file.write_text(f"{KEY} root@rack1-07\n")
    words = ("add", "rack1-07", "--cloud", "metal", "--address", "10.0.0.7", "--machine-type", "large")
    done = caravan(api, *words, "--cpus", "16", "--memory-mib", "65536", "--host-key-file", str(file))
    assert done.exit_code == 0, done.output
    ((sent,),) = [body["machines"] for body in api.bodies(f"POST {MACHINES}")]
    assert (sent["host_keys"], sent["bmc"]) == ([KEY], None)
    without = caravan(api, *words, "--cpus", "16", "--memory-mib", "65536")
    assert without.exit_code == 2, "no machine without a host key"


def test_list_shows_why_a_machine_is_locked_away(api: FakeApi) -> None:
    done = caravan(api, "list", "--state", "Quarantined")
    assert done.exit_code == 0, done.output
    assert "cannot be" in done.stdout
    assert api.requests[-1].url.params["state"] == "Quarantined"


def test_bmc_is_described_by_options_and_an_empty_text_takes_off_what_is_told_of_it(api: FakeApi) -> None:
    api.on(f"PATCH {MACHINES}/rack1-07", machine())
    told = ("--bmc", "redfish://10.9.0.7", "--bmc-user", "op", "--bmc-password", "secret", "--bmc-system", "1")
    assert caravan(api, "change", "rack1-07", *told, "--bmc-disable-certificate-verification").exit_code == 0
    pinned = ("--bmc-fingerprint", "ab" * 32, "--bmc-verify-certificate", "--bmc-system", "")
    assert caravan(api, "change", "rack1-07", *pinned).exit_code == 0
    assert [body["bmc"] for body in api.bodies(f"PATCH {MACHINES}/rack1-07")] == [
        {
            "address": "redfish://10.9.0.7",
            "user": "op",
            "password": "secret",
            "system": "1",
            "disable_certificate_verification": True,
        },
        {"fingerprint": "ab" * 32, "disable_certificate_verification": None, "system": None},
    ]


def test_list_shows_whose_power_can_be_had(api: FakeApi) -> None:
    api.on(f"GET {MACHINES}", {"items": [machine(has_power=True), machine(name="b")], "next": None})
    first, second = [line.split() for line in caravan(api, "list").stdout.splitlines()[-2:]]
    assert ("bmc" in first, "bmc" in second) == (True, False)


def test_change_is_meant_for_what_was_read(api: FakeApi) -> None:
    api.on(f"PATCH {MACHINES}/rack1-07", machine())
    done = caravan(api, "change", "rack1-07", "--cpus", "8", "--label", "room=", "--label", "rack=2")
    assert done.exit_code == 0, done.output
    assert api.bodies(f"PATCH {MACHINES}/rack1-07") == [{"cpus": 8, "labels": {"room": None, "rack": "2"}}]
    assert api.requests[-1].headers["If-Match"] == '"7"'
    assert caravan(api, "change", "rack1-07").exit_code == 2


def test_machine_is_let_out_of_quarantine_or_removed_and_the_key_is_shown(api: FakeApi) -> None:
    api.on(f"POST {MACHINES}/rack1-07/release", machine(state="Cleaning"))
    api.on(f"DELETE {MACHINES}/rack1-07", {})
    api.on("GET /v1/clouds/metal/operator-key", {"public": KEY})
    assert "wiped and checked" in caravan(api, "release", "rack1-07", "--wipe").stderr
    assert api.bodies(f"POST {MACHINES}/rack1-07/release") == [{"wipe": True}]
    assert caravan(api, "remove", "rack1-07", "--yes").exit_code == 0
    assert caravan(api, "key", "metal").stdout == f"{KEY}\n"
