"""The commands: what they ask the API, what they print, how they end."""

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner, Result

from caravan_cli.errors import EXIT_CODES
from caravan_cli.main import app
from tests.support.rest import FakeApi, cluster, entry, problem, stream

NODE = {
    "name": "demo-workers-k3x9-1",
    "node_set": "workers",
    "role": "worker",
    "state": "Joined",
    "machine_id": "m-1",
    "address": "127.64.0.3",
    "version": "1.34.2",
    "health": {"verdict": "Degraded", "reason": "NotReady: kubelet is silent"},
    "reason": None,
    "simulated": True,
}
PLAN = {
    "action": "create",
    "node_sets": [
        {"name": "workers", "machine_type": "medium", "current": 0, "wanted": 2, "create": 2, "remove": 0, "change": []}
    ],
    "quota": {"resource": "machines", "need": 3, "free": 2, "limit": 10, "fits": False},
    "estimate_s": 61.5,
    "simulated": True,
}


class Caravan:
    """The command, with an API that a test lays down."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.api.on("GET /v1/versions", {"items": ["1.34.2", "1.33.6"]})

    def __call__(self, *words: str, stdin: str | None = None) -> Result:
        target = ["--url", "http://caravan.test", "--token", "t"]
        return CliRunner().invoke(app, [*target, *words], obj=self.api, input=stdin)


@pytest.fixture
def caravan() -> Caravan:
    """The command."""
    return Caravan()


def test_create_takes_the_newest_version_and_the_apis_defaults(caravan: Caravan) -> None:
    caravan.api.on("POST /v1/clusters", cluster(phase="Requested"))
    done = caravan("cluster", "create", "demo", "--control-planes", "3")
    assert done.exit_code == 0, done.output
    (sent,) = caravan.api.bodies("POST /v1/clusters")
    assert sent == {"name": "demo", "spec": {"version": "1.34.2", "control_plane": {"count": 3}}}


def test_create_reads_name_and_spec_from_a_file(caravan: Caravan) -> None:
    caravan.api.on("POST /v1/clusters", cluster())
    text = yaml.safe_dump({"name": "filed", "spec": {"version": "1.33.6"}})
    done = caravan("cluster", "create", "-f", "-", "-o", "name", stdin=text)
    assert done.exit_code == 0, done.output
    assert done.stdout == "demo\n"
    assert caravan.api.bodies("POST /v1/clusters") == [{"name": "filed", "spec": {"version": "1.33.6"}}]


def test_create_that_waits_ends_when_the_cluster_is_ready(caravan: Caravan) -> None:
    made = cluster(phase="Requested")
    caravan.api.on("POST /v1/clusters", made)
    caravan.api.on(f"GET /v1/clusters/{made['id']}", made)
    caravan.api.on(f"GET /v1/clusters/{made['id']}/events", stream(("cluster", cluster())))
    done = caravan("cluster", "create", "demo", "--wait", "-o", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["phase"] == "Ready"
    assert "is Ready" in done.stderr


def test_dry_run_plans_and_asks_for_nothing(caravan: Caravan) -> None:
    caravan.api.on("POST /v1/plans", PLAN)
    done = caravan("cluster", "create", "demo", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "does NOT fit" in done.stdout
    assert caravan.api.bodies("POST /v1/clusters") == []


def test_plan_shows_what_is_set_for_the_size_and_what_would_be_wise(caravan: Caravan) -> None:
    tuning = {"kubelet_max_pods": None, "kube_proxy_mode": "none", "kubelet_serialize_image_pulls": False}
    caravan.api.on("POST /v1/plans", PLAN | {"tuning": tuning, "advice": ["Use 3."]})
    shown = caravan("cluster", "create", "demo", "--dry-run").stdout
    assert "kube_proxy_mode" in shown
    assert "kubelet_serialize_image_pulls   false" in shown
    assert "kubelet_max_pods" not in shown
    assert "Advice: Use 3." in shown


def test_plan_shows_the_virtual_ip_that_was_asked_for(caravan: Caravan) -> None:
    caravan.api.on("POST /v1/plans", PLAN | {"virtual_ip": "10.89.255.250"})
    shown = caravan("cluster", "create", "demo", "--virtual-ip", "10.89.255.250", "--dry-run").stdout
    assert "reached at 10.89.255.250" in shown
    (sent,) = caravan.api.bodies("POST /v1/plans")
    assert sent["spec"]["network"] == {"virtual_ip": "10.89.255.250"}


def test_plan_of_an_existing_cluster_is_a_change_and_leaves_its_version(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters/demo", cluster())
    caravan.api.on("POST /v1/plans", PLAN | {"action": "change"})
    assert caravan("cluster", "plan", "demo", "--workers", "4").exit_code == 0
    (sent,) = caravan.api.bodies("POST /v1/plans")
    assert sent == {
        "action": "change",
        "cluster": cluster()["id"],
        "spec": {"workers": [{"name": "workers", "count": 4}]},
    }


@pytest.mark.parametrize(
    "words",
    [
        ("cluster", "create"),
        ("cluster", "create", "demo", "-f", "x.yaml", "--workers", "2"),
        ("cluster", "create", "demo", "-f", "/does/not/exist"),
        ("cluster", "scale", "demo", "workers"),
        ("cluster", "scale", "demo"),
        ("cluster", "create", "demo", "--cni", "weave"),
        ("cluster", "creat"),
    ],
)
def test_wrong_usage_ends_with_2(caravan: Caravan, words: tuple[str, ...]) -> None:
    assert caravan(*words).exit_code == 2


def test_refusal_names_each_field_what_is_wrong_and_what_would_be_right(caravan: Caravan) -> None:
    wrong = {"field": "spec.control_plane.count", "problem": "2 is even", "remedy": "use an odd count, such as 3"}
    answer = problem(422, "Not admitted", problems=[wrong], who_can_fix="user", retry_helps=False, trace_id="abc")
    caravan.api.on("POST /v1/clusters", answer)
    done = caravan("cluster", "create", "demo", "--control-planes", "2")
    assert done.exit_code == 4
    assert done.stdout == ""
    for text in ("spec.control_plane.count", "2 is even", "use an odd count", "you, by", "does not help", "abc"):
        assert text in done.stderr


@pytest.mark.parametrize(("status", "code"), [(401, 6), (404, 3), (409, 5), (429, 7), (500, 1)])
def test_errors_of_the_api_become_exit_codes(caravan: Caravan, status: int, code: int) -> None:
    caravan.api.on("GET /v1/clusters/demo", problem(status, "No"))
    assert caravan("cluster", "get", "demo").exit_code == code


def test_answer_that_is_not_understood_is_an_error_and_no_traceback(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters/demo", cluster(phase="Dancing"))
    done = caravan("cluster", "get", "demo")
    assert done.exit_code == 1
    assert "phase" in done.stderr


def test_list_is_a_table_names_or_a_document(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters", {"items": [cluster(), cluster(id="2", name="b", phase="Failed")], "next": None})
    lines = caravan("cluster", "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "PHASE", "HEALTH", "VERSION", "NODES", "CLOUD", "AGE"]
    assert lines[1].split()[:7] == ["demo", "Ready", "Healthy", "1.34.2", "3/3", "sandbox", "(simulated)"]
    assert "demo.default.caravan.test:6443" in caravan("cluster", "list", "-o", "wide").stdout
    assert caravan("cluster", "list", "-o", "name").stdout == "demo\nb\n"
    assert [each["name"] for each in json.loads(caravan("cluster", "list", "-o", "json").stdout)] == ["demo", "b"]
    assert [each["name"] for each in yaml.safe_load(caravan("cluster", "list", "-o", "yaml").stdout)] == ["demo", "b"]


def test_list_hands_its_filters_to_the_api(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters", {"items": [], "next": None})
    done = caravan("cluster", "list", "--phase", "Failed", "--version", "1.34.2", "-q", "de")
    assert (done.exit_code, done.stdout) == (0, "")
    asked = dict(caravan.api.requests[0].url.params)
    assert (asked["phase"], asked["version"], asked["q"]) == ("Failed", "1.34.2", "de")


def test_text_of_the_api_is_never_markup(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters", {"items": [cluster(created_by="[red]x[/red]\x1b[31m")], "next": None})
    out = caravan("cluster", "list", "-o", "wide").stdout
    assert "[red]x[/red]" in out
    assert "\x1b" not in out


def test_describe_shows_sets_nodes_failure_and_what_happened(caravan: Caravan) -> None:
    failure = {"reason": "quota exceeded", "who_can_fix": "operator", "retry_helps": True}
    trace = {"id": "7f" * 16, "url": "https://traces.example.org/7f"}
    found = cluster(phase="Failed", failure=failure, trace=trace)
    caravan.api.on("GET /v1/clusters/demo", found)
    caravan.api.on(f"GET /v1/clusters/{found['id']}/nodes", {"items": [NODE], "next": None})
    caravan.api.on(f"GET /v1/clusters/{found['id']}/timeline", {"items": [entry(1, "Machines run")], "next": None})
    out = caravan("cluster", "describe", "demo").stdout
    for text in (
        "quota exceeded",
        "whoever runs Caravan",
        "caravan cluster retry demo",
        "demo-workers-k3x9-1",
        "kubelet is silent",
        "Machines run",
        "(simulated)",
        "https://traces.example.org/7f",
    ):
        assert text in out


def test_scale_asks_for_each_set(caravan: Caravan) -> None:
    caravan.api.on("PATCH /v1/clusters/demo/node-sets/workers", cluster())
    caravan.api.on("PATCH /v1/clusters/demo/node-sets/gpu", cluster())
    assert caravan("cluster", "scale", "demo", "workers=4", "gpu=0").exit_code == 0
    assert caravan.api.bodies("PATCH /v1/clusters/demo/node-sets/workers") == [{"count": 4}]
    assert caravan.api.bodies("PATCH /v1/clusters/demo/node-sets/gpu") == [{"count": 0}]


def test_upgrade_changes_the_version_of_what_was_seen(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters/demo", cluster(etag='"7.1"'))
    caravan.api.on("PATCH /v1/clusters/demo", cluster())
    assert caravan("cluster", "upgrade", "demo", "1.34.2").exit_code == 0
    assert caravan.api.requests[-1].headers["If-Match"] == '"7.1"'
    assert caravan.api.bodies("PATCH /v1/clusters/demo") == [{"spec": {"version": "1.34.2"}}]


def test_delete_asks_first_and_deletes_nothing_without_a_yes(caravan: Caravan) -> None:
    found = cluster()
    caravan.api.on("GET /v1/clusters/demo", found)
    caravan.api.on(f"DELETE /v1/clusters/{found['id']}", found | {"phase": "Deleting"})
    assert caravan("cluster", "delete", "demo", stdin="n\n").exit_code == 1
    assert caravan.api.requests[-1].method == "GET"
    assert caravan("cluster", "delete", "demo", "--yes").exit_code == 0
    assert caravan.api.requests[-1].method == "DELETE"


def test_kubeconfig_file_is_readable_by_its_owner_alone(caravan: Caravan, tmp_path: Path) -> None:
    issued = {"grant_id": "g", "kubeconfig": "kind: Config\n", "expires_at": "2026-01-01T01:00:00Z"}
    caravan.api.on("POST /v1/clusters/demo/kubeconfig", issued)
    file = tmp_path / "demo.kubeconfig"
    file.write_text("old")
    assert caravan("cluster", "kubeconfig", "demo", "--role", "admin", "-f", str(file)).exit_code == 0
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("kind: Config\n", 0o600)
    assert caravan.api.bodies("POST /v1/clusters/demo/kubeconfig") == [{"role": "admin", "ttl_s": 3600}]
    assert caravan("cluster", "kubeconfig", "demo").stdout == "kind: Config\n"
    assert caravan("cluster", "kubeconfig", "demo", "-f", str(tmp_path / "no" / "dir")).exit_code == 2


def test_events_show_the_past_and_with_follow_each_later_entry_once(caravan: Caravan) -> None:
    found = cluster()
    events = f"GET /v1/clusters/{found['id']}/events"
    timeline = f"GET /v1/clusters/{found['id']}/timeline"
    caravan.api.on("GET /v1/clusters/demo", found)
    caravan.api.on(timeline, {"items": [entry(1, "one")], "next": None})
    assert "one" in caravan("cluster", "events", "demo").stdout
    caravan.api.on(events, stream(("timeline", entry(1, "one")), ("timeline", entry(2, "two"))), problem(404, "Gone"))
    done = caravan("cluster", "events", "demo", "--follow")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["one", "two"]
    assert done.exit_code == 3


def test_watch_prints_a_cluster_again_when_it_changed(caravan: Caravan) -> None:
    before, after = cluster(phase="Provisioning"), cluster()
    caravan.api.on("GET /v1/clusters", {"items": [before], "next": None}, {"items": [after], "next": None})
    caravan.api.on("GET /v1/events", stream(("cluster", after)), problem(401, "Expired"))
    done = caravan("cluster", "list", "--watch")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["PHASE", "Provisioning", "Ready"]
    assert done.exit_code == 6


def test_offers_are_listed(caravan: Caravan) -> None:
    medium = {"name": "medium", "cpus": 2, "memory_mib": 4096, "disk_gib": 40}
    quota = {"machines_limit": None, "machines_used": 3}
    cloud = {"cloud": "sandbox", "kind": "sandbox", "simulated": True, "machine_types": [medium], "quota": quota}
    real = {**cloud, "cloud": "racks", "simulated": False, "virtual_ips": ["10.89.0.0/16"]}
    caravan.api.on("GET /v1/clouds", {"items": [cloud, real]})
    assert caravan("versions").stdout == "1.34.2\n1.33.6\n"
    out = caravan("clouds").stdout
    assert all(text in out for text in ("sandbox (simulated)", "3 of any number", "medium (2 CPUs, 4096 MiB)"))
    assert [line.rsplit(maxsplit=1)[-1] for line in out.splitlines()[1:]] == ["none", "10.89.0.0/16"]


def test_dead_letters_are_listed_and_replayed(caravan: Caravan) -> None:
    letter = {"id": 7, "subject": "nodes.ready", "service": "dns", "at": "2026-01-01T00:00:00Z", "reason": "no JSON"}
    caravan.api.on("GET /v1/dead-letters", {"items": [letter], "next": None})
    caravan.api.on("POST /v1/dead-letters/7/replay", letter)
    assert "no JSON" in caravan("dead-letters", "list").stdout
    assert caravan("dead-letters", "replay", "7").exit_code == 0
    assert caravan.api.requests[-1].url.path == "/v1/dead-letters/7/replay"


def test_dead_letter_is_replayed_with_a_mended_body(caravan: Caravan, tmp_path: Path) -> None:
    caravan.api.on("POST /v1/dead-letters/7/replay", {"id": 7})
    (tmp_path / "body").write_text('{"request_id": "build-4711"}')
    assert caravan("dead-letters", "replay", "7", "--body", str(tmp_path / "body")).exit_code == 0
    assert caravan.api.bodies("POST /v1/dead-letters/7/replay") == [{"body": '{"request_id": "build-4711"}'}]
    assert caravan("dead-letters", "replay", "7", "--body", str(tmp_path / "none")).exit_code == 2


def test_help_names_every_exit_code() -> None:
    text = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout.split())
    assert all(f"{code} {meaning}" in text for code, meaning in EXIT_CODES.items())


RUN: dict[str, Any] = {
    "run_id": "0190f6f0-5b7c-7000-8000-000000000002",
    "play": "site",
    "state": "Failed",
    "node_count": 3,
    "step": "ensure etcd runs",
    "failure": "demo-cp-1: the disk is full",
    "created_at": "2026-01-01T00:00:00Z",
    "started_at": "2026-01-01T00:00:01Z",
    "ended_at": "2026-01-01T00:01:06Z",
}
LOG = f"GET /v1/clusters/demo/runs/{RUN['run_id']}/log"


def log_part(text: str, **links: str) -> httpx.Response:
    named = ", ".join(f'</x?{where}>; rel="{rel}"' for rel, where in links.items())
    return httpx.Response(200, text=text, headers={"Link": named} if named else {})


def test_runs_are_listed_with_why_they_failed(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters/demo/runs", {"items": [RUN]})
    (line,) = [line for line in caravan("cluster", "runs", "demo").stdout.splitlines() if "site" in line]
    assert "Failed" in line
    assert "65s" in line
    assert "the disk is full" in line


def test_the_log_of_the_newest_run_is_its_end_and_with_all_what_was_before_too(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters/demo/runs", {"items": [RUN]})
    caravan.api.on(LOG, log_part("\tend\x1b\n", prev="offset=10&limit=10"))
    assert caravan("cluster", "logs", "demo").stdout == "        end\\x1b\n"
    parts = [
        log_part("three\n", prev="offset=5&limit=5"),
        log_part("two\n", prev="offset=0&limit=5"),
        log_part("one\n"),
    ]
    caravan.api.on(LOG, *parts)
    assert caravan("cluster", "logs", "demo", "--all").stdout == "one\ntwo\nthree\n"
    assert [dict(request.url.params) for request in caravan.api.requests[-2:]] == [
        {"offset": "5", "limit": "5"},
        {"offset": "0", "limit": "5"},
    ]


def test_a_log_is_followed_until_its_run_has_ended(caravan: Caravan) -> None:
    caravan.api.on(
        LOG, log_part("one\n", next="offset=4&limit=9"), log_part("two\n", next="offset=8&limit=9"), log_part("!\n")
    )
    assert caravan("cluster", "logs", "demo", "--run", RUN["run_id"], "--follow").stdout == "one\ntwo\n!\n"


def test_there_is_no_log_before_the_first_run(caravan: Caravan) -> None:
    caravan.api.on("GET /v1/clusters/demo/runs", {"items": []})
    done = caravan("cluster", "logs", "demo")
    assert done.exit_code == 3
    assert "Nothing was executed on demo yet" in done.stderr
