"""Cursors: the rows of a query in batches, inside a transaction.

A query that only reads is a cursor of the server (csrc/engine/cursor.h), which
computes rows as they are fetched. DECLARE takes no other kind of statement
(INSERT ... RETURNING, SHOW, EXPLAIN): such a one is run once and its rows handed
out from here, as the server's own portals do with them.

States of a Portal:

    NEW --open--> OPEN --last row--> EXHAUSTED

It belongs to the transaction in which it was opened and ends with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from holisticpool import _core
from holisticpool.check import RowForm
from holisticpool.exceptions import InterfaceError, InvalidCursorNameError, NoActiveSQLTransactionError

if TYPE_CHECKING:
    from holisticpool.connection import Connection
    from holisticpool.prepared_stmt import PreparedStatement
    from holisticpool.transaction import Transaction

__all__ = ("BaseCursor", "Cursor", "CursorFactory", "CursorIterator")

# Rows, where the caller has not said how many: a loop that goes on needs fewer round trips.
FIRST_PREFETCH: Final = 50
LARGEST_PREFETCH: Final = 400

# FETCH takes a count of this size.
_MOST_ROWS: Final = 2**31 - 1

_numbers = itertools.count(1)


def _count(n: int) -> str:
    return str(n) if n <= _MOST_ROWS else "ALL"


def check_connection(resource: object, connection: Connection, method: str) -> None:
    """InterfaceError where *connection* is not the caller's any more; it names the resource's *method*."""
    if connection._released:
        problem = "has been released back to the pool"
    elif connection.is_closed():
        problem = "is closed"
    else:
        return
    raise InterfaceError(f"cannot call {type(resource).__name__}.{method}(): the underlying connection {problem}")


class Portal:
    """A query that is being read, wherever its rows are."""

    __slots__ = (
        "_args", "_connection", "_exhausted", "_form", "_name", "_query", "_record_class", "_rows", "_source",
        "_transaction",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        source: str | PreparedStatement,
        args: tuple[Any, ...],
        record_class: type[_core.Record] | None,
        rows: RowForm | None,
    ) -> None:
        self._connection = connection
        self._source = source
        self._query = source if isinstance(source, str) else source._query
        self._args = args
        self._record_class = record_class
        self._form = rows
        self._name: str | None = None
        self._rows: list[Any] | None = None  # of a statement that was run; in reverse order
        self._transaction: Transaction | None = None
        self._exhausted = False

    @property
    def query(self) -> str:
        """The query's text."""
        return self._query

    @property
    def args(self) -> tuple[Any, ...]:
        """The query's arguments."""
        return self._args

    @property
    def exhausted(self) -> bool:
        """Was its last row fetched?"""
        return self._exhausted

    @property
    def opened(self) -> bool:
        """Was it opened?"""
        return self._name is not None

    def check_transaction(self) -> None:
        """NoActiveSQLTransactionError outside of a transaction, InterfaceError on a closed or released connection."""
        self._connection._check_open("cursor")
        if not self._connection.is_in_transaction():
            raise NoActiveSQLTransactionError("cursor cannot be created outside of a transaction")

    async def open(self, n: int | None, timeout: float | None) -> list[Any]:
        """Begin with the query; its first *n* rows, or none yet where n is None."""
        self.check_transaction()
        name = f"holisticpool_{next(_numbers)}"
        if not _core.is_declarable(self._query):
            return await self._run(name, n, timeout)
        declare = f"DECLARE {name} NO SCROLL CURSOR FOR {self._query}"
        fetch = None if n is None else f"FETCH {_count(n)} FROM {name}"
        rows: list[Any] = await self._operation(self._args, declare, fetch, True, timeout)
        self._name = name
        if n is None:
            return []
        self._exhausted = len(rows) < n
        return rows

    async def _run(self, name: str, n: int | None, timeout: float | None) -> list[Any]:
        rows: list[Any]
        if isinstance(self._source, str):
            # Without what is not given: a redefined fetch() may not know of it.
            form: dict[str, Any] = {} if self._form is None else {"rows": self._form}
            rows = await self._connection.fetch(
                self._source, *self._args, timeout=timeout, record_class=self._record_class, **form
            )
        else:
            names = self._source._names
            if names is None:
                rows = await self._source.fetch(*self._args, timeout=timeout, rows=self._form)
            else:
                params = dict(zip(names, self._args, strict=True))
                rows = await self._source.fetch(params=params, timeout=timeout, rows=self._form)
        rows.reverse()
        self._name = name
        self._rows = rows
        self._transaction = self._outermost()
        return [] if n is None else self._take(n)

    async def fetch(self, n: int, timeout: float | None, ahead: _core.Operation[list[Any]] | None = None) -> list[Any]:
        """The next *n* rows, or as many as there are; *ahead* is what fetch_ahead() gave for them."""
        if self._exhausted:
            return []
        if self._rows is not None:
            self.check_transaction()
            return self._take(n)
        if ahead is None:
            self.check_transaction()
            ahead = self._fetching(n, timeout)
        rows: list[Any] = await ahead
        self._exhausted = len(rows) < n
        return rows

    def fetch_ahead(self, n: int, timeout: float | None) -> _core.Operation[list[Any]] | None:
        """Ask the server for the next *n* rows now, to be had by fetch(); None where they are here."""
        if self._exhausted or self._rows is not None:
            return None
        operation = self._fetching(n, timeout)
        operation._start_ahead()
        return operation

    def _fetching(self, n: int, timeout: float | None) -> _core.Operation[list[Any]]:
        return self._operation((), None, f"FETCH {_count(n)} FROM {self._name}", True, timeout)

    async def forward(self, n: int, timeout: float | None) -> int:
        """Leave out the next *n* rows; how many there were."""
        self.check_transaction()
        if self._rows is not None:
            return len(self._take(n))
        status: str = await self._operation((), None, f"MOVE FORWARD {_count(n)} FROM {self._name}", False, timeout)
        moved = int(status.split()[1])
        self._exhausted = moved < n
        return moved

    async def close(self, timeout: float | None) -> None:
        """Let the server forget it, so that nothing holds what it reads from."""
        if self._rows is None and self._name is not None:
            await self._operation((), None, f"CLOSE {self._name}", False, timeout)

    def _operation(
        self, args: tuple[Any, ...], declare: str | None, fetch: str | None, rows: bool, timeout: float | None
    ) -> _core.Operation[Any]:
        return self._connection._cursor(
            self._source, args, declare, fetch, rows, timeout, self._record_class, self._form
        )

    def _take(self, n: int) -> list[Any]:
        assert self._rows is not None
        if self._transaction is not self._outermost():
            raise InvalidCursorNameError(f'cursor "{self._name}" does not exist: its transaction has ended')
        taken = self._rows[-n:]
        del self._rows[-n:]
        taken.reverse()
        self._exhausted = len(taken) < n
        return taken

    def _outermost(self) -> Transaction | None:
        transactions = self._connection._transactions
        return transactions[0] if transactions else None


