"""The address that a cluster is reached at, which no other on its cloud may have."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.add_column(sa.Column("virtual_ip", sa.String(), nullable=True))
        batch_op.create_index(
            "uq_cluster_live_virtual_ip",
            ["cloud", "virtual_ip"],
            unique=True,
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_cluster_live_virtual_ip",
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.drop_column("virtual_ip")
