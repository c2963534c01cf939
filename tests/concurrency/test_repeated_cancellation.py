"""A task that is cancelled again and again, also while it cleans up, still gives its connection back.

anyio's task groups do that: every await in a cancelled scope is cancelled until the scope is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest
from observing import Observer, settled, unique_name, usable
from servers import PostgresServer

import holisticpool


async def cancel_until_done(task: asyncio.Task[None]) -> None:
    """Cancel in every turn of the loop until the task is over."""
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def work(pool: holisticpool.Pool, reached: asyncio.Event) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("CREATE TEMP TABLE half_done (i int)")
        async with connection.transaction():
            reached.set()
            await connection.fetchval("SELECT 1 FROM pg_sleep(600)")


async def test_lease_in_a_transaction_comes_back_from_a_task_cancelled_in_every_turn(
    server: PostgresServer, observer: Observer
) -> None:
    application = unique_name("again")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=2, max_size=2) as pool:
        for _ in range(10):
            reached = asyncio.Event()
            task = asyncio.create_task(work(pool, reached))
            await reached.wait()
            await cancel_until_done(task)
        await settled(pool)
        await observer.until_clean(application)
        await usable(pool)


async def test_lease_released_by_hand_in_a_finally_comes_back(server: PostgresServer, observer: Observer) -> None:
    application = unique_name("again")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=1, max_size=1) as pool:
        cleaned = 0

        async def by_hand(reached: asyncio.Event) -> None:
            nonlocal cleaned
            connection = await pool.acquire()
            try:
                await connection.execute("BEGIN")
                reached.set()
                await connection.fetchval("SELECT pg_sleep(600)")
            finally:
                try:
                    await connection.execute("ROLLBACK")
                finally:
                    await pool.release(connection)
                    cleaned += 1

        for _ in range(10):
            reached = asyncio.Event()
            task = asyncio.create_task(by_hand(reached))
            await reached.wait()
            await cancel_until_done(task)
        assert cleaned == 10
        await settled(pool)
        await observer.until_clean(application)


async def test_cancelled_anyio_scope_gives_its_connections_back(server: PostgresServer, observer: Observer) -> None:
    anyio = pytest.importorskip("anyio")
    application = unique_name("anyio")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=1, max_size=3) as pool:
        for _ in range(5):
            events = [asyncio.Event() for _ in range(3)]
            async with anyio.create_task_group() as group:
                for event in events:
                    group.start_soon(work, pool, event)
                for event in events:
                    await event.wait()
                group.cancel_scope.cancel()
        await settled(pool)
        await observer.until_clean(application)
        await usable(pool)


async def test_anyio_timeout_around_a_query_cancels_it_and_the_scope_goes_on(dsn: str) -> None:
    anyio = pytest.importorskip("anyio")
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        for _ in range(20):
            with anyio.move_on_after(0.002) as scope:
                await pool.fetchval("SELECT pg_sleep(600)")
            assert scope.cancelled_caught
            assert await pool.fetchval("SELECT 5") == 5
        await settled(pool)


async def test_wait_for_around_leases_statements_and_waiting_loses_nothing(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=2) as pool:

        async def one(i: int) -> None:
            async with pool.acquire() as connection, connection.transaction():
                assert await connection.fetchval("SELECT $1::int FROM pg_sleep(0.002)", i) == i

        for start in range(0, 200, 10):
            works = [asyncio.wait_for(one(i), 0.001 * (i % 13)) for i in range(start, start + 10)]
            for outcome in await asyncio.gather(*works, return_exceptions=True):
                assert outcome is None or isinstance(outcome, (TimeoutError, asyncio.TimeoutError))
        await settled(pool)
        await usable(pool)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout() came with 3.11")
async def test_asyncio_timeout_turns_the_cancellation_into_timeout_error(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.002):  # type: ignore[attr-defined,unused-ignore]
                    async with pool.acquire() as connection:
                        await connection.fetchval("SELECT pg_sleep(600)")
            assert await pool.fetchval("SELECT 6") == 6
        await settled(pool)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup came with 3.11")
async def test_failing_task_of_a_group_takes_the_others_down_and_no_lease_with_it(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=3) as pool:
        for _ in range(10):
            with pytest.raises(BaseExceptionGroup):  # type: ignore[name-defined,unused-ignore]  # noqa: F821
                async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]
                    for text in ("pg_sleep(600)", "1 / 0 FROM pg_sleep(0.001)", *["pg_sleep(600)"] * 4):
                        group.create_task(pool.fetchval(f"SELECT {text}"))
            await settled(pool)
        await usable(pool)


async def test_shielded_statement_goes_on_when_its_caller_is_cancelled(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        inner = asyncio.ensure_future(pool.fetchval("SELECT 9 FROM pg_sleep(0.01)"))

        async def outer() -> None:
            await asyncio.shield(inner)

        task = asyncio.create_task(outer())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await inner == 9


async def test_task_left_with_a_lease_is_garbage_and_the_lease_is_not(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        connection = await pool.acquire()
        await connection.execute("BEGIN")
        with pytest.warns(ResourceWarning, match="never released"):
            del connection
        await settled(pool)
        async with pool.acquire() as again:
            assert not again.is_in_transaction()
