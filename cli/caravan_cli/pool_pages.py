"""How pools and leases look on the screen: rows of lists, documents for programs, and all about one pool."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import typer
from pydantic import BaseModel
from rich.console import Console

from caravan_cli import durations
from caravan_cli.render import Cell, Output, Row, age, document, say, stdout, table
from caravan_cli.views import Lease, Pool

POOL_HEADS = ("NAME", "SPARES", "MAKING", "LEASED", "WAITING", "VERSION", "AGE", "TROUBLE")
POOL_HEADS_WIDE = (*POOL_HEADS, "TEAM", "MAX SIZE", "STALE", "OLD", "BROKEN", "LEAVING", "USUAL MAKING")
LEASE_HEADS = ("ID", "POOL", "STATE", "CLUSTER", "HOLDER", "LEFT", "PURPOSE")
LEASE_HEADS_WIDE = (*LEASE_HEADS, "TEAM", "ASKED", "HEARTBEAT", "LABELS", "END")
_BUCKETS = (
    ("ready", "whoever comes next gets one"),
    ("making", "asked for, or not yet found fit"),
    ("asleep", "spares whose machines are stopped; woken when none is ready"),
    ("stale", "of an earlier template; replaced now"),
    ("old", "spares for too long; replaced once others are ready"),
    ("broken", "did not come to be, or are fit no more; replaced"),
    ("leaving", "being deleted"),
    ("leased", "somebody has them"),
)


def show_pools(pools: Sequence[Pool], output: Output, now: datetime) -> None:
    """Print a list of pools in the form asked for."""
    if _printed_for_program(pools, [pool.name for pool in pools], output):
        return
    wide = output is Output.WIDE
    table(stdout(), POOL_HEADS_WIDE if wide else POOL_HEADS, [pool_row(pool, now, wide=wide) for pool in pools])


def show_leases(leases: Sequence[Lease], output: Output, now: datetime) -> None:
    """Print a list of leases in the form asked for."""
    if _printed_for_program(leases, [lease.id for lease in leases], output):
        return
    wide = output is Output.WIDE
    table(stdout(), LEASE_HEADS_WIDE if wide else LEASE_HEADS, [lease_row(lease, now, wide=wide) for lease in leases])


def show_pool(pool: Pool, output: Output, now: datetime) -> None:
    """Print one pool in the form asked for."""
    if output in {Output.JSON, Output.YAML}:
        document(pool, output)
    else:
        show_pools([pool], output, now)


def show_lease(lease: Lease, output: Output, now: datetime) -> None:
    """Print one lease in the form asked for."""
    if output in {Output.JSON, Output.YAML}:
        document(lease, output)
    else:
        show_leases([lease], output, now)


def pool_row(pool: Pool, now: datetime, *, wide: bool) -> Row:
    """A pool as a line of `pool list`."""
    count = pool.clusters
    row = (
        pool.name,
        f"{count.ready}/{pool.spares_wanted}",
        str(count.making),
        str(count.leased),
        str(pool.waiting),
        str(_template(pool, "version")),
        age(pool.created_at, now),
        "is being deleted" if pool.deleting else pool.trouble or "-",
    )
    if not wide:
        return row
    numbers = (pool.spec.get("max_size", "-"), count.stale, count.old, count.broken, count.leaving)
    return (*row, pool.team, *map(str, numbers), _usual_making(pool))


def lease_row(lease: Lease, now: datetime, *, wide: bool) -> Row:
    """A lease as a line of `lease list`."""
    row = (
        lease.id,
        lease.pool,
        lease.state.value,
        lease.cluster or "-",
        lease.holder,
        age(now, lease.ends_at) if lease.ends_at and not lease.ended_at else "-",
        lease.purpose or "-",
    )
    if not wide:
        return row
    heartbeat = durations.text(lease.heartbeat_s) if lease.heartbeat_s else "-"
    labels = ",".join(f"{key}={value}" for key, value in lease.labels.items()) or "-"
    return (*row, lease.team, f"{age(lease.asked_at, now)} ago", heartbeat, labels, lease.end_reason or "-")


def describe(console: Console, pool: Pool, leases: Iterable[Lease], now: datetime) -> None:
    """Print all that is worth knowing about a pool."""
    table(console, ("FIELD", "VALUE"), [*_facts(pool, now)])
    _heading(console, "Clusters")
    counts = [(name, str(getattr(pool.clusters, name)), meaning) for name, meaning in _BUCKETS]
    table(console, ("BUCKET", "CLUSTERS", "WHICH"), counts)
    _heading(console, "Leases")
    table(console, LEASE_HEADS, [lease_row(lease, now, wide=False) for lease in leases])


def _facts(pool: Pool, now: datetime) -> Iterable[tuple[Cell, Cell]]:
    spec = pool.spec
    yield "Name", pool.name
    yield "Team", pool.team
    yield "Id", pool.id
    if pool.deleting:
        yield "Deletion", "its spares go, leases run to their end"
    yield "Version", str(_template(pool, "version"))
    yield "Cloud", str(_template(pool, "cloud"))
    scheduled = ", as its schedule says" if spec.get("schedule") else ""
    yield "Spares", f"{pool.clusters.ready} ready of {pool.spares_wanted} wanted now{scheduled}"
    yield "Limits", f"{spec.get('max_size', '-')} clusters, {spec.get('max_making', '-')} in the making at once"
    yield "A lease", f"lasts {_s(spec, 'lease_s')}, at most {_s(spec, 'max_lease_s')}"
    yield "Kept", f"for debugging at most {_s(spec, 'max_keep_s')}"
    yield "Queue", f"{pool.waiting} waiting"
    yield (
        "Making one",
        f"usually takes {_usual_making(pool)}" if pool.usual_making_s is not None else "none was made yet",
    )
    if pool.trouble:
        yield "Trouble", pool.trouble
    if pool.next_try_at:
        yield "Next try", f"in {age(now, pool.next_try_at)}"
    if pool.roll:
        yield "Roll", pool.roll
    yield "Created", f"{age(pool.created_at, now)} ago by {pool.created_by or 'someone'}"


def _template(pool: Pool, field: str) -> object:
    return pool.spec.get("template", {}).get(field, "-")


def _s(spec: dict[str, object], field: str) -> str:
    value = spec.get(field)
    return durations.text(value) if isinstance(value, int) else "-"


def _usual_making(pool: Pool) -> str:
    return durations.text(pool.usual_making_s) if pool.usual_making_s is not None else "-"


def _heading(console: Console, text: str) -> None:
    console.print()
    say(console, text, style="bold")


def _printed_for_program(found: Sequence[BaseModel], names: Sequence[str], output: Output) -> bool:
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
    elif output is Output.NAME:
        typer.echo("\n".join(names), nl=bool(names))
    else:
        return False
    return True
