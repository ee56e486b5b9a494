"""How people sign in to a cluster: the OpenID Connect provider that it trusts, and what the provider's groups may do.

Shape only. The fields are kube-apiserver's `--oidc-*` flags
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens), but for the groups.
"""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError


def _issuer(url: str) -> str:
    """Refuse what kube-apiserver would not start with."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise PydanticCustomError("issuer_url", "Input is no https:// URL without user, query and fragment")
    return url


IssuerUrl = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=2000), AfterValidator(_issuer)]
Word = Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f]+$", max_length=250)]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@#-]*$", max_length=64)]
GroupName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=250)]
Groups = Annotated[tuple[GroupName, ...], Field(max_length=100)]


class Oidc(BaseModel):
    """An OpenID Connect provider. Fixed when the cluster is made: kube-apiservers are made with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer_url: IssuerUrl = Field(description="The provider, as its tokens name it (`iss`): an https:// URL.")
    client_id: Word = Field(description="Whom its tokens are for (`aud`); a public client, with PKCE.")
    username_claim: Word = Field("sub", description="The claim that is the user's name, such as `sub` or `email`.")
    username_prefix: Prefix = Field(
        "oidc:", description="Put before it, so that no name is taken for a component's or another user's."
    )
    groups_claim: Word = Field("groups", description="The claim with the user's groups.")
    groups_prefix: Prefix = Field(
        "oidc:", description="Put before each, so that none is taken for one of Kubernetes' own."
    )
    extra_scopes: tuple[Word, ...] = Field(
        (),
        max_length=20,
        description="Scopes to ask for beside `openid`, where the claims need some: `email`, `groups`.",
    )
    ca_certificate: str | None = Field(
        None,
        max_length=65_536,
        description="Who signed the provider's certificate, PEM. Default: the machines' own CAs.",
    )
    viewer_groups: Groups = Field(
        (), description="Groups, as the provider names them, that get the ClusterRole `view`."
    )
    editor_groups: Groups = Field((), description="Those that get `edit`.")
    admin_groups: Groups = Field((), description="Those that get `cluster-admin`.")
