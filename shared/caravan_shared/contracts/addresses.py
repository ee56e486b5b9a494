"""IP addresses and networks as specs and events carry them: text, never a number.

Python's `ipaddress` takes numbers too (`false` is 0.0.0.0), which nobody who writes YAML or JSON means.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


def _no_address_by_number(value: object) -> object:
    if isinstance(value, int):
        raise PydanticCustomError("ip_v4_address", "Input is not a valid IP address")
    return value


def _no_network_by_number(value: object) -> object:
    if isinstance(value, int):
        raise PydanticCustomError("ip_v4_network", "Input is not a valid IP network")
    return value


IPAddress = Annotated[IPv4Address | IPv6Address, BeforeValidator(_no_address_by_number)]
IPNetwork = Annotated[IPv4Network | IPv6Network, BeforeValidator(_no_network_by_number)]
