"""Statements of many tasks on few connections, pipelined: each task gets its own answer, error, timeout or
cancellation, and nobody another's.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from observing import until
from servers import PostgresServer

import holisticpool

ECHO = "SELECT $1::int"
DIVIDE = "SELECT 1000 / $1::int"

Pipeline = str | int


async def make_known(pool: holisticpool.Pool) -> None:
    for _ in range(3):
        await pool.fetchval(ECHO, 1)
        await pool.fetchval(DIVIDE, 1)


@pytest.mark.parametrize("pipeline", ["off", "auto", 1, 3, 64])
async def test_each_task_gets_its_own_answer(server: PostgresServer, pipeline: Pipeline) -> None:
    # With the default some connection might be on its way to being replaced when they are counted.
    pool = holisticpool.create_pool(server.dsn(), min_size=3, max_size=3, max_queries=1_000_000, pipeline=pipeline)
    async with pool:
        await make_known(pool)

        async def ask(task: int) -> None:
            for i in range(40):
                number = task * 1000 + i
                assert await pool.fetchval(ECHO, number) == number

        await asyncio.gather(*(ask(task) for task in range(100)))
        assert pool.get_size() == 3


@pytest.mark.parametrize("pipeline", ["auto", 16])
async def test_statements_share_connections(server: PostgresServer, pipeline: Pipeline) -> None:
    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=1, pipeline=pipeline) as pool:

        async def burst_is_pipelined() -> bool:
            await asyncio.gather(*(pool.fetchval(ECHO, i) for i in range(20)))
            return bool(pool._stats()["pipelined"] > 0)

        await make_known(pool)
        await until(burst_is_pipelined, "statements go out behind others")


async def test_off_has_one_statement_on_a_connection(server: PostgresServer) -> None:
    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=1, pipeline="off") as pool:
        await make_known(pool)
        await asyncio.gather(*(pool.fetchval(ECHO, i) for i in range(50)))
        assert pool._stats()["pipelined"] == 0


async def test_errors_timeouts_and_cancellations_are_each_its_own(server: PostgresServer) -> None:
    chance = random.Random(11)
    async with holisticpool.create_pool(server.dsn(), min_size=2, max_size=2, pipeline="auto") as pool:
        await make_known(pool)

        async def echo(i: int) -> None:
            assert await pool.fetchval(ECHO, i) == i

        async def divide(i: int) -> None:
            with pytest.raises(holisticpool.DivisionByZeroError):
                await pool.fetchval(DIVIDE, 0)

        async def wrong_argument(i: int) -> None:
            with pytest.raises(holisticpool.DataError):
                await pool.fetchval(ECHO, "no number")

        async def time_out(i: int) -> None:
            with pytest.raises(asyncio.TimeoutError):
                await pool.fetchval("SELECT pg_sleep(600)", timeout=0.02)

        async def cancelled(i: int) -> None:
            task = asyncio.ensure_future(pool.fetchval(ECHO, i))
            await asyncio.sleep(0)
            task.cancel()
            try:
                assert await task == i
            except asyncio.CancelledError:
                pass

        async def write(i: int) -> None:
            assert await pool.execute("INSERT INTO pipelined VALUES ($1)", i) == "INSERT 0 1"

        async with pool.acquire() as conn:
            await conn.execute("DROP TABLE IF EXISTS pipelined; CREATE TABLE pipelined (i int)")
        kinds = [echo, echo, echo, echo, divide, wrong_argument, cancelled, write]
        calls = [chance.choice(kinds)(i) for i in range(1500)]
        calls += [time_out(i) for i in range(5)]
        chance.shuffle(calls)
        await asyncio.gather(*calls)
        assert await pool.fetchval(ECHO, 7) == 7
        await pool.execute("DROP TABLE pipelined")
        assert pool._stats()["leased"] == 0 and pool._stats()["waiters"] == 0


async def test_a_read_that_waits_for_a_lock_holds_up_nobody(server: PostgresServer) -> None:
    """The lock's holder asks the pool for something before it lets go: behind the read that waits for the lock,
    that would wait for ever."""
    locked = "SELECT count(*) FROM pipelined_lock WHERE i < $1"
    async with holisticpool.create_pool(server.dsn(), min_size=3, max_size=3, pipeline="auto") as pool:
        await pool.execute("DROP TABLE IF EXISTS pipelined_lock; CREATE TABLE pipelined_lock (i int)")
        await make_known(pool)
        for _ in range(3):
            await pool.fetchval(locked, 1)
        async with pool.acquire() as holder, holder.transaction():
            await holder.execute("LOCK TABLE pipelined_lock")
            waiting = asyncio.ensure_future(pool.fetchval(locked, 1))
            behind = [asyncio.ensure_future(pool.fetchval(ECHO, i)) for i in range(3)]
            assert await asyncio.gather(*behind) == [0, 1, 2]
            assert not waiting.done()
        assert await waiting == 0
        await pool.execute("DROP TABLE pipelined_lock")


@pytest.mark.parametrize("value", ["on", "", 0, -1, 65, True, None, 1.5])
async def test_what_is_no_way_of_pipelining_is_refused(server: PostgresServer, value: object) -> None:
    with pytest.raises(holisticpool.ClientConfigurationError, match="pipeline is expected to be"):
        holisticpool.create_pool(server.dsn(), pipeline=value)  # type: ignore[arg-type]
