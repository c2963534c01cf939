"""DatabasePool and db_pool: the one pool of a process, for services.

States, kept in _pool, _opening and _closing (all None: not initialized):

    not initialized --first use--> opening --> open --close()--> closing --> not initialized
                                      |
                                      +-- failed: not initialized again

Opening and closing run as tasks of their own that any number of callers wait
for: there is exactly one of each, and a caller that is cancelled leaves the
others unharmed. An opening that nobody waits for any longer is cancelled.

A pool belongs to an event loop. Where the loop is gone (each test of
pytest-asyncio has its own) or the process forked, the pool is dropped without
touching the server, and the next use opens another one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from holisticpool import _core
from holisticpool.check import UNSET
from holisticpool.config import DATABASE_URL
from holisticpool.connection import Connection
from holisticpool.exceptions import ClientConfigurationError, InterfaceError
from holisticpool.metrics import metrics_of
from holisticpool.pool import Pool, create_pool
from holisticpool.redact import describe

__all__ = ("DatabasePool", "db_pool")

logger = logging.getLogger("holisticpool")

_T = TypeVar("_T")

# Longer than the engine's longest pause between attempts.
_RECENT_FAILURE_S = 60.0


class Lease(Protocol):
    """A connection to come: ``await`` it, or use it with ``async with``."""

    def __await__(self) -> Generator[Any, Any, Connection]: ...
    async def __aenter__(self) -> Connection: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> object: ...


class DatabasePool:
    """The process's pool. A singleton: every call returns ``db_pool``."""

    _instance: ClassVar[DatabasePool | None] = None

    _options: dict[str, Any]
    _pool: Pool | None
    _opening: _Shared[Pool] | None
    _closing: _Shared[None] | None

    def __new__(cls) -> DatabasePool:
        if cls._instance is None:
            self = super().__new__(cls)
            self._options = {}
            self._pool = self._opening = self._closing = None
            cls._instance = self
        return cls._instance

    def configure(self, **options: Any) -> None:
        """Set parameters of create_pool() for the pool that is opened next.

        They win over the environment. Calls add up; UNSET from
        holisticpool.config takes one back. Raises ValueError or TypeError kinds
        for wrong parameters, InterfaceError while the pool is open.
        """
        if self._current() is not None or _running(self._opening) is not None:
            raise InterfaceError("configure() comes before initialize(); close() the pool first")
        merged = {name: value for name, value in {**self._options, **options}.items() if value is not UNSET}
        create_pool(**merged)
        self._options = merged

    async def initialize(self, database_url: str | None = None) -> None:
        """Open the pool; does nothing where it is open.

        Concurrent calls open one pool. *database_url* wins over configure(dsn=),
        that over DATABASE_URL. Raises ClientConfigurationError (a ValueError)
        without any of them, and what create_pool() raises; the object is then as
        if this had never been called.
        """
        await self._opened(database_url)

    def get_connection(self) -> Lease:
        """A connection of the pool, which is opened first where it is not open.

        ``async with db_pool.get_connection() as conn``, or ``conn = await
        db_pool.get_connection()`` with release() or ``conn.close()`` later.
        """
        pool = self._current()
        return _OpeningLease(self) if pool is None else pool.acquire()

    async def release(self, connection: Connection, *, timeout: float | None = None) -> None:
        """Give a connection of get_connection() back to its pool."""
        if not isinstance(connection, Connection):
            raise InterfaceError(f"release() takes a connection of get_connection(), got {connection!r}")
        await connection._pool.release(connection, timeout=timeout)

    async def execute_query(self, query: str, *args: Any) -> list[_core.Record]:
        """Run *query* and return its rows."""
        pool = self._current() or await self._opened()
        return await pool.fetch(query, *args)

    async def execute_one(self, query: str, *args: Any) -> _core.Record | None:
        """Run *query* and return its first row, or None."""
        pool = self._current() or await self._opened()
        return await pool.fetchrow(query, *args)

    async def execute_command(self, command: str, *args: Any) -> str:
        """Run *command* and return its status tag, e.g. ``"INSERT 0 1"``."""
        pool = self._current() or await self._opened()
        return await pool.execute(command, *args)

    async def close(self) -> None:
        """Wait until every lease is released, then close all connections.

        initialize() may follow. Does nothing where no pool is open. Where every
        caller is cancelled the pool is terminated, leases included.
        """
        while (opening := _running(self._opening)) is not None:
            await opening.settled()
        closing = _running(self._closing)
        if closing is None:
            pool = self._current()
            if pool is None:
                return
            closing = self._closing = _Shared(self._close(pool))
        elif closing.abandoned:
            await closing.settled()
            return
        await closing.result()

    async def get_pool_status(self) -> dict[str, Any]:
        """What the pool is doing, as JSON-compatible values; never waits for the database.

        ``{"status": "not_initialized"}`` without a pool; else size,
        idle_connections, max_size, min_size and status: "healthy", "degraded"
        (fewer connections than min_size because opening fails) or "unavailable"
        (no connection, and the last attempt failed). The last two come with
        last_error and last_error_at (ISO 8601, UTC).
        """
        pool = self._current()
        if pool is None:
            return {"status": "not_initialized"}
        return _status_of(pool._stats())

    def get_metrics(self) -> dict[str, Any]:
        """The pool's counters since it was opened; all zero without a pool.

        At least pool_size, idle_connections, connection_wait_time and
        query_duration (count, mean, p50, p95, p99, max, in seconds) and
        connection_errors; holisticpool.metrics names the others.
        """
        pool = self._current()
        return metrics_of(None if pool is None else pool._stats())

    def _current(self) -> Pool | None:
        """The pool, where the caller can use it; one that nobody can is dropped."""
        pool = self._pool
        if pool is None:
            return None
        loop, running = pool._loop, _running_loop()
        if not pool._closed and not pool._forked and loop is not None:
            if loop is running:
                return pool
            if running is None and not loop.is_closed():
                return pool  # get_metrics() of another thread, or between two runs of the loop
            if loop.is_running():
                raise InterfaceError("db_pool is open in another running event loop: use it there, or close it there")
        if not pool._closed:
            pool._abandon()
        self._pool = None
        return None

    async def _opened(self, database_url: str | None = None) -> Pool:
        while True:
            closing = _running(self._closing)
            if closing is not None:
                await closing.settled()
                continue
            pool = self._current()
            if pool is not None:
                return pool
            opening = _running(self._opening)
            if opening is None:
                opening = self._opening = _Shared(self._open(database_url))
            elif opening.abandoned:
                await opening.settled()
                continue
            return await opening.result()

    async def _open(self, database_url: str | None) -> Pool:
        options = dict(self._options)
        if database_url is not None:
            options["dsn"] = database_url
        pool = None
        try:
            pool = create_pool(**options)
            if not pool._config.has_address:
                raise ClientConfigurationError(
                    f"no database URL: pass it to initialize() or set the environment variable {DATABASE_URL}"
                )
            await pool
        except Exception as error:
            secrets = () if pool is None else pool._config.connection.secrets
            logger.error("Failed to initialize database pool: %s", describe(error, *secrets))
            raise
        finally:
            self._opening = None
        self._pool = pool
        logger.info("Database pool initialized: %d-%d connections", pool.get_min_size(), pool.get_max_size())
        return pool

    async def _close(self, pool: Pool) -> None:
        try:
            await pool.close()
        finally:
            self._pool = self._closing = None
            logger.info("Database pool closed")


