"""connection_class=: __init__ once for a session, and attributes that every lease of it finds.

What asyncpg documents is compared with asyncpg, where it is installed.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool

DRIVERS = ["holisticpool", "asyncpg"]


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> ModuleType:
    """holisticpool, and asyncpg to see that the promise is its."""
    module: ModuleType = pytest.importorskip(request.param)
    return module


def counting(driver: Any) -> Any:
    """A subclass that counts its __init__ and its queries."""

    class Counting(driver.Connection):  # type: ignore[misc]
        made: list[Any] = []

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.queries = 0
            self.arguments = args, kwargs
            self.made.append(self)

        async def fetchval(self, query: str, *args: Any, **kwargs: Any) -> Any:
            self.queries += 1
            return await super().fetchval(query, *args, **kwargs)

        def seen(self) -> int:
            return self.queries

    return Counting


async def test_init_is_run_once_for_each_session(driver: Any, dsn: str) -> None:
    cls = counting(driver)
    async with driver.create_pool(dsn, min_size=2, max_size=2, connection_class=cls) as pool:
        assert len(cls.made) == 2
        for _ in range(5):
            async with pool.acquire() as one, pool.acquire() as two:
                assert {await one.fetchval("SELECT 1"), await two.fetchval("SELECT 2")} == {1, 2}
        assert len(cls.made) == 2
        pool.get_idle_size()
    assert sorted(connection.queries for connection in cls.made) == [5, 5]


async def test_init_is_run_once_by_connect(driver: Any, dsn: str) -> None:
    cls = counting(driver)
    connection = await driver.connect(dsn, connection_class=cls)
    try:
        assert cls.made == [connection]
        assert await connection.fetchval("SELECT 1") == 1
        assert connection.queries == 1
    finally:
        await connection.close()


async def test_init_gets_what_asyncpg_gives(driver: Any, dsn: str) -> None:
    cls = counting(driver)
    connection = await driver.connect(dsn, connection_class=cls, command_timeout=7, statement_cache_size=3)
    try:
        args, keywords = connection.arguments
        protocol, transport, loop, addr, config, params = args
        assert keywords == {}
        assert loop is asyncio.get_running_loop()
        assert addr == connection._addr
        assert (config.command_timeout, config.statement_cache_size) == (7, 3)
        assert config.max_cacheable_statement_size == 15 * 1024
        assert params.user == connection._params.user
        assert params.database == connection._params.database
    finally:
        await connection.close()


async def test_attributes_are_found_by_every_lease_of_the_session(driver: Any, dsn: str) -> None:
    cls = counting(driver)
    async with driver.create_pool(dsn, min_size=1, max_size=1, connection_class=cls) as pool:
        for n in range(3):
            async with pool.acquire() as connection:
                assert connection.seen() == n
                await connection.fetchval("SELECT 1")
        assert await pool.fetchval("SELECT 5") == 5
        async with pool.acquire() as connection:
            assert connection.seen() == 4


async def test_attributes_end_with_the_session(driver: Any, dsn: str) -> None:
    cls = counting(driver)
    async with driver.create_pool(dsn, min_size=1, max_size=1, connection_class=cls) as pool:
        await pool.fetchval("SELECT 1")
        await pool.expire_connections()
        async with pool.acquire() as connection:
            assert connection.seen() == 0
            assert len(cls.made) == 2
            connection.terminate()
        async with pool.acquire() as connection:
            assert connection.seen() == 0
        assert len(cls.made) == 3


async def test_init_hook_finds_what_init_has_set(driver: Any, dsn: str) -> None:
    cls = counting(driver)

    async def init(connection: Any) -> None:
        assert connection.queries == 0
        connection.queries = 10

    async with driver.create_pool(dsn, min_size=1, max_size=1, connection_class=cls, init=init) as pool:
        async with pool.acquire() as connection:
            assert connection.seen() == 10


class Refused(Exception):
    """Raised by an __init__."""


# asyncpg raises it too, and leaves the session to the garbage collector.
async def test_error_of_init_is_raised_where_the_session_was_to_be_opened(dsn: str) -> None:
    class Failing(Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            raise Refused("not today")

    with pytest.raises(Refused, match="not today"):
        await holisticpool.connect(dsn, connection_class=Failing)
    with pytest.raises(Refused, match="not today"):
        await holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Failing)


async def test_state_made_when_it_is_needed_lasts_without_init(driver: Any, dsn: str) -> None:
    class Lazy(driver.Connection):  # type: ignore[misc]
        def cache(self) -> dict[str, int]:
            if "_own" not in vars(self):
                self._own: dict[str, int] = {}
            return self._own

    async with driver.create_pool(dsn, min_size=1, max_size=1, connection_class=Lazy) as pool:
        async with pool.acquire() as connection:
            connection.cache()["a"] = 1
        async with pool.acquire() as connection:
            assert connection.cache() == {"a": 1}


async def test_names_of_statements_are_overridden_as_sqlalchemy_documents(driver: Any, dsn: str) -> None:
    class Unique(driver.Connection):  # type: ignore[misc]
        def _get_unique_id(self, prefix: str) -> str:
            return f"__asyncpg_{prefix}_unique__"

    async with driver.create_pool(dsn, min_size=1, max_size=1, connection_class=Unique) as pool:
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT $1::int", 5) == 5
            assert connection._get_unique_id("stmt") == "__asyncpg_stmt_unique__"


# ---- holisticpool's own ----


class Plain(Connection):
    """A subclass without __init__."""

    note: Any


@pytest.fixture
async def plain(dsn: str) -> AsyncIterator[Pool]:
    """A pool of one such connection."""
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Plain) as pool:
        yield pool


async def test_released_lease_stays_released_while_the_session_is_used(plain: Pool) -> None:
    first: Any = await plain.acquire()
    first.note = 1
    await plain.release(first)
    async with plain.acquire() as second:
        assert vars(second) is vars(first)
        with pytest.raises(holisticpool.InterfaceError, match="released"):
            await first.fetchval("SELECT 1")
        assert await second.fetchval("SELECT 1") == 1


async def test_transactions_are_a_leases_own(plain: Pool) -> None:
    first = await plain.acquire()
    transaction = first.transaction()
    await transaction.start()
    assert first._top_xact is transaction
    await plain.release(first)
    async with plain.acquire() as second:
        assert second._top_xact is None
        async with second.transaction():
            assert await second.fetchval("SELECT 1") == 1


async def test_objects_of_the_class_itself_share_nothing(single: Pool) -> None:
    async with single.acquire() as first:
        first.note = 1  # type: ignore[attr-defined]
    async with single.acquire() as second:
        assert vars(second) == {}


async def test_dict_that_was_replaced_is_what_lasts(plain: Pool) -> None:
    async with plain.acquire() as connection:
        connection.__dict__ = {"note": 5}
    async with plain.acquire() as connection:
        assert vars(connection) == {"note": 5}


async def test_termination_listener_finds_the_attributes(dsn: str) -> None:
    heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Plain) as pool:
        async with pool.acquire() as connection:
            connection.note = 7  # type: ignore[attr-defined]
            connection.add_termination_listener(lambda ended: heard.set_result(ended.note))
        await pool.expire_connections()
        assert await heard == 7


async def test_session_of_a_connect_callback_is_made_once(dsn: str) -> None:
    cls = counting(holisticpool)

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        connection = await holisticpool.connect(dsn, connection_class=kwargs["connection_class"])
        connection.queries = 20  # type: ignore[attr-defined]
        return connection

    async with (
        holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=cls, connect=connect) as pool,
        pool.acquire() as leased,
    ):
        assert leased.seen() == 20  # type: ignore[attr-defined]
        assert len(cls.made) == 1


async def test_init_that_terminates_its_session_opens_none(dsn: str) -> None:
    class Ending(Connection):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.terminate()

    with pytest.raises(ConnectionError, match="left the connection closed"):
        await holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Ending)
    with pytest.raises(holisticpool.InterfaceError):
        await holisticpool.connect(dsn, connection_class=Ending)


async def test_cycles_through_attributes_are_collected(dsn: str) -> None:
    class Anchor:
        pass

    pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Plain)
    anchor = Anchor()
    async with pool.acquire() as connection:
        connection.note = (connection, pool, anchor)  # type: ignore[attr-defined]
    seen = weakref.ref(anchor)
    del anchor, connection
    await pool.close()
    del pool
    await asyncio.sleep(0)  # the loop lets go of what woke the task up
    gc.collect()
    assert seen() is None


async def test_lease_that_is_never_released_is_collected_with_its_cycle(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Plain) as pool:
        connection: Any = await pool.acquire()
        connection.note = connection
        del connection
        with pytest.warns(ResourceWarning, match="never released"):
            await asyncio.sleep(0)  # the loop lets go of what woke the task up
            gc.collect()
        async with pool.acquire() as again:
            assert await again.fetchval("SELECT 1") == 1
            del again.note  # type: ignore[attr-defined]


async def test_hooks_of_a_lease_do_not_outlive_it(dsn: str) -> None:
    released: list[Any] = []

    async def reset(connection: Connection) -> None:
        released.append(connection)

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Plain, reset=reset) as pool:
        for _ in range(2):
            connection = await pool.acquire()
            await connection.close()
        assert len(released) == 2
        assert released[0] is not released[1]
