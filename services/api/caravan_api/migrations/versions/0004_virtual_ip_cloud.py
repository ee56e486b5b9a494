"""A virtual IP is on the control plane's cloud, which need not be the one the rest of the cluster is on."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INDEX = "uq_cluster_live_virtual_ip"
_LIVE: dict[str, Any] = {
    "sqlite_where": sa.text("deleted_at IS NULL"),
    "postgresql_where": sa.text("deleted_at IS NULL"),
}


def upgrade() -> None:
    """Change the tables, and note the cloud of every virtual IP there is."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.drop_index(_INDEX, **_LIVE)
        batch_op.add_column(sa.Column("virtual_ip_cloud", sa.String(), nullable=True))
    _note_clouds()
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.create_index(_INDEX, ["virtual_ip_cloud", "virtual_ip"], unique=True, **_LIVE)


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.drop_index(_INDEX, **_LIVE)
        batch_op.drop_column("virtual_ip_cloud")
        batch_op.create_index(_INDEX, ["cloud", "virtual_ip"], unique=True, **_LIVE)


def _note_clouds() -> None:
    cluster = sa.table(
        "cluster",
        sa.column("id"),
        sa.column("cloud"),
        sa.column("virtual_ip"),
        sa.column("virtual_ip_cloud"),
        sa.column("spec", sa.JSON()),
    )
    with_one = sa.select(cluster.c.id, cluster.c.cloud, cluster.c.spec).where(cluster.c.virtual_ip.is_not(None))
    for found in op.get_bind().execute(with_one).all():
        cloud = found.spec["control_plane"].get("cloud") or found.cloud
        op.get_bind().execute(cluster.update().where(cluster.c.id == found.id).values(virtual_ip_cloud=cloud))
