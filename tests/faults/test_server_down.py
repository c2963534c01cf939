"""The server stops, is away for a while and comes back: callers are told what is the matter, and the pool recovers by
itself, without anybody opening anything again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from observing import Observer, settled, until, usable
from servers import PostgresServer

import holisticpool
from holisticpool import exceptions
from holisticpool.config import UNSET
from holisticpool.database import DatabasePool

OwnServer = Callable[..., PostgresServer]

# What a caller may meet whose connection breaks: the reason where the server gave one.
LOST = (
    exceptions.ConnectionDoesNotExistError,
    exceptions.PostgresConnectionError,
    exceptions.OperatorInterventionError,
)


@pytest.fixture
async def database() -> AsyncIterator[DatabasePool]:
    """The pool object that services use, closed afterwards."""
    yield holisticpool.db_pool
    await holisticpool.db_pool.close()
    holisticpool.db_pool.configure(dsn=UNSET, min_size=UNSET, max_size=UNSET)


async def works_again(pool: holisticpool.Pool) -> bool:
    try:
        return bool(await pool.fetchval("SELECT 1", timeout=5) == 1)
    except (*LOST, exceptions.ServerUnavailableError, TimeoutError, asyncio.TimeoutError):
        return False


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_restart_costs_what_is_under_way_and_no_more(own_server: OwnServer, mode: Any) -> None:
    server = own_server()
    async with holisticpool.create_pool(server.dsn(), min_size=2, max_size=4) as pool:
        busy = [asyncio.create_task(pool.fetchval("SELECT pg_sleep(600), 'busy'")) for _ in range(2)]
        leased = await pool.acquire()
        await leased.execute("BEGIN")
        await Observer(server).until_running("busy", 2)
        await asyncio.to_thread(server.restart, mode)
        for task in busy:
            with pytest.raises(LOST) as caught:
                await task
            assert str(caught.value)
        await until(leased.is_closed, "the lease is found to be lost")
        with pytest.raises(exceptions.InterfaceError, match="closed"):
            await leased.fetchval("SELECT 1")
        await pool.release(leased)
        await until(lambda: works_again(pool), "the pool works again")
        await settled(pool)
        await usable(pool)


async def test_queued_callers_live_through_a_restart(own_server: OwnServer) -> None:
    server = own_server()
    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=1) as pool:
        leased = await pool.acquire()
        waiting = [asyncio.create_task(pool.fetchval("SELECT $1::int", i)) for i in range(5)]
        await asyncio.sleep(0)
        await asyncio.to_thread(server.restart)
        await pool.release(leased)
        assert await asyncio.gather(*waiting) == list(range(5))


async def test_server_that_is_down_at_the_start_fails_create_pool_with_the_real_error(own_server: OwnServer) -> None:
    server = own_server()
    dsn = server.dsn()
    server.stop()
    with pytest.raises(ConnectionRefusedError) as caught:
        await holisticpool.create_pool(dsn, min_size=2, max_size=4)
    assert str(server.port) in str(caught.value)
    with pytest.raises(ConnectionRefusedError):
        await holisticpool.connect(dsn)
    await asyncio.to_thread(server.start)
    async with holisticpool.create_pool(dsn, min_size=2, max_size=4) as pool:
        assert await pool.fetchval("SELECT 1") == 1


async def test_server_that_goes_down_later_is_reported_with_the_last_error(own_server: OwnServer) -> None:
    server = own_server()
    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=2, acquire_timeout=0.3) as pool:
        await asyncio.to_thread(server.stop)
        for run in (lambda: pool.fetchval("SELECT 1"), pool.acquire, lambda: pool.fetchval("SELECT 1")):
            with pytest.raises((*LOST, exceptions.ServerUnavailableError)) as caught:
                await run()
        error = caught.value
        assert isinstance(error, exceptions.ServerUnavailableError)
        assert isinstance(error, (TimeoutError, ConnectionError, exceptions.InterfaceError))
        assert not isinstance(error, exceptions.PoolExhaustedError)
        assert isinstance(error.last_error, ConnectionRefusedError) and error.__cause__ is error.last_error
        assert str(server.port) in str(error) and error.attempts > 0
        assert server.password not in str(error)
        await asyncio.to_thread(server.start)
        await until(lambda: works_again(pool), "the pool works again")
        await settled(pool)


async def test_pool_without_connections_and_callers_finds_the_server_when_it_is_back(own_server: OwnServer) -> None:
    server = own_server()
    async with holisticpool.create_pool(server.dsn(), min_size=0, max_size=2, acquire_timeout=0.2) as pool:
        await asyncio.to_thread(server.stop)
        for _ in range(3):
            with pytest.raises(exceptions.ServerUnavailableError):
                await pool.fetchval("SELECT 1")
        await asyncio.to_thread(server.start)
        await until(lambda: works_again(pool), "the pool works again")


async def test_min_size_is_restored_without_a_caller(own_server: OwnServer) -> None:
    server = own_server()
    async with holisticpool.create_pool(server.dsn(), min_size=3, max_size=4) as pool:
        await asyncio.to_thread(server.restart)
        await until(lambda: pool._stats()["connects"] >= 6 and pool.get_idle_size() == 3, "three new connections")
        await usable(pool)


async def test_status_follows_the_server(own_server: OwnServer, database: DatabasePool, server: PostgresServer) -> None:
    own = own_server()
    database.configure(dsn=own.dsn(), min_size=2, max_size=4)
    await database.initialize()

    async def is_status(name: str) -> bool:
        return bool((await database.get_pool_status())["status"] == name)

    assert await is_status("healthy")
    await asyncio.to_thread(own.stop)
    await until(lambda: is_status("unavailable"), "the status is unavailable")
    status = await database.get_pool_status()
    assert (status["size"], status["idle_connections"], status["min_size"], status["max_size"]) == (0, 0, 2, 4)
    assert str(own.port) in status["last_error"] and status["last_error_at"]
    assert own.password not in str(status)
    await asyncio.to_thread(own.start)
    await until(lambda: is_status("healthy"), "the status is healthy again")
    assert await database.execute_one("SELECT 1 AS one") == (1,)


async def test_status_is_degraded_while_one_connection_serves_and_more_cannot_be_opened(
    own_server: OwnServer, database: DatabasePool
) -> None:
    server = own_server()
    await Observer(server).ask("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 2")
    database.configure(dsn=server.dsn(user="few", password="few"), min_size=2, max_size=4)
    await database.initialize()
    await Observer(server).ask("ALTER ROLE few CONNECTION LIMIT 1")
    pid = await database.execute_one("SELECT pg_backend_pid() AS pid")
    assert pid is not None
    await Observer(server).ask(f"SELECT pg_terminate_backend({pid['pid']}, 10000)")

    async def is_status(name: str) -> bool:
        return bool((await database.get_pool_status())["status"] == name)

    await until(lambda: is_status("degraded"), "the status is degraded")
    status = await database.get_pool_status()
    assert status["size"] == 1 and "too many connections" in status["last_error"]
    assert await database.execute_one("SELECT 2 AS two") == (2,)  # it still serves
    await Observer(server).ask("ALTER ROLE few CONNECTION LIMIT 4")
    await until(lambda: is_status("healthy"), "the status is healthy again")


async def test_server_that_is_starting_up_or_shutting_down_is_waited_for(own_server: OwnServer) -> None:
    server = own_server()
    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=2, acquire_timeout=60) as pool:
        await asyncio.to_thread(server.stop)
        await until(lambda: pool.get_size() == 0, "the connection is lost")
        waiting = [asyncio.create_task(pool.fetchval("SELECT $1::int", i)) for i in range(10)]
        await until(lambda: bool(pool._stats()["connection_errors"] >= 1), "an attempt has failed")
        await asyncio.to_thread(server.start)
        assert await asyncio.gather(*waiting) == list(range(10))


async def test_close_and_terminate_work_while_the_server_is_down(own_server: OwnServer) -> None:
    server = own_server()
    for end in ("close", "terminate"):
        await asyncio.to_thread(server.start) if not server.is_running() else None
        pool = await holisticpool.create_pool(server.dsn(), min_size=2, max_size=4)
        await asyncio.to_thread(server.stop)
        waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
        await until(lambda pool=pool: pool._stats()["connection_errors"] > 0, "an attempt has failed")  # type: ignore[misc]
        if end == "close":
            await pool.close()
        else:
            pool.terminate()
        with pytest.raises(exceptions.InterfaceError, match="clos|terminated"):
            await waiting
        assert pool._closed
