"""A provider that people sign in with: what would keep kube-apiserver down, or let a user pose as a component."""

from datetime import UTC, datetime
from typing import Any

import pytest

from caravan_dns.authority import make_pki
from tests.unit.api.test_api_admission import changing, problems, spec

PKI = make_pki(datetime(2026, 1, 1, tzinfo=UTC))
PROVIDER: dict[str, Any] = {"issuer_url": "https://login.example.org", "client_id": "kubernetes"}


def with_provider(**changes: Any) -> dict[str, Any]:
    return spec(oidc={**PROVIDER, **changes})


def test_provider_is_admitted_with_and_without_its_authority() -> None:
    both = PKI.ca.public + PKI.etcd_ca.public
    for wanted in (with_provider(), with_provider(ca_certificate=both, admin_groups=["ops"], viewer_groups=["all"])):
        assert problems(wanted) == {}


@pytest.mark.parametrize("prefix", ["system:", "system:oidc:", "s", "system", "caravan:grant:", "kubeadm:", "k"])
@pytest.mark.parametrize("field", ["username_prefix", "groups_prefix"])
def test_prefix_must_keep_names_apart_from_those_of_components(field: str, prefix: str) -> None:
    found = problems(with_provider(**{field: prefix}))
    assert list(found) == [f"spec.oidc.{field}"]
    assert "kept for components" in found[f"spec.oidc.{field}"].problem


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"issuer_url": "http://login.example.org"}, "issuer_url", "https://"),
        ({"issuer_url": "https://kubernetes.default.svc.cluster.local"}, "issuer_url", "the cluster itself"),
        ({"ca_certificate": "PEM"}, "ca_certificate", "no PEM certificate"),
        ({"ca_certificate": PKI.ca.public + PKI.ca.key}, "ca_certificate", "private key"),
        ({"viewer_groups": ["a"], "admin_groups": ["a"]}, "admin_groups", "more than once"),
        ({"editor_groups": ["a", "a"]}, "editor_groups", "more than once"),
        ({"client": "x"}, "client", "no such field"),
    ],
)
def test_problem_is_told_of_its_field(changes: dict[str, Any], field: str, says: str) -> None:
    found = problems(with_provider(**changes))
    assert says in found[f"spec.oidc.{field}"].problem


def test_issuer_that_is_malformed_is_told_with_an_example() -> None:
    problem = problems(with_provider(issuer_url="login"))["spec.oidc.issuer_url"]
    assert "such as https://" in problem.remedy


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, PROVIDER), (PROVIDER, None), (PROVIDER, {**PROVIDER, "client_id": "other"})],
)
def test_provider_is_fixed_when_the_cluster_is_made(before: dict[str, Any], after: Any) -> None:
    current = spec(oidc=before or None)
    found = problems(spec(oidc=after), changing(current))
    assert list(found) == ["spec.oidc"]
    assert "cannot change" in found["spec.oidc"].problem
    assert problems(current, changing(current)) == {}
