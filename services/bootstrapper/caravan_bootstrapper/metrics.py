"""What the bootstrapper measures: its runs of playbooks."""

from prometheus_client import Counter, Gauge, Histogram

RUNS = Counter("caravan_runs_total", "Runs of playbooks that ended, by how.", ["play", "result"])
RUN_SECONDS = Histogram(
    "caravan_run_seconds",
    "Seconds of a run, without the wait for its turn.",
    ["play"],
    buckets=(5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600),
)
RUNS_IN_FLIGHT = Gauge("caravan_runs_in_flight", "Runs under way.", ["play"])
RUNS_MOST = Gauge("caravan_runs_most", "Runs that there may be side by side; others wait.")
