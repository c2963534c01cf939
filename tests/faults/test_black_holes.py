"""A network that swallows everything: each caller has a connection or an error within its own time limit, and the pool
recovers when bytes pass again."""

from __future__ import annotations

import asyncio

import pytest
from observing import settled, until, usable
from servers import PostgresServer

import holisticpool
from bench.proxy import DelayProxy
from holisticpool import exceptions
from holisticpool.config import UNSET

# asyncio.wait_for() in these tests is no more than a guard: it is far beyond the limit under test.
GUARD_S = 20


async def works_again(pool: holisticpool.Pool) -> bool:
    try:
        return bool(await pool.fetchval("SELECT 1", timeout=1) == 1)
    except (exceptions.InterfaceError, exceptions.ConnectionDoesNotExistError, TimeoutError, asyncio.TimeoutError):
        return False


async def test_black_hole_in_the_middle_of_a_query(proxy: DelayProxy, proxy_dsn: str) -> None:
    async with holisticpool.create_pool(proxy_dsn, min_size=2, max_size=2, command_timeout=0.3, timeout=1) as pool:
        busy = [asyncio.create_task(pool.fetchval("SELECT 1 FROM pg_sleep(600)", timeout=0.3)) for _ in range(2)]
        await until(lambda: pool._stats()["busy"] == 2, "both are sent")
        proxy.black_hole()
        for task in busy:
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(task, GUARD_S)
        proxy.forward()
        await until(lambda: works_again(pool), "the pool works again")
        await settled(pool)
        await usable(pool)


async def test_black_hole_while_connections_are_idle(proxy: DelayProxy, proxy_dsn: str) -> None:
    async with holisticpool.create_pool(proxy_dsn, min_size=2, max_size=2, timeout=1, acquire_timeout=0.5) as pool:
        await usable(pool)
        proxy.black_hole()
        for _ in range(2):
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(pool.fetchval("SELECT 1", timeout=0.2), GUARD_S)
        proxy.forward()
        await until(lambda: works_again(pool), "the pool works again")
        await settled(pool)
        await usable(pool)


@pytest.mark.parametrize("mode", ["black_hole", "unreachable"])
async def test_black_hole_while_connecting(proxy: DelayProxy, proxy_dsn: str, mode: str) -> None:
    async with holisticpool.create_pool(proxy_dsn, min_size=0, max_size=2, timeout=0.5, acquire_timeout=0.8) as pool:
        getattr(proxy, mode)()
        for run in (lambda: pool.fetchval("SELECT 1"), pool.acquire, lambda: pool.fetchval("SELECT 1", timeout=0.3)):
            with pytest.raises(exceptions.ServerUnavailableError):
                await asyncio.wait_for(run(), GUARD_S)
        proxy.forward()
        await until(lambda: works_again(pool), "the pool works again")
        await settled(pool)


@pytest.mark.parametrize("mode", ["black_hole", "unreachable"])
async def test_opening_in_a_black_hole_ends_with_the_connect_timeout(
    proxy: DelayProxy, proxy_dsn: str, mode: str
) -> None:
    getattr(proxy, mode)()
    for make in (holisticpool.create_pool, holisticpool.connect):
        with pytest.raises((exceptions.ServerUnavailableError, TimeoutError, asyncio.TimeoutError)) as caught:
            await asyncio.wait_for(make(proxy_dsn, timeout=0.4), GUARD_S)
        assert str(proxy.address[1]) in str(caught.value)
    proxy.forward()
    async with holisticpool.create_pool(proxy_dsn, min_size=1, max_size=1, timeout=5) as pool:
        assert await pool.fetchval("SELECT 1") == 1


async def test_waiters_behind_swallowed_statements_have_their_own_limit(proxy: DelayProxy, proxy_dsn: str) -> None:
    async with holisticpool.create_pool(proxy_dsn, min_size=1, max_size=1, timeout=1, acquire_timeout=0.4) as pool:
        proxy.black_hole()
        stuck = asyncio.create_task(pool.fetchval("SELECT 1"))
        await until(lambda: pool._stats()["busy"] == 1, "the statement is sent")
        waiting = [asyncio.create_task(pool.fetchval("SELECT 2")) for _ in range(5)]
        for outcome in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), GUARD_S):
            assert isinstance(outcome, exceptions.PoolExhaustedError)
        proxy.forward()
        assert await asyncio.wait_for(stuck, GUARD_S) == 1  # the network only paused
        await settled(pool)


async def test_lease_swallowed_in_a_transaction_gives_its_slot_back(proxy: DelayProxy, proxy_dsn: str) -> None:
    async with holisticpool.create_pool(proxy_dsn, min_size=1, max_size=1, timeout=1) as pool:
        # The timeout, or what the ROLLBACK behind it met.
        with pytest.raises((TimeoutError, asyncio.TimeoutError, exceptions.ConnectionDoesNotExistError)):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT 1")
                proxy.black_hole()
                try:
                    await connection.fetchval("SELECT 2", timeout=0.2)
                finally:
                    proxy.reset_connections()  # what TCP keepalive would find in the end
                    proxy.forward()
        await until(lambda: works_again(pool), "the pool works again")
        await settled(pool)
        await usable(pool)


async def test_close_in_a_black_hole_ends(proxy: DelayProxy, proxy_dsn: str) -> None:
    pool = await holisticpool.create_pool(proxy_dsn, min_size=2, max_size=2, timeout=1)
    await usable(pool)
    proxy.black_hole()
    await asyncio.wait_for(pool.close(), GUARD_S)
    assert pool._closed


async def test_terminate_in_a_black_hole_is_immediate_and_ends_what_waits(proxy: DelayProxy, proxy_dsn: str) -> None:
    pool = await holisticpool.create_pool(proxy_dsn, min_size=1, max_size=1, timeout=1)
    proxy.black_hole()
    stuck = asyncio.create_task(pool.fetchval("SELECT 1"))
    await until(lambda: pool._stats()["busy"] == 1, "the statement is sent")
    pool.terminate()
    with pytest.raises(exceptions.ConnectionDoesNotExistError, match="terminated"):
        await asyncio.wait_for(stuck, GUARD_S)
    assert pool._closed


async def test_health_check_answers_in_a_black_hole(proxy: DelayProxy, proxy_dsn: str, server: PostgresServer) -> None:
    holisticpool.db_pool.configure(dsn=proxy_dsn, min_size=1, max_size=2, timeout=1, acquire_timeout=0.5)
    try:
        adapter = holisticpool.SupabaseAsyncPGAdapter()
        await adapter.connect()
        assert (await adapter.health_check())["database"] == "connected"
        proxy.black_hole()
        answer = await asyncio.wait_for(adapter.health_check(), GUARD_S)
        assert answer["database"] == "error" and answer["error"]
        assert server.password not in str(answer)
    finally:
        proxy.forward()
        await holisticpool.db_pool.close()
        holisticpool.db_pool.configure(
            **dict.fromkeys(("dsn", "min_size", "max_size", "timeout", "acquire_timeout"), UNSET)
        )
