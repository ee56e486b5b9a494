"""Decide whether a node that is due for repair is rebooted before it is replaced. Pure.

Asked for since it fell silent, and took effect or may have      wait for `reboot_wait_s`, then replace it
asked for since it fell silent, and refused                      replace it
asked for before, within `calm_s`                                replace it: rebooting helps it for a while only
its machine does not run, or cannot be rebooted by its cloud     replace it
otherwise                                                        reboot it
"""

from datetime import datetime, timedelta

from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node
from caravan_provisioner.plan import Outlook, Plan


def reboot_first(node: Node, plan: Plan, outlook: Outlook, now: datetime, limits: Limits) -> bool:
    """Put the reboot of a silent node, or the wait after it, into the plan; False where it is to be replaced."""
    asked_at = node.reboot_asked_at
    if asked_at and _is_of_this_silence(asked_at, node):
        ends_at = asked_at + timedelta(seconds=limits.reboot_wait_s)
        if node.reboot_refused or now >= ends_at:
            return False
    elif not limits.reboot_wait_s or node.name not in outlook.rebootable or _was_lately(asked_at, now, limits):
        return False
    else:
        ends_at = now + timedelta(seconds=limits.reboot_wait_s)
        plan.reboot(node, now)
    plan.hold(plan.nodes[node.name], _sentence(limits))
    plan.look_again(ends_at)
    return True


def what_came_of_it(node: Node, power_problem: str | None) -> str:
    """What to add to the reason why a node is given up: that its reboot was no help, or why there was none, if told."""
    if node.reboot_asked_at is None:
        return f"; it was not rebooted: {power_problem}" if power_problem else ""
    if not _is_of_this_silence(node.reboot_asked_at, node):
        return f"; it was rebooted before, at {node.reboot_asked_at:%Y-%m-%d %H:%M} UTC"
    if node.reboot_refused:
        return f"; it was not rebooted: {node.reboot_refused}"
    return "; a reboot did not help"


def is_rebooting(node: Node, now: datetime, limits: Limits) -> bool:
    """Whether its machine may stand still for the moment because of a reboot."""
    asked_at = node.reboot_asked_at
    if asked_at is None or node.reboot_refused:
        return False
    return now < asked_at + timedelta(seconds=limits.reboot_wait_s)


def _is_of_this_silence(asked_at: datetime, node: Node) -> bool:
    return node.verdict_since is not None and asked_at >= node.verdict_since


def _was_lately(asked_at: datetime | None, now: datetime, limits: Limits) -> bool:
    return asked_at is not None and now < asked_at + timedelta(seconds=limits.calm_s)


def _sentence(limits: Limits) -> str:
    """Without times, so that it is told once."""
    return (
        f"it is rebooted first: Unreachable for {limits.repair_after_s:g} s; "
        f"replaced if it still is {limits.reboot_wait_s:g} s later"
    )
