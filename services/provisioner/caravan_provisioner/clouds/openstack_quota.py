"""How many machines the project's quotas leave room for. Pure."""

from collections.abc import Mapping

from caravan_shared.contracts.facts import CloudQuota

Absolute = Mapping[str, int]
"""The `absolute` part of what a service answers to `GET /limits`; -1 is no limit."""


def granted(compute: Absolute, volumes: Absolute | None, volume_gib: int | None) -> CloudQuota:
    """Nova's machines, as far as each can have its boot volume too. `volumes`: Cinder's limits, where they have one."""
    used = max(0, compute["totalInstancesUsed"])
    rooms = [room(compute["maxTotalInstances"], used)]
    if volumes is not None and volume_gib is not None:
        gib = room(volumes["maxTotalVolumeGigabytes"], volumes["totalGigabytesUsed"])
        rooms += [
            room(volumes["maxTotalVolumes"], volumes["totalVolumesUsed"]),
            None if gib is None else gib // volume_gib,
        ]
    free = min((each for each in rooms if each is not None), default=None)
    return CloudQuota(machines_limit=None if free is None else used + free, machines_used=used)


def room(most: int, used: int) -> int | None:
    """What is free of a quota; None without one."""
    return None if most < 0 else max(0, most - used)
