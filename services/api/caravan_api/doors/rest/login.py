"""How to log in: what a command line needs to know before it has a token, so that everybody is told."""

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from caravan_api.access import public
from caravan_api.doors.rest.context import Parts
from caravan_api.errors import NotFound
from caravan_shared.contracts.oidc import IssuerUrl

router = APIRouter(prefix="/v1/login", tags=["login"])


class Login(BaseModel):
    """Where people log in, and as which client (OpenID Connect Core 1.0)."""

    issuer: IssuerUrl
    client_id: str = Field(description="A public client: it has no secret.")
    scopes: list[str]


@router.get("", dependencies=[Depends(public)])
async def login(api: Parts) -> Login:
    """The issuer whose tokens open this api; 404 if it takes none but its own."""
    settings = api.settings
    if settings.oidc_issuer is None:
        raise NotFound("there is no issuer to log in with; an admin gives out tokens: caravan token create")
    return Login(issuer=settings.oidc_issuer, client_id=settings.oidc_client_id, scopes=settings.oidc_scopes)
