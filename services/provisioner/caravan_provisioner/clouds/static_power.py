"""How the power of an inventory's machine is had: by the BMC that its entry describes, if it does that well enough."""

from pathlib import Path

from caravan_provisioner.clouds.bmc_redfish import BmcLogin
from caravan_shared.contracts.bmc import bmc_context
from caravan_shared.contracts.machines import MachineEntry
from caravan_shared.plumbing.sealing import KeyRing


def power_problem(entry: MachineEntry, *, has_password: bool) -> str | None:
    """Why the machine's power cannot be had, as its entry is. Pure."""
    if entry.bmc is None:
        return f"{entry.name} has no BMC in the inventory"
    try:
        entry.bmc.place()
    except ValueError as error:
        return f"the address of {entry.name}'s BMC cannot be read: {error}"
    lacks = [what for what, is_there in (("user", entry.bmc.user), ("password", has_password)) if not is_there]
    return f"the BMC of {entry.name} has no {' and no '.join(lacks)} in the inventory" if lacks else None


def login(entry: MachineEntry, sealed_password: str, keys: KeyRing, authorities: Path | None) -> BmcLogin:
    """Who asks which BMC, for an entry without such a problem. Raises `CannotOpen`."""
    bmc = entry.bmc
    assert bmc
    assert bmc.user
    place = bmc.place()
    return BmcLogin(
        machine=entry.name,
        url=place.url,
        system=place.system,
        user=bmc.user,
        password=keys.open(sealed_password, bmc_context(entry.name)),
        fingerprint=bmc.fingerprint,
        verify=False if bmc.disable_certificate_verification else authorities or True,
    )
