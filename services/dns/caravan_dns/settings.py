"""What the dns service can be told: which zone serves the names, how names look, how long credentials live."""

from pathlib import Path
from string import Formatter
from typing import Literal

from pydantic import Field, field_validator, model_validator

from caravan_shared.plumbing.settings import ServiceSettings, settings_config

HOUR_S = 3600


class Settings(ServiceSettings):
    """Environment prefix CARAVAN_DNS_."""

    model_config = settings_config("dns")

    installation: str = Field(
        "caravan",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Name of this installation; goes into every record's owner marker, so that two installations "
        "can share a zone. Changing it disowns all existing records.",
    )
    zone: Literal["embedded", "rfc2136", "designate", "null"] = Field(
        "embedded",
        description="Who serves the names: Caravan's own name server, a name server that takes signed updates, an "
        "OpenStack's Designate, nobody.",
    )
    zone_origin: str = Field(
        "caravan.test",
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        max_length=120,
        description="The zone that all endpoint names are in. `.test` is reserved for trying out (RFC 6761).",
    )
    endpoint_template: str = Field(
        "{name}.{team}.{origin}",
        description="How an endpoint's name is made from the cluster's name, its team and the zone's origin.",
    )
    record_ttl_s: int = Field(
        5, ge=1, description="Seconds that resolvers may keep a record; short, since control planes come and go."
    )
    apiserver_port: int = Field(6443, ge=1, le=65535, description="Port of every kube-apiserver; kubeadm's default.")
    resolvable: bool | None = Field(
        None,
        description="Whether users' resolvers find the names. False: kubeconfigs dial an address and name the host for "
        "TLS only. Default: true with the zones `rfc2136` and `designate`, else false; set it to true once the zone is "
        "delegated to the embedded server.",
    )
    grant_default_s: int = Field(
        HOUR_S, ge=1, le=8 * HOUR_S, description="Seconds a kubeconfig is valid when the asker names no lifetime (0)."
    )
    grant_longest_s: int = Field(
        8 * HOUR_S,
        ge=1,
        le=8 * HOUR_S,
        description="The longest a kubeconfig is valid, seconds; who asks for more gets this. A working day at most.",
    )
    own_certificate_s: int = Field(
        4 * HOUR_S,
        ge=60,
        description="Seconds that a client certificate of health or the bootstrapper is valid; they ask again in time.",
    )
    embedded_host: str = Field("127.0.0.1", description="Address that the embedded name server listens on.")
    embedded_port: int = Field(15353, ge=1, le=65535, description="Its port, UDP and TCP; 53 would need privileges.")
    rfc2136_server: str = Field("127.0.0.1", description="IP address of the zone's primary name server.")
    rfc2136_port: int = Field(53, ge=1, le=65535, description="Its port.")
    rfc2136_key_name: str = Field("caravan", description="Name of the TSIG key.")
    rfc2136_key_algorithm: str = Field("hmac-sha256", description="Algorithm of the TSIG key.")
    rfc2136_key_file: Path | None = Field(
        None, description="File that holds the TSIG secret, base64, and nothing else. Needed by the zone `rfc2136`."
    )
    designate_cloud: str | None = Field(
        None,
        description="Entry of clouds.yaml whose project has the zone, for the zone `designate`; OS_CLOUD by default.",
    )
    designate_clouds_file: Path | None = Field(
        None, description="The clouds.yaml; by default OS_CLIENT_CONFIG_FILE or the places where every client looks."
    )

    @field_validator("endpoint_template")
    @classmethod
    def names_stay_in_the_zone(cls, template: str) -> str:
        """Refuse templates that name unknown fields, leave the zone or give two clusters one name."""
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
        if set(fields) != {"name", "team", "origin"} or not template.endswith(".{origin}"):
            raise ValueError("use {name} and {team}, and end in .{origin}")
        return template

    @model_validator(mode="after")
    def key_goes_with_rfc2136(self) -> "Settings":
        """Unsigned updates are never sent."""
        if self.zone == "rfc2136" and self.rfc2136_key_file is None:
            raise ValueError("the zone rfc2136 needs rfc2136_key_file")
        return self

    @property
    def names_resolve(self) -> bool:
        """`resolvable`, or what the zone's kind makes likely."""
        return self.zone in ("rfc2136", "designate") if self.resolvable is None else self.resolvable
