"""A virtual IP that comes with the machines, and the one that was told last."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables. All that had a virtual IP were told of with it."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("virtual_ip_sequence", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("issued_virtual_ip", sa.String(), nullable=True))
    op.execute("UPDATE clusters SET issued_virtual_ip = virtual_ip WHERE host <> ''")


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.drop_column("issued_virtual_ip")
        batch_op.drop_column("virtual_ip_sequence")
