"""Clusters that sleep are not asked."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("watched", schema=None) as batch_op:
        batch_op.add_column(sa.Column("asleep", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("woken_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("watched", schema=None) as batch_op:
        batch_op.drop_column("woken_at")
        batch_op.drop_column("asleep")
