"""Sessions that the server's own rules end, hooks that fail, and descriptors that run out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource

import pytest
from observing import Observer, settled, unique_name, until, usable
from servers import PostgresServer

import holisticpool
from holisticpool import exceptions


async def test_lease_that_idles_in_a_transaction_too_long_is_closed_and_its_slot_comes_back(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            await connection.execute("SET idle_in_transaction_session_timeout = 20; BEGIN")
            await until(connection.is_closed, "the server has ended the session")
            with pytest.raises(exceptions.InterfaceError, match="closed"):
                await connection.fetchval("SELECT 1")
        await usable(pool)


async def test_idle_sessions_that_the_server_ends_are_replaced_unnoticed(server: PostgresServer) -> None:
    async with holisticpool.create_pool(
        server.dsn(), min_size=2, max_size=2, server_settings={"idle_session_timeout": "50ms"}
    ) as pool:
        for _ in range(5):
            connects = pool._stats()["connects"]
            await until(lambda connects=connects: pool._stats()["connects"] > connects, "replaced")  # type: ignore[misc]
            with contextlib.suppress(exceptions.PostgresError, exceptions.ConnectionDoesNotExistError):
                # A statement can meet the very end of a session; its error says so.
                assert await pool.fetchval("SELECT 1") == 1


async def test_statement_timeout_of_the_server_is_the_servers_error_and_no_more(dsn: str) -> None:
    async with holisticpool.create_pool(
        dsn, min_size=1, max_size=1, server_settings={"statement_timeout": "20ms"}
    ) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        for _ in range(10):
            with pytest.raises(exceptions.QueryCanceledError):
                await pool.fetchval("SELECT pg_sleep(600)")
            # Ours and the server's at about the same moment.
            with pytest.raises((exceptions.QueryCanceledError, TimeoutError, asyncio.TimeoutError)):
                await pool.fetchval("SELECT pg_sleep(600)", timeout=0.02)
            assert await pool.fetchval("SELECT pg_backend_pid()") == pid
        await settled(pool)


async def test_deadlock_is_reported_to_one_and_costs_no_connection(dsn: str, observer: Observer) -> None:
    name = unique_name("deadlock")
    await observer.ask(f"CREATE TABLE {name} (i int PRIMARY KEY); INSERT INTO {name} VALUES (1), (2)")
    async with holisticpool.create_pool(
        dsn, min_size=2, max_size=2, server_settings={"deadlock_timeout": "20ms"}
    ) as pool:
        both = asyncio.Event()
        entered = 0

        async def lock(first: int, second: int) -> None:
            nonlocal entered
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(f"UPDATE {name} SET i = i WHERE i = $1", first)
                entered += 1
                if entered == 2:
                    both.set()
                await both.wait()
                await connection.execute(f"UPDATE {name} SET i = i WHERE i = $1", second)

        outcomes = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
        assert sorted(type(each).__name__ for each in outcomes) == ["DeadlockDetectedError", "NoneType"]
        await settled(pool)
        await usable(pool)
    await observer.ask(f"DROP TABLE {name}")


async def test_batch_whose_answers_are_larger_than_all_buffers_does_not_get_stuck(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        await pool.execute("CREATE TABLE wide (i int, t text)")
        text = "INSERT INTO wide VALUES ($1, $2) RETURNING repeat(t, 20)"
        await pool.executemany(text, [(i, "x" * 1000) for i in range(5000)], timeout=100)
        assert await pool.fetchval("SELECT count(*) FROM wide") == 5000
        await pool.execute("DROP TABLE wide")


# ---- the init hook ----


async def test_init_hook_that_fails_at_the_start_is_what_create_pool_raises(
    server: PostgresServer, observer: Observer
) -> None:
    application = unique_name("init")

    async def init(connection: holisticpool.Connection) -> None:
        await connection.execute("SELECT 1 / 0")

    with pytest.raises(exceptions.DivisionByZeroError):
        await holisticpool.create_pool(server.dsn(application_name=application), min_size=2, max_size=2, init=init)
    await observer.until(f"NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{application}')")


async def test_init_hook_that_fails_later_costs_those_connections_and_no_caller(dsn: str) -> None:
    calls = 0

    async def init(connection: holisticpool.Connection) -> None:
        nonlocal calls
        calls += 1
        await connection.execute("SET work_mem = '70MB'")
        if 2 <= calls <= 4:
            raise ValueError("not this one")

    async with holisticpool.create_pool(dsn, min_size=1, max_size=3, init=init) as pool:
        answers = await asyncio.gather(
            *(pool.fetchval("SELECT $1::int || current_setting('work_mem') FROM pg_sleep(0.01)", i) for i in range(100))
        )
        assert answers == [f"{i}70MB" for i in range(100)]
        await usable(pool)
        stats = await settled(pool)
        assert calls >= 6 and stats["connection_errors"] == 3


async def test_session_that_ends_inside_its_init_hook_is_replaced(server: PostgresServer) -> None:
    calls = 0

    async def init(connection: holisticpool.Connection) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        if calls == 3:
            connection.terminate()

    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=2, init=init) as pool:
        await usable(pool)
        await settled(pool)


async def test_init_hook_that_never_ends_holds_up_no_one_but_its_connection(dsn: str) -> None:
    calls = 0

    async def init(connection: holisticpool.Connection) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            await asyncio.Event().wait()

    pool = await holisticpool.create_pool(dsn, min_size=1, max_size=2, init=init, acquire_timeout=0.2)
    async with pool.acquire() as connection:
        with pytest.raises(exceptions.PoolExhaustedError):
            await pool.acquire()
        assert await connection.fetchval("SELECT 1") == 1
    assert await pool.fetchval("SELECT 2") == 2
    pool.terminate()


# ---- descriptors ----


async def test_pool_lives_through_a_lack_of_descriptors(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=4, acquire_timeout=5) as pool:
        assert await pool.fetchval("SELECT 1") == 1
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(int(name) for name in os.listdir("/proc/self/fd") if name.isdigit())
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, hard))
        plugs = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    plugs.append(os.open("/dev/null", os.O_RDONLY))
            # No second connection can be opened, and no cancel be sent: the first one serves, or is given up.
            answers = await asyncio.gather(
                *(pool.fetchval("SELECT $1::int FROM pg_sleep(0.002)", i) for i in range(20))
            )
            assert answers == list(range(20))
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await pool.fetchval("SELECT pg_sleep(600)", timeout=0.05)
        finally:
            for plug in plugs:
                os.close(plug)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await usable(pool)
        await settled(pool)
