"""PostgreSQL as the stores use it: how many connections, and when one is dead."""

from typing import Any

from pydantic_core import from_json
from sqlalchemy import event
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from caravan_shared.plumbing.errors import StoreAway

WITHOUT_TRANSACTION = {"isolation_level": "AUTOCOMMIT"}
"""Execution options for reading: each statement sees what is committed, as in a transaction here (READ COMMITTED).

Beginning a transaction and ending it would be two more round trips, of three for most questions.
"""

ANSWERS_WITHIN_S = 30.0
"""A statement that takes longer gets no answer: a network was cut without a word. Ours take milliseconds."""

_CONNECTIONS = 15  # of one process, all kept: opening one costs a server process and more than the work it is for
_CONNECTS_WITHIN_S = 10.0
_SERVER_SETTINGS = {  # so that the server, too, soon drops who is gone without a word, with what they have locked
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "idle_in_transaction_session_timeout": "60s",
}


def postgresql_engine(url: str, answers_within_s: float | None) -> AsyncEngine:
    """An engine for `postgresql+asyncpg://…`. None: its statements may take any time, as a migration's."""
    arguments = {
        "command_timeout": answers_within_s,
        "timeout": min(_CONNECTS_WITHIN_S, answers_within_s or _CONNECTS_WITHIN_S),
        "server_settings": _SERVER_SETTINGS,
    }
    engine = create_async_engine(
        url, json_deserializer=from_json, pool_size=_CONNECTIONS, max_overflow=0, connect_args=arguments
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "checkout", _is_open)
    event.listen(engine.sync_engine, "handle_error", _is_silent)
    return engine


def _connect(dialect: Dialect, _record: Any, arguments: Any, named: Any) -> Any:
    """Connect. Whatever goes wrong there is the server's matter, no statement's: `StoreAway`."""
    assert dialect.dbapi is not None
    try:
        return dialect.connect(*arguments, **named)
    except (OSError, dialect.dbapi.Error) as error:
        raise StoreAway(f"the store does not answer: {str(error) or type(error).__name__}") from error


def _is_silent(context: ExceptionContext) -> None:
    """Have a connection thrown away on which no answer came, with all that were open beside it: `StoreAway`."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True
        raise StoreAway("the store does not answer in time") from context.original_exception


def _is_open(connection: Any, _record: Any, _proxy: Any) -> None:
    """Have another connection taken if the server has closed this one, as the driver has seen meanwhile.

    A ping before each use (`pool_pre_ping`) would be three more round trips for each transaction.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError
