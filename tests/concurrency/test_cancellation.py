"""Tasks cancelled at random points of everything that waits: no lease is lost, no answer goes astray, nothing is left
running or in a transaction on the server.

The points are drawn from a seed, so that a failure can be repeated: the seed is the test's parameter.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from observing import Observer, settled, unique_name, usable
from servers import PostgresServer

import holisticpool
from holisticpool import exceptions

Victim = Callable[[holisticpool.Pool, random.Random, int], Awaitable[None]]


async def fetch(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    assert await pool.fetchval("SELECT $1::int + 1 FROM pg_sleep($2)", i, chance.random() * 0.004) == i + 1


async def fetch_new_text(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    kind = chance.randrange(10**9)
    assert await pool.fetchval(f"SELECT {kind} + $1::int::bigint FROM pg_sleep(0.001)", i) == kind + i


async def acquire(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    connection = await pool.acquire()
    try:
        assert await connection.fetchval("SELECT $1::int + 2", i) == i + 2
    finally:
        await pool.release(connection)


async def lease(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    async with pool.acquire() as connection:
        assert await connection.fetchval("SELECT $1::int + 3 FROM pg_sleep(0.001)", i) == i + 3
        await asyncio.sleep(0)
        assert await connection.fetch("SELECT g FROM generate_series(1, $1) g", i) == [(g,) for g in range(1, i + 1)]


async def transaction(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("INSERT INTO cancelled VALUES ($1)", -i)
        async with connection.transaction():
            assert await connection.fetchval("SELECT $1::int + 4 FROM pg_sleep(0.001)", i) == i + 4
        # Whoever comes to this point has both rows, whoever does not has none.
        await connection.execute("INSERT INTO cancelled VALUES ($1)", i)


async def batch(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    rows = [(value,) for n in range(1, 400) for value in (i * 1000 + n, -(i * 1000 + n))]
    async with pool.acquire() as connection:
        await connection.executemany("INSERT INTO cancelled VALUES ($1)", rows)


async def touch(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    async with pool.acquire() as connection:
        await connection.execute(f"SET application_name TO 'touched_{i}'; SELECT pg_advisory_lock({i})")
        assert await connection.fetchval("SELECT $1::int + 5", i) == i + 5


async def with_timeout(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
        pause = chance.random() * 0.004
        assert await pool.fetchval("SELECT $1::int + 6 FROM pg_sleep($2)", i, pause, timeout=0.003) == i + 6


async def copy_in(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    async def records() -> AsyncIterator[tuple[int]]:
        for n in range(1, 4000):
            yield (i * 10_000 + n,)
            yield (-(i * 10_000 + n),)
            if n % 1000 == 0:
                await asyncio.sleep(0)

    given: Any = records() if chance.random() < 0.5 else [(n,) for n in range(-2000, 2001)]
    copied = await pool.copy_records_to_table("cancelled", records=given)
    assert copied in ("COPY 7998", "COPY 4001")


async def copy_out(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    rows = 0

    async def write(data: bytes) -> None:
        nonlocal rows
        rows += data.count(b"\n")
        await asyncio.sleep(0)

    count = chance.randrange(5000)
    query = "SELECT repeat('x', 100) FROM generate_series(1, $1::int)"
    assert await pool.copy_from_query(query, count, output=write) == f"COPY {count}"
    assert rows == count


async def pipeline(pool: holisticpool.Pool, chance: random.Random, i: int) -> None:
    async with pool.acquire() as connection, connection.pipeline() as pipe:
        before = pipe.fetchval("SELECT $1::int + 7 FROM pg_sleep($2)", i, chance.random() * 0.002)
        async with pipe.transaction():
            pipe.execute("INSERT INTO cancelled VALUES ($1)", -i)
            if chance.random() < 0.5:
                assert await pipe.fetchval("SELECT $1::int + 8 FROM pg_sleep(0.001)", i) == i + 8
            pipe.execute("INSERT INTO cancelled VALUES ($1)", i)
        results = [pipe.fetchval("SELECT $1::int", n) for n in range(20)]
        assert await before == i + 7
    assert [await result for result in results] == list(range(20))


VICTIMS: list[Victim] = [
    fetch,
    fetch_new_text,
    acquire,
    lease,
    transaction,
    batch,
    touch,
    with_timeout,
    copy_in,
    copy_out,
    pipeline,
]


async def run_and_cancel(pool: holisticpool.Pool, victims: list[Victim], seed: int, count: int) -> int:
    """Start `count` tasks, cancel about half of them at random moments, check the others; how many survived."""
    chance = random.Random(seed)
    tasks: list[asyncio.Task[Any]] = []
    doomed: list[asyncio.Task[Any]] = []
    for i in range(1, count + 1):
        coroutine: Any = chance.choice(victims)(pool, chance, i % 50)
        tasks.append(asyncio.create_task(coroutine))
        if chance.random() < 0.5:
            doomed.append(tasks[-1])
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        if doomed and chance.random() < 0.5:
            doomed.pop(chance.randrange(len(doomed))).cancel()
    loop = asyncio.get_running_loop()
    for task in doomed:
        loop.call_later(chance.random() * 0.05, task.cancel)
    survivors = 0
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if outcome is None:
            survivors += 1
        elif not isinstance(outcome, asyncio.CancelledError):
            raise outcome
    return survivors


async def check_rest(pool: holisticpool.Pool, observer: Observer, application: str) -> None:
    await settled(pool)
    await observer.until_clean(application)
    # A transaction or batch is there as a whole or not at all.
    assert await pool.fetchval("SELECT coalesce(sum(value), 0) FROM cancelled") == 0
    await usable(pool)
    names = await pool.fetch("SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = 'postgres'")
    assert not [name for (name,) in names if name.startswith("touched")]
    assert await pool.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


@pytest.mark.parametrize("victim", VICTIMS, ids=lambda victim: str(victim.__name__))
async def test_cancelled_at_random_points(server: PostgresServer, observer: Observer, victim: Victim) -> None:
    application = unique_name("cancelled")
    dsn = server.dsn(application_name=application)
    await observer.ask("CREATE TABLE IF NOT EXISTS cancelled (value int)")
    async with holisticpool.create_pool(dsn, min_size=1, max_size=4) as pool:
        survivors = await run_and_cancel(pool, [victim], 1, 150)
        assert survivors >= 10
        await check_rest(pool, observer, application)
    await observer.ask("DROP TABLE cancelled")


@pytest.mark.parametrize("seed", range(6))
async def test_mixed_work_cancelled_at_random_points(server: PostgresServer, observer: Observer, seed: int) -> None:
    application = unique_name("cancelled")
    dsn = server.dsn(application_name=application)
    await observer.ask("CREATE TABLE IF NOT EXISTS cancelled (value int)")
    async with holisticpool.create_pool(dsn, min_size=1, max_size=4, statement_cache_size=3, max_queries=50) as pool:
        survivors = await run_and_cancel(pool, VICTIMS, seed, 400)
        assert survivors >= 20
        await check_rest(pool, observer, application)
    await observer.ask("DROP TABLE cancelled")


async def test_statement_of_a_cancelled_task_is_cancelled_on_the_server(
    server: PostgresServer, observer: Observer
) -> None:
    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=1) as pool:
        task = asyncio.create_task(pool.fetchval("SELECT pg_sleep(600), 'long one'"))
        await observer.until_running("long one")
        before = server.backend_pids()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await observer.until_not_running("long one")
        assert await pool.fetchval("SELECT pg_backend_pid()") in before


async def test_cancelled_waiter_frees_its_place_at_once(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, max_waiters=1) as pool:
        async with pool.acquire():
            for make in (lambda: pool.fetchval("SELECT 1"), pool.acquire):
                task = asyncio.create_task(make())
                await asyncio.sleep(0)
                assert pool._stats()["waiters"] == 1
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert pool._stats()["waiters"] == 0
        await settled(pool)


async def test_lease_granted_to_a_task_that_is_cancelled_before_it_runs_goes_back(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        held = await pool.acquire()
        task = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0)
        await pool.release(held)  # the lease is granted here, and the task has not seen it yet
        assert pool._stats()["leased"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool._stats()["leased"] == 0
        await usable(pool)


async def test_answer_that_came_before_the_cancellation_leaves_nothing_behind(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        for i in range(200):
            task = asyncio.create_task(pool.fetchval("SELECT $1::int", i))
            for _ in range(i % 12):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                assert await task == i
            assert await pool.fetchval("SELECT $1::int", -i) == -i
        await settled(pool)


async def test_close_that_is_cancelled_leaves_no_session(server: PostgresServer, observer: Observer) -> None:
    for turns in range(8):
        application = unique_name("closing")
        pool = await holisticpool.create_pool(server.dsn(application_name=application), min_size=3, max_size=3)
        connection = await pool.acquire()
        closing = asyncio.create_task(pool.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        if turns == 0:  # it had not begun
            await pool.release(connection)
            await pool.close()
        del connection
        await observer.until(f"NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{application}')")


async def test_opening_that_is_cancelled_leaves_no_session(server: PostgresServer, observer: Observer) -> None:
    application = unique_name("opening")
    for turns in range(0, 60, 3):
        pool = holisticpool.create_pool(server.dsn(application_name=application), min_size=3, max_size=3)

        async def open_it(pool: holisticpool.Pool = pool) -> None:
            await pool

        opening = asyncio.create_task(open_it())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
            await pool.close()
    await observer.until(f"NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{application}')")


async def test_closing_pool_refuses_new_work_and_serves_what_waits(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1)
    held = await pool.acquire()
    waiting = asyncio.create_task(pool.fetchval("SELECT 7"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)
    with pytest.raises(exceptions.InterfaceError, match="closing"):
        await pool.fetchval("SELECT 1")
    assert await held.fetchval("SELECT 8") == 8
    await pool.release(held)
    assert await waiting == 7
    await closing


async def test_waiter_of_a_closing_pool_is_told_when_its_connection_is_gone(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1, acquire_timeout=None)
    held = await pool.acquire()
    waiting = asyncio.create_task(pool.fetchval("SELECT 7"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)
    held.terminate()
    await pool.release(held)
    with pytest.raises(exceptions.InterfaceError, match="closing"):
        await waiting
    await closing
