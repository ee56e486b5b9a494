"""The BMCs of one inventory, asked from asyncio: power is looked at, machines are rebooted. Sushy blocks: threads.

Looks are repeated where a BMC does not answer; a reset never is. How it went is seen by looking at the power after it:
a BMC that takes a restart may leave the machine off, and one that gives no answer may have carried it out.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from sushy import PowerState, ResetType

from caravan_provisioner.clouds.bmc_faults import BmcFault, ResetRefused, Unclear, Unreachable
from caravan_provisioner.clouds.bmc_redfish import BmcLogin, BmcSystem
from caravan_provisioner.clouds.bmc_ways import Way, ways_to_reboot, ways_to_start
from caravan_provisioner.metrics import cloud_call
from caravan_shared.plumbing.log import get_logger

R = TypeVar("R")

log = get_logger(__name__)

_TRIES, _PAUSE_S = 3, 2.0  # looks at a BMC that does not answer, and seconds between them: one restarts in a minute
_LOOK_EVERY_S = 1.0  # BMCs are slow, and note a change of power some seconds late
_TAKES_EFFECT_S = 20.0  # within which a machine is off after ForceOff, and on again after a restart
_SYSTEM = "/redfish/v1/Systems/{id}"


class Bmcs:
    """Asks as many BMCs at once as there are threads."""

    def __init__(self, cloud: str, *, at_once: int, timeout_s: float) -> None:
        self._cloud, self._timeout_s = cloud, timeout_s
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=f"bmc-{cloud}")

    async def power(self, login: BmcLogin) -> PowerState | None:
        """Whether the machine is on; None: its BMC does not tell. Asked once. Raises `BmcFault`."""
        async with self._opened(login, tries=1) as system:
            return system.power

    async def reboot(self, login: BmcLogin) -> None:
        """Cut the machine's power and have it boot; one that is off is switched on.

        Raises `Unclear` where it may be under way, any other `BmcFault` where surely nothing was done.
        """
        async with self._opened(login, tries=_TRIES) as system:
            try:
                await self._go_first(login, system, ways_to_reboot(system.power, system.allowed))
            except Unclear as fault:
                raise await self._with_a_look(login, system, fault) from fault
            await self._see_to_it_that_it_is_on(login, system)

    async def close(self) -> None:
        """Let go of what waits; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _opened(self, login: BmcLogin, *, tries: int) -> AsyncIterator[BmcSystem]:
        system = await self._look(lambda: BmcSystem(login, self._timeout_s), tries)
        try:
            yield system
        finally:
            system.close()

    async def _go_first(self, login: BmcLogin, system: BmcSystem, ways: list[Way]) -> None:
        """Go the first way that the BMC does not refuse."""
        refusal = ResetRefused(
            f"{login.whose} has no reset that would help: it takes {_listed(system)}", "reset it at its console"
        )
        for way in ways:
            try:
                return await self._go(login, system, way)
            except ResetRefused as fault:
                log.info("reset refused", machine=login.machine, reason=fault.says)
                refusal = fault
        raise refusal

    async def _go(self, login: BmcLogin, system: BmcSystem, way: Way) -> None:
        first, *others = way
        await self._reset(system, first)
        log.info("reset asked for", machine=login.machine, reset=first.value)
        for reset in others:
            try:
                await self._until(system, PowerState.OFF)
                await self._reset(system, reset)
            except BmcFault as fault:
                raise Unclear(f"{login.machine} was switched off and not on again: {fault.says}", fault.mend) from fault

    async def _see_to_it_that_it_is_on(self, login: BmcLogin, system: BmcSystem) -> None:
        """A restart that was taken is not taken back by what a look says; what can be mended is."""
        try:
            if await self._until(system, PowerState.ON) is PowerState.OFF:
                await self._go_first(login, system, ways_to_start(system.allowed))
        except BmcFault as fault:
            log.warning("rebooted, but not seen to run", machine=login.machine, reason=fault.sentence)

    async def _with_a_look(self, login: BmcLogin, system: BmcSystem, fault: Unclear) -> Unclear:
        try:
            await self._look(system.look, _TRIES)
        except BmcFault as trouble:
            return Unclear(f"{fault.says}; after that, {trouble.says}", trouble.mend)
        return Unclear(f"{fault.says}; after that, {login.machine} was {_told(system.power)}", fault.mend)

    async def _until(self, system: BmcSystem, wanted: PowerState) -> PowerState | None:
        """Look until the power is as wanted, or long enough; what it is then."""
        ends_at = asyncio.get_running_loop().time() + _TAKES_EFFECT_S
        while True:
            await self._look(system.look, _TRIES)
            if system.power in (wanted, None) or asyncio.get_running_loop().time() >= ends_at:
                return system.power
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _look(self, work: Callable[[], R], tries: int) -> R:
        for left in reversed(range(tries)):
            try:
                with cloud_call(self._cloud, "GET", _SYSTEM):
                    return await self._in_thread(work)
            except Unreachable:
                if not left:
                    raise
            await asyncio.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    async def _reset(self, system: BmcSystem, how: ResetType) -> None:
        with cloud_call(self._cloud, "POST", f"{_SYSTEM}/Actions/ComputerSystem.Reset"):
            await self._in_thread(lambda: system.reset(how))

    async def _in_thread(self, work: Callable[[], R]) -> R:
        in_trace = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, in_trace.run, work)


def _listed(system: BmcSystem) -> str:
    return ", ".join(sorted(reset.value for reset in system.allowed)) or "none"


def _told(power: PowerState | None) -> str:
    return f"{power.value} as its BMC says" if power else "in a state that its BMC does not tell"
