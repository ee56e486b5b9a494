"""Pools shared with other teams, and leases found by when something is due about them."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "poolshare",
        sa.Column("pool_id", sa.Uuid(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("pool_id", "team", name=op.f("pk_poolshare")),
    )
    with op.batch_alter_table("poolshare", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_poolshare_team"), ["team"], unique=False)

    with op.batch_alter_table("lease", schema=None) as batch_op:
        batch_op.add_column(sa.Column("due_at", UtcDateTime(), nullable=True))
        batch_op.drop_index("ix_lease_live", **_where(_LIVE))
        batch_op.create_index("ix_lease_due", ["pool_id", "due_at"], unique=False, **_where(_LIVE))
        batch_op.create_index("ix_lease_open", ["team", "cluster_id"], unique=False, **_where(_LIVE))
        batch_op.create_index("ix_lease_queued", ["pool_id", "asked_at"], unique=False, **_where(_QUEUED))
    # Due at once, all of them: the first look at each says when the next is.
    op.execute("UPDATE lease SET due_at = asked_at WHERE ended_at IS NULL")

    with op.batch_alter_table("poolcluster", schema=None) as batch_op:
        batch_op.drop_index("ix_poolcluster_pool")
        batch_op.create_index("ix_poolcluster_pool", ["pool_id"], unique=False)
        batch_op.create_index("ix_poolcluster_spare", ["pool_id", "made_at"], unique=False, **_where(_SPARE))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("poolcluster", schema=None) as batch_op:
        batch_op.drop_index("ix_poolcluster_spare", **_where(_SPARE))
        batch_op.drop_index("ix_poolcluster_pool")
        batch_op.create_index("ix_poolcluster_pool", ["pool_id", "made_at"], unique=False)

    with op.batch_alter_table("lease", schema=None) as batch_op:
        batch_op.drop_index("ix_lease_queued", **_where(_QUEUED))
        batch_op.drop_index("ix_lease_open", **_where(_LIVE))
        batch_op.drop_index("ix_lease_due", **_where(_LIVE))
        batch_op.create_index("ix_lease_live", ["pool_id", "asked_at"], unique=False, **_where(_LIVE))
        batch_op.drop_column("due_at")

    with op.batch_alter_table("poolshare", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_poolshare_team"))

    op.drop_table("poolshare")


_LIVE = "ended_at IS NULL"
_QUEUED = "granted_at IS NULL AND ended_at IS NULL"
_SPARE = "lease_id IS NULL"


def _where(condition: str) -> dict[str, sa.TextClause]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
