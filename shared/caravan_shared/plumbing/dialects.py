"""The one statement that SQLite and PostgreSQL share but SQLAlchemy spells twice: INSERT … ON CONFLICT."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel.ext.asyncio.session import AsyncSession


def insert_into(tx: AsyncSession, table: Any) -> postgresql.Insert:
    """An insert with `on_conflict_*` for the database behind `tx` (both dialects' classes offer the same methods)."""
    return insert_of(dialect_of(tx), table)


def dialect_of(tx: AsyncSession) -> str:
    """SQLAlchemy's name of the database behind `tx`."""
    return tx.get_bind().dialect.name


def insert_of(dialect: str, table: Any) -> postgresql.Insert:
    """The same for a database by its name: for statements that are built once."""
    module: Any = sqlite if dialect == "sqlite" else postgresql
    statement: postgresql.Insert = module.insert(table)
    return statement
