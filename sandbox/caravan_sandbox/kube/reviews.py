"""Questions about oneself: who am I, may I, what may I. Pure."""

from typing import Any

from caravan_sandbox.kube.authorization import Asked, Rules, User
from caravan_sandbox.kube.resources import ACCESS_REVIEWS, RULES_REVIEWS, SUBJECT_REVIEWS, Resource
from caravan_sandbox.kube.statuses import NotFound


def review(resource: Resource, user: User, rules: Rules, body: dict[str, Any]) -> dict[str, Any]:
    """The answered review. Raises NotFound for a resource that is no review."""
    answer = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {"creationTimestamp": None}}
    spec = body.get("spec") or {}
    if resource is SUBJECT_REVIEWS:
        return {**answer, "status": {"userInfo": {"username": user.name, "groups": list(user.groups)}}}
    if resource is ACCESS_REVIEWS:
        return {**answer, "spec": spec, "status": {"allowed": rules.allow(user, _asked(spec))}}
    if resource is RULES_REVIEWS:
        return {**answer, "spec": spec, "status": _all_rules(user, rules, spec.get("namespace", ""))}
    raise NotFound("the server could not find the requested resource")


def _asked(spec: dict[str, Any]) -> Asked:
    path = spec.get("nonResourceAttributes")
    if path:
        return Asked(verb=path.get("verb", ""), path=path.get("path", ""))
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    attributes = spec.get("resourceAttributes") or {}
    return Asked(**{field: attributes.get(field, "") for field in fields})


def _all_rules(user: User, rules: Rules, namespace: str) -> dict[str, Any]:
    bound = [one.rule for one in rules.of(user) if one.namespace in ("", namespace)]
    resource_rules = [dict(rule) for rule in bound if rule.get("resources")]
    path_rules = [dict(rule) for rule in bound if rule.get("nonResourceURLs")]
    return {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": False}
