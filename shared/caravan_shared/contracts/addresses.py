"""IP addresses and networks as specs and events carry them: text, never a number.

Python's `ipaddress` takes numbers too (`false` is 0.0.0.0), which nobody who writes YAML or JSON means.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, LiteralString

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


def _never_a_number(error: LiteralString, says: LiteralString) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, int):
            raise PydanticCustomError(error, says)
        return value

    return BeforeValidator(check)


IPAddress = Annotated[IPv4Address | IPv6Address, _never_a_number("ip_v4_address", "Input is not a valid IP address")]
IPNetwork = Annotated[IPv4Network | IPv6Network, _never_a_number("ip_v4_network", "Input is not a valid IP network")]
