"""What upgrades, removals and upkeep have come to."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("backed_up_at", UtcDateTime(), nullable=True))

    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unfinished", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("verdict", sa.String(), nullable=False, server_default="Unknown"))
        batch_op.add_column(sa.Column("verdict_since", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("verdict_sequence", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("renewed_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("failed_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("failure", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("failed_play", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("told", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("blamed_at", UtcDateTime(), nullable=True))

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("upgrade_first", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("note", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_column("note")
        batch_op.drop_column("upgrade_first")

    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.drop_column("blamed_at")
        batch_op.drop_column("told")
        batch_op.drop_column("failed_play")
        batch_op.drop_column("failure")
        batch_op.drop_column("failed_at")
        batch_op.drop_column("failures")
        batch_op.drop_column("renewed_at")
        batch_op.drop_column("verdict_sequence")
        batch_op.drop_column("verdict_since")
        batch_op.drop_column("verdict")
        batch_op.drop_column("unfinished")

    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.drop_column("backed_up_at")
