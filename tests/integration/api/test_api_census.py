"""What there is, is counted for Prometheus by kind and in total."""

from prometheus_client import REGISTRY

from caravan_api.census import Census
from caravan_api.decide.pools import Bucket
from caravan_shared.contracts.states import ClusterPhase, LeaseState
from tests.integration.api.conftest import Stack


def _value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_clusters_count_by_phase_and_every_kind_has_a_number(stack: Stack) -> None:
    census = Census(stack.service.db, stack.service.bus, stack.service.clock)
    await census.count()
    ready, nodes = _value("caravan_clusters", phase="Ready"), _value("caravan_nodes_wanted")
    assert ready is not None
    assert nodes is not None
    await stack.make_ready(await stack.create())
    await census.count()
    assert _value("caravan_clusters", phase="Ready") == ready + 1
    assert _value("caravan_nodes_wanted") == nodes + 3
    assert all(_value("caravan_clusters", phase=phase) is not None for phase in ClusterPhase)
    assert all(_value("caravan_pool_clusters", bucket=bucket) is not None for bucket in Bucket)
    assert all(_value("caravan_leases", state=state) is not None for state in LeaseState)
    assert _value("caravan_dead_letters") is not None
