"""stream(): the rows of a query without holding them all, beyond what asyncpg has.

It is a cursor in a transaction. While one batch of rows is used the next is on its
way, so that neither side waits for the other; at most these two are in memory. The
transaction is stream()'s own, committed with the last row and rolled back where the
rows were left before, unless the connection was in one: then nothing is done to it
and only the cursor is closed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from holisticpool import _core
from holisticpool.check import RowForm, check_rows
from holisticpool.cursor import Portal
from holisticpool.exceptions import InterfaceError

if TYPE_CHECKING:
    from holisticpool.connection import Connection
    from holisticpool.pool import Pool
    from holisticpool.transaction import Transaction


class Stream:
    """What a stream reads, and how: a query, its arguments and stream()'s keywords."""

    __slots__ = ("_args", "_form", "_params", "_prefetch", "_query", "_record_class", "_timeout")

    def __init__(
        self,
        query: str,
        args: tuple[Any, ...],
        prefetch: int,
        timeout: float | None,
        record_class: type[_core.Record] | None,
        rows: RowForm | None,
        params: Mapping[str, Any] | None,
    ) -> None:
        check_rows(record_class, rows)
        if prefetch <= 0:
            raise InterfaceError("prefetch argument must be greater than zero")
        self._query = query
        self._args = args
        self._prefetch = prefetch
        self._timeout = timeout
        self._record_class = record_class
        self._form = rows
        self._params = params

    async def of_pool(self, pool: Pool) -> AsyncGenerator[Any, None]:
        """The rows, by a connection of the pool that is leased as long as they are read."""
        self._take_params(pool)
        async with pool.acquire() as connection, aclosing(self._batches(connection)) as batches:
            async for batch in batches:
                for row in batch:
                    yield row

    async def of_connection(self, connection: Connection) -> AsyncGenerator[Any, None]:
        """The rows, by this connection."""
        self._take_params(connection._pool)
        async with aclosing(self._batches(connection)) as batches:
            async for batch in batches:
                for row in batch:
                    yield row

    def _take_params(self, pool: _core.Pool) -> None:
        self._query, self._args = pool._by_name(self._query, self._args, self._params)

    async def _batches(self, connection: Connection) -> AsyncGenerator[list[Any], None]:
        own = None if connection.is_in_transaction() else connection.transaction()
        if own is not None:
            await own.start()
        portal = Portal(connection, self._query, self._args, self._record_class, self._form)
        ahead: _core.Operation[list[Any]] | None = None
        left = False
        try:
            rows = await portal.open(self._prefetch, self._timeout)
            while rows:
                ahead = portal.fetch_ahead(self._prefetch, self._timeout)
                left = True
                yield rows
                left = False
                rows = await portal.fetch(self._prefetch, self._timeout, ahead)
        except BaseException:
            if own is not None:
                await _give_up(connection, own, ahead)
            elif left:
                await _close_early(portal, ahead)
            raise
        if own is not None:
            await own.commit()
        else:
            await portal.close(self._timeout)


async def _give_up(connection: Connection, own: Transaction, ahead: _core.Operation[list[Any]] | None) -> None:
    if ahead is not None:
        ahead.close()
    if not connection._released and not connection.is_closed():
        await own.rollback()


async def _close_early(portal: Portal, ahead: _core.Operation[list[Any]] | None) -> None:
    """Not by cancelling what is on its way, which would spoil the caller's transaction."""
    if ahead is not None:
        await ahead
    await portal.close(None)