class _Shared(Generic[_T]):
    """A task that several callers wait for; it is cancelled only when all of them left."""

    def __init__(self, work: Coroutine[Any, Any, _T]) -> None:
        self.abandoned = False
        self._callers = 0
        self._task = asyncio.create_task(work)
        # A failure whose callers all left is no "exception was never retrieved".
        self._task.add_done_callback(_retrieve)

    def is_running(self) -> bool:
        return not self._task.done() and self._task.get_loop() is _running_loop()

    async def result(self) -> _T:
        """Wait for the end and return or raise what the task does."""
        self._callers += 1
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._callers == 1:
                self.abandoned = True
                self._task.cancel()
            raise
        finally:
            self._callers -= 1

    async def settled(self) -> None:
        """Wait for the end, whatever it is, without being one of those it runs for."""
        await asyncio.wait([self._task])


def _running(shared: _Shared[_T] | None) -> _Shared[_T] | None:
    """*shared*, unless it is over or belongs to a loop that is gone."""
    return shared if shared is not None and shared.is_running() else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


class _OpeningLease:
    """A Lease for which the pool has to be opened first."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: DatabasePool) -> None:
        self._database = database
        self._connection: Connection | None = None

    async def _acquire(self) -> Connection:
        pool = await self._database._opened()
        return await pool.acquire()

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self._acquire().__await__()

    async def __aenter__(self) -> Connection:
        if self._connection is not None:
            raise InterfaceError("a connection is already acquired")
        self._connection = await self._acquire()
        return self._connection

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._database.release(connection)


def _status_of(stats: _core._Stats) -> dict[str, Any]:
    status: dict[str, Any] = {
        "size": stats["size"],
        "idle_connections": stats["idle"],
        "max_size": stats["max_size"],
        "min_size": stats["min_size"],
        "status": "healthy",
    }
    if stats["state"] in ("closing", "closed"):
        return {**status, "status": "unavailable", "last_error": "the pool is closing", "last_error_at": None}
    if stats["connection_errors"] == 0 or stats["size"] >= max(stats["min_size"], 1):
        return status
    at = stats["last_error_at"]
    if not stats["last_connect_ok"]:
        status["status"] = "degraded" if stats["size"] else "unavailable"
    elif stats["size"] and at is not None and time.time() - at < _RECENT_FAILURE_S:
        # Of several attempts at once some failed and one that ended later did not.
        status["status"] = "degraded"
    else:
        return status
    # Imported by the first trouble, not by every start.
    from datetime import datetime, timezone

    status["last_error"] = stats["last_error"]
    status["last_error_at"] = None if at is None else datetime.fromtimestamp(at, timezone.utc).isoformat()
    return status


db_pool = DatabasePool()
