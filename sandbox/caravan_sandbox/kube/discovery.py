"""What clients ask first: which groups, versions and resources are there, and which version runs. Pure."""

from typing import Any

from caravan_sandbox.kube.resources import RESOURCES

GROUP_VERSIONS = sorted({(resource.group, resource.version) for resource in RESOURCES if resource.group})


def core_versions(address: str) -> dict[str, Any]:
    """`/api`."""
    client_cidr = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [client_cidr]}


def group_list() -> dict[str, Any]:
    """`/apis`."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*names) for names in GROUP_VERSIONS]}


def group(name: str) -> dict[str, Any] | None:
    """`/apis/<group>`; None where there is no such group."""
    for known, version in GROUP_VERSIONS:
        if known == name:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(known, version)}
    return None


def resource_list(group_name: str, version: str) -> dict[str, Any] | None:
    """`/api/v1` and `/apis/<group>/<version>`; None where there is no such version."""
    resources = [r.discovery() for r in RESOURCES if (r.group, r.version) == (group_name, version)]
    if not resources:
        return None
    group_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def version_info(version: str) -> dict[str, Any]:
    """`/version`, labelled so that nobody takes it for a real one."""
    major, minor, _ = version.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{version}+caravan-sandbox",
        "gitCommit": "simulated",
        "gitTreeState": "simulated",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none (simulated)",
        "compiler": "none (simulated)",
        "platform": "linux/amd64",
    }


def _group(name: str, version: str) -> dict[str, Any]:
    group_version = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [group_version], "preferredVersion": group_version}
