"""The end of every way to log in: what the issuer granted becomes a login."""

from collections.abc import Mapping

from caravan_cli.errors import CliError
from caravan_cli.login import id_token
from caravan_cli.login.issuer import Issuer
from caravan_cli.login.kept import Login


def redeemed(issuer: Issuer, grant: Mapping[str, str], nonce: str | None = None) -> Login:
    """The login that a grant is good for. CliError if it is for no ID token, IssuerRefused if it is for nothing."""
    tokens = issuer.tokens(grant)
    if tokens.id_token is None:
        raise CliError(f"{issuer.name} gave no ID token: the API must ask for the scope openid.")
    id_token.read(tokens.id_token, issuer=issuer.name, client_id=issuer.client_id, nonce=nonce)
    return Login(
        issuer=issuer.name,
        client_id=issuer.client_id,
        id_token=tokens.id_token,
        refresh_token=tokens.refresh_token,
    )
