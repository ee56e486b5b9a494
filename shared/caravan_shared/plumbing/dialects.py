"""The one statement that SQLite and PostgreSQL share but SQLAlchemy spells twice: INSERT … ON CONFLICT."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel.ext.asyncio.session import AsyncSession


def insert_into(tx: AsyncSession, table: Any) -> postgresql.Insert:
    """An insert with `on_conflict_*` for the database behind `tx` (both dialects' classes offer the same methods)."""
    dialect: Any = sqlite if tx.get_bind().dialect.name == "sqlite" else postgresql
    statement: postgresql.Insert = dialect.insert(table)
    return statement
