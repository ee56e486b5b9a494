"""What an operator can set on the api. Every field is an environment variable: `CARAVAN_API_<FIELD>`."""

from pydantic import Field, SecretStr

from caravan_api.doors.chatops.integrations import Integration, IntegrationName
from caravan_shared.plumbing.settings import ServiceSettings, settings_config


class Settings(ServiceSettings):
    """The api's knobs; what every service has is in `ServiceSettings`."""

    model_config = settings_config("api")

    bootstrap_token: SecretStr | None = Field(
        None, description="First admin's bearer token (team `default`); `caravan up` writes one."
    )
    intake_teams: list[str] = Field(
        ["default"], description="Teams whose `intake.<team>.cluster.requested` is listened to, as a JSON list."
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