class CursorFactory:
    """What cursor() returns: iterate over it with ``async for``, or ``await`` it for a Cursor."""

    __slots__ = ("_args", "_connection", "_form", "_prefetch", "_record_class", "_source", "_timeout")

    def __init__(
        self,
        connection: Connection,
        source: str | PreparedStatement,
        args: tuple[Any, ...],
        prefetch: int | None,
        timeout: float | None,
        record_class: type[_core.Record] | None,
        rows: RowForm | None = None,
    ) -> None:
        self._connection = connection
        self._source = source
        self._args = args
        self._prefetch = prefetch
        self._timeout = timeout
        self._record_class = record_class
        self._form = rows

    def __aiter__(self) -> CursorIterator:
        check_connection(self, self._connection, "__aiter__")
        prefetch = FIRST_PREFETCH if self._prefetch is None else self._prefetch
        if prefetch <= 0:
            raise InterfaceError("prefetch argument must be greater than zero")
        iterator = self._connection._rows(CursorIterator)
        iterator._portal = self._portal()
        iterator._prefetch = prefetch
        iterator._largest = LARGEST_PREFETCH if self._prefetch is None else prefetch
        iterator._timeout = self._timeout
        return iterator

    def __await__(self) -> Generator[Any, Any, Cursor]:
        check_connection(self, self._connection, "__await__")
        if self._prefetch is not None:
            raise InterfaceError("prefetch argument can only be specified for iterable cursor")
        return self._open().__await__()

    async def _open(self) -> Cursor:
        portal = self._portal()
        await portal.open(None, self._timeout)
        return Cursor(self._connection, portal)

    def _portal(self) -> Portal:
        return Portal(self._connection, self._source, self._args, self._record_class, self._form)


