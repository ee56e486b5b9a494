"""Who we are to an OpenStack: the entry of clouds.yaml that every client of it uses, as a keystoneauth session.

openstacksdk would read the same file, and weighs ten times as much; this reads what a login needs (`auth`, `auth_type`,
`region_name`, `interface`, `verify`, `cacert`), looks in the same places and knows of no vendor profiles.
https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

import os
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1.adapter import Adapter
from keystoneauth1.loading import get_plugin_loader
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session

from caravan_dns.errors import ZoneRefused

TIMEOUT_S = 30.0
"""For one request; Designate answers before it has told any name server."""


def service(cloud: str | None, clouds_file: Path | None, service_type: str) -> Adapter:
    """One service of the cloud, not asked yet. Raises ZoneRefused where clouds.yaml does not name the cloud."""
    name = cloud or os.environ.get("OS_CLOUD", "")
    entry = _entry(name, _file(clouds_file))
    auth_type = entry.get("auth_type", "password")
    plugin: BaseAuthPlugin = get_plugin_loader(auth_type).load_from_options(**entry.get("auth", {}))
    verify = entry.get("cacert") or entry.get("verify", True)
    return Adapter(
        Session(auth=plugin, verify=verify, timeout=TIMEOUT_S),
        service_type=service_type,
        region_name=entry.get("region_name"),
        interface=entry.get("interface", "public"),
        min_version="2",
        max_version="2.latest",
    )


def _file(given: Path | None) -> Path:
    places = [
        given,
        Path(os.environ.get("OS_CLIENT_CONFIG_FILE") or "clouds.yaml"),
        Path.home() / ".config/openstack/clouds.yaml",
        Path("/etc/openstack/clouds.yaml"),
    ]
    found = next((place for place in places if place and place.is_file()), None)
    if found is None:
        raise ZoneRefused("designate", "there is no clouds.yaml in any of its usual places")
    return found


def _entry(name: str, file: Path) -> dict[str, Any]:
    clouds = (yaml.safe_load(file.read_text()) or {}).get("clouds", {})
    if name not in clouds:
        known = ", ".join(sorted(clouds)) or "none"
        raise ZoneRefused("designate", f"{file} has no cloud {name!r}; it has: {known}")
    return dict(clouds[name])
