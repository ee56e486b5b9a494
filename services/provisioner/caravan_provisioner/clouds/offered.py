"""What every cloud can be checked for: that it answers, what it has, how much it grants."""

from collections.abc import Sequence

from caravan_provisioner.clouds.base import Cloud
from caravan_shared.contracts.facts import Finding, FindingLevel
from caravan_shared.plumbing.errors import GiveUp, Retry


async def findings_of_offers(cloud: Cloud) -> Sequence[Finding]:
    """What its offers tell of its usability."""
    try:
        offers = await cloud.offers()
    except (Retry, GiveUp) as error:
        return [
            Finding(about="api", level=FindingLevel.FATAL, says=error.reason, mend="See that it runs and lets us in.")
        ]
    limit, used = offers.quota.machines_limit, offers.quota.machines_used
    is_full = limit is not None and used >= limit
    return [
        Finding(about="api", level=FindingLevel.OK, says="it answers"),
        Finding(
            about="machine types",
            level=FindingLevel.OK if offers.machine_types else FindingLevel.FATAL,
            says=", ".join(each.name for each in offers.machine_types) or "it has none",
        ),
        Finding(
            about="quota",
            level=FindingLevel.FATAL if is_full else FindingLevel.OK,
            says=f"{used} of {'any number of' if limit is None else limit} machines in use",
            mend="Delete machines or raise the limit." if is_full else "",
        ),
    ]
