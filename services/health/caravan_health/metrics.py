"""What Prometheus learns of this service, beside what the plumbing tells for every service."""

from prometheus_client import Counter, Gauge, Histogram

LOOKS = Counter("caravan_health_looks_total", "Looks at clusters, by what they came to.", ["kind"])
LOOK_SECONDS = Histogram(
    "caravan_health_look_seconds",
    "From the start of a look to its answer.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0),
)
SECOND_LOOKS = Counter(
    "caravan_health_second_looks_total",
    "Clusters silent here that another replica was asked about, by its word: answers, silent, no_word.",
    ["result"],
)
START_LAG_SECONDS = Histogram(
    "caravan_health_start_lag_seconds",
    "From the time a look was due to its start.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
CLUSTERS = Gauge("caravan_health_clusters", "Clusters this replica watches, by verdict.", ["verdict"])
MONITOR_FIT = Gauge("caravan_health_monitor_fit", "1 while this monitor is fit to judge; alert on 0.")
