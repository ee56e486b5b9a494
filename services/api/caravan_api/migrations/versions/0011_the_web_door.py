"""The web door: sessions, and what a list draws of a cluster."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "websession",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("token_sha256", sa.String(), nullable=True),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_websession")),
    )
    with op.batch_alter_table("websession", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_websession_expires_at"), ["expires_at"], unique=False)
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.add_column(sa.Column("verdicts", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("accessed_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("accessed_by", sa.String(), nullable=True))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("cluster", schema=None) as batch_op:
        batch_op.drop_column("accessed_by")
        batch_op.drop_column("accessed_at")
        batch_op.drop_column("verdicts")
    with op.batch_alter_table("websession", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_websession_expires_at"))
    op.drop_table("websession")
