"""The provisioner's knobs: `CARAVAN_PROVISIONER_<FIELD>`."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from caravan_provisioner.clouds import CloudConfig
from caravan_provisioner.clouds.sandbox import SandboxConfig
from caravan_provisioner.limits import Limits
from caravan_shared.plumbing.settings import ServiceSettings, settings_config


class Settings(ServiceSettings, Limits):
    """What the provisioner can be told."""

    model_config = settings_config("provisioner")

    clouds: dict[str, CloudConfig] = Field(
        default_factory=dict,
        description='Clouds by name, as JSON: `{"laptop": {"kind": "docker"}}`; the keys of each kind are below, under '
        "Clouds. Without any, one sandbox named `sandbox`.",
    )
    sandbox_url: str = Field("http://127.0.0.1:8790", description="Where the default sandbox is.")
    sandbox_token: SecretStr = Field(SecretStr("sandbox"), description="Bearer token of the default sandbox.")
    installation: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,52}$",  # with its prefix, a tag of 60 characters, the most that Nova takes
        description="The id that tags our machines, unique among all who share a cloud's project. Default: a UUID made "
        "at the first start and kept in the store; set it, and even a lost store is rebuilt from the tags.",
    )
    creates_in_flight: int = Field(4, ge=1, description="Create calls a cloud gets side by side.")
    creates_per_s: float = Field(20, gt=0, description="Create calls a cloud gets in a second.")
    calm_listing_s: float = Field(
        60, description="Seconds a listing serves clusters at rest; a vanished machine is noticed after two of them."
    )
    offers_every_s: float = Field(60, gt=0, description="Seconds between looks at a cloud's machine types and quota.")
    say_offers_every_s: float = Field(600, description="Seconds after which unchanged offers are told again.")
    ask_again_s: float = Field(
        60, gt=0, description="Seconds after which the bootstrapper is asked again for work on an inventory's machine."
    )
    sweep_every_s: float = Field(300, gt=0, description="Seconds between searches for machines that nobody owns.")
    sweep_confirm_s: float = Field(240, description="Seconds between two sightings that make a leak certain.")
    sweep_trusts_store: bool = Field(
        False,
        description="Delete machines of clusters that the store does not know, even if it knows none or they are the "
        "most part of all: only right when the store is surely not an old copy.",
    )

    @model_validator(mode="after")
    def default_to_one_sandbox(self) -> Self:
        """Without configured clouds there is one sandbox."""
        if not self.clouds:
            sandbox = SandboxConfig(url=self.sandbox_url, token=self.sandbox_token)
            object.__setattr__(self, "clouds", {"sandbox": sandbox})
        return self
