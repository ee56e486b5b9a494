"""Decide which nodes that health cannot reach are repaired: rebooted, or given up and so replaced. Pure.

Unreachable for less than `repair_after_s`        wait; a verdict that changes meanwhile ends the matter
health cannot judge the cluster at all            hold
repair of the cluster or of all is switched off   hold, until it is switched on
too large a part of its cloud's nodes is          hold, until fewer are or a person retries (`breaker`, `fleet`)
too large a part of its set is Unreachable        hold, until a person retries (`breaker`)
a control-plane or etcd node, out of its turn     hold (`turnstile`)
a person asked to replace it, and it is dead      give it up at once; only health and the turnstile may object
otherwise                                         reboot it first where that may help (`reboot`), then give it up
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from caravan_provisioner.breaker import unreachable_too_many
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import GONE, Node
from caravan_provisioner.plan import Outlook, Plan, Wanted
from caravan_provisioner.reboot import reboot_first, what_came_of_it
from caravan_provisioner.turnstile import Turnstile
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import RepairMode
from caravan_shared.contracts.states import MachineState, Verdict


def repair(
    members: Iterable[Node],
    wanted: Wanted,
    plan: Plan,
    turnstile: Turnstile,
    outlook: Outlook,
    now: datetime,
    limits: Limits,
) -> None:
    """Put into the plan which nodes of one set are repaired or held; `members` are all that the set ever had."""
    kept = [node for node in members if node.state not in GONE]
    silent = [node for node in kept if node.is_silent]
    too_many = unreachable_too_many(silent, kept, limits)
    for node in sorted(silent, key=lambda node: (node.verdict_since or now, node.name)):
        asked_for = node.name in wanted.replace
        due_at = (node.verdict_since or now) + timedelta(seconds=limits.repair_after_s)
        if not asked_for and now < due_at:
            plan.look_again(due_at)
            continue
        reason = _cannot_judge(wanted)
        if not asked_for:
            reason = reason or _switched_off(wanted, limits)
            if not wanted.has_seen(node.verdict_since):
                reason = reason or outlook.storms.get(node.cloud) or too_many
        if reason := reason or turnstile.refuses_to_give_up(node):
            plan.hold(node, reason)
        elif asked_for or not reboot_first(node, plan, outlook, now, limits):
            sentence = _sentence(node, outlook, limits, asked_for=asked_for)
            plan.put(node.failed(sentence, WhoCanFix.OPERATOR, now))
    for node in kept:
        if node.missing_since and node.name in wanted.replace and plan.nodes[node.name].state is MachineState.READY:
            plan.put(node.failed("the cloud no longer lists its machine", WhoCanFix.OPERATOR, now))


def _cannot_judge(wanted: Wanted) -> str | None:
    return "health cannot judge the cluster just now" if wanted.verdict is Verdict.UNKNOWN else None


def _switched_off(wanted: Wanted, limits: Limits) -> str | None:
    if limits.repair is RepairMode.OFF:
        return f"{_OFF} of this installation: an operator sets CARAVAN_PROVISIONER_REPAIR=auto to go on"
    if wanted.spec.repair is RepairMode.OFF:
        return f"{_OFF} of this cluster: a developer of its team sets its spec's `repair: auto` to go on"
    return None


_OFF = "repair is switched off for all nodes"


def _sentence(node: Node, outlook: Outlook, limits: Limits, *, asked_for: bool) -> str:
    how_long = "when its replacement was asked for" if asked_for else f"for {limits.repair_after_s:g} s"
    said = f"health could not reach it {how_long}: {node.verdict_reason or 'no reason was told'}"
    might_have_been = limits.reboot_wait_s and not asked_for
    return said + what_came_of_it(node, outlook.power_problems.get(node.name) if might_have_been else None)
