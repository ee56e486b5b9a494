"""Which control plane commands about other nodes are given to. None is special: who failed last is asked last. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from caravan_bootstrapper.views import ClusterView, NodeView
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MembershipState, Verdict

_NEVER = datetime.min.replace(tzinfo=UTC)
_LAST_CHOICE = {Verdict.DEGRADED: 1, Verdict.UNREACHABLE: 2}


def by_preference(nodes: Iterable[NodeView]) -> list[NodeView]:
    """The nodes, those first that health calls well and that no failed run was given to lately."""
    return sorted(nodes, key=lambda node: (_LAST_CHOICE.get(node.verdict, 0), node.blamed_at or _NEVER, node.name))


def manager(seen: ClusterView, about: Iterable[NodeView] = ()) -> NodeView | None:
    """A joined control plane that stays; another one than those it is about, where there is one."""
    joined = [node for node in seen.live(Role.CONTROL_PLANE) if node.state is MembershipState.JOINED]
    named = {node.name for node in about}
    return next(iter(sorted(by_preference(joined), key=lambda node: node.name in named)), None)
