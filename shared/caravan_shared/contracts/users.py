"""What a user may be called: in timelines, in the CN of a certificate, as the name that Kubernetes sees. Pure."""

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

LONGEST_USER = 64
"""Characters; a certificate's common name holds no more (RFC 5280, ub-common-name)."""

_CHARACTERS = r"[A-Za-z0-9][A-Za-z0-9@._+:/-]*"
_KEPT_PREFIXES = ("system:", "caravan:")


def why_no_user(name: str) -> str | None:
    """What keeps this name from being a user's, as the end of a sentence; None if nothing does.

    `system:` names are Kubernetes' own and `caravan:` names ours: whoever bore one could be taken for a component.
    """
    if not 1 <= len(name) <= LONGEST_USER:
        return f"it must have 1 to {LONGEST_USER} characters"
    if not re.fullmatch(_CHARACTERS, name):
        return "it may hold letters, digits and @ . _ + : / - and must begin with a letter or digit"
    if name.lower().startswith(_KEPT_PREFIXES):
        return f"names that begin with {' or '.join(_KEPT_PREFIXES)} are kept for components"
    return None


def _not_kept(name: str) -> str:
    if problem := why_no_user(name):
        raise ValueError(problem)
    return name


UserName = Annotated[
    str, StringConstraints(pattern=f"^{_CHARACTERS}$", max_length=LONGEST_USER), AfterValidator(_not_kept)
]
