"""Inventories of machines that stand there already, and which cloud each node is on."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "inventory",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cloud", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("ssh_port", sa.Integer(), nullable=False),
        sa.Column("machine_type", sa.String(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("sealed_bmc_password", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("checked_at", UtcDateTime(), nullable=True),
        sa.Column("ticket", sa.Integer(), nullable=False),
        sa.Column("waits_since", UtcDateTime(), nullable=True),
        sa.Column("installation", sa.String(), nullable=True),
        sa.Column("cluster_id", sa.Uuid(), nullable=True),
        sa.Column("node_set", sa.String(), nullable=True),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("batch", sa.String(), nullable=True),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("claimed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inventory")),
        sa.UniqueConstraint("address", "ssh_port", name=op.f("uq_inventory_address")),
        sa.UniqueConstraint("name", name=op.f("uq_inventory_name")),
    )
    with op.batch_alter_table("inventory", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_inventory_cloud"), ["cloud"], unique=False)
        batch_op.create_index(batch_op.f("ix_inventory_node"), ["node"], unique=False)

    op.create_table(
        "inventory_locks",
        sa.Column("cloud", sa.String(), nullable=False),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("cloud", name=op.f("pk_inventory_locks")),
    )
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("cloud", sa.String(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("ssh_port", sa.Integer(), nullable=False, server_default="22"))

    # Until now a cluster's nodes were all on its own cloud.
    op.execute(
        "UPDATE nodes SET cloud = coalesce("
        "(SELECT clusters.cloud FROM clusters WHERE clusters.cluster_id = nodes.cluster_id), '')"
    )


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.drop_column("ssh_port")
        batch_op.drop_column("cloud")

    op.drop_table("inventory_locks")
    op.drop_table("inventory")
