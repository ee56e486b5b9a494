"""What may name a thing in a request: its id as we write it, or a name."""

import re

from caravan_shared.contracts.spec import DNS_LABEL

_LONGEST_NAME = 32


def could_exist(ref: str) -> bool:
    """True for what may be an id or a name: databases need not be asked for anything else."""
    return is_id(ref) or (len(ref) <= _LONGEST_NAME and re.fullmatch(DNS_LABEL, ref) is not None)


def is_id(ref: str) -> bool:
    """True for an id as we write it; no name is that long."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ref) is not None
