"""The tables that the plumbing keeps in every service's store: outbox, inbox, leases and traces."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table

from caravan_shared.plumbing.utc import UtcDateTime

_OWN = MetaData()
COUNTED_ID = BigInteger().with_variant(Integer, "sqlite")
"""Of rows that the database numbers: SQLite does so only for INTEGER."""

OUTBOX = Table(
    "outbox",
    _OWN,
    Column("id", COUNTED_ID, primary_key=True, autoincrement=True),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("subject", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("about", String, nullable=False, doc="The cluster's id, or empty."),
    Column("schema_version", Integer, nullable=False),
    Column("said_at", UtcDateTime, nullable=False),
    Column("stream_epoch", String, nullable=True, doc="Which life of the stream stored it; null: none yet."),
    Column("traceparent", String, nullable=True, doc="The W3C trace context that it was said in; null: none."),
    Column("tracestate", String, nullable=True),
    Index("ix_outbox_stream_epoch", "stream_epoch", "id"),
    sqlite_autoincrement=True,
)
"""Events written with the change they tell of, until the bus has stored them and for as long as the bus keeps them."""

INBOX = Table(
    "inbox",
    _OWN,
    Column("event_id", String, primary_key=True),
    Column("heard_at", UtcDateTime, nullable=False, index=True),
)
"""Ids of events already handled."""

LEASES = Table(
    "leases",
    _OWN,
    Column("key", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)
"""Who may work on which key, until when; the epoch rises with every change of hands."""

TRACES = Table(
    "traces",
    _OWN,
    Column("key", String, primary_key=True),
    Column("trace_id", String(32), nullable=False),
    Column("traceparent", String, nullable=False),
    Column("tracestate", String, nullable=False),
    Column("began_at", UtcDateTime, nullable=False, index=True),
)
"""The trace of the newest request about each key."""


def plumbing_tables(metadata: MetaData) -> None:
    """Copy the plumbing's tables into a service's metadata."""
    for table in _OWN.sorted_tables:
        table.to_metadata(metadata)
