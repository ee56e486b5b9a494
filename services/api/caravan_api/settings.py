"""What an operator can set on the api. Every field is an environment variable: `CARAVAN_API_<FIELD>`."""

from typing import Self

from pydantic import Field, FilePath, SecretStr, model_validator

from caravan_api.doors.chatops.integrations import Integration, IntegrationName
from caravan_shared.contracts.oidc import IssuerUrl, is_loopback
from caravan_shared.plumbing.settings import ServiceSettings, settings_config


class Settings(ServiceSettings):
    """The api's knobs; what every service has is in `ServiceSettings`."""

    model_config = settings_config("api")

    bootstrap_token: SecretStr | None = Field(
        None, description="First admin's bearer token (team `default`); `caravan up` writes one."
    )
    oidc_issuer: IssuerUrl | None = Field(
        None,
        description="OpenID Connect issuer whose tokens are taken besides our own, as it writes itself: "
        "`https://login.example.org/realms/main`. Unset: none.",
    )
    oidc_client_id: str = Field(
        "caravan", min_length=1, description="The client that tokens must be for (`aud`), and that people log in with."
    )
    oidc_scopes: list[str] = Field(
        ["openid", "email", "offline_access"],
        description="Scopes that `caravan login` asks for, as a JSON list. Some issuers tell groups only for a scope "
        "of its own, and some know no `offline_access`.",
    )
    oidc_user_claim: str = Field(
        "email",
        min_length=1,
        description="The claim that names the user. `email` is taken in small letters and only where `email_verified` "
        "is not false; else `sub` or `preferred_username`, if nobody can choose their own.",
    )
    oidc_groups_claim: str = Field("groups", min_length=1, description="The claim that lists the user's groups.")
    oidc_ca_file: FilePath | None = Field(
        None, description="PEM file of the authority behind a private issuer's certificate. Unset: the machine's own."
    )
    oidc_keys_max_age_s: float = Field(
        300, ge=10, description="Seconds for which a key still works after the issuer withdrew it."
    )
    web_session_s: float = Field(
        12 * 3600, gt=0, description="Seconds after which people log in to the UI again: a working day."
    )
    web_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#@]+$",
        description="Where people open the UI, as `https://caravan.example.org`: where an issuer sends them back to. "
        "Unset: wherever they opened it, as their browser and a proxy in front say.",
    )
    web_opens_on_loopback: bool = Field(
        False,
        description="Whether whoever opens the UI on this machine is let in as the first admin. `caravan up` sets it "
        "where all that runs is simulated.",
    )
    trace_url: str | None = Field(
        None,
        pattern=r"^https?://[^{}]+\{trace_id\}[^{}]*$",
        description="Address of a trace in your trace viewer, for links from a cluster to what was last asked of it: "
        "`https://jaeger.example.org/trace/{trace_id}`. Unset: the trace's id is shown without a link.",
    )
    progress_kept_s: float = Field(
        86400, gt=0, description="Seconds for which the bus keeps what teams were told; whoever asks later asks REST."
    )
    progress_max_mib: int = Field(
        256, ge=16, description="MiB that the bus keeps of it, all teams together: the oldest goes first."
    )
    max_nodes: int = Field(5000, ge=1, description="Nodes in one cluster; Kubernetes is tested to 5,000.")
    max_nodes_per_team: int | None = Field(None, ge=1, description="Nodes in all clusters of a team; unset: no limit.")
    reannounce_after_s: float = Field(
        15, gt=0, description="Seconds without any fact after which an unsettled cluster is announced again."
    )
    reannounce_at_most_s: float = Field(
        300, gt=0, description="Seconds to which the pause between such announcements doubles."
    )
    reannounce_settled_s: float = Field(
        3600, gt=0, description="Seconds between announcements of a settled cluster: heals copies that lost facts."
    )
    page_size: int = Field(50, ge=1, le=500, description="Items on a page when the caller does not say.")
    body_limit_kib: int = Field(
        256, ge=1, description="Largest request body, KiB; a spec of 100 node sets has about 30."
    )
    heartbeat_s: float = Field(
        15, gt=0, description="Seconds between comments on a quiet stream; proxies cut at 30-60."
    )
    feed_poll_s: float = Field(
        2, gt=0, description="Seconds in which a change made by another replica reaches streams."
    )
    stream_max_s: float = Field(
        3600,
        gt=0,
        description="Seconds after which a stream ends and its client comes back: its token is checked again.",
    )
    remember_keys_s: float = Field(86400, gt=0, description="Seconds for which an Idempotency-Key is remembered.")
    forget_nodes_s: float = Field(
        7 * 86400, gt=0, description="Seconds for which a removed node is kept, so that a late fact cannot revive it."
    )
    timeline_kept_days: float = Field(
        400, ge=0, description="Days for which a cluster's timeline is kept: a year and a month. 0: for ever."
    )
    deleted_clusters_kept_days: float = Field(
        400,
        ge=0,
        description="Days for which a deleted cluster is still shown, with its timeline and grants. 0: for ever. What "
        "was done to it stays in the audit.",
    )
    chat: dict[IntegrationName, Integration] = Field(
        {},
        description="Chats with `/caravan`, as a JSON object by name, which is the last part of the URL that each "
        "calls: see docs/chatops.md. It holds secrets: set it from where those are kept.",
    )
    chat_hosts: list[str] = Field(
        ["hooks.slack.com"],
        description="Hosts that messages to chats may be sent to, `host` or `host:port`, as a JSON list: add your "
        "Mattermost server. Others are refused, so that nobody can have the api call what it alone reaches.",
    )
    remember_chat_s: float = Field(
        86400, ge=900, description="Seconds for which a chat's request is remembered, to be refused if it comes again."
    )
    notify_group_s: float = Field(
        10, ge=0, description="Seconds in which what happens to several clusters becomes one message."
    )
    notify_burst: int = Field(5, ge=1, description="Messages that a webhook may get at once.")
    notify_every_s: float = Field(10, gt=0, description="Seconds a message after that; Slack takes one a second.")
    notify_tries: int = Field(
        12,
        ge=1,
        description="Tries, over about half an hour, after which a rule whose message nobody takes is stopped.",
    )

    @model_validator(mode="after")
    def _opens_to_nobody_else(self) -> Self:
        if self.web_opens_on_loopback and not is_loopback(self.http_host):
            raise ValueError("web_opens_on_loopback needs http_host to be a loopback address")
        if self.web_opens_on_loopback and self.bootstrap_token is None:
            raise ValueError("web_opens_on_loopback needs a bootstrap_token: it lets people in as the first admin")
        return self
