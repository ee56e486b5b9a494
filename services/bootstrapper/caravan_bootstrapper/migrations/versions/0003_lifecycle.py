"""What upgrades, removals and upkeep have come to."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OF_NODES = (
    sa.Column("unfinished", sa.String(), nullable=True),
    sa.Column("verdict", sa.String(), nullable=False, server_default="Unknown"),
    sa.Column("verdict_since", UtcDateTime(), nullable=True),
    sa.Column("verdict_sequence", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("renewed_at", UtcDateTime(), nullable=True),
    sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("failed_at", UtcDateTime(), nullable=True),
    sa.Column("failure", sa.String(), nullable=True),
    sa.Column("told", sa.String(), nullable=True),
    sa.Column("blamed_at", UtcDateTime(), nullable=True),
)
_OF_RUNS = (
    sa.Column("upgrade_first", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("note", sa.String(), nullable=False, server_default=""),
)


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("backed_up_at", UtcDateTime(), nullable=True))
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        for column in _OF_NODES:
            batch_op.add_column(column)
    with op.batch_alter_table("runs", schema=None) as batch_op:
        for column in _OF_RUNS:
            batch_op.add_column(column)


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("runs", schema=None) as batch_op:
        for column in _OF_RUNS:
            batch_op.drop_column(column.name)
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        for column in _OF_NODES:
            batch_op.drop_column(column.name)
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.drop_column("backed_up_at")
