"""Say what a request would do before it is made: nodes created, changed and removed, quota, time, tuning. Pure."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from pydantic import BaseModel, Field

from caravan_api.advice import advice
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.presets import effective
from caravan_shared.contracts.spec import ClusterSpec, NodeSet, Role
from caravan_shared.contracts.tuning import Tuning

# Seconds beside the machines' boot, measured with kubeadm 1.34 on 2-CPU machines with packages in the image.
FIRST_CONTROL_PLANE_S = 40.0
JOIN_S = 10.0
# Control planes join one etcd member after the other; workers join this many at once.
JOINS_AT_ONCE = 50
# Draining a node and deleting its machine; this many at once.
REMOVE_S = 20.0
REMOVALS_AT_ONCE = 10
# kubeadm upgrade of one node: drained, new kubelet, back; one after the other.
UPGRADE_NODE_S = 60.0


class SetPlan(BaseModel):
    """What happens to one node set."""

    name: str
    role: Role
    machine_type: str
    current: int = Field(description="Nodes wanted now.")
    wanted: int = Field(description="Nodes wanted afterwards.")
    create: int
    remove: int
    change: list[str] = Field(description="What else changes, in words.")


class QuotaPlan(BaseModel):
    """Machines needed beyond those there are, against what the cloud still grants."""

    resource: str = "machines"
    need: int
    free: int | None = Field(description="None where the cloud sets no limit.")
    limit: int | None
    fits: bool


class Plan(BaseModel):
    """What a request would do. Nothing was done yet."""

    action: str
    node_sets: list[SetPlan]
    create: int
    remove: int
    upgrade: str | None = Field(
        None, description="Where the version changes: `<old> → <new>`, by way of every minor between."
    )
    paused: bool = Field(False, description="Nothing of it will be done before the cluster is resumed.")
    quota: QuotaPlan
    estimate_s: float = Field(description="How long it will usually take, seconds.")
    simulated: bool
    virtual_ip: IPv4Address | IPv6Address | None = Field(
        None, description="What its kube-apiserver is reached at; null where its name follows the live control planes."
    )
    tuning: Tuning | None = Field(None, description="How its parts will be set for its size, overrides included.")
    advice: list[str] = Field(default_factory=list, description="What would be wise and is yours to choose.")


def plan(
    action: str,
    current: ClusterSpec | None,
    wanted: ClusterSpec | None,
    offer: CloudOffered | None,
    versions: Sequence[str] = (),
) -> Plan:
    """Compare two specs; None is no cluster. `offer` is that of the cluster's cloud.

    `versions` are those that an upgrade installs one after the other, the present one first.
    """
    before = {node_set.name: node_set for node_set in current.node_sets()} if current else {}
    after = {node_set.name: node_set for node_set in wanted.node_sets()} if wanted else {}
    sets = [_set_plan(before.get(name), after.get(name)) for name in {**after, **before}]
    create, remove = sum(each.create for each in sets), sum(each.remove for each in sets)
    return Plan(
        action=action,
        node_sets=sets,
        create=create,
        remove=remove,
        upgrade=" → ".join(versions) if len(versions) > 1 else None,
        paused=bool(wanted and wanted.paused),
        quota=_quota(create, offer),
        estimate_s=_estimate(sets, before, offer, upgrades=max(len(versions) - 1, 0), deletes=wanted is None),
        simulated=bool(offer and offer.simulated),
        virtual_ip=wanted.network.virtual_ip if wanted else None,
        tuning=effective(wanted) if wanted else None,
        advice=advice(wanted, current, offer) if wanted else [],
    )


def _set_plan(before: NodeSet | None, after: NodeSet | None) -> SetPlan:
    known = after or before
    assert known, "a set is in one of the two specs"
    current, wanted = before.count if before else 0, after.count if after else 0
    return SetPlan(
        name=known.name,
        role=known.role,
        machine_type=known.machine_type,
        current=current,
        wanted=wanted,
        create=max(wanted - current, 0),
        remove=max(current - wanted, 0),
        change=_changes(before, after) if before and after else [],
    )


def _changes(before: NodeSet, after: NodeSet) -> list[str]:
    changed = [part for part in ("labels", "taints") if getattr(before, part) != getattr(after, part)]
    return [f"{part}: on nodes made from now on" for part in changed]


def _quota(need: int, offer: CloudOffered | None) -> QuotaPlan:
    limit = offer.quota.machines_limit if offer else None
    free = max(limit - offer.quota.machines_used, 0) if offer and limit is not None else None
    return QuotaPlan(need=need, free=free, limit=limit, fits=free is None or need <= free)


def _estimate(
    sets: list[SetPlan], before: Mapping[str, NodeSet], offer: CloudOffered | None, *, upgrades: int, deletes: bool
) -> float:
    boot_s = offer.seconds_to_boot if offer else 0.0
    create = {role: sum(each.create for each in sets if each.role is role) for role in Role}
    remove = sum(each.remove for each in sets)
    seconds = 0.0
    if any(create.values()):
        seconds += boot_s + create[Role.CONTROL_PLANE] * JOIN_S + _rounds(create[Role.WORKER], JOINS_AT_ONCE) * JOIN_S
        seconds += 0.0 if before else FIRST_CONTROL_PLANE_S
    if remove:
        # A deletion drains nothing and deletes all machines together.
        seconds += REMOVE_S if deletes else _rounds(remove, REMOVALS_AT_ONCE) * REMOVE_S
    return upgrades * sum(node_set.count for node_set in before.values()) * UPGRADE_NODE_S + seconds


def _rounds(count: int, at_once: int) -> int:
    return -(-count // at_once)
