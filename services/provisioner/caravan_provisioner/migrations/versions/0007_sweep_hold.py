"""Whether the sweep is held since a restore."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "sweep_hold",
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_sweep_hold")),
    )


def downgrade() -> None:
    """Change them back."""
    op.drop_table("sweep_hold")
