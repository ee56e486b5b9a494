"""Room for the numbers of facts that a restored store says: they go on a thousand million further."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.alter_column("endpoint_sequence", existing_type=sa.Integer(), type_=sa.BigInteger())


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.alter_column("endpoint_sequence", existing_type=sa.BigInteger(), type_=sa.Integer())
