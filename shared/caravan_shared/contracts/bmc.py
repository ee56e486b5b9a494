"""What an inventory says of a machine's management controller (BMC), by which its power is had: Redfish over HTTPS.

Addresses are written as operators know them from Metal3 and Ironic. Shape alone is looked at here.
"""

import re
from ipaddress import IPv6Address
from typing import Annotated, NamedTuple, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from caravan_shared.contracts.spec import SpecModel

_SCHEMES = ("https", "redfish", "redfish+https")  # Metal3's words for Redfish mean HTTPS, too
_SYSTEMS = "/redfish/v1/Systems/"  # DSP0266, where every service has its collection of systems
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_HOST}|({'|'.join(map(re.escape, _SCHEMES))})://({_HOST}|\[[0-9A-Fa-f:.]+\](:\d+)?)(/.*)?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")

SystemId = Annotated[
    str, StringConstraints(pattern=rf"^({_SYSTEMS})?[A-Za-z0-9_~-][A-Za-z0-9._~:-]*$", min_length=1, max_length=200)
]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$")]


class BmcPlace(NamedTuple):
    """Where a BMC is asked, as `https://host[:port]`, and the path of the system it is asked about, if one is named."""

    url: str
    system: str | None


class Bmc(SpecModel):
    """A machine's management controller (BMC), which speaks Redfish. With it, the machine can be rebooted."""

    address: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="Host name or IP address, with a port unless that is 443; or a URL: `https://host`, "
        "`redfish://host/redfish/v1/Systems/1`."
    )
    user: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        None, description="Who logs in there; may see and reset the system. Without one it is recorded only."
    )
    system: SystemId | None = Field(
        None, description="Which of its systems, as id or path; only where it has several, and the address names none."
    )
    fingerprint: Fingerprint | None = Field(
        None,
        description="SHA-256 of its certificate, hexadecimal: this one and no other is believed, whoever signed it. "
        "Without it, the certificate has to be signed by an authority that the provisioner knows.",
    )
    disable_certificate_verification: bool | None = Field(
        None, description="Believe any certificate: whoever stands between learns the password. A lab's last resort."
    )

    @field_validator("address")
    @classmethod
    def is_an_address(cls, address: str) -> str:
        """No user, query or other scheme: nothing that a URL could hide."""
        if not _ADDRESS.fullmatch(address):
            schemes = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
            raise ValueError(f"it is no host name, no IP address and no URL that begins with one of {schemes}")
        return address

    @model_validator(mode="after")
    def believes_in_one_way(self) -> Self:
        """A fingerprint that is not looked at would only seem to protect."""
        if self.fingerprint and self.disable_certificate_verification:
            raise ValueError("a fingerprint is checked, so verification is not disabled: give one of the two")
        return self

    def place(self) -> BmcPlace:
        """Where it is asked. ValueError where the address cannot be read, or names another system than `system`."""
        split = urlsplit(self.address if "://" in self.address else f"https://{_bracketed(self.address)}")
        host, port = split.hostname or "", split.port
        if not (":" in host and IPv6Address(host)) and not _NAME.fullmatch(host):
            raise ValueError(f"{host!r} is no host name and no IP address")
        if split.query or split.fragment:
            raise ValueError("it has more than a host, a port and the path of a system")
        at = f"[{host}]" if ":" in host else host
        return BmcPlace(f"https://{at}" + (f":{port}" if port else ""), self._system(split.path))

    def _system(self, path: str) -> str | None:
        path = path.rstrip("/")
        if path not in ("", "/redfish", "/redfish/v1", _SYSTEMS.rstrip("/")):
            if not path.startswith(_SYSTEMS):
                raise ValueError(f"{path} is no system: that begins with {_SYSTEMS}")
            if self.system:
                raise ValueError("the address names a system already: leave out one of the two")
            return path
        if self.system is None:
            return None
        return self.system if self.system.startswith("/") else _SYSTEMS + quote(self.system, safe="")


def bmc_context(name: str) -> str:
    """What the password of a machine's management controller is sealed for."""
    return f"machine/{name}/bmc"


def _bracketed(address: str) -> str:
    """A bare IPv6 address as URLs have it; more than one colon is nothing else."""
    return f"[{address}]" if address.count(":") > 1 else address
