"""A pool that is used up says so, with the numbers that tell why, and is as good as new afterwards."""

from __future__ import annotations

import asyncio

import pytest
from observing import settled, until, usable

import holisticpool
from holisticpool import exceptions


async def test_exhausted_pool_tells_leases_longest_lease_and_waiters(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=2, acquire_timeout=30) as pool:
        async with pool.acquire(), pool.acquire():
            others = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(exceptions.PoolExhaustedError) as caught:
                await pool.acquire(timeout=0.05)
            error = caught.value
            assert (error.leased, error.max_size, error.waiting) == (2, 2, 3)
            assert 0.05 <= error.longest_lease < 30
            assert isinstance(error, (TimeoutError,)) and isinstance(error, asyncio.TimeoutError)
            assert isinstance(error, exceptions.InterfaceError)
            assert not isinstance(error, ConnectionError)
            assert "2" in str(error) and "lease" in str(error)
        assert await asyncio.gather(*others) == [1, 1, 1]
        assert pool._stats()["acquire_timeouts"] == 1
        await usable(pool)


async def test_default_of_the_pool_limits_leases_and_statements(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, acquire_timeout=0.03) as pool:
        async with pool.acquire():
            for run in (pool.acquire, lambda: pool.fetchval("SELECT 1"), lambda: pool.execute("SELECT 1")):
                with pytest.raises(exceptions.PoolExhaustedError):
                    await run()
        await usable(pool)


async def test_max_waiters_turns_the_next_one_away_at_once(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, max_waiters=3, acquire_timeout=None) as pool:
        async with pool.acquire():
            waiting = [asyncio.create_task(pool.fetchval("SELECT $1::int", i)) for i in range(3)]
            await asyncio.sleep(0)
            for run in (pool.acquire, lambda: pool.fetchval("SELECT 1")):
                with pytest.raises(exceptions.PoolExhaustedError, match="max_waiters") as caught:
                    await run()
                assert caught.value.waiting == 3
            assert pool._stats()["rejected"] == 2
        assert await asyncio.gather(*waiting) == [0, 1, 2]
        assert await pool.fetchval("SELECT 1") == 1


async def test_none_waits_for_ever(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, acquire_timeout=0.02) as pool:
        async with pool.acquire():
            patient = asyncio.create_task(pool.acquire(timeout=None))
            with pytest.raises(exceptions.PoolExhaustedError):
                await pool.acquire()
            assert not patient.done()
        await pool.release(await patient)


async def test_zero_timeout_takes_what_is_free_and_does_not_wait(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire(timeout=0):
            with pytest.raises(exceptions.PoolExhaustedError):
                await pool.acquire(timeout=0)
        await usable(pool)


async def test_timeouts_of_many_waiters_lose_no_connection(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2) as pool:

        async def impatient(i: int) -> None:
            try:
                async with pool.acquire(timeout=0.001 * (i % 7)) as connection:
                    assert await connection.fetchval("SELECT $1::int FROM pg_sleep(0.003)", i) == i
            except exceptions.PoolExhaustedError:
                pass

        for _ in range(5):
            await asyncio.gather(*(impatient(i) for i in range(60)))
        await settled(pool)
        await usable(pool)


async def test_connection_released_twice_or_to_another_pool_disturbs_nobody(dsn: str) -> None:
    async with (
        holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool,
        holisticpool.create_pool(dsn, min_size=1, max_size=1) as other,
    ):
        first = await pool.acquire()
        with pytest.raises(exceptions.InterfaceError):
            await other.release(first)
        await pool.release(first)
        second = await pool.acquire()
        await pool.release(first)  # has no say in it any more
        with pytest.raises(exceptions.InterfaceError, match="released"):
            await first.fetchval("SELECT 1")
        assert await second.fetchval("SELECT 2") == 2
        assert pool._stats()["leased"] == 1
        await pool.release(second)
        await until(lambda: pool.get_idle_size() == 1, "the connection is idle")


async def test_two_operations_at_once_on_one_lease_are_refused(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        busy = asyncio.create_task(connection.fetchval("SELECT 1 FROM pg_sleep(0.05)"))
        await asyncio.sleep(0)
        with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
            await connection.fetchval("SELECT 2")
        assert await busy == 1
        assert await connection.fetchval("SELECT 3") == 3
