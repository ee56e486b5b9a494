"""Clusters that live for so long."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.add_column(sa.Column("expires_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("lifetime_said_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("expiry_told", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.drop_column("expiry_told")
        batch_op.drop_column("lifetime_said_at")
        batch_op.drop_column("expires_at")
