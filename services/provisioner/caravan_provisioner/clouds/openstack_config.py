"""What an OpenStack cloud can be told. Where it is and as whom we come stands in clouds.yaml, as for every client."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class OpenStackConfig(BaseModel):
    """How to make machines with Nova. Names may be ids as well."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["openstack"] = "openstack"
    cloud: str | None = Field(
        None, description="Entry of clouds.yaml, application credentials included; OS_CLOUD where that is not given."
    )
    clouds_file: Path | None = Field(
        None, description="The clouds.yaml; by default OS_CLIENT_CONFIG_FILE or the places where every client looks."
    )
    region: str | None = Field(
        None, description="Region; that of clouds.yaml by default. A region is a cloud by itself."
    )
    image: str = Field(description="Image of all machines; it has to run cloud-init.")
    machine_types: dict[str, str] = Field(
        default={},
        description="Flavors by the machine type that specs call them; every flavor by its own name if empty.",
    )
    networks: tuple[str, ...] = Field(min_length=1, description="Networks of every machine, a port in each.")
    subnet: str | None = Field(
        None, description="A machine is reached at its address in this subnet; the first address there is by default."
    )
    floating_network: str | None = Field(
        None, description="External network: every machine gets a floating IP there and is reached at it."
    )
    security_groups: tuple[str, ...] = Field((), description="The project's default group if empty.")
    availability_zones: tuple[str, ...] = Field(
        (),
        description="Each node set is spread over these: control planes and etcd one call each, workers by batches of "
        "a zone's share. Nova chooses if empty.",
    )
    server_group_policy: Literal["anti-affinity", "soft-anti-affinity"] | None = Field(
        "soft-anti-affinity",
        description="Keeps a cluster's control planes on different hosts, and its etcd likewise. `anti-affinity` has "
        "rather no machine than two on one host.",
    )
    load_balancer: bool = Field(
        False,
        description="A load balancer of Octavia's before every cluster's control planes, in `subnet` or the first of "
        "`networks`, with a floating IP where machines have one. Without, the endpoint's name follows them.",
    )
    load_balancer_provider: str | None = Field(
        None, description="Such as `amphora` or `ovn`; Octavia's default if not given."
    )
    key_pair: str | None = Field(None, description="A key pair of Nova, beside the key that Caravan enters with.")
    config_drive: bool = Field(False, description="User-data comes on a drive too: for networks without metadata.")
    boot_volume_gib: int | None = Field(
        None,
        ge=1,
        description="Boot from a volume of this size, which goes with its machine, instead of the local disk.",
    )
    boot_volume_type: str | None = Field(None, description="Its volume type; Cinder's default if not given.")
    host_keys: Literal["console", "user-data"] = Field(
        "console",
        description="Where machines' SSH host keys come from: read off their consoles, or made by Caravan and given in "
        "the user-data, one call a machine. For clouds that show no consoles, and for baremetal flavors.",
    )
    pull: bool = Field(True, description="Workers join by themselves through their user-data instead of over SSH.")
    max_batch: int = Field(50, ge=1, description="Most machines in one call; Nova makes them all before it answers.")
    seconds_to_boot: float = Field(45, gt=0, description="Usual seconds from the call to a machine that runs.")
    requests_per_s: float = Field(
        20, gt=0, description="Requests that the cloud gets in a second, all services together."
    )
    requests_in_flight: int = Field(8, ge=1, description="Requests side by side.")
    timeout_s: float = Field(
        60, gt=0, description="Seconds for one request; what takes longer may still be carried out."
    )

    @model_validator(mode="after")
    def _typed_volumes_have_a_size(self) -> Self:
        if self.boot_volume_type and self.boot_volume_gib is None:
            raise ValueError("boot_volume_type is of no use without boot_volume_gib")
        return self
