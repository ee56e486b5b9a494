"""The knobs of the health service. Detection target: an outage is told within 10 s at p99.

With the defaults: up to 5 s until the next look, then three looks of at most 1.5 s, begun at once after a hung one.
"""

from pydantic import Field

from caravan_health.verdict import Policy
from caravan_shared.plumbing.settings import ServiceSettings, settings_config


class Settings(ServiceSettings):
    """`CARAVAN_HEALTH_<FIELD>`, falling back to `CARAVAN_<FIELD>`."""

    model_config = settings_config("health")

    probe_every_s: float = Field(5.0, gt=0, description="Seconds between looks at a cluster that is as it was.")
    recheck_s: float = Field(
        1.0, gt=0, description="Seconds between looks while a change of verdict is being confirmed."
    )
    unreachable_every_s: float = Field(
        10.0, gt=0, description="Seconds between looks at an Unreachable cluster: it may stay so for days."
    )
    probe_timeout_s: float = Field(
        1.5, gt=0, description="Seconds for one look, all addresses together; three of them must fit the 10 s target."
    )
    nodes_every: int = Field(
        3,
        gt=0,
        description="Nodes are listed at every so many looks: Kubernetes itself takes 40 s to call a node lost.",
    )
    nodes_timeout_s: float = Field(10.0, gt=0, description="Seconds for one list of nodes; 5,000 nodes are 60 MB.")
    misses: int = Field(
        3, ge=2, description="Misses in a row after which a cluster is Unreachable. One never is enough."
    )
    stale_after_s: float = Field(
        20.0, gt=0, description="Seconds without a usable look after which a verdict becomes Unknown."
    )
    looks_at_once: int = Field(
        256,
        gt=0,
        description="Looks under way side by side; as many again in the lane of clusters that miss, so that hanging "
        "ones never hold up the others.",
    )
    nodes_lists_at_once: int = Field(4, gt=0, description="Lists of nodes under way side by side; bounds memory.")
    max_lag_s: float = Field(
        0.25,
        gt=0,
        description="Seconds the event loop may stall before the misses of that time count for nothing; so do those of "
        "looks that lose half of their time in shorter stalls.",
    )
    mass_failure_share: float = Field(
        0.5,
        gt=0,
        description="Share of the answering clusters that must fall silent together for the monitor to suspect its "
        "own network. From 1 on it never does.",
    )
    mass_failure_at_least: int = Field(3, ge=2, description="Fewer clusters than this never are a mass failure.")
    replica_silent_after_s: float = Field(
        7.0,
        gt=0,
        description="Seconds without a heartbeat after which a replica's clusters go to the others. They look every "
        "2 s, so that a dead one is replaced within 10 s.",
    )
    wakes_within_s: float = Field(
        600.0, ge=0, description="Seconds that a woken cluster may stay silent before that is a fault of its."
    )
    transitions_kept_days: float = Field(14.0, gt=0, description="Days that single changes of verdict are kept.")
    hours_kept_days: float = Field(400.0, gt=0, description="Days that hourly sums are kept: a year and a month.")

    def policy(self) -> Policy:
        """The part of the settings that verdicts depend on."""
        return Policy(
            misses=self.misses,
            probe_every_s=self.probe_every_s,
            recheck_s=self.recheck_s,
            unreachable_every_s=self.unreachable_every_s,
            stale_after_s=self.stale_after_s,
            wakes_within_s=self.wakes_within_s,
        )
