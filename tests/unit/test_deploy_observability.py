"""Alerts and dashboards ask for what the services really measure, and each alert has its page."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from metrics_of_the_code import described
from tests.support.go_tools import PROMTOOL

CHECKOUT = Path(__file__).parents[2]
FOLDER = CHECKOUT / "deploy/observability"
MEASURED = {series: metric for metrics in described().values() for metric in metrics for series in metric.series}
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
TARGETS = {"job", "instance", "le"}
"""Labels that Prometheus adds, or that every histogram has."""


def _queries() -> list[str]:
    panels = [panel for file in DASHBOARDS for panel in json.loads(file.read_text())["panels"]]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in RULES]


def _draw() -> Any:
    spec = importlib.util.spec_from_file_location("draw", FOLDER / "draw.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["draw"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("query", _queries())
def test_query_asks_for_what_is_measured_by_labels_that_it_has(query: str) -> None:
    asked = re.findall(r"\b(caravan_\w+)(?:\{([^}]*)\})?", query)
    assert asked or query.startswith("up{")
    known = set(TARGETS)
    for name, conditions in asked:
        assert name in MEASURED, f"no service measures {name}"
        known |= set(MEASURED[name].labels)
        assert {each for each, _ in re.findall(r"(\w+)(=~|!~|!=|=)\"", conditions)} <= known
    for labels in re.findall(r"\bby \(([^)]*)\)", query):
        assert set(re.split(r",\s*", labels)) <= known


def test_dashboards_are_as_their_generator_draws_them() -> None:
    draw = _draw()
    assert [file.stem for file in DASHBOARDS] == sorted(each.name for each in draw.DASHBOARDS)
    for each in draw.DASHBOARDS:
        assert (FOLDER / "dashboards" / f"{each.name}.json").read_text() == draw.text_of(each), "run `make dashboards`"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_has_a_page_that_the_index_names(rule: dict[str, Any]) -> None:
    page = CHECKOUT / rule["annotations"]["runbook"]
    assert page.read_text().startswith(f"# {rule['alert']}\n")
    assert f"[{rule['alert']}]({page.name})" in (page.parent / "README.md").read_text()
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_every_page_is_an_alerts() -> None:
    pages = {page.name for page in (CHECKOUT / "docs/runbooks").glob("*.md")} - {"README.md"}
    assert pages == {Path(rule["annotations"]["runbook"]).name for rule in RULES}


def test_every_alert_is_tested_to_fire() -> None:
    cases = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
    fired = {each["alertname"] for case in cases for each in case["alert_rule_test"] if each.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in RULES}


def test_prometheus_reads_every_service() -> None:
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    services = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"]
    ours = {name for name, said in services.items() if "caravan-" in said["image"]} - {"sandbox"}
    assert {job["job_name"].removeprefix("caravan-") for job in jobs} == ours


@pytest.fixture
def tool() -> Path:
    found = PROMTOOL.kept()
    if found is None:
        pytest.skip("NO ALERT IS RUN HERE: there is no promtool on PATH or in the cache; `make go-tools` builds it")
    return found


@pytest.mark.parametrize("words", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")])
def test_alerts_fire_as_they_should(tool: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run([tool, *words], cwd=FOLDER, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
