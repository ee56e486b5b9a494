"""`caravan pool`: what flags and files ask of the API, and what is shown of it."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner, Result

from caravan_cli import client as client_module
from caravan_cli import pools
from caravan_cli.main import app
from caravan_cli.specs import SpecFlags
from tests.support.rest import FakeApi, problem

POOLS = "/v1/pools"
ID = "0190f6f0-5b7c-7000-8000-0000000000aa"
TEMPLATE: dict[str, Any] = {
    "version": "1.34.2",
    "cloud": "sandbox",
    "control_plane": {"count": 1, "machine_type": "medium"},
    "workers": [{"name": "gpu", "count": 2, "machine_type": "medium", "labels": {"a": "b"}}],
}


def pool(**changes: Any) -> dict[str, Any]:
    buckets = {"ready": 1, "making": 1, "stale": 0, "old": 0, "broken": 0, "leaving": 0, "leased": 3}
    return {
        "id": ID,
        "name": "ci",
        "team": "default",
        "spec": {"template": TEMPLATE, "spares": 2, "max_size": 10, "max_making": 3, "lease_s": 3600, "schedule": []},
        "spares_wanted": 2,
        "clusters": buckets,
        "waiting": 4,
        "usual_making_s": 250.0,
        "trouble": "ci-x7k2p: quota exceeded",
        "next_try_at": None,
        "deleting": False,
        "created_at": "2026-01-01T00:00:00Z",
        "created_by": "alice",
        "updated_at": "2026-01-01T00:00:00Z",
        "etag": '"7"',
        **changes,
    }


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """An API with one pool."""
    monkeypatch.setattr(client_module, "PAUSES_S", (0.0,))
    api = FakeApi()
    api.on("GET /v1/versions", {"items": ["1.34.2", "1.33.6"]})
    api.on(f"POST {POOLS}", pool())
    api.on(f"GET {POOLS}", {"items": [pool(), pool(id="2", name="big", trouble=None)], "next": None})
    api.on(f"GET {POOLS}/ci", pool())
    api.on(f"PATCH {POOLS}/{ID}", pool())
    api.on(f"DELETE {POOLS}/{ID}", pool(deleting=True))
    return api


def caravan(api: FakeApi, *words: str, stdin: str | None = None) -> Result:
    target = ["--url", "http://caravan.test", "--token", "t"]
    return CliRunner().invoke(app, [*target, "pool", *words], obj=api, input=stdin)


def test_flags_become_a_pool_and_its_template_of_the_newest_version(api: FakeApi) -> None:
    flags = ("--spares", "3", "--max-size", "12", "--max-making", "2", "--lease", "90m", "--max-lease", "1d")
    more = ("--max-keep", "0", "--spare-age", "3600", "--control-planes", "1", "--workers", "2", "--cni", "flannel")
    done = caravan(api, "create", "ci", *flags, *more, "-o", "name")
    assert (done.exit_code, done.stdout) == (0, "ci\n"), done.output
    (sent,) = api.bodies(f"POST {POOLS}")
    assert sent == {
        "name": "ci",
        "spec": {
            "spares": 3,
            "max_size": 12,
            "max_making": 2,
            "lease_s": 5400,
            "max_lease_s": 86_400,
            "max_keep_s": 0,
            "max_spare_age_s": 3600,
            "template": {
                "version": "1.34.2",
                "control_plane": {"count": 1},
                "workers": [{"name": "workers", "count": 2}],
                "network": {"cni": "flannel"},
            },
        },
    }


def test_pool_is_made_once_even_if_the_answer_is_lost(api: FakeApi) -> None:
    api.on(f"POST {POOLS}", httpx.Response(503), httpx.Response(201, json=pool()))
    assert caravan(api, "create", "ci").exit_code == 0
    keys = [request.headers["Idempotency-Key"] for request in api.requests if request.method == "POST"]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_file_holds_name_and_spec_and_may_leave_out_the_version(api: FakeApi) -> None:
    spec = {"template": {"cloud": "docker"}, "spares": 2, "schedule": [{"spares": 5, "from_hour": 8, "to_hour": 18}]}
    done = caravan(api, "create", "-f", "-", stdin=yaml.safe_dump({"name": "filed", "spec": spec}))
    assert done.exit_code == 0, done.output
    expected = {**spec, "template": {"version": "1.34.2", "cloud": "docker"}}
    assert api.bodies(f"POST {POOLS}") == [{"name": "filed", "spec": expected}]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("create",), None),
        (("create", "-f", "-"), "spec: {spares: 1}\n"),
        (("create", "ci", "-f", "-", "--spares", "2"), "spec: {spares: 1}\n"),
        (("create", "ci", "-f", "-", "--workers", "2"), "spec: {spares: 1}\n"),
        (("create", "ci", "-f", "-"), "spec: 7\n"),
        (("create", "ci", "-f", "-"), "spec: {template: x}\n"),
        (("create", "ci", "--lease", "2x"), None),
        (("set", "ci"), None),
        (("set", "ci", "--max-keep", ""), None),
        (("set", "ci", "-f", "-", "--now"), "spec: {spares: 1}\n"),
        (("maintenance", "ci"), None),
        (("maintenance", "ci", "--any-time", "--window", "sat 02:00 4h"), None),
    ],
)
def test_wrong_usage_ends_with_2_and_asks_for_nothing(api: FakeApi, words: tuple[str, ...], text: str | None) -> None:
    assert caravan(api, *words, stdin=text).exit_code == 2
    assert not [request for request in api.requests if request.method != "GET"]


def test_refusal_names_the_field_of_the_template(api: FakeApi) -> None:
    wrong = {"field": "spec.template.control_plane.count", "problem": "2 is even", "remedy": "use 3"}
    api.on(f"POST {POOLS}", problem(422, "Not admitted", problems=[wrong]))
    done = caravan(api, "create", "ci", "--control-planes", "2")
    assert done.exit_code == 4
    assert "spec.template.control_plane.count: 2 is even" in done.stderr


def test_set_changes_what_is_given_of_what_was_read(api: FakeApi) -> None:
    done = caravan(api, "set", "ci", "--spares", "5", "--version", "1.33.6")
    assert done.exit_code == 0, done.output
    assert api.bodies(f"PATCH {POOLS}/{ID}") == [{"spec": {"spares": 5, "template": {"version": "1.33.6"}}}]
    assert api.requests[-1].headers["If-Match"] == '"7"'
    assert api.requests[-1].headers["Idempotency-Key"]


def test_set_without_flags_of_the_template_leaves_it_alone(api: FakeApi) -> None:
    assert caravan(api, "set", "ci", "--lease", "2h").exit_code == 0
    assert api.bodies(f"PATCH {POOLS}/{ID}") == [{"spec": {"lease_s": 7200}}]


def test_set_takes_a_patch_from_a_file(api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "patch.yaml"
    file.write_text("timezone: Europe/Berlin\nspares: null\n")
    assert caravan(api, "set", "ci", "-f", str(file)).exit_code == 0
    assert api.bodies(f"PATCH {POOLS}/{ID}") == [{"spec": {"timezone": "Europe/Berlin", "spares": None}}]


def test_worker_sets_keep_what_is_not_given_though_a_patch_replaces_lists() -> None:
    (gpu,) = TEMPLATE["workers"]
    assert pools.template_patch(TEMPLATE, SpecFlags(workers=("gpu=4",))) == {"workers": [{**gpu, "count": 4}]}
    assert pools.template_patch(TEMPLATE, SpecFlags(machine_types=("gpu=large",))) == {
        "workers": [{**gpu, "machine_type": "large"}]
    }
    assert pools.template_patch(TEMPLATE, SpecFlags(workers=("gpu", "cpu=1"))) == {
        "workers": [gpu, {"name": "cpu", "count": 1}]
    }


def test_delete_asks_first_and_is_meant_for_what_was_read(api: FakeApi) -> None:
    asked = caravan(api, "delete", "ci", stdin="n\n")
    assert asked.exit_code == 1
    assert "with 2 spares" in asked.output
    assert api.requests[-1].method == "GET"
    api.on(f"DELETE {POOLS}/{ID}", httpx.Response(503), pool(deleting=True))
    done = caravan(api, "delete", "ci", "--yes")
    assert done.exit_code == 0, done.output
    assert "3 leased clusters stay" in done.stderr
    first, again = [request.headers for request in api.requests if request.method == "DELETE"]
    assert first["If-Match"] == '"7"'
    assert first["Idempotency-Key"] == again["Idempotency-Key"], "the etag alone would refuse the repetition"


def test_list_is_a_table_names_or_a_document(api: FakeApi) -> None:
    heads, row, _ = caravan(api, "list").stdout.splitlines()
    assert heads.split()[:6] == ["NAME", "SPARES", "MAKING", "LEASED", "WAITING", "VERSION"]
    assert row.split()[:6] == ["ci", "1/2", "1", "3", "4", "1.34.2"]
    assert "quota exceeded" in row
    assert "4m10s" in caravan(api, "list", "-o", "wide").stdout
    assert caravan(api, "list", "-o", "name").stdout == "ci\nbig\n"
    assert [each["name"] for each in json.loads(caravan(api, "list", "-o", "json").stdout)] == ["ci", "big"]


def test_get_shows_every_field(api: FakeApi) -> None:
    assert yaml.safe_load(caravan(api, "get", "ci").stdout)["spec"]["template"] == TEMPLATE
    assert caravan(api, "get", "ci", "-o", "table").stdout.splitlines()[1].startswith("ci ")


def test_describe_shows_buckets_queue_trouble_and_leases(api: FakeApi) -> None:
    held = {
        "id": "l-1",
        "pool": "ci",
        "team": "default",
        "holder": "bob",
        "state": "Held",
        "asked_at": "2026-01-01T00:00:00Z",
        "lasts_s": 3600,
        "ends_at": "2036-01-01T00:00:00Z",
        "cluster": "ci-aaaaa",
    }
    api.on(f"GET {POOLS}/ci", pool(next_try_at="2036-01-01T00:00:00Z"))
    api.on("GET /v1/leases", {"items": [held], "next": None})
    out = caravan(api, "describe", "ci").stdout
    for text in ("1 ready of 2 wanted", "4 waiting", "usually takes 4m10s", "quota exceeded", "Next try", "ci-aaaaa"):
        assert text in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith(("making", "leased"))] == [
        ["making", "1"],
        ["leased", "3"],
    ]
    assert api.requests[-1].url.params["pool"] == "ci"


@pytest.mark.parametrize(
    ("words", "template"),
    [
        (("set", "ci", "--version", "1.35.1", "--now"), {"version": "1.35.1", "maintenance": {"at_once": "1.35.1"}}),
        (("set", "ci", "--now"), {"maintenance": {"at_once": "1.34.2"}}),
        (("maintenance", "ci", "--any-time"), {"maintenance": {"windows": []}}),
        (
            ("maintenance", "ci", "--window", "sat 02:00 4h"),
            {"maintenance": {"windows": [{"days": ["sat"], "start": "02:00", "duration_s": 14_400}]}},
        ),
    ],
)
def test_rolls_are_timed_by_the_template(api: FakeApi, words: tuple[str, ...], template: dict[str, Any]) -> None:
    done = caravan(api, *words)
    assert done.exit_code == 0, done.output
    assert api.bodies(f"PATCH {POOLS}/{ID}") == [{"spec": {"template": template}}]


def test_describe_says_why_a_roll_waits(api: FakeApi) -> None:
    api.on(f"GET {POOLS}/ci", pool(roll="2 of an earlier template wait for the maintenance window"))
    api.on("GET /v1/leases", {"items": [], "next": None})
    assert "2 of an earlier template wait" in caravan(api, "describe", "ci").stdout


def test_flags_say_who_shares_a_pool_and_how_many_of_its_spares_sleep(api: FakeApi) -> None:
    flags = ("--hibernate-share", "50", "--shared-with", "web", "--shared-with", "data", "--max-leases-per-team", "4")
    done = CliRunner().invoke(
        app, ["--url", "http://caravan.test", "--token", "t", "pool", "set", "ci", *flags], obj=api
    )
    assert done.exit_code == 0, done.output
    (body,) = api.bodies(f"PATCH {POOLS}/{ID}")
    assert body["spec"] == {"hibernate_share": 50, "shared_with": ["web", "data"], "max_leases_per_team": 4}


def test_pool_is_shared_with_nobody_any_more(api: FakeApi) -> None:
    words = ["--url", "http://caravan.test", "--token", "t", "pool", "set", "ci", "--shared-with", ""]
    assert CliRunner().invoke(app, words, obj=api).exit_code == 0
    assert api.bodies(f"PATCH {POOLS}/{ID}") == [{"spec": {"shared_with": []}}]
