"""Chats: who is who, what was heard, what is answered later; and what teams have told to theirs."""

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "chatreply",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("integration", sa.String(), nullable=False),
        sa.Column("chat_user", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("next_try_at", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("problem", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chatreply")),
    )
    with op.batch_alter_table("chatreply", schema=None) as batch_op:
        batch_op.create_index(
            "ix_chatreply_open",
            ["next_try_at"],
            unique=False,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )

    op.create_table(
        "chatuser",
        sa.Column("integration", sa.String(), nullable=False),
        sa.Column("workspace", sa.String(), nullable=False),
        sa.Column("chat_user", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("chat_name", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("linked_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("integration", "workspace", "chat_user", name=op.f("pk_chatuser")),
        sa.UniqueConstraint("id", name=op.f("uq_chatuser_id")),
    )
    with op.batch_alter_table("chatuser", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_chatuser_user"), ["user"], unique=False)

    op.create_table(
        "heardrequest",
        sa.Column("integration", sa.String(), nullable=False),
        sa.Column("once", sa.String(), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("integration", "once", name=op.f("pk_heardrequest")),
    )
    with op.batch_alter_table("heardrequest", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_heardrequest_heard_at"), ["heard_at"], unique=False)

    op.create_table(
        "linkcode",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("integration", sa.String(), nullable=False),
        sa.Column("workspace", sa.String(), nullable=False),
        sa.Column("chat_user", sa.String(), nullable=False),
        sa.Column("chat_name", sa.String(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_linkcode")),
    )
    with op.batch_alter_table("linkcode", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_linkcode_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "notification",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("occasion", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )
    with op.batch_alter_table("notification", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notification_team"), ["team"], unique=False)

    op.create_table(
        "notificationrule",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=True),
        sa.Column("occasions", sa.JSON(), nullable=False),
        sa.Column("pool", sa.String(), nullable=True),
        sa.Column("cluster", sa.String(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("next_try_at", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=True),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("stopped_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("team", "name", name=op.f("pk_notificationrule")),
    )
    op.create_table(
        "notificationtarget",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("held_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_notificationtarget")),
    )


def downgrade() -> None:
    """Change them back."""
    op.drop_table("notificationtarget")
    op.drop_table("notificationrule")
    with op.batch_alter_table("notification", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notification_team"))

    op.drop_table("notification")
    with op.batch_alter_table("linkcode", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_linkcode_expires_at"))

    op.drop_table("linkcode")
    with op.batch_alter_table("heardrequest", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_heardrequest_heard_at"))

    op.drop_table("heardrequest")
    with op.batch_alter_table("chatuser", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_chatuser_user"))

    op.drop_table("chatuser")
    with op.batch_alter_table("chatreply", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_chatreply_open", sqlite_where=sa.text("ended_at IS NULL"), postgresql_where=sa.text("ended_at IS NULL")
        )

    op.drop_table("chatreply")
