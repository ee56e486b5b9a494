"""Work on machines of inventories, the keys that let into them, and where machines' SSH servers listen."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "machine_jobs",
        sa.Column("machine_id", sa.Uuid(), nullable=False),
        sa.Column("ticket", sa.Integer(), nullable=False),
        sa.Column("work", sa.String(), nullable=False),
        sa.Column("machine", sa.JSON(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("beat_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("machine_id", name=op.f("pk_machine_jobs")),
    )
    with op.batch_alter_table("machine_jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_machine_jobs_work"), ["work"], unique=False)

    op.create_table(
        "operator_keys",
        sa.Column("cloud", sa.String(), nullable=False),
        sa.Column("public", sa.String(), nullable=False),
        sa.Column("sealed_private", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("cloud", name=op.f("pk_operator_keys")),
    )
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ssh_port", sa.Integer(), nullable=False, server_default="22"))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.drop_column("ssh_port")

    op.drop_table("operator_keys")
    op.drop_table("machine_jobs")
