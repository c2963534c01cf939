"""HookedPool: a pool with asyncpg's setup= and reset= coroutines.

The user's coroutine runs at every acquire and at every release, so that a query
of the pool cannot go straight to the C part: each takes the long way of acquire,
run, release. Pools without hooks pay nothing for it, and are not of this class.

Invariant: the connection goes back to the pool whatever the hooks do and
whatever happens to the task that released it; after a hook that failed, as a
closed one that the pool replaces.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from holisticpool import _core
from holisticpool.awaitables import awaited
from holisticpool.check import UNSET, Unset
from holisticpool.connection import Connection
from holisticpool.exceptions import InterfaceError, InterfaceWarning
from holisticpool.pool import Hook, Pool


class HookedPool(Pool):
    """A Pool whose leases run the user's coroutines. Made by Pool."""

    _runs_hooks = True

    def __init__(self, *args: Any, setup: Hook | None = None, reset: str | Hook | None = None, **kwargs: Any) -> None:
        super().__init__(*args, setup=setup, reset=reset, **kwargs)
        self._setup_hook = setup
        self._reset_hook = None if isinstance(reset, str) else reset
        self._releases: dict[Connection, asyncio.Task[None]] = {}
        if self._reset_hook is not None:
            # As in asyncpg the hook is the whole reset: what init= did to the
            # session with SET survives. Open transactions are rolled back.
            self._reset_mode = "none"

    if not TYPE_CHECKING:
        # Declared by the base class as operations of the C part; here coroutines
        # with the same results.

        async def fetch(self, query, *args, **options):
            async with self.acquire() as connection:
                return await connection.fetch(query, *args, **options)

        async def fetchrow(self, query, *args, **options):
            async with self.acquire() as connection:
                return await connection.fetchrow(query, *args, **options)

        async def fetchval(self, query, *args, **options):
            async with self.acquire() as connection:
                return await connection.fetchval(query, *args, **options)

        async def execute(self, query, *args, **options):
            async with self.acquire() as connection:
                return await connection.execute(query, *args, **options)

    def acquire(self, *, timeout: float | None | Unset = UNSET) -> _core.Operation[Connection]:
        """A lease on which the setup coroutine has run; ``await`` it or use ``async with``."""
        return cast("_core.Operation[Connection]", _Acquire(self, timeout))

    @awaited
    def release(self, connection: Connection, *, timeout: float | None = None) -> _core.Operation[None]:
        """Run the reset coroutine and give the lease back.

        *timeout*, in seconds, is for the coroutine; by default that of acquire().
        A session that is closed is given back without it.
        """
        if self._reset_hook is None or connection._pool is not self or connection._released or connection.is_closed():
            return super().release(connection, timeout=timeout)
        return cast("_core.Operation[None]", self._release(connection, timeout))

    async def _release(self, connection: Connection, timeout: float | None) -> None:
        if timeout is None:
            timeout = connection._acquire_timeout
        task = self._releases.get(connection)
        if task is None:
            # As asyncpg: listeners end before the hook runs.
            must_unlisten, left = connection._leave_listeners()
            task = asyncio.create_task(self._reset_and_release(connection, timeout, must_unlisten))
            # The task outlives its caller's cancellation, and asyncio keeps no
            # strong reference to it.
            self._releases[connection] = task
            task.add_done_callback(lambda _: self._releases.pop(connection, None))
            for warning in left:
                warnings.warn(warning, InterfaceWarning, stacklevel=2)
        await asyncio.shield(task)

    async def _reset_and_release(self, connection: Connection, timeout: float | None, must_unlisten: bool) -> None:
        try:
            await asyncio.wait_for(self._run_reset(connection, must_unlisten), timeout)
        except BaseException:
            connection.terminate()
            raise
        finally:
            await super().release(connection)

    async def _run_reset(self, connection: Connection, must_unlisten: bool) -> None:
        assert self._reset_hook is not None
        connection._report_transaction()
        connection._transactions.clear()
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
        if must_unlisten:
            await connection.execute("UNLISTEN *")
        await self._reset_hook(connection)

    async def _acquire(self, timeout: float | None | Unset) -> Connection:
        loop = asyncio.get_running_loop()
        if isinstance(timeout, Unset):
            deadline = None
            connection = await super().acquire()
        else:
            deadline = None if timeout is None else loop.time() + timeout
            connection = await super().acquire(timeout=timeout)
        if self._reset_hook is not None:
            connection._release_hook = self.release
            connection._acquire_timeout = None if isinstance(timeout, Unset) else timeout
        if self._setup_hook is not None:
            try:
                left = None if deadline is None else max(deadline - loop.time(), 0.0)
                await asyncio.wait_for(_as_coroutine(self._setup_hook, connection), left)
            except BaseException:
                connection.terminate()
                await super().release(connection)
                raise
        return connection


def hooked(cls: type[Pool]) -> type[Pool]:
    """*cls* as a HookedPool."""
    if cls is Pool:
        return HookedPool
    if issubclass(cls, HookedPool):
        return cls
    return type(cls.__name__, (cls, HookedPool), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})


def _as_coroutine(hook: Hook, connection: Connection) -> Coroutine[Any, Any, None]:
    async def run() -> None:
        await hook(connection)

    return run()


class _Acquire:
    """What HookedPool.acquire() returns: one lease, by ``await`` or by ``async with``."""

    __slots__ = ("_connection", "_pool", "_timeout", "_used")

    def __init__(self, pool: HookedPool, timeout: float | None | Unset) -> None:
        self._pool = pool
        self._timeout = timeout
        self._used = False
        self._connection: Connection | None = None

    def _start(self) -> Coroutine[Any, Any, Connection]:
        if self._used:
            raise InterfaceError("a connection is already acquired")
        self._used = True
        return self._pool._acquire(self._timeout)

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self._start().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._start()
        return self._connection

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)
