"""Say what a request would do before it is made: nodes created, changed and removed, quota, time, tuning. Pure."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from caravan_api.advice import advice
from caravan_shared.contracts.addresses import IPAddress
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
    cloud: str
    current: int = Field(description="Nodes wanted now.")
    wanted: int = Field(description="Nodes wanted afterwards.")
    create: int
    remove: int
    change: list[str] = Field(description="What else changes, in words.")


class QuotaPlan(BaseModel):
    """Machines needed of one cloud beyond those there are, against what it still grants."""

    cloud: str
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
    quota: QuotaPlan = Field(description="That of the first cloud where it does not fit, else of the cluster's own.")
    quotas: list[QuotaPlan] = Field(description="Of every cloud that the cluster's machines come from.")
    estimate_s: float = Field(description="How long it will usually take, seconds.")
    simulated: bool
    virtual_ip: IPAddress | None = Field(
        None, description="What its kube-apiserver is reached at; null where its name follows the live control planes."
    )
    tuning: Tuning | None = Field(None, description="How its parts will be set for its size, overrides included.")
    advice: list[str] = Field(default_factory=list, description="What would be wise and is yours to choose.")


def plan(
    action: str,
    current: ClusterSpec | None,
    wanted: ClusterSpec | None,
    offers: Mapping[str, CloudOffered],
    versions: Sequence[str] = (),
) -> Plan:
    """Compare two specs; None is no cluster. `offers` are those of the clouds, by name.

    `versions` are those that an upgrade installs one after the other, the present one first.
    """
    before = {node_set.name: node_set for node_set in current.node_sets()} if current else {}
    after = {node_set.name: node_set for node_set in wanted.node_sets()} if wanted else {}
    sets = [_set_plan(before.get(name), after.get(name)) for name in {**after, **before}]
    create, remove = sum(each.create for each in sets), sum(each.remove for each in sets)
    known = wanted or current
    assert known, "one of the two is a cluster"
    quotas = [_quota(cloud, sets, offers.get(cloud)) for cloud in known.clouds()]
    return Plan(
        action=action,
        node_sets=sets,
        create=create,
        remove=remove,
        upgrade=" → ".join(versions) if len(versions) > 1 else None,
        paused=bool(wanted and wanted.paused),
        quota=next((quota for quota in quotas if not quota.fits), quotas[0]),
        quotas=quotas,
        estimate_s=_estimate(sets, before, offers, upgrades=max(len(versions) - 1, 0), deletes=wanted is None),
        simulated=any(offers[cloud].simulated for cloud in known.clouds() if cloud in offers),
        virtual_ip=wanted.network.virtual_ip if wanted else None,
        tuning=effective(wanted) if wanted else None,
        advice=advice(wanted, current, offers.get(wanted.node_sets()[0].cloud)) if wanted else [],
    )


def _set_plan(before: NodeSet | None, after: NodeSet | None) -> SetPlan:
    known = after or before
    assert known, "a set is in one of the two specs"
    current, wanted = before.count if before else 0, after.count if after else 0
    return SetPlan(
        name=known.name,
        role=known.role,
        machine_type=known.machine_type,
        cloud=known.cloud,
        current=current,
        wanted=wanted,
        create=max(wanted - current, 0),
        remove=max(current - wanted, 0),
        change=_changes(before, after) if before and after else [],
    )


def _changes(before: NodeSet, after: NodeSet) -> list[str]:
    changed = [part for part in ("labels", "taints") if getattr(before, part) != getattr(after, part)]
    return [f"{part}: on nodes made from now on" for part in changed]


def _quota(cloud: str, sets: Sequence[SetPlan], offer: CloudOffered | None) -> QuotaPlan:
    need = sum(each.create for each in sets if each.cloud == cloud)
    limit = offer.quota.machines_limit if offer else None
    free = max(limit - offer.quota.machines_used, 0) if offer and limit is not None else None
    return QuotaPlan(cloud=cloud, need=need, free=free, limit=limit, fits=free is None or need <= free)


def _estimate(
    sets: list[SetPlan],
    before: Mapping[str, NodeSet],
    offers: Mapping[str, CloudOffered],
    *,
    upgrades: int,
    deletes: bool,
) -> float:
    slow = [offers[each.cloud].seconds_to_boot for each in sets if each.create and each.cloud in offers]
    boot_s = max(slow, default=0.0)
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
