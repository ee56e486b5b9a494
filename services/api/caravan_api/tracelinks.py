"""Where people read the trace of what was last asked of a cluster."""

from uuid import UUID

from caravan_api.readmodel import TraceView
from caravan_api.seen import Seeing

PLACE = "{trace_id}"
"""What stands for the id in the address of a trace viewer."""


async def trace_of(seeing: Seeing, cluster_id: UUID, template: str | None) -> TraceView | None:
    """The newest request's trace, with its address where `template` says how that is made; None: it has none."""
    trace_id = await seeing.trace_id(cluster_id)
    if trace_id is None:
        return None
    return TraceView(id=trace_id, url=template.replace(PLACE, trace_id) if template else None)
