"""pool.stream() and connection.stream(): every row, bounded memory, and whatever ends them gives the lease back."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, Record, exceptions

SERIES = "SELECT i FROM generate_series(1, $1::int) i"
SLOW = "SELECT i, pg_sleep(CASE WHEN i > $1 THEN 60 ELSE 0 END) FROM generate_series(1, 10) i"


async def until_idle(pool: Pool) -> None:
    """A lease that ends in the background; the test's own time limit is the limit."""
    while pool.get_idle_size() != pool.get_size():
        await asyncio.sleep(0.001)


async def cursors(connection: Connection) -> Any:
    return await connection.fetchval("SELECT count(*) FROM pg_cursors WHERE name <> ''")


# ---- rows ----


@pytest.mark.parametrize("prefetch", [1, 2, 7, 10, 11, 100])
@pytest.mark.parametrize("count", [0, 1, 10, 21])
async def test_every_row_comes_once(single: Pool, prefetch: int, count: int) -> None:
    expected = list(range(1, count + 1))
    assert [row[0] async for row in single.stream(SERIES, count, prefetch=prefetch)] == expected
    async with single.acquire() as connection:
        assert [row[0] async for row in connection.stream(SERIES, count, prefetch=prefetch)] == expected
        assert not connection.is_in_transaction()


async def test_many_rows_by_default(single: Pool) -> None:
    total = 0
    async for row in single.stream(SERIES, 20_000):
        total += row["i"]
    assert total == sum(range(20_001))
    assert single.get_idle_size() == 1


async def test_record_class(single: Pool) -> None:
    class Own(Record):
        pass

    assert {type(row) async for row in single.stream(SERIES, 3, record_class=Own)} == {Own}


@pytest.mark.parametrize("query", ["SHOW TimeZone", "EXPLAIN SELECT 1", "VALUES (1), (2)"])
async def test_other_statements_that_give_rows(single: Pool, query: str) -> None:
    assert [row async for row in single.stream(query, prefetch=1)] == await single.fetch(query)


async def test_statement_that_writes_is_committed_with_its_last_row(single: Pool) -> None:
    await single.execute("CREATE TABLE stream_t (n int)")
    insert = "INSERT INTO stream_t SELECT generate_series(1, 10) RETURNING n"
    assert len([row async for row in single.stream(insert, prefetch=3)]) == 10
    async with aclosing(single.stream(insert, prefetch=3)) as rows:
        async for _ in rows:
            break
    assert await single.fetchval("SELECT count(*) FROM stream_t") == 10
    await single.execute("DROP TABLE stream_t")


@pytest.mark.parametrize("prefetch", [0, -1])
async def test_prefetch_below_one_is_refused_at_once(single: Pool, prefetch: int) -> None:
    with pytest.raises(exceptions.InterfaceError, match="prefetch argument must be greater than zero"):
        single.stream("SELECT 1", prefetch=prefetch)


async def test_next_batch_is_on_its_way_while_one_is_used(pool: Pool) -> None:
    await pool.execute("CREATE SEQUENCE stream_s")
    query = "SELECT nextval('stream_s') FROM generate_series(1, 1000)"
    async with aclosing(pool.stream(query, prefetch=10)) as rows:
        assert (await anext(rows))[0] == 1
        # nothing but the loop has to run for it
        while await pool.fetchval("SELECT last_value FROM stream_s") < 20:
            pass
        for n in range(2, 11):
            assert (await anext(rows))[0] == n
        assert await pool.fetchval("SELECT last_value FROM stream_s") == 20  # and no further one
    await pool.execute("DROP SEQUENCE stream_s")


# ---- the connection meanwhile ----


