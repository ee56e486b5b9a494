"""What can go wrong in the provisioner beyond a cloud's own troubles.

GiveUp
├── CloudRefused, QuotaExceeded, UnknownMachineType   (clouds/base.py)
├── UnknownCloud
├── CloudChanged
└── CloudsApart
Retry
└── CloudUnavailable                                  (clouds/base.py)
"""

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.errors import GiveUp


class UnknownCloud(GiveUp):
    """The spec names a cloud that is not configured."""

    def __init__(self, cloud: str, configured: list[str]) -> None:
        super().__init__(
            f"there is no cloud {cloud!r}; configured: {', '.join(configured) or 'none'}", who_can_fix=WhoCanFix.USER
        )
        self.cloud, self.configured = cloud, configured


class CloudChanged(GiveUp):
    """A cluster cannot move to another cloud."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"the cluster lives on cloud {old!r} and cannot move to {new!r}", who_can_fix=WhoCanFix.USER)
        self.old, self.new = old, new


class CloudsApart(GiveUp):
    """Machines of one cluster cannot be reached in different ways."""

    def __init__(self, clouds: list[str]) -> None:
        super().__init__(
            f"the clouds {', '.join(clouds)} cannot share a cluster: some are simulated and some are not",
            who_can_fix=WhoCanFix.USER,
        )
        self.clouds = clouds
