"""How clusters and leases are told in a chat: a line each, with what can be done about them. Pure."""

from caravan_api.doors.chatops.answers import Button, Line
from caravan_api.pools.store import Lease
from caravan_api.readmodel import ClusterView
from caravan_api.timeline import utc
from caravan_shared.contracts.states import ClusterPhase, LeaseState


def lease_line(lease: Lease) -> Line:
    """A lease that is not over."""
    give_back = _return_button(lease)
    if lease.state == LeaseState.HELD and lease.ends_at:
        extend = Button("Extend", ("extend", str(lease.id)))
        return Line(
            f"{lease.cluster} of the pool {lease.pool} is yours until {utc(lease.ends_at)}", (extend, give_back)
        )
    if lease.state == LeaseState.KEPT and lease.ends_at:
        return Line(f"{lease.cluster} of the pool {lease.pool} is kept until {utc(lease.ends_at)}", (give_back,))
    return Line(f"You wait for a cluster of the pool {lease.pool}", (give_back,))


def _return_button(lease: Lease) -> Button:
    if lease.state == LeaseState.WAITING:
        return Button("Leave the queue", ("return", str(lease.id)), asks=f"Leave the queue of {lease.pool}?")
    return Button(
        "Return", ("return", str(lease.id)), asks=f"Give back {lease.cluster}? The cluster is deleted, with all in it."
    )


def cluster_line(view: ClusterView) -> Line:
    """A cluster in a list."""
    health = f", {view.health.verdict}" if view.health else ""
    ends = f", until {utc(view.expires_at)}" if view.expires_at else ""
    return Line(f"{view.name}: {view.phase}{health}, {view.nodes.ready} of {view.nodes.wanted} nodes ready{ends}")


def buttons_of(view: ClusterView) -> tuple[Button, ...]:
    """What can be done about a cluster as it is."""
    if view.asleep:
        return (wake_button(view), delete_button(view))
    return (hibernate_button(view), delete_button(view)) if view.phase == ClusterPhase.READY else (delete_button(view),)


def hibernate_button(view: ClusterView) -> Button:
    """Asked about first: it ends what runs there, though disks stay."""
    asks = f"Put {view.name} to sleep? What runs on it ends, its disks stay."
    return Button("Hibernate", ("hibernate", str(view.id)), asks=asks)


def wake_button(view: ClusterView) -> Button:
    """Wakes that very cluster."""
    return Button("Wake", ("wake", str(view.id)))


def delete_button(view: ClusterView) -> Button:
    """Deletes that very cluster, whatever is called so when it is pressed."""
    return Button("Delete", ("delete", str(view.id)), asks=f"Delete {view.name}? It is gone with all in it.")


def kubeconfig_command(team: str, cluster: str) -> str:
    """How its reader gets in: chat hands out no credentials, so whoever reads along or takes a chat over gets none."""
    return f"caravan --team {team} cluster kubeconfig {cluster} -f {cluster}.kubeconfig"
