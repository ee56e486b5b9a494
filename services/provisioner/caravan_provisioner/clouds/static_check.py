"""What an operator is told of the power of an inventory's machines: whose can be had, and why that of others cannot.

Every BMC is asked once, and nothing is changed. One sentence for all that is well, one for each BMC that is not.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from sushy import PowerState

from caravan_provisioner.clouds.bmc_faults import BmcFault
from caravan_provisioner.clouds.bmc_redfish import BmcLogin
from caravan_provisioner.clouds.bmcs import Bmcs
from caravan_provisioner.clouds.static_inventory import InventoryMachine
from caravan_shared.contracts.facts import Finding, FindingLevel
from caravan_shared.plumbing.errors import GiveUp

_WITHIN_S = 20.0  # for all of them; less than whoever asked waits
_NAMED = 20  # machines in one sentence, and BMCs with sentences of their own: a list that a person still reads
_WITHOUT = "Without, its silent nodes are replaced and not rebooted first: `caravan machine change NAME --bmc …`."

Answer: TypeAlias = PowerState | BmcFault | GiveUp | TimeoutError | None
"""What came of asking a BMC."""


async def findings_of_power(
    machines: Sequence[InventoryMachine], bmcs: Bmcs, login: Callable[[InventoryMachine], BmcLogin]
) -> Sequence[Finding]:
    """Ask every BMC that can be asked. Raises nothing on purpose."""
    problems = {machine.name: machine.power_problem(machine.described()) for machine in machines}
    asked = [machine for machine in machines if not problems[machine.name]]
    answers = dict[str, Answer]((machine.name, TimeoutError()) for machine in asked)

    async def ask(machine: InventoryMachine) -> None:
        try:
            answers[machine.name] = await bmcs.power(login(machine))
        except (BmcFault, GiveUp) as fault:
            answers[machine.name] = fault

    with suppress(TimeoutError):  # who has not answered by then still has that for an answer
        async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
            for machine in asked:
                group.create_task(ask(machine))
    told = {name: problem for name, problem in problems.items() if problem}
    return [*_unasked(told), *_answered(answers)]


def _unasked(problems: Mapping[str, str]) -> Iterator[Finding]:
    """Of a machine that has no BMC, that is how its operator wants it."""
    if problems:
        says = "; ".join(list(problems.values())[:_NAMED]) + _and_others(len(problems) - _NAMED)
        yield Finding(about="power", level=FindingLevel.OK, says=says, mend=_WITHOUT)


def _answered(answers: Mapping[str, Answer]) -> Iterator[Finding]:
    well = defaultdict[str, list[str]](list)
    faults = dict[str, BmcFault | GiveUp]()
    late = list[str]()
    for name, answer in answers.items():
        match answer:
            case BmcFault() | GiveUp():
                faults[name] = answer
            case TimeoutError():
                late.append(name)
            case _:
                well[answer.value if answer else "not told"].append(name)
    for power, names in sorted(well.items()):
        says = f"{len(names)} let us in, power {power}: {_some(names)}"
        yield Finding(about="BMCs", level=FindingLevel.OK, says=says)
    for name, fault in list(faults.items())[:_NAMED]:
        yield _of_fault(name, fault)
    if len(faults) > _NAMED:
        says = f"{len(faults) - _NAMED} others have such faults: {_some(list(faults)[_NAMED:])}"
        yield Finding(about="BMCs", level=FindingLevel.WARNING, says=says, mend="Mend those above, then check again.")
    if late:
        says = f"{len(late)} had not answered after {_WITHIN_S:g} s: {_some(late)}"
        mend = "Check again; for many BMCs, raise the cloud's `bmcs_at_once`."
        yield Finding(about="BMCs", level=FindingLevel.WARNING, says=says, mend=mend)


def _of_fault(name: str, fault: BmcFault | GiveUp) -> Finding:
    """A warning: clusters can be made all the same."""
    about, level = f"BMC of {name}", FindingLevel.WARNING
    if isinstance(fault, GiveUp):
        return Finding(about=about, level=level, says=fault.reason, mend="See to the key ring, or give it anew.")
    mend = f"{fault.mend[:1].upper()}{fault.mend[1:]}." + (" Or check again: it may pass." if fault.passes else "")
    return Finding(about=about, level=level, says=fault.says, mend=mend)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + _and_others(len(names) - _NAMED)


def _and_others(more: int) -> str:
    return f" and {more} more" if more > 0 else ""
