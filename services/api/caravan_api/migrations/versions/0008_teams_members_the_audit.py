"""Teams on record, their members, and the audit, which the database itself keeps from being changed."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from caravan_shared.plumbing.database import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


_HAVE_TEAMS = ("cluster", "pool", "token")
_ROLES = ("viewer", "developer", "owner", "admin")  # from least to most


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "auditentry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("door", sa.String(), nullable=False),
        sa.Column("trace_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_auditentry")),
    )
    with op.batch_alter_table("auditentry", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_auditentry_actor"), ["actor"], unique=False)
        batch_op.create_index("ix_auditentry_team", ["team", "id"], unique=False)
        batch_op.create_index("ix_auditentry_thing", ["kind", "ref", "id"], unique=False)

    op.create_table(
        "member",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("added_by", sa.String(), nullable=False),
        sa.Column("added_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("team", "kind", "user", name=op.f("pk_member")),
    )
    with op.batch_alter_table("member", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_member_user"), ["user"], unique=False)

    op.create_table(
        "team",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("max_clusters", sa.Integer(), nullable=True),
        sa.Column("max_nodes", sa.Integer(), nullable=True),
        sa.Column("max_leases", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_team")),
    )
    with op.batch_alter_table("token", schema=None) as batch_op:
        batch_op.add_column(sa.Column("scopes", sa.JSON(), nullable=False, server_default="[]"))
    _refuse_changes()
    _put_on_record()


def downgrade() -> None:
    """Change them back."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER auditentry_stays ON auditentry")
        op.execute("DROP FUNCTION auditentry_stays()")
    with op.batch_alter_table("token", schema=None) as batch_op:
        batch_op.drop_column("scopes")

    op.drop_table("team")
    with op.batch_alter_table("member", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_member_user"))

    op.drop_table("member")
    with op.batch_alter_table("auditentry", schema=None) as batch_op:
        batch_op.drop_index("ix_auditentry_thing")
        batch_op.drop_index("ix_auditentry_team")
        batch_op.drop_index(batch_op.f("ix_auditentry_actor"))

    op.drop_table("auditentry")


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION auditentry_stays() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'what is in the audit stays as it is'; END $$"
        )
        op.execute(
            "CREATE TRIGGER auditentry_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON auditentry "
            "FOR EACH STATEMENT EXECUTE FUNCTION auditentry_stays()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER auditentry_stays_{change.lower()} BEFORE {change} ON auditentry "
            "BEGIN SELECT RAISE(ABORT, 'what is in the audit stays as it is'); END"
        )


def _put_on_record() -> None:
    """The teams that have something, and whoever holds a token as their member."""
    now = datetime.now(UTC)
    tables = {name: sa.table(name, sa.column("team"), sa.column("user"), sa.column("role")) for name in _HAVE_TEAMS}
    names = {"default"}
    for table in tables.values():
        names.update(op.get_bind().scalars(sa.select(table.c.team).distinct()))
    team = sa.table("team", sa.column("name"), sa.column("created_by"), sa.column("created_at", UtcDateTime()))
    op.bulk_insert(team, [{"name": name, "created_by": "caravan", "created_at": now} for name in sorted(names)])
    members: dict[tuple[str, str], str] = {}
    token = tables["token"]
    for name, user, role in op.get_bind().execute(sa.select(token.c.team, token.c.user, token.c.role)):
        members[name, user] = max(role, members.get((name, user), role), key=_ROLES.index)
    member = sa.table(
        "member",
        *(sa.column(name) for name in ("team", "kind", "user", "role", "added_by")),
        sa.column("added_at", UtcDateTime()),
    )
    op.bulk_insert(
        member,
        [
            {"team": name, "kind": "user", "user": user, "role": role, "added_by": "caravan", "added_at": now}
            for (name, user), role in members.items()
        ],
    )
