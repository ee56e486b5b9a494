"""The chats that Caravan is installed in, as the operator's settings name them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from caravan_api.markup import Product

_Secret = Annotated[SecretStr, Field(min_length=16)]
IntegrationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class _Integration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    workspaces: tuple[str, ...] = Field(
        min_length=1, description="Ids of the Slack workspaces or Mattermost teams that may ask; others are refused."
    )


class SlackApp(_Integration):
    """An app of Slack's."""

    product: Literal[Product.SLACK]
    signing_secret: _Secret = Field(description="The app's Signing Secret.")


class MattermostCommand(_Integration):
    """A slash command of Mattermost's."""

    product: Literal[Product.MATTERMOST]
    token: _Secret = Field(description="The token that Mattermost made for the command.")
    api_url: Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+$")] = Field(
        description="Where Mattermost reaches this api: its buttons are pressed there."
    )


Integration = Annotated[SlackApp | MattermostCommand, Field(discriminator="product")]
