"""Draw Grafana's dashboards: `make dashboards` writes them, a test fails while a file is not what is said here.

Each panel is a title, a unit and queries; where it stands follows from its place in the list. What the whole
installation has, every replica of the api counts alike, so those panels take the highest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT, _IN_A_ROW = 8, 8, 3  # Grafana's grid has 24 columns


@dataclass(frozen=True)
class Panel:
    """One chart. `queries`: PromQL by what its lines are called."""

    title: str
    unit: str
    queries: dict[str, str]


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    name: str
    title: str
    panels: Sequence[Panel]


def rate(metric: str, *by: str, where: str = "") -> str:
    """Events a second."""
    return f"sum by ({', '.join(by)}) (rate({metric}{where}[$__rate_interval]))"


def late(metric: str, *by: str, share: float = 0.99) -> str:
    """Seconds that so large a share of the events took at most."""
    return f"histogram_quantile({share}, sum by ({', '.join(('le', *by))}) (rate({metric}_bucket[$__rate_interval])))"


DASHBOARDS = (
    Dashboard(
        "caravan-fleet",
        "Caravan: the fleet",
        (
            Panel("Clusters by phase", "short", {"{{phase}}": "max by (phase) (caravan_clusters)"}),
            Panel("Health of Ready clusters", "short", {"{{verdict}}": "max by (verdict) (caravan_clusters_ready)"}),
            Panel("Nodes wanted", "short", {"nodes": "max(caravan_nodes_wanted)"}),
            Panel("Pools' clusters", "short", {"{{bucket}}": "max by (bucket) (caravan_pool_clusters)"}),
            Panel("Leases", "short", {"{{state}}": "max by (state) (caravan_leases)"}),
            Panel("Dead letters", "short", {"letters": "max(caravan_dead_letters)"}),
            Panel("The monitor is fit to judge", "short", {"{{instance}}": "caravan_health_monitor_fit"}),
            Panel("Looks at clusters", "ops", {"{{kind}}": rate("caravan_health_looks_total", "kind")}),
            Panel("Looks begin late (p99)", "s", {"late": late("caravan_health_start_lag_seconds")}),
        ),
    ),
    Dashboard(
        "caravan-services",
        "Caravan: requests, events, turns",
        (
            Panel("Requests", "reqps", {"{{status}}": rate("caravan_http_requests_total", "status")}),
            Panel(
                "Requests that failed",
                "reqps",
                {
                    "{{method}} {{route}}": rate(
                        "caravan_http_requests_total", "method", "route", where='{status=~"5.."}'
                    )
                },
            ),
            Panel("Requests' seconds (p99)", "s", {"{{route}}": late("caravan_http_request_seconds", "route")}),
            Panel("Events handled", "ops", {"{{subject}}": rate("caravan_deliveries_total", "subject")}),
            Panel(
                "Events put off, and dead letters",
                "ops",
                {
                    "{{subject}} {{result}}": rate(
                        "caravan_deliveries_total", "subject", "result", where='{result!="handled"}'
                    )
                },
            ),
            Panel("Events' seconds (p99)", "s", {"{{subject}}": late("caravan_delivery_seconds", "subject")}),
            Panel("Turns", "ops", {"{{kind}} {{result}}": rate("caravan_turns_total", "kind", "result")}),
            Panel("Turns' seconds (p99)", "s", {"{{kind}}": late("caravan_turn_seconds", "kind")}),
            Panel("Turns begin late (p99)", "s", {"{{job}}": late("caravan_turn_late_seconds", "job")}),
            Panel("Answers", "ops", {"{{subject}} {{result}}": rate("caravan_answers_total", "subject", "result")}),
            Panel("Answers' seconds (p99)", "s", {"{{subject}}": late("caravan_answer_seconds", "subject")}),
            Panel("Events published", "ops", {"{{subject}}": rate("caravan_events_published_total", "subject")}),
        ),
    ),
    Dashboard(
        "caravan-resources",
        "Caravan: queues, stores, clouds, runs",
        (
            Panel(
                "Events that wait", "short", {"{{job}} {{subject}}": "sum by (job, subject) (caravan_events_waiting)"}
            ),
            Panel("The outbox's oldest", "s", {"{{instance}}": "caravan_outbox_oldest_seconds"}),
            Panel("Keys that wait", "short", {"{{instance}}": "caravan_keys_queued"}),
            Panel(
                "Event loop is late (p99)", "s", {"{{instance}}": late("caravan_event_loop_lag_seconds", "instance")}
            ),
            Panel(
                "Store's connections in use",
                "percentunit",
                {"{{instance}}": "caravan_store_connections / (caravan_store_connections_most > 0)"},
            ),
            Panel("Transactions' seconds (p99)", "s", {"{{job}}": late("caravan_store_transaction_seconds", "job")}),
            Panel("Workers in use", "percentunit", {"{{instance}}": "caravan_turns_running / caravan_turns_most"}),
            Panel(
                "Calls to clouds", "ops", {"{{cloud}} {{result}}": rate("caravan_cloud_calls_total", "cloud", "result")}
            ),
            Panel("Clouds' answers (p99)", "s", {"{{cloud}}": late("caravan_cloud_call_seconds", "cloud")}),
            Panel("Held back by our limits (p99)", "s", {"{{cloud}}": late("caravan_cloud_wait_seconds", "cloud")}),
            Panel("Runs under way", "short", {"{{play}}": "sum by (play) (caravan_runs_in_flight)"}),
            Panel("Runs' seconds (median)", "s", {"{{play}}": late("caravan_run_seconds", "play", share=0.5)}),
        ),
    ),
)


def drawn(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana reads it from a file."""
    return {
        "uid": dashboard.name,
        "title": dashboard.title,
        "tags": ["caravan"],
        "schemaVersion": 41,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [{"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}]},
        "panels": [_drawn(panel, number) for number, panel in enumerate(dashboard.panels)],
    }


def _drawn(panel: Panel, number: int) -> dict[str, Any]:
    row, column = divmod(number, _IN_A_ROW)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def text_of(dashboard: Dashboard) -> str:
    """The file's text."""
    return json.dumps(drawn(dashboard), indent=1) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (FOLDER / f"{each.name}.json").write_text(text_of(each))
