"""Prepared statements, batches, cursors and streams, again and again, leave nothing behind: read, left or failed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from growth import growth_on_a_pool, settle

import holisticpool
from holisticpool import Pool, exceptions

Work = Callable[[Pool], Awaitable[Any]]

ROUNDS = 30
SERIES = "SELECT i, i::text AS t FROM generate_series(1, $1::int) i"


async def prepare_and_fetch(pool: Pool) -> None:
    async with pool.acquire() as connection:
        statement = await connection.prepare(SERIES)
        await statement.fetch(10)
        await statement.fetchrow(1)
        await statement.fetchmany([(1,), (2,)])
        statement.get_attributes()


async def prepare_what_is_refused(pool: Pool) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(exceptions.UndefinedColumnError):
            await connection.prepare("SELECT nonsense")


async def statement_that_is_prepared_again(pool: Pool) -> None:
    async with pool.acquire() as connection:
        statement = await connection.prepare("SELECT $1::int", name="again")
        await connection.execute("DEALLOCATE ALL")
        await statement.fetch(1)


async def statement_that_outlives_its_lease(pool: Pool) -> None:
    async with pool.acquire() as connection:
        statement = await connection.prepare("SELECT 1")
    with pytest.raises(exceptions.InterfaceError):
        await statement.fetch()


async def fetchmany(pool: Pool) -> None:
    await pool.fetchmany(SERIES, [(3,), (4,)])


def numbers(count: int, fail: bool) -> Iterator[tuple[int]]:
    for n in range(count):
        yield (n,)
    if fail:
        raise KeyError(count)


async def async_numbers(count: int) -> AsyncIterator[tuple[int]]:
    for each in numbers(count, False):
        yield each


async def executemany_of_iterators(pool: Pool) -> None:
    await pool.executemany("SELECT $1::int", numbers(100, False))
    await pool.executemany("SELECT $1::int", async_numbers(100))


async def iterator_that_fails(pool: Pool) -> None:
    with pytest.raises(KeyError):
        await pool.executemany("SELECT $1::int", numbers(100, True))
    with pytest.raises(exceptions.DivisionByZeroError):
        await pool.fetchmany("SELECT 1 / $1::int", numbers(100, False))


async def iterator_that_is_left(pool: Pool) -> None:
    async def source() -> AsyncIterator[tuple[int]]:
        for each in numbers(100, False):
            yield each
        reached.set()
        await asyncio.Event().wait()

    reached = asyncio.Event()
    task = asyncio.create_task(pool.executemany("SELECT $1::int", source()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cursor_by_iteration(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        async for _ in connection.cursor(SERIES, 20, prefetch=6):
            pass
        async for _ in connection.cursor(SERIES, 20, prefetch=6):
            break


async def cursor_by_hand(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        statement = await connection.prepare(SERIES)
        cursor = await statement.cursor(20)
        await cursor.forward(3)
        await cursor.fetch(5)
        await cursor.fetchrow()
        cursor = await connection.cursor("SHOW TimeZone")
        await cursor.fetchrow()


async def rows_that_are_not_awaited(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        rows = aiter(connection.cursor(SERIES, 20))
        await anext(rows)
        held = [rows.__anext__() for _ in range(5)]
        await held[2]
        held[3].close()


async def cursor_outside_of_a_transaction(pool: Pool) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(exceptions.NoActiveSQLTransactionError):
            await connection.cursor(SERIES, 1)


async def stream(pool: Pool) -> None:
    async for _ in pool.stream(SERIES, 20, prefetch=6):
        pass


async def stream_that_is_left(pool: Pool) -> None:
    async with aclosing(pool.stream(SERIES, 100, prefetch=6)) as rows:
        async for _ in rows:
            break


async def stream_that_fails(pool: Pool) -> None:
    with pytest.raises(exceptions.DivisionByZeroError):
        async for _ in pool.stream("SELECT 1 / (5 - i) FROM generate_series(1, 9) i", prefetch=2):
            pass


WORK: list[Work] = [
    prepare_and_fetch,
    prepare_what_is_refused,
    statement_that_is_prepared_again,
    statement_that_outlives_its_lease,
    fetchmany,
    executemany_of_iterators,
    iterator_that_fails,
    iterator_that_is_left,
    cursor_by_iteration,
    cursor_by_hand,
    rows_that_are_not_awaited,
    cursor_outside_of_a_transaction,
    stream,
    stream_that_is_left,
    stream_that_fails,
]


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_nothing_is_left_behind(dsn: str, work: Work) -> None:
    assert await growth_on_a_pool(dsn, work, ROUNDS) == {}


async def test_cursor_in_a_cycle_is_collected(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection, connection.transaction():
            rows: Any = aiter(connection.cursor(SERIES, 20))
            await anext(rows)
            rows.itself = rows
            del rows
            await asyncio.sleep(0)
            settle()
            assert not any(isinstance(each, holisticpool.cursor.CursorIterator) for each in gc.get_objects())
