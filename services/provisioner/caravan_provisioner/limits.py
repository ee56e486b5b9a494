"""The figures that `observe` and `decide` judge by; part of the settings, and all that the pure code sees of them."""

from pydantic import BaseModel, Field

from caravan_shared.contracts.spec import RepairMode


class Limits(BaseModel):
    """How long to wait and how often to try."""

    settle_s: float = Field(
        5,
        description="Seconds after a create call until a listing without the machine proves that none was made, and "
        "after a reboot that was not answered until one with an untouched machine proves that it was not carried out.",
    )
    build_limit_s: float = Field(900, description="Seconds a machine may stay building before it is replaced.")
    delete_again_s: float = Field(15, description="Seconds a machine may stay listed before deletion is asked again.")
    drain_limit_s: float = Field(
        600,
        description="Seconds after which the machine of a leaving node goes although nobody said that it is drained: "
        "only where the node is dead, or where the cluster's spec says `drain.force` and its `drain.timeout_s` has "
        "passed as well.",
    )
    repair: RepairMode = Field(
        RepairMode.AUTO,
        description="`off`: on the whole installation, nodes that health finds Unreachable are neither rebooted nor "
        "replaced by themselves. A cluster's spec says it of that cluster.",
    )
    repair_after_s: float = Field(
        300,
        ge=0,
        description="Seconds that health must find a node Unreachable before it is repaired; a reboot takes less.",
    )
    reboot_wait_s: float = Field(
        300,
        ge=0,
        description="Seconds that a node due for repair has after a reboot, which is tried first where its cloud can "
        "reboot machines, before it is replaced. 0: it is replaced at once.",
    )
    repair_share: float = Field(
        0.4,
        ge=0,
        le=1,
        description="The part of a node set that may be unreachable, or of a set or cluster that may have vanished "
        "from the cloud's listing, and still be replaced (one node always may). More at once is rather a fault of "
        "the network or of the cloud than of the nodes: repair stops and says so, until a person retries.",
    )
    repair_cloud_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="The part of all nodes on a cloud, those of every cluster counted together, that may be "
        "Unreachable while any of them is repaired. More at once is the cloud's fault or its network's: repair stops "
        "on that cloud until fewer are. 1 lets it go on.",
    )
    repair_cloud_nodes: int = Field(
        5, ge=0, description="Nodes on a cloud that may be Unreachable at once whatever part of all they are."
    )
    attempts: int = Field(5, ge=0, description="Rounds of replacement of a set's failed nodes before giving up.")
    backoff_s: float = Field(2, description="Seconds before the first round; doubled for each further one.")
    calm_s: float = Field(
        3600,
        description="Seconds without a failure after which a set's rounds are forgotten, and a node's last reboot: who "
        "falls silent again sooner is replaced without another one.",
    )
    calls_per_turn: int = Field(
        32, ge=1, description="Create calls planned at once, so that a deletion never waits for more than these."
    )