async def test_statements_of_the_connection_may_go_in_between(conn: Connection) -> None:
    seen = []
    async with conn.transaction():
        other = conn.stream(SERIES, 1000, prefetch=3)
        async for row in conn.stream(SERIES, 20, prefetch=2):
            assert conn.is_in_transaction()
            seen.append((row[0], (await anext(other))[0], await conn.fetchval("SELECT $1::int", row[0])))
            async with conn.transaction():
                await conn.execute("SELECT 1")
        await other.aclose()
        assert await cursors(conn) == 0
    assert seen == [(n, n, n) for n in range(1, 21)]


async def test_stream_is_a_transaction_of_its_own_outside_of_one(conn: Connection, table: str) -> None:
    async for row in conn.stream(SERIES, 5, prefetch=2):
        assert conn.is_in_transaction()
        await conn.execute(f"INSERT INTO {table} VALUES ($1, 'x')", row[0])
    assert not conn.is_in_transaction()
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 5
    async with aclosing(conn.stream(SERIES, 100, prefetch=2)) as rows:
        async for row in rows:
            await conn.execute(f"INSERT INTO {table} VALUES ($1, 'x')", row[0] + 100)
            break
    assert not conn.is_in_transaction()
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 5


async def test_transaction_of_the_caller_survives_a_stream_that_is_left(conn: Connection, table: str) -> None:
    async with conn.transaction():
        await conn.execute(f"INSERT INTO {table} VALUES (1, 'x')")
        for _ in range(3):
            async with aclosing(conn.stream(SERIES, 1000, prefetch=2)) as rows:
                async for _row in rows:
                    break
            assert await cursors(conn) == 0
        await conn.execute(f"INSERT INTO {table} VALUES (2, 'x')")
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 2


# ---- ends ----


async def test_closing_gives_the_lease_back(single: Pool) -> None:
    rows = single.stream(SERIES, 1000, prefetch=2)
    assert await anext(rows) == (1,)
    assert single.get_idle_size() == 0
    await rows.aclose()
    assert single.get_idle_size() == 1 or await single.fetchval("SELECT 1") == 1
    assert single._stats()["leased"] == 0
    with pytest.raises(StopAsyncIteration):
        await anext(rows)


async def test_stream_that_was_not_begun_holds_nothing(single: Pool) -> None:
    rows = single.stream(SERIES, 10)
    assert single.get_idle_size() == 1
    await rows.aclose()


async def test_loop_that_is_left_gives_the_lease_back(single: Pool) -> None:
    async for _ in single.stream(SERIES, 1000, prefetch=2):
        break
    gc.collect()
    await until_idle(single)
    with pytest.raises(KeyError):
        async with aclosing(single.stream(SERIES, 1000, prefetch=2)) as rows:
            async for _ in rows:
                raise KeyError
    assert await single.fetchval("SELECT 1") == 1
    assert single.get_size() == 1


@pytest.mark.parametrize("fast", [0, 1, 3])
async def test_cancellation_gives_the_lease_back(single: Pool, fast: int) -> None:
    pid = await single.fetchval("SELECT pg_backend_pid()")
    reached = asyncio.Event()

    async def read() -> None:
        if fast == 0:
            reached.set()
        async for row in single.stream(SLOW, fast, prefetch=1):
            if row[0] == fast:
                reached.set()

    task = asyncio.create_task(read())
    await reached.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await single.fetchval("SELECT pg_backend_pid()") == pid
    assert single._stats()["leased"] == 0


async def test_cancellation_while_a_row_is_used_gives_the_lease_back(single: Pool) -> None:
    pid = await single.fetchval("SELECT pg_backend_pid()")
    reached = asyncio.Event()

    async def read() -> None:
        async for _ in single.stream(SLOW, 1, prefetch=1):  # the next row takes long, and is on its way
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    await until_idle(single)
    assert await single.fetchval("SELECT pg_backend_pid()") == pid


