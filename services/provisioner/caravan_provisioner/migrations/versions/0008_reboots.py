"""Reboots of nodes: when one was asked for, and what came of it."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reboot_asked_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("rebooted_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("reboot_refused", sa.String(), nullable=True))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.drop_column("reboot_refused")
        batch_op.drop_column("rebooted_at")
        batch_op.drop_column("reboot_asked_at")
