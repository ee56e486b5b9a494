"""What can be set on the sandbox: `CARAVAN_SANDBOX_<FIELD>`. Latencies are means; `jitter` spreads them."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal

from pydantic import Field

from caravan_shared.plumbing.settings import CaravanSettings, settings_config


class Settings(CaravanSettings):
    """The sandbox's knobs, each with its unit and its reason."""

    model_config = settings_config("sandbox")

    state_dir: Path = Field(
        Path(".caravan"),
        description="Directory of the sandbox's own file, so that machines outlive a restart as they do in a cloud.",
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: Literal["json", "text"] = Field("text", description="`json` for log collectors, `text` for people.")
    http_host: str = Field(
        "127.0.0.1", description="Where the cloud API listens; loopback, for it guards nothing real."
    )
    http_port: int = Field(8790, ge=0, le=65535, description="Port of the cloud API; 0 takes any free one.")
    token: str = Field(
        "sandbox",
        min_length=1,
        validation_alias="CARAVAN_SANDBOX_TOKEN",  # never CARAVAN_TOKEN, which is a user's own
        description="Bearer token that the cloud API asks for.",
    )
    network: IPv4Network = Field(
        IPv4Network("127.64.0.0/16"),
        description="Machines' addresses; loopback, so that apiservers can listen on them.",
    )

    vm_boot_s: float = Field(
        2.0, ge=0, description="Seconds from create to a booted machine; real clouds take 20 to 60."
    )
    init_s: float = Field(1.0, ge=0, description="Seconds that kubeadm init takes.")
    join_s: float = Field(0.5, ge=0, description="Seconds that kubeadm join takes.")
    delete_s: float = Field(0.5, ge=0, description="Seconds until a deleted machine is off the list.")
    jitter: float = Field(
        0.2, ge=0, le=1, description="Spread of every latency, as a share of it (uniform, both ways)."
    )
    join_retry_s: float = Field(0.5, gt=0, description="Seconds between a booted machine's attempts to join.")
    node_grace_s: float = Field(
        40.0, ge=0, description="Seconds of silence until a node is Unknown; kube's own default."
    )

    machines_limit: int | None = Field(2000, ge=0, description="Quota of machines; unset for no limit.")
    create_error_rate: float = Field(
        0.0, ge=0, le=1, description="Share of creates answered 503 before anything was made."
    )
    lost_reply_rate: float = Field(0.0, ge=0, le=1, description="Share of creates that are done but never answered.")
    machine_error_rate: float = Field(0.0, ge=0, le=1, description="Share of machines that end in state error.")
    seed: int | None = Field(None, description="Seed of jitter, faults and addresses, for runs that can be repeated.")

    @property
    def database(self) -> Path:
        """The SQLite file that holds machines and clusters."""
        return self.state_dir / "sandbox-cloud.db"
