"""Have people log in with an issuer in their browser: where they go, and the token that their code is good for."""

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from caravan_api.oidc.errors import IssuerAway
from caravan_api.oidc.far_end import FarEnd
from caravan_api.oidc.keys import PAUSE, FetchFailed


class _Tokens(BaseModel):
    """What a token endpoint answers, as far as it is used."""

    id_token: str


class CodeFlow:
    """The login of one issuer, whose name this is."""

    def __init__(self, issuer: str, far_end: FarEnd) -> None:
        self.issuer, self._far_end = issuer, far_end

    async def endpoint(self) -> str:
        """Where people log in. Raises `IssuerAway`."""
        try:
            endpoint = (await self._far_end.metadata()).authorization_endpoint
        except FetchFailed as error:
            raise self._away(error) from error
        if endpoint is None:
            raise self._away("it has no login for browsers")
        return endpoint

    async def redeemed(self, grant: Mapping[str, str]) -> str:
        """The ID token that a code is good for. Nothing that it tells has been proved yet. Raises `IssuerAway`."""
        try:
            return _Tokens.model_validate_json(await self._far_end.redeem(grant)).id_token
        except FetchFailed as error:
            raise self._away(error) from error
        except ValidationError as error:
            raise self._away("it gave no ID token: the scope openid must be asked for") from error

    def _away(self, why: object) -> IssuerAway:
        return IssuerAway(self.issuer, str(why), after=PAUSE.total_seconds())
