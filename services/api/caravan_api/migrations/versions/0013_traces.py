"""The trace that an event was said in, and that of the newest request about each key."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "traces",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("traceparent", sa.String(), nullable=False),
        sa.Column("tracestate", sa.String(), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_traces")),
    )
    with op.batch_alter_table("traces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_traces_began_at"), ["began_at"], unique=False)
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.add_column(sa.Column("traceparent", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("tracestate", sa.String(), nullable=True))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_column("tracestate")
        batch_op.drop_column("traceparent")
    with op.batch_alter_table("traces", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_traces_began_at"))
    op.drop_table("traces")
