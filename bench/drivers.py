"""The drivers under measurement, each behind the same few methods.

A driver offers a callable per statement (`call`) that the load calls directly, so that between the load and the
driver lies no frame of ours beyond what a user of that driver would have to write. Each is set up the way its users get
the best of it: prepared statements, binary results, autocommit. A driver is imported only when it is opened, in a
process of its own (bench/worker.py).
"""

from __future__ import annotations

import asyncio
import functools
import importlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from bench.workloads import Workload

Call = Callable[[int], Awaitable[Any]]


class Driver(ABC):
    """One way to query PostgreSQL with a pool of connections."""

    name: ClassVar[str]
    title: ClassVar[str]
    module: ClassVar[str]
    build: ClassVar[str | None] = None
    """The environment variable that names the directory to import it from, where that is not the usual one."""

    @abstractmethod
    async def open(self, dsn: str, size: int, **keywords: Any) -> None:
        """Connects, with `size` connections open at the end where the driver allows to ask for that.

        `keywords` go to what makes the pool.
        """

    @abstractmethod
    def call(self, workload: Workload) -> Call:
        """A callable that takes the key and returns an awaitable of all rows, decoded, or of the status."""

    @abstractmethod
    async def close(self) -> None:
        """Closes what open() opened."""

    def libpq_version(self) -> int | None:
        """The libpq in use as it states its version, e.g. 180001; None for a driver with a protocol of its own."""
        return None

    async def lease_block(self, count: int) -> None:
        """`count` times: `async with` a lease that does nothing."""
        raise NotImplementedError

    async def lease_pair(self, count: int) -> None:
        """`count` times: acquire and release called one after the other."""
        raise NotImplementedError


class AsyncpgApi(Driver):
    """A pool with asyncpg's interface, used through `pool.fetch`.

    Connections are replaced after as many queries in each, as asyncpg does by itself: how often to reconnect is a
    matter of configuration and not of a driver's speed.
    """

    MAX_QUERIES: ClassVar[int] = 50_000

    def __init__(self) -> None:
        self._pool: Any = None

    async def open(self, dsn: str, size: int, **keywords: Any) -> None:
        module = importlib.import_module(self.module)
        options = {"min_size": size, "max_size": size, "max_queries": self.MAX_QUERIES, **self._options(), **keywords}
        self._pool = await module.create_pool(dsn, **options)

    def _options(self) -> dict[str, Any]:
        return {}

    @property
    def pool(self) -> Any:
        """The pool itself, for what bench/chores.py does with it."""
        return self._pool

    def call(self, workload: Workload) -> Call:
        return functools.partial(getattr(self._pool, workload.method), workload.sql)

    async def close(self) -> None:
        await self._pool.close()

    async def lease_block(self, count: int) -> None:
        acquire = self._pool.acquire
        for _ in range(count):
            async with acquire():
                pass

    async def lease_pair(self, count: int) -> None:
        acquire, release = self._pool.acquire, self._pool.release
        for _ in range(count):
            await release(await acquire())


class Leased(AsyncpgApi):
    """The same, with an explicit lease around each query, as most services are written."""

    def call(self, workload: Workload) -> Call:
        acquire, sql = self._pool.acquire, workload.sql

        async def leased_fetch(key: int) -> Any:
            async with acquire() as connection:
                return await connection.fetch(sql, key)

        async def leased_execute(key: int) -> Any:
            async with acquire() as connection:
                return await connection.execute(sql, key)

        return leased_fetch if workload.method == "fetch" else leased_execute


class Holisticpool(AsyncpgApi):
    name = "holisticpool"
    title = "holisticpool pool.fetch"
    module = "holisticpool"

    def libpq_version(self) -> int | None:
        return int(importlib.import_module("holisticpool._core").libpq_version())


class HolisticpoolExclusive(Holisticpool):
    """One statement at a time on each connection."""

    name = "holisticpool-exclusive"
    title = "holisticpool, pipeline off"

    def _options(self) -> dict[str, Any]:
        return {"pipeline": "off"}


class HolisticpoolPipelined(Holisticpool):
    """Statements of several tasks share a connection where that helps."""

    name = "holisticpool-pipelined"
    title = "holisticpool, pipeline auto"

    def _options(self) -> dict[str, Any]:
        return {"pipeline": "auto"}


class HolisticpoolWheel(Holisticpool):
    """The same from its wheel (`./dev wheel`): compiled with counts of what runs, and with the libpq of PostgreSQL 18
    inside, which sends what one turn of the loop puts into a pipeline at once."""

    name = "holisticpool-wheel"
    title = "holisticpool, wheel"
    build = "HOLISTICPOOL_BENCH_WHEEL"


class HolisticpoolLeased(Leased, Holisticpool):
    name = "holisticpool-lease"
    title = "holisticpool acquire + fetch"


class Asyncpg(AsyncpgApi):
    name = "asyncpg"
    title = "asyncpg pool.fetch"
    module = "asyncpg"


class AsyncpgLeased(Leased):
    name = "asyncpg-lease"
    title = "asyncpg acquire + fetch"
    module = "asyncpg"


