"""Clusters that sleep: whether they shall, and how far that is."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("asleep", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("power_generation", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("power_asked_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("power_reached", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("told_power", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.drop_column("told_power")
        batch_op.drop_column("power_reached")
        batch_op.drop_column("power_asked_at")
        batch_op.drop_column("power_generation")
        batch_op.drop_column("asleep")
