"""Clusters that are put to sleep and woken."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.add_column(sa.Column("asleep", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("power_generation", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("woken_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.drop_column("woken_at")
        batch_op.drop_column("power_generation")
        batch_op.drop_column("asleep")
