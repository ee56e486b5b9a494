"""What Ansible printed in runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "log_pieces",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("ending", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "start", name=op.f("pk_log_pieces")),
    )


def downgrade() -> None:
    """Change them back."""
    op.drop_table("log_pieces")
