"""What users are told of a session and of its statements, as named tuples.

Apart from the modules that tell it, since making these classes takes longer than
the import of those, and most programs see none of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ("ConnectionConfiguration", "ConnectionParameters", "LoggedQuery")


class ConnectionParameters(NamedTuple):
    """Whose session it is. asyncpg's class of this name holds more, passwords too."""

    user: str
    database: str


class ConnectionConfiguration(NamedTuple):
    """What connect() or create_pool() was told of statements: for a subclass's ``__init__``."""

    command_timeout: float | None
    statement_cache_size: int
    max_cached_statement_lifetime: float
    max_cacheable_statement_size: int


class LoggedQuery(NamedTuple):
    """A statement that has ended: what a query logger gets.

    query: its text.
    args: its arguments, ``()`` where there were none; for executemany() and fetchmany() a list of tuples, or None
        where more than a few came from an iterator.
    timeout: seconds that it was given, or None.
    elapsed: seconds from handing it to the session to its end; 0 where nothing was sent.
    exception: what it raised (asyncio.CancelledError too), or None.
    conn_addr: ``(host, port)``, or the path of the Unix socket.
    conn_params: the user and the database.
    """

    query: str
    args: Any
    timeout: float | None
    elapsed: float
    exception: BaseException | None
    conn_addr: tuple[str, int] | str
    conn_params: ConnectionParameters
