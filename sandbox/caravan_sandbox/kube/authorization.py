"""RBAC: may this user do that? Pure; the rules are the cluster's own objects, read fresh for every change of them.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from caravan_sandbox.kube.resources import RBAC

SUPERUSERS = "system:masters"
_LADDER = ("view", "edit", "admin")


@dataclass(frozen=True)
class User:
    """Who asks, as authentication found out."""

    name: str
    groups: tuple[str, ...]


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True)
class Asked:
    """What is asked for: a path, or a verb on a resource."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def is_resource(self) -> bool:
        """Whether rules on resources apply, not those on paths."""
        return bool(self.resource)


@dataclass(frozen=True)
class BoundRule:
    """One rule of a role, and the namespace its binding confines it to ("" for everywhere)."""

    namespace: str
    rule: Mapping[str, Any]


Subject = tuple[str, str]
"""(kind, name): ("Group", "system:masters")."""


class Rules:
    """Who is bound to which rules."""

    def __init__(self, by_subject: Mapping[Subject, list[BoundRule]]) -> None:
        self._by_subject = by_subject

    def allow(self, user: User, asked: Asked) -> bool:
        """Whether any rule bound to the user or a group of theirs allows it."""
        return SUPERUSERS in user.groups or any(_covers(bound, asked) for bound in self.of(user))

    def of(self, user: User) -> Iterable[BoundRule]:
        """Every rule that is bound to the user."""
        yield from self._by_subject.get(("User", user.name), ())
        for group in user.groups:
            yield from self._by_subject.get(("Group", group), ())


def read_rules(
    cluster_roles: Iterable[Mapping[str, Any]],
    cluster_bindings: Iterable[Mapping[str, Any]],
    roles: Iterable[Mapping[str, Any]] = (),
    bindings: Iterable[Mapping[str, Any]] = (),
) -> Rules:
    """Index the cluster's RBAC objects by subject; a binding to a role that does not exist grants nothing."""
    by_name = {("ClusterRole", "", name): rules for name, rules in _aggregated(list(cluster_roles)).items()}
    by_name |= {("Role", role["metadata"]["namespace"], _name(role)): role.get("rules") or [] for role in roles}
    by_subject: dict[Subject, list[BoundRule]] = {}
    for binding in (*cluster_bindings, *bindings):
        namespace = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        role_namespace = namespace if reference["kind"] == "Role" else ""
        rules = by_name.get((reference["kind"], role_namespace, reference["name"]), [])
        for subject in binding.get("subjects") or []:
            bound = by_subject.setdefault(_subject(subject), [])
            bound.extend(BoundRule(namespace, rule) for rule in rules)
    return Rules(by_subject)


def refusal(user: User, asked: Asked) -> str:
    """The sentence kube-apiserver refuses with."""
    if not asked.is_resource:
        return f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f' in the namespace "{asked.namespace}"' if asked.namespace else " at the cluster scope"
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    which = f'{qualified} "{asked.name}"' if asked.name else qualified
    what = f'{which} is forbidden: User "{user.name}" cannot {asked.verb} resource "{resource}"'
    return f'{what} in API group "{asked.group}"{where}'


def _aggregated(cluster_roles: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rules by role name; roles labelled aggregate-to-<role> add theirs to that role and to those above it."""
    rules = {_name(role): list(role.get("rules") or []) for role in cluster_roles}
    for role in cluster_roles:
        labels = role["metadata"].get("labels") or {}
        for index, target in enumerate(_LADDER):
            if labels.get(f"rbac.authorization.k8s.io/aggregate-to-{target}") == "true":
                for receiver in _LADDER[index:]:
                    rules.setdefault(receiver, []).extend(role.get("rules") or [])
    return rules


def _covers(bound: BoundRule, asked: Asked) -> bool:
    rule = bound.rule
    if not _matches(rule.get("verbs"), asked.verb):
        return False
    if not asked.is_resource:
        return not bound.namespace and any(
            _path_matches(path, asked.path) for path in rule.get("nonResourceURLs") or ()
        )
    if bound.namespace and bound.namespace != asked.namespace:
        return False
    wanted = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    names = rule.get("resourceNames") or ()
    return (
        _matches(rule.get("apiGroups"), asked.group)
        and (_matches(rule.get("resources"), wanted) or f"*/{asked.subresource}" in (rule.get("resources") or ()))
        and (not names or asked.name in names)
    )


def _matches(allowed: Iterable[str] | None, value: str) -> bool:
    return any(entry in ("*", value) for entry in allowed or ())


def _path_matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _subject(subject: Mapping[str, str]) -> Subject:
    if subject["kind"] == "ServiceAccount":
        return "User", f"system:serviceaccount:{subject.get('namespace', '')}:{subject['name']}"
    return subject["kind"], subject["name"]


def _name(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["name"])


_HEALTH_PATHS = ["/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version", "/version/"]
_DISCOVERY_PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH_PATHS]
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_WORKLOADS = [
    {"apiGroups": [""], "resources": ["configmaps", "endpoints", "events", "pods", "serviceaccounts", "services"]},
    {"apiGroups": ["apps", "policy", "networking.k8s.io"], "resources": ["*"]},
]
_CONFINED_READ = {"apiGroups": [""], "resources": ["namespaces"], "verbs": _READ}


def _workload_rules(verbs: list[str], *more: dict[str, Any]) -> list[dict[str, Any]]:
    return [*({**rule, "verbs": verbs} for rule in _WORKLOADS), _CONFINED_READ, *more]


_SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}
_BINDINGS = {"apiGroups": [RBAC], "resources": ["roles", "rolebindings"], "verbs": ["*"]}
_EVERYTHING = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
_REVIEWS = [
    {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectrulesreviews"], "verbs": ["create"]},
    {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
]

DEFAULT_CLUSTER_ROLES: Mapping[str, list[dict[str, Any]]] = {
    "cluster-admin": _EVERYTHING,
    "admin": _workload_rules([*_READ, *_WRITE], _SECRETS, _BINDINGS),
    "edit": _workload_rules([*_READ, *_WRITE], _SECRETS),
    "view": _workload_rules(_READ),
    "system:public-info-viewer": [{"nonResourceURLs": _HEALTH_PATHS, "verbs": ["get"]}],
    "system:discovery": [{"nonResourceURLs": _DISCOVERY_PATHS, "verbs": ["get"]}],
    "system:basic-user": _REVIEWS,
    "kubeadm:get-nodes": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}],
}
"""A shortened copy of kube's default roles: the resources that the sandbox serves."""

DEFAULT_CLUSTER_ROLE_BINDINGS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cluster-admin": ("cluster-admin", (SUPERUSERS,)),
    "system:public-info-viewer": ("system:public-info-viewer", ("system:authenticated", "system:unauthenticated")),
    "system:discovery": ("system:discovery", ("system:authenticated",)),
    "system:basic-user": ("system:basic-user", ("system:authenticated",)),
    "kubeadm:get-nodes": ("kubeadm:get-nodes", ("system:bootstrappers:kubeadm:default-node-token",)),
}
"""Name to (ClusterRole, groups)."""
