"""Which metrics the code has: import every module of a service, and look for what it measures."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.metrics import MetricWrapperBase

PACKAGES = (
    "caravan_shared",
    "caravan_api",
    "caravan_provisioner",
    "caravan_bootstrapper",
    "caravan_health",
    "caravan_dns",
)
_OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")


@dataclass(frozen=True, order=True)
class Metric:
    """One metric, as a query names it; a histogram by what its series have in common."""

    name: str
    kind: str
    labels: tuple[str, ...]
    says: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series."""
        return (self.name,) if self.kind != "histogram" else tuple(self.name + end for end in _OF_A_HISTOGRAM)


def described() -> dict[str, list[Metric]]:
    """The metrics of each package that has some, by name."""
    known: set[MetricWrapperBase] = set()
    found: dict[str, list[Metric]] = {}
    for package in PACKAGES:
        own = set(_metrics_in(package)) - known
        known |= own
        if own:
            found[package] = sorted(_described(each) for each in own)
    return found


def _metrics_in(package: str) -> Iterator[MetricWrapperBase]:
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not any(part in found.name for part in ("__main__", ".migrations.versions", "alembic_env")):
            values = vars(importlib.import_module(found.name)).values()
            yield from (value for value in values if isinstance(value, MetricWrapperBase))


def _described(metric: MetricWrapperBase) -> Metric:
    assert metric._type, f"{metric._name} counts, gauges or observes nothing"
    ending = "_total" if metric._type == "counter" else ""
    return Metric(f"{metric._name}{ending}", metric._type, tuple(metric._labelnames), metric._documentation)
