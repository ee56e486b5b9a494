"""What a team asks for: defaults, and the rules that one field can break alone."""

from types import NoneType
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from caravan_shared.contracts.spec import ClusterSpec, ControlPlane, RepairMode, Role, minor_of


def spec(**fields: Any) -> ClusterSpec:
    return ClusterSpec.model_validate({"version": "1.34.2", **fields})


def test_example_is_a_spec() -> None:
    assert ClusterSpec.model_validate(ClusterSpec.example).node_count() == 3


def test_least_spec_is_one_control_plane_node_and_two_workers() -> None:
    assert [(node_set.name, node_set.role, node_set.count) for node_set in spec().node_sets()] == [
        ("control-plane", Role.CONTROL_PLANE, 1),
        ("workers", Role.WORKER, 2),
    ]


def test_external_topology_brings_an_etcd_set() -> None:
    assert [node_set.name for node_set in spec(topology="external").node_sets()] == ["control-plane", "etcd", "workers"]
    assert spec(topology="external").node_count() == 6


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"version": "1.34"}, "version"),
        ({"version": "v1.34.2"}, "version"),
        ({"wrokers": []}, "wrokers"),
        ({"control_plane": {"count": 0}}, "count"),
        ({"control_plane": {"count": 3, "machinetype": "large"}}, "machinetype"),
        ({"workers": [{"count": -1}]}, "count"),
        ({"workers": [{"name": "Upper"}]}, "name"),
        ({"workers": [{"name": "a-name-too-long-for-a-node"}]}, "name"),
        ({"workers": [{"labels": {"a/b/c": "x"}}]}, "labels"),
        ({"workers": [{"labels": {"zone": "not a value"}}]}, "labels"),
        ({"workers": [{"taints": [{"key": "gpu", "effect": "Sometimes"}]}]}, "effect"),
        ({"network": {"pod_cidr": "10.244.0.0/33"}}, "pod_cidr"),
        ({"network": {"pod_cidr": "10.244.0.1/16"}}, "pod_cidr"),
        ({"network": {"pod_cidr": False}}, "pod_cidr"),
        ({"network": {"service_cidr": 167772160}}, "service_cidr"),
        ({"network": {"virtual_ip": 1}}, "virtual_ip"),
        ({"cloud": ""}, "cloud"),
        ({"oidc": {"client_id": "k"}}, "issuer_url"),
        ({"oidc": {"issuer_url": "http://login.example.org", "client_id": "k"}}, "issuer_url"),
        ({"oidc": {"issuer_url": "https://", "client_id": "k"}}, "issuer_url"),
        ({"oidc": {"issuer_url": "https://me@login.example.org", "client_id": "k"}}, "issuer_url"),
        ({"oidc": {"issuer_url": "https://login.example.org/?a=b", "client_id": "k"}}, "issuer_url"),
        ({"oidc": {"issuer_url": "https://login.example.org/#a", "client_id": "k"}}, "issuer_url"),
        ({"oidc": {"issuer_url": "https://[::1", "client_id": "k"}}, "issuer_url"),
        ({"oidc": {"issuer_url": "https://login.example.org", "client_id": ""}}, "client_id"),
        (
            {"oidc": {"issuer_url": "https://login.example.org", "client_id": "k", "groups_prefix": "-"}},
            "groups_prefix",
        ),
        (
            {"oidc": {"issuer_url": "https://login.example.org", "client_id": "k", "username_prefix": ""}},
            "username_prefix",
        ),
        (
            {"oidc": {"issuer_url": "https://login.example.org", "client_id": "k", "admin_groups": ["a\nb"]}},
            "admin_groups",
        ),
    ],
)
def test_field_that_is_wrong_by_itself_is_refused_by_name(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as refused:
        spec(**fields)
    assert any(where in [str(part) for part in error["loc"]] for error in refused.value.errors())


@pytest.mark.parametrize("off", ["off", False], ids=["as JSON has it", "as YAML 1.1 reads it"])
def test_repair_can_be_switched_off(off: object) -> None:
    spec = ClusterSpec.model_validate({**ClusterSpec.example, "repair": off})
    assert spec.model_dump(mode="json")["repair"] == "off"
    assert ClusterSpec.model_validate(ClusterSpec.example).repair is RepairMode.AUTO
    with pytest.raises(ValidationError):
        ClusterSpec.model_validate({**ClusterSpec.example, "repair": True})


def test_spec_survives_the_wire() -> None:
    whole = spec(
        topology="external",
        workers=[
            {"name": "gpu", "count": 1, "labels": {"a.b/c": "d"}, "taints": [{"key": "k", "effect": "NoSchedule"}]}
        ],
        network={"pod_cidr": "fd00::/64", "service_cidr": "10.0.0.0/16"},
        oidc={"issuer_url": "https://login.example.org", "client_id": "k", "admin_groups": ["ops"]},
    )
    assert ClusterSpec.model_validate_json(whole.model_dump_json()) == whole


def test_spec_is_kept_without_what_nobody_asked_for() -> None:
    for spec in (ClusterSpec.model_validate(ClusterSpec.example), ClusterSpec(version="1.34.2")):
        assert ClusterSpec.model_validate(spec.kept()) == spec
    assert not {"tuning", "oidc", "etcd"} & ClusterSpec(version="1.34.2").kept().keys()


def _parts(kind: Any) -> set[type[BaseModel]]:
    """The models that a type is made of."""
    found = set[type[BaseModel]]()
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        found |= {kind}.union(*(_parts(field.annotation) for field in kind.model_fields.values()))
    return found.union(*(_parts(argument) for argument in get_args(kind)))


def test_what_may_be_none_in_a_spec_is_none_where_nothing_is_said() -> None:
    """So that a spec loses nothing where a store keeps no None."""
    assert ControlPlane in _parts(ClusterSpec)
    for part in _parts(ClusterSpec):
        for name, field in part.model_fields.items():
            if NoneType in get_args(field.annotation):
                assert field.get_default(call_default_factory=True, validated_data={}) is None, (part, name)


def test_minor_of_a_version() -> None:
    assert minor_of("1.34.2") == (1, 34)
    with pytest.raises(ValueError, match="not a Kubernetes version"):
        minor_of("1.34")
