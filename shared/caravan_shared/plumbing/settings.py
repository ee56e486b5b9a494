"""How a service is configured: environment variables, each a documented field with its unit, default and reason.

`CARAVAN_<SERVICE>_<FIELD>` wins over `CARAVAN_<FIELD>`, so that one variable can serve all services of a host.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

HTTP_PORTS = {"api": 8780, "provisioner": 8781, "bootstrapper": 8782, "health": 8783, "dns": 8784}


def settings_config(service: str) -> SettingsConfigDict:
    """The `model_config` of a service's settings class."""
    return SettingsConfigDict(env_prefix=f"CARAVAN_{service.upper()}_", extra="ignore", frozen=True)


class CaravanSettings(BaseSettings):
    """Reads `CARAVAN_<SERVICE>_X`, then `CARAVAN_X`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the service's own variables, then those of the whole installation."""
        return init_settings, env_settings, EnvSettingsSource(settings_cls, env_prefix="CARAVAN_")


class ServiceSettings(CaravanSettings):
    """What every service needs to know."""

    state_dir: Path = Field(
        Path(".caravan"), description="Where files live when no server holds them: SQLite databases, the key ring."
    )
    instance: str = Field(
        "default",
        description="This replica's name, unique among the replicas of a service and stable across its restarts: "
        "a restarted replica takes its own leases over at once. In Kubernetes, the pod's name.",
    )
    nats_url: str = Field("nats://127.0.0.1:4222", description="The NATS server or cluster, comma-separated URLs.")
    nats_replicas: int = Field(1, description="Copies JetStream keeps of each stream: 1, or 3 on a NATS cluster.")
    database_url: str = Field(
        "",
        description="SQLAlchemy URL, `postgresql+asyncpg://…` or `sqlite+aiosqlite:///…`. "
        "Default: an SQLite file of the service's own in `state_dir`.",
    )
    key_ring: Path | None = Field(None, description="File with the sealing keys. Default: `keys.json` in `state_dir`.")
    reseal_every_s: float = Field(
        60.0,
        gt=0,
        description="Seconds between looks at the key ring: a new key is used, and what the store keeps under old ones "
        "comes under it, within this time.",
    )
    http_host: str = Field("127.0.0.1", description="Address of the HTTP listener (health, metrics; the api's doors).")
    http_port: int = Field(0, description="Port of the HTTP listener; 0 picks the service's usual one.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: Literal["json", "text"] = Field("text", description="`json` for log collectors, `text` for people.")
    resync_every_s: float = Field(
        60.0, gt=0, description="Seconds between looks at every live key, whatever events said: heals what got lost."
    )
    reconcile_workers: int = Field(16, gt=0, description="Clusters worked on side by side.")
    lease_s: float = Field(
        15.0, gt=0, description="Seconds after which another replica may take over a key whose holder went silent."
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^?#]+$",
        description="Base URL of an OpenTelemetry collector that takes OTLP over HTTP, `http://collector:4318`: traces "
        "are sent there. Unset: to where `OTEL_EXPORTER_OTLP_ENDPOINT` says; without that either, tracing is off.",
    )
    stuck_after_s: float = Field(
        60.0, gt=0, description="Seconds a backlog may stand still before the service calls itself dead."
    )

    def model_post_init(self, context: Any, /) -> None:
        """Resolve defaults that depend on the service's name."""
        service = self.service_name()
        state = self.state_dir.absolute()
        values: dict[str, Any] = {"state_dir": state}
        if not self.database_url:
            values["database_url"] = f"sqlite+aiosqlite:///{state / service}.db"
        if self.key_ring is None:
            values["key_ring"] = state / "keys.json"
        if not self.http_port:
            values["http_port"] = HTTP_PORTS.get(service, 0)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def service_name(cls) -> str:
        """The service these settings belong to, from their environment prefix."""
        return str(cls.model_config["env_prefix"]).removeprefix("CARAVAN_").rstrip("_").lower()
