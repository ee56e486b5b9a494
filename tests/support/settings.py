"""The settings that each part has, for tests of what it is told."""

from caravan_api.settings import Settings as Api
from caravan_bootstrapper.settings import Settings as Bootstrapper
from caravan_dns.settings import Settings as Dns
from caravan_health.settings import Settings as Health
from caravan_provisioner.settings import Settings as Provisioner
from caravan_sandbox.settings import Settings as Sandbox
from caravan_shared.plumbing.settings import CaravanSettings

SETTINGS: dict[str, type[CaravanSettings]] = {
    "api": Api,
    "provisioner": Provisioner,
    "bootstrapper": Bootstrapper,
    "health": Health,
    "dns": Dns,
    "sandbox": Sandbox,
}
