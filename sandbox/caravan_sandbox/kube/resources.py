"""Every resource that the simulated kube-apiserver serves, in one table; discovery and routing are read off it."""

from dataclasses import dataclass
from typing import Any

ALL_VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")
READ_VERBS = ("get", "list", "watch")


@dataclass(frozen=True)
class Resource:
    """One resource, as discovery tells it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    stored: bool = True
    """False for what is computed on the spot, such as access reviews."""

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`nodes` or `deployments.apps`: unique among all resources."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def discovery(self) -> dict[str, Any]:
        """The `APIResource` entry."""
        entry: dict[str, Any] = {
            "name": self.plural,
            "singularName": self.kind.lower(),
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": list(self.verbs),
        }
        return {**entry, "shortNames": list(self.short_names)} if self.short_names else entry


RBAC, AUTHN, AUTHZ = "rbac.authorization.k8s.io", "authentication.k8s.io", "authorization.k8s.io"

NODES = Resource("", "v1", "nodes", "Node", namespaced=False, short_names=("no",))
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False, short_names=("ns",))
PODS = Resource("", "v1", "pods", "Pod", short_names=("po",), verbs=READ_VERBS)
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICES = Resource("", "v1", "services", "Service", short_names=("svc",))
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", short_names=("cm",))
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", short_names=("sa",))
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
CLUSTER_ROLES = Resource(RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
ROLES = Resource(RBAC, "v1", "roles", "Role")
ROLE_BINDINGS = Resource(RBAC, "v1", "rolebindings", "RoleBinding")
ACCESS_REVIEWS = Resource(
    AUTHZ, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=("create",), stored=False
)
RULES_REVIEWS = Resource(
    AUTHZ, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=("create",), stored=False
)
SUBJECT_REVIEWS = Resource(
    AUTHN, "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=("create",), stored=False
)

RESOURCES = (
    NODES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICES,
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    LEASES,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    ROLES,
    ROLE_BINDINGS,
    ACCESS_REVIEWS,
    RULES_REVIEWS,
    SUBJECT_REVIEWS,
    # Kept as objects only, so that manifests can be applied; no controller acts on them.
    Resource("", "v1", "events", "Event", short_names=("ev",)),
    Resource("", "v1", "endpoints", "Endpoints", short_names=("ep",)),
    Resource("apps", "v1", "deployments", "Deployment", short_names=("deploy",)),
    Resource("apps", "v1", "daemonsets", "DaemonSet", short_names=("ds",)),
    Resource("apps", "v1", "statefulsets", "StatefulSet", short_names=("sts",)),
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", short_names=("netpol",)),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short_names=("pdb",)),
    Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False, short_names=("sc",)),
)

BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES if resource.stored}
BY_QUALIFIED = {resource.qualified: resource for resource in RESOURCES}