def _repr(cursor: object, portal: Portal) -> str:
    exhausted = "exhausted " if portal.exhausted else ""
    return f'<holisticpool.{type(cursor).__name__} "{portal.query:.30}" {exhausted}{id(cursor):#x}>'


class BaseCursor:
    """What both kinds of cursor have; named as in asyncpg, since instrumentations read it and wrap the methods."""

    __slots__ = ()

    _portal: Portal

    @property
    def _query(self) -> str:
        """The query's text."""
        return self._portal.query

    @property
    def _args(self) -> tuple[Any, ...]:
        """Its arguments."""
        return self._portal.args

    async def _bind_exec(self, n: int, timeout: float | None) -> list[Any]:
        """Begin with the query; its first *n* rows."""
        return await self._portal.open(n, timeout)

    async def _exec(self, n: int, timeout: float | None) -> list[Any]:
        """The next *n* rows."""
        return await self._portal.fetch(n, timeout)


class CursorIterator(BaseCursor, _core.Rows):
    """The rows of a query, one by one; the server is asked for *prefetch* rows at a time."""

    _prefetch: int
    _largest: int
    _timeout: float | None

    async def _refill(self) -> Any:
        check_connection(self, self._connection, "__anext__")
        portal = self._portal
        if portal.exhausted:
            raise StopAsyncIteration
        if portal.opened:
            self._prefetch = min(2 * self._prefetch, self._largest)
            rows = await self._exec(self._prefetch, self._timeout)
        else:
            rows = await self._bind_exec(self._prefetch, self._timeout)
        if portal.exhausted:
            await portal.close(self._timeout)
        if not rows:
            raise StopAsyncIteration
        return self._put(rows)

    def __repr__(self) -> str:
        return _repr(self, self._portal)


class Cursor(BaseCursor):
    """An open cursor, to be read by hand."""

    __slots__ = ("_connection", "_portal")

    def __init__(self, connection: Connection, portal: Portal) -> None:
        self._connection = connection
        self._portal = portal

    async def fetch(self, n: int, *, timeout: float | None = None) -> list[Any]:
        """The next *n* rows as a list of Record, fewer at the end.

        Raises InterfaceError for an n below 1 and after the connection was closed
        or released, NoActiveSQLTransactionError after the transaction has ended,
        TimeoutError after *timeout* seconds.
        """
        check_connection(self, self._connection, "fetch")
        self._portal.check_transaction()
        if n <= 0:
            raise InterfaceError("n must be greater than zero")
        return [] if self._portal.exhausted else await self._exec(n, timeout)

    async def fetchrow(self, *, timeout: float | None = None) -> Any:
        """The next row, or None at the end. Raises as fetch()."""
        check_connection(self, self._connection, "fetchrow")
        self._portal.check_transaction()
        if self._portal.exhausted:
            return None
        rows = await self._exec(1, timeout)
        return rows[0] if rows else None

    async def forward(self, n: int, *, timeout: float | None = None) -> int:
        """Skip the next *n* rows; how many there were. Raises as fetch()."""
        check_connection(self, self._connection, "forward")
        self._portal.check_transaction()
        if n <= 0:
            raise InterfaceError("n must be greater than zero")
        return await self._portal.forward(n, timeout)

    def __repr__(self) -> str:
        return _repr(self, self._portal)
