"""A provider that people sign in with: one that kube-apiserver starts with, and whose users can pose as nobody else.

A provider says what its users and groups are called. Only a prefix of their own keeps them from being called like a
component of Kubernetes or a grant of ours, which would give them its rights.
"""

from collections import Counter
from collections.abc import Iterator

from cryptography import x509

from caravan_shared.contracts.cluster_oidc import Oidc
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec

KEPT = ("system:", "kubeadm:", "caravan:")
"""What names of Kubernetes' own, of kubeadm's administrators and of our services and grants begin with."""


def oidc_problems(spec: ClusterSpec) -> Iterator[FieldProblem]:
    """What is wrong with a spec's provider; nothing where it has none."""
    if spec.oidc is None:
        return
    own = f"https://kubernetes.default.svc.{spec.network.dns_domain}"
    if spec.oidc.issuer_url.rstrip("/") == own:
        yield _problem("issuer_url", "it is the cluster itself, which issues tokens for pods", "name a provider")
    yield from _poses(spec.oidc)
    yield from _unreadable(spec.oidc)
    yield from _bound_twice(spec.oidc)


def _poses(oidc: Oidc) -> Iterator[FieldProblem]:
    for field, prefix in (("username_prefix", oidc.username_prefix), ("groups_prefix", oidc.groups_prefix)):
        for kept in KEPT:
            if prefix.startswith(kept) or kept.startswith(prefix):
                problem = f"with {prefix!r} before it a name could begin with {kept!r}, which is kept for components"
                yield _problem(field, problem, "use another, such as oidc:")


def _unreadable(oidc: Oidc) -> Iterator[FieldProblem]:
    text = oidc.ca_certificate
    if text is None:
        return
    if "PRIVATE KEY" in text:
        yield _problem("ca_certificate", "there is a private key in it", "give certificates only, and renew that key")
        return
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        yield _problem("ca_certificate", "it is no PEM certificate", "give it from BEGIN to END CERTIFICATE")


def _bound_twice(oidc: Oidc) -> Iterator[FieldProblem]:
    by_field = {name: getattr(oidc, name) for name in ("viewer_groups", "editor_groups", "admin_groups")}
    named = Counter(group for groups in by_field.values() for group in groups)
    for field, groups in by_field.items():
        if twice := [group for group in groups if named[group] > 1]:
            yield _problem(field, f"{twice[0]!r} is named more than once", "name each group once, for its widest role")


def _problem(field: str, problem: str, remedy: str) -> FieldProblem:
    return FieldProblem(field=f"spec.oidc.{field}", problem=problem, remedy=remedy)
