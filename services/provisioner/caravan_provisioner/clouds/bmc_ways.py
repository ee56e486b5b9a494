"""Decide by which of a BMC's resets a machine is rebooted, hardest first. Pure.

off                  switch it on: that is all that can be done, and BMCs refuse a restart
ForceRestart         what is wanted: at once, whatever the machine itself is at
PowerCycle           the same, by way of cutting the power
ForceOff, then On    the same in two steps
GracefulRestart      last: a machine that hangs may not heed it
"""

from collections.abc import Collection, Iterable

from sushy import PowerState, ResetType

Way = tuple[ResetType, ...]
"""Resets that are sent one after the other, each once the one before has taken effect."""

_TO_RESTART: tuple[Way, ...] = (
    (ResetType.FORCE_RESTART,),
    (ResetType.POWER_CYCLE,),
    (ResetType.FORCE_OFF, ResetType.ON),
    (ResetType.FORCE_OFF, ResetType.FORCE_ON),
    (ResetType.GRACEFUL_RESTART,),
)
_TO_START: tuple[Way, ...] = ((ResetType.ON,), (ResetType.FORCE_ON,))


def ways_to_reboot(power: PowerState | None, allowed: Collection[ResetType]) -> list[Way]:
    """What may be tried, best first; each next one only where the BMC refused the one before. Empty: nothing helps."""
    return _allowed(_TO_START if power is PowerState.OFF else _TO_RESTART, allowed)


def ways_to_start(allowed: Collection[ResetType]) -> list[Way]:
    """The same, to switch a machine on."""
    return _allowed(_TO_START, allowed)


def _allowed(ways: Iterable[Way], allowed: Collection[ResetType]) -> list[Way]:
    """Of those that begin alike, the first: a first step that is refused is so for all of them."""
    possible = {way[0]: way for way in reversed(list(ways)) if set(way) <= set(allowed)}
    return list(reversed(possible.values()))
