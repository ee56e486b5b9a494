"""A virtual IP is admitted where a control plane can carry it and nobody has it, and is fixed from then on."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from caravan_api.admission import Current, Limits, NotAdmitted, Surroundings, admit
from caravan_api.plan import plan
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec

FIELD = "spec.network.virtual_ip"
SANDBOX = CloudOffered.model_validate(CloudOffered.example)
REAL = SANDBOX.model_copy(
    update={
        "cloud": "racks",
        "simulated": False,
        "virtual_ips": (ip_network("10.89.0.0/16"), ip_network("fd00:89::/64")),
    }
)
TAKEN = ip_address("10.89.7.9")
AROUND = Surroundings(
    versions=("1.34.2",),
    clouds={"sandbox": SANDBOX, "racks": REAL, "other": REAL},
    limits=Limits(2000),
    virtual_ips_taken=frozenset({("racks", TAKEN)}),
)


def spec(virtual_ip: object, cloud: str = "racks", **network: str) -> dict[str, Any]:
    return {**ClusterSpec.example, "cloud": cloud, "network": {"virtual_ip": virtual_ip, **network}}


def changing(virtual_ip: object) -> Surroundings:
    current = Current(ClusterSpec.model_validate(spec(virtual_ip)), None)
    return Surroundings(AROUND.versions, AROUND.clouds, AROUND.limits, current=current)


def problem(wanted: dict[str, Any], around: Surroundings = AROUND) -> FieldProblem:
    """The one problem of a request."""
    with pytest.raises(NotAdmitted) as refused:
        admit({"name": "demo", "spec": wanted}, around)
    (found,) = refused.value.problems
    return found


@pytest.mark.parametrize("address", ["10.89.7.250", "fd00:89::fa"])
def test_free_address_of_the_clouds_networks_is_admitted(address: str) -> None:
    assert str(admit({"name": "demo", "spec": spec(address)}, AROUND).network.virtual_ip) == address


def test_nothing_is_carried_by_default() -> None:
    assert admit({"name": "demo", "spec": ClusterSpec.example}, AROUND).network.virtual_ip is None


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("0.0.0.0", "no machine can be reached"),
        ("127.0.0.1", "no machine can be reached"),
        ("224.0.0.18", "no machine can be reached"),
        ("169.254.0.9", "no machine can be reached"),
        ("::", "no machine can be reached"),
        ("ff02::1", "no machine can be reached"),
        ("10.90.0.1", "no machines in the network"),
        ("fd00:90::1", "no machines in the network"),
        (str(TAKEN), "virtual IP of another cluster"),
    ],
)
def test_address_that_cannot_be_carried_is_refused_with_what_would_be_right(address: str, says: str) -> None:
    found = [each for each in refusals(spec(address)) if says in each.problem]
    assert [each.field for each in found] == [FIELD]
    assert found[0].remedy


def refusals(wanted: dict[str, Any]) -> tuple[FieldProblem, ...]:
    with pytest.raises(NotAdmitted) as refused:
        admit({"name": "demo", "spec": wanted}, AROUND)
    return refused.value.problems


@pytest.mark.parametrize("range_", ["pod", "service"])
def test_address_of_the_clusters_own_ranges_is_refused(range_: str) -> None:
    wanted = spec("10.89.7.250", **{f"{range_}_cidr": "10.89.0.0/16"})
    assert f"lies in the {range_} range 10.89.0.0/16" in problem(wanted).problem


@pytest.mark.parametrize("malformed", ["10.89.7.250/24", "demo.example.org", "10.89.7", ["10.89.7.250"], True])
def test_what_is_no_address_is_refused_by_its_field(malformed: object) -> None:
    found = problem(spec(malformed))
    assert found.field == FIELD
    if isinstance(malformed, str):
        assert "give one address such as" in found.remedy


def test_cloud_whose_machines_can_carry_none_says_so_and_names_those_that_can() -> None:
    found = problem(spec("10.89.7.250", cloud="sandbox"))
    assert (found.field, "simulated" in found.problem) == (FIELD, True)
    assert found.remedy == "leave it out, or use the cloud other or racks"


def test_the_same_address_on_another_cloud_is_another_address() -> None:
    assert admit({"name": "demo", "spec": spec(str(TAKEN), cloud="other")}, AROUND).network.virtual_ip == TAKEN


@pytest.mark.parametrize(
    ("old", "new", "remedy"),
    [
        ("10.89.7.250", "10.89.7.251", "leave it at 10.89.7.250"),
        ("10.89.7.250", None, "leave it at 10.89.7.250"),
        (None, "10.89.7.250", "leave it out"),
    ],
)
def test_it_cannot_change(old: str | None, new: str | None, remedy: str) -> None:
    found = problem(spec(new), changing(old))
    assert (found.field, "cannot change" in found.problem) == (FIELD, True)
    assert found.remedy.startswith(remedy)


def test_a_cluster_that_has_one_changes_otherwise_even_where_its_cloud_offers_no_more() -> None:
    around = changing("10.89.7.250")
    gone = Surroundings(around.versions, {"racks": SANDBOX}, around.limits, current=around.current)
    wanted = {**spec("10.89.7.250"), "workers": [{"name": "workers", "count": 5}]}
    assert admit({"spec": wanted}, gone).node_count() == 6


def test_plan_shows_it_and_advises_against_one_control_plane() -> None:
    alone = plan("create", None, ClusterSpec.model_validate(spec("10.89.7.250")), {"racks": REAL})
    assert str(alone.virtual_ip) == "10.89.7.250"
    assert any("10.89.7.250 can go nowhere" in sentence for sentence in alone.advice)
    three = ClusterSpec.model_validate({**spec("10.89.7.250"), "control_plane": {"count": 3}})
    assert plan("create", None, three, {"racks": REAL}).advice == []