@pytest.mark.parametrize("fast", [0, 3])
async def test_timeout_of_a_batch_gives_the_lease_back(single: Pool, fast: int) -> None:
    pid = await single.fetchval("SELECT pg_backend_pid()")
    with pytest.raises(asyncio.TimeoutError):
        async for _ in single.stream(SLOW, fast, prefetch=1, timeout=0.1):
            pass
    assert await single.fetchval("SELECT pg_backend_pid()") == pid


async def test_error_of_a_batch_comes_after_the_rows_before_it(single: Pool) -> None:
    seen = []
    with pytest.raises(exceptions.DivisionByZeroError):
        async for row in single.stream("SELECT 10 / (5 - i) FROM generate_series(1, 9) i", prefetch=2):
            seen.append(row[0])
    assert seen == [2, 3, 5, 10]
    assert await single.fetchval("SELECT 1") == 1


async def test_wrong_query_or_arguments_give_the_lease_back(single: Pool) -> None:
    for query, arguments in (("SELECT nonsense", ()), (SERIES, ()), (SERIES, ("x",))):
        with pytest.raises((exceptions.PostgresError, exceptions.InterfaceError)):
            async for _ in single.stream(query, *arguments):
                pass
        assert single._stats()["leased"] == 0
    assert await single.fetchval("SELECT 1") == 1


async def test_session_that_ends_in_the_middle(single: Pool, dsn: str) -> None:
    other = await holisticpool.connect(dsn)
    with pytest.raises((exceptions.PostgresError, exceptions.InterfaceError, OSError)):
        async with aclosing(
            single.stream("SELECT i, pg_backend_pid() FROM generate_series(1, 100) i", prefetch=1)
        ) as rows:
            async for row in rows:
                await other.execute("SELECT pg_terminate_backend($1)", row[1])
    await other.close()
    assert await single.fetchval("SELECT 1") == 1
    assert single._stats()["leased"] == 0


async def test_released_connection_refuses(single: Pool) -> None:
    async with single.acquire() as connection:
        rows = connection.stream(SERIES, 1000, prefetch=2)
        await anext(rows)
    with pytest.raises(exceptions.InterfaceError, match="released"):
        for _ in range(3):
            await anext(rows)
    with pytest.raises(exceptions.InterfaceError, match=r"cannot call Connection\.stream\(\)"):
        connection.stream(SERIES, 1)
    assert await single.fetchval("SELECT 1") == 1


async def test_pools_with_hooks_run_them(dsn: str) -> None:
    calls = []

    async def setup(connection: Connection) -> None:
        calls.append("setup")

    async def reset(connection: Connection) -> None:
        calls.append("reset")

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, setup=setup, reset=reset) as pool:
        assert len([row async for row in pool.stream(SERIES, 5, prefetch=2)]) == 5
        async with aclosing(pool.stream(SERIES, 5, prefetch=2)) as rows:
            await anext(rows)
    assert calls == ["setup", "reset"] * 2


async def test_many_streams_at_once(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=4) as pool:

        async def read(n: int) -> int:
            return sum([row[0] async for row in pool.stream(SERIES, n, prefetch=5)])

        assert await asyncio.gather(*(read(n) for n in range(40))) == [sum(range(n + 1)) for n in range(40)]
        await until_idle(pool)


# ---- started ahead ----


async def test_operation_that_was_started_ahead_is_awaited_once(conn: Connection) -> None:
    operation = conn.fetchval("SELECT 1")
    operation._start_ahead()
    with pytest.raises(RuntimeError, match="started already"):
        operation._start_ahead()
    assert await conn.fetchval("SELECT 2") == 2  # behind it
    assert await operation == 1
    with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
        await operation


async def test_third_operation_at_the_same_time_is_refused(conn: Connection) -> None:
    ahead = conn.fetchval("SELECT pg_sleep(60)")
    ahead._start_ahead()
    waiting = asyncio.create_task(conn.fetchval("SELECT 2"))
    await asyncio.sleep(0)
    with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
        await conn.fetchval("SELECT 3")
    ahead.close()
    assert await waiting == 2