class AsyncpgWithoutReset(Asyncpg):
    """asyncpg's pool with the reset on release switched off: one round trip a query, but a lease inherits state."""

    name = "asyncpg-noreset"
    title = "asyncpg pool, no reset"

    def _options(self) -> dict[str, Any]:
        async def leave_as_it_is(_connection: Any) -> None:
            return None

        return {"reset": leave_as_it_is}


class AsyncpgBare(Driver):
    """asyncpg without its pool: connections handed from task to task by the least that can do it."""

    name = "asyncpg-bare"
    title = "asyncpg bare connections"
    module = "asyncpg"

    def __init__(self) -> None:
        self._connections: list[Any] = []
        self._free: deque[Any] = deque()
        self._waiters: deque[asyncio.Future[Any]] = deque()

    async def open(self, dsn: str, size: int, **keywords: Any) -> None:
        module = importlib.import_module(self.module)
        for _ in range(size):
            self._connections.append(await module.connect(dsn, **keywords))
        self._free.extend(self._connections)

    def call(self, workload: Workload) -> Call:
        free, waiters, sql = self._free, self._waiters, workload.sql
        run = getattr(type(self._connections[0]), workload.method)
        new_future = asyncio.get_running_loop().create_future

        async def bare_fetch(key: int) -> Any:
            if free:
                connection = free.pop()
            else:
                waiter = new_future()
                waiters.append(waiter)
                connection = await waiter
            result = await run(connection, sql, key)
            if waiters:
                waiters.popleft().set_result(connection)
            else:
                free.append(connection)
            return result

        return bare_fetch

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()


class PsycopgPool(Driver):
    """psycopg_pool over the C build: prepared, binary and autocommit, which spares it a BEGIN and a COMMIT a query."""

    name = "psycopg"
    title = "psycopg_pool (C)"
    module = "psycopg_pool"

    def __init__(self) -> None:
        self._pool: Any = None

    async def open(self, dsn: str, size: int, **keywords: Any) -> None:
        implementation = importlib.import_module("psycopg.pq").__impl__
        if implementation != "c":
            raise RuntimeError(f"psycopg uses its {implementation!r} implementation, not 'c'")
        module = importlib.import_module(self.module)
        self._pool = module.AsyncConnectionPool(
            dsn,
            min_size=size,
            max_size=size,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0},
            **keywords,
        )
        await self._pool.open(wait=True)

    def call(self, workload: Workload) -> Call:
        connection_of = self._pool.connection
        sql = workload.sql.replace("$1", "%s")
        _only_fetches(workload)

        async def pooled_fetch(key: int) -> Any:
            async with connection_of() as connection:
                cursor = await connection.execute(sql, (key,), binary=True)
                return await cursor.fetchall()

        return pooled_fetch

    def libpq_version(self) -> int | None:
        return int(importlib.import_module("psycopg.pq").version())

    async def close(self) -> None:
        await self._pool.close()

    async def lease_block(self, count: int) -> None:
        connection_of = self._pool.connection
        for _ in range(count):
            async with connection_of():
                pass

    async def lease_pair(self, count: int) -> None:
        acquire, release = self._pool.getconn, self._pool.putconn
        for _ in range(count):
            await release(await acquire())


class Psqlpy(Driver):
    """psqlpy: a Rust driver with a pool and threads of its own, which opens its connections on demand."""

    name = "psqlpy"
    title = "psqlpy"
    module = "psqlpy"

    def __init__(self) -> None:
        self._pool: Any = None

    async def open(self, dsn: str, size: int, **keywords: Any) -> None:
        module = importlib.import_module(self.module)
        self._pool = module.ConnectionPool(dsn=dsn, max_db_pool_size=size, **keywords)

    def call(self, workload: Workload) -> Call:
        acquire, sql = self._pool.acquire, workload.sql
        _only_fetches(workload)

        async def pooled_fetch(key: int) -> Any:
            async with acquire() as connection:
                answer = await connection.fetch(sql, [key])
                return answer.result()

        return pooled_fetch

    async def close(self) -> None:
        self._pool.close()

    async def lease_block(self, count: int) -> None:
        acquire = self._pool.acquire
        for _ in range(count):
            async with acquire():
                pass

    async def lease_pair(self, count: int) -> None:
        for _ in range(count):
            connection = await self._pool.connection()
            connection.close()


def _only_fetches(workload: Workload) -> None:
    if workload.method != "fetch":
        raise RuntimeError(f"{workload.name} is measured with drivers that have asyncpg's interface")


DRIVERS: dict[str, type[Driver]] = {
    driver.name: driver
    for driver in (
        Holisticpool,
        HolisticpoolExclusive,
        HolisticpoolPipelined,
        HolisticpoolWheel,
        HolisticpoolLeased,
        Asyncpg,
        AsyncpgLeased,
        AsyncpgWithoutReset,
        AsyncpgBare,
        PsycopgPool,
        Psqlpy,
    )
}
REFERENCE = Asyncpg.name
"""What every ratio is against."""
