"""Every kind of operation, again and again, leaves nothing behind: done, failed or cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import os
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from growth import growth, settle

import holisticpool
from holisticpool import Connection, Pool, Record, _core, exceptions

Work = Callable[[Pool], Awaitable[Any]]

ROUNDS = 60
FEW_ROUNDS = 8  # of what takes milliseconds
MORE_ROUNDS = 1200  # of what fills the pool's memory of statements first

NUMBERS = itertools.count()

WORK: dict[str, tuple[Work, int]] = {}


def work(rounds: int = ROUNDS) -> Callable[[Work], Work]:
    def register(function: Work) -> Work:
        WORK[function.__name__] = (function, rounds)
        return function

    return register


class MyRecord(Record):
    pass


# ---- done ----


@work()
async def fetch(pool: Pool) -> None:
    await pool.fetch("SELECT i, i::text, array[i, NULL], now() FROM generate_series(1000, $1::int) i", 1010)


@work()
async def fetchrow(pool: Pool) -> None:
    await pool.fetchrow("SELECT $1::text AS a, $2::numeric AS b", "x" * 100, 1)


@work()
async def fetchval(pool: Pool) -> None:
    await pool.fetchval("SELECT $1::bytea", b"x" * 5000)


@work()
async def no_rows(pool: Pool) -> None:
    await pool.fetchrow("SELECT 1 WHERE false")


@work()
async def execute(pool: Pool) -> None:
    await pool.execute("SELECT $1::int", 12345)


@work()
async def script(pool: Pool) -> None:
    await pool.execute("SELECT 1; SELECT 2")


@work()
async def many_arguments(pool: Pool) -> None:
    await pool.fetchval("SELECT " + " + ".join(f"${i}::int" for i in range(1, 20)), *range(1000, 1019))


@work()
async def record_class(pool: Pool) -> None:
    await pool.fetch("SELECT 1 AS a", record_class=MyRecord)


@work()
async def record_used(pool: Pool) -> None:
    row = await pool.fetchrow("SELECT 1000 AS a, 'x' AS b")
    assert row is not None
    dict(row)
    list(row.items())
    hash(row)
    repr(row)
    with contextlib.suppress(KeyError):
        row["missing"]


@work()
async def acquire_and_release(pool: Pool) -> None:
    await pool.release(await pool.acquire())


@work()
async def acquire_in_a_context(pool: Pool) -> None:
    async with pool.acquire(timeout=10.5) as connection:
        await connection.fetchval("SELECT $1::int", 54321)


@work()
async def acquire_after_waiting(pool: Pool) -> None:
    connection = await pool.acquire()
    task = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await pool.release(connection)
    await pool.release(await task)


@work()
async def executemany(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.executemany("SELECT $1::int, $2::text", [(i, str(i)) for i in range(1000, 1010)])


@work()
async def executemany_of_nothing(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.executemany("SELECT $1::int", [])


@work()
async def transaction(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetchval("SELECT 1")


@work()
async def gathered(pool: Pool) -> None:
    await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(1000, 1010)))


@work()
async def waited_for(pool: Pool) -> None:
    await asyncio.wait_for(pool.fetchval("SELECT 1"), 60)


@work()
async def shielded(pool: Pool) -> None:
    await asyncio.shield(pool.fetchval("SELECT 1"))


@work()
async def reset_session(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("SET search_path = public")


@work()
async def statistics(pool: Pool) -> None:
    pool._stats()


@work()
async def representations(pool: Pool) -> None:
    async with pool.acquire() as connection:
        repr(connection)
    operation = pool.fetchval("SELECT 1")
    repr(operation)
    operation.close()


# ---- failed ----


@work()
async def server_error(pool: Pool) -> None:
    with contextlib.suppress(exceptions.DivisionByZeroError):
        await pool.fetchval("SELECT 1 / $1::int", 0)


@work()
async def syntax_error(pool: Pool) -> None:
    with contextlib.suppress(exceptions.PostgresSyntaxError):
        await pool.fetchval("SELEC")


@work()
async def bad_argument(pool: Pool) -> None:
    with contextlib.suppress(exceptions.DataError):
        await pool.fetchval("SELECT $1::text, $2::int", "x" * 100, ["not an integer"])


@work(MORE_ROUNDS)
async def bad_argument_at_the_first_use(pool: Pool) -> None:
    with contextlib.suppress(exceptions.DataError):
        await pool.fetchval(f"SELECT $1::int /* {next(NUMBERS):06} */", "x")


@work(MORE_ROUNDS)
async def new_statement(pool: Pool) -> None:
    await pool.fetchval(f"SELECT $1::int /* {next(NUMBERS):06} */", 1000)


@work()
async def wrong_count(pool: Pool) -> None:
    with contextlib.suppress(exceptions.InterfaceError):
        await pool.fetchval("SELECT $1::int", 1, 2)


@work()
async def wrong_column(pool: Pool) -> None:
    with contextlib.suppress(IndexError):
        await pool.fetchval("SELECT 1", column=5)


@work()
async def wrong_keyword(pool: Pool) -> None:
    with contextlib.suppress(TypeError):
        pool.fetchval("SELECT 1", 12345, wrong=1)


@work()
async def wrong_timeout(pool: Pool) -> None:
    with contextlib.suppress(ValueError):
        await pool.fetchval("SELECT 1", timeout="soon")


@work()
async def wrong_query(pool: Pool) -> None:
    with contextlib.suppress(TypeError):
        await pool.fetchval(12345)
    with contextlib.suppress(ValueError):
        await pool.fetchval("SELECT \0")


@work()
async def executemany_bad_element(pool: Pool) -> None:
    async with pool.acquire() as connection:
        with contextlib.suppress(exceptions.DataError):
            await connection.executemany("SELECT $1::int", [(1000,), (2000,), ("x",)])
        with contextlib.suppress(exceptions.DataError):
            await connection.executemany("SELECT $1::int", [(1000,), 5])


@work()
async def executemany_server_error(pool: Pool) -> None:
    async with pool.acquire() as connection:
        with contextlib.suppress(exceptions.DivisionByZeroError):
            await connection.executemany("SELECT 1 / $1::int", [(1,), (0,), (1,)])


@work()
async def busy_lease(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await asyncio.gather(connection.fetchval("SELECT 1"), connection.fetchval("SELECT 2"), return_exceptions=True)


@work()
async def released_lease(pool: Pool) -> None:
    connection = await pool.acquire()
    await pool.release(connection)
    with contextlib.suppress(exceptions.InterfaceError):
        await connection.fetchval("SELECT 1")


@work()
async def over_already(pool: Pool) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await pool.fetchval("SELECT 1", timeout=0)


@work()
async def exhausted(pool: Pool) -> None:
    async with pool.acquire():
        with contextlib.suppress(asyncio.TimeoutError):
            await pool.acquire(timeout=0)


@work(FEW_ROUNDS)
async def statement_timeout(pool: Pool) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await pool.fetchval("SELECT pg_sleep(600)", timeout=0.002)


@work()
async def awaited_twice(pool: Pool) -> None:
    operation = pool.fetchval("SELECT 1")
    await operation
    with contextlib.suppress(RuntimeError):
        await operation


# ---- left ----


@work()
async def never_awaited(pool: Pool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool.fetchval("SELECT $1::int", 12345)
        pool.acquire(timeout=1.5)


@work()
async def closed_unstarted(pool: Pool) -> None:
    pool.fetchval("SELECT $1::int", 12345).close()


@work()
async def closed_while_waiting(pool: Pool) -> None:
    async with pool.acquire():
        operation = pool.fetchval("SELECT $1::int", 12345)
        operation.send(None)
        operation.add_done_callback(print)
        operation.add_done_callback(repr)
        operation.close()


@work()
async def thrown_into_while_waiting(pool: Pool) -> None:
    async with pool.acquire():
        operation = pool.acquire()
        operation.send(None)
        with contextlib.suppress(KeyError):
            operation.throw(KeyError("thrown"))


@work()
async def cancelled_before_the_start(pool: Pool) -> None:
    task = asyncio.create_task(pool.fetchval("SELECT 1"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@work()
async def cancelled_while_waiting(pool: Pool) -> None:
    async with pool.acquire():
        tasks = [asyncio.create_task(pool.fetchval("SELECT $1::int", 12345)), asyncio.create_task(pool.acquire())]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel("message")
        await asyncio.gather(*tasks, return_exceptions=True)


@work()
async def cancelled_between_resolution_and_wake_up(pool: Pool) -> None:
    connection = await pool.acquire()
    task = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await pool.release(connection)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@work(FEW_ROUNDS)
async def cancelled_while_running(pool: Pool) -> None:
    task = asyncio.create_task(pool.fetchval("SELECT pg_sleep(600)"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await pool.fetchval("SELECT 1")


@work(FEW_ROUNDS)
async def released_while_running(pool: Pool) -> None:
    connection = await pool.acquire()
    task = asyncio.create_task(connection.fetchval("SELECT pg_sleep(600)"))
    await asyncio.sleep(0)
    await pool.release(connection)
    await asyncio.gather(task, return_exceptions=True)
    await pool.fetchval("SELECT 1")


@work()
async def dropped_lease(pool: Pool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connection = await pool.acquire()
        del connection


@work(FEW_ROUNDS)
async def terminated_lease(pool: Pool) -> None:
    async with pool.acquire() as connection:
        connection.terminate()


# ---- sessions and pools ----


def dsn_of(pool: Pool) -> str:
    dsn = pool._config.connection.dsn
    assert isinstance(dsn, str)
    return dsn


@work(FEW_ROUNDS)
async def connected_and_closed(pool: Pool) -> None:
    connection = await holisticpool.connect(dsn_of(pool))
    await connection.fetchval("SELECT $1::int", 1)
    await connection.close()


@work(FEW_ROUNDS)
async def connected_and_terminated(pool: Pool) -> None:
    connection = await holisticpool.connect(dsn_of(pool))
    connection.terminate()


@work(FEW_ROUNDS)
async def connection_refused(pool: Pool) -> None:
    with contextlib.suppress(exceptions.InvalidCatalogNameError):
        await holisticpool.connect(dsn_of(pool), database="no_such_database")


@work(FEW_ROUNDS)
async def pool_opened_and_closed(pool: Pool) -> None:
    async with holisticpool.create_pool(dsn_of(pool), min_size=2, max_size=2) as other:
        await asyncio.gather(*(other.fetchval("SELECT $1::int", i) for i in range(4)))


@work(FEW_ROUNDS)
async def pool_with_an_init_hook(pool: Pool) -> None:
    async def init(connection: Connection) -> None:
        await connection.execute("SET TIME ZONE 'UTC'")

    async with holisticpool.create_pool(dsn_of(pool), min_size=1, max_size=1, init=init) as other:
        await other.fetchval("SELECT 1")


@work(FEW_ROUNDS)
async def pool_terminated_under_its_users(pool: Pool) -> None:
    other = await holisticpool.create_pool(dsn_of(pool), min_size=1, max_size=1)
    connection = await other.acquire()
    tasks = [
        asyncio.create_task(other.fetchval("SELECT 1")),
        asyncio.create_task(other.acquire()),
        asyncio.create_task(connection.fetchval("SELECT pg_sleep(600)")),
    ]
    await asyncio.sleep(0)
    other.terminate()
    await asyncio.gather(*tasks, return_exceptions=True)


@work(FEW_ROUNDS)
async def pool_that_fails_to_open(pool: Pool) -> None:
    with contextlib.suppress(Exception):
        await holisticpool.create_pool(dsn_of(pool), database="no_such_database", min_size=2, max_size=2)


@work()
async def pool_never_opened(pool: Pool) -> None:
    other = holisticpool.create_pool("postgresql://localhost/x")
    with contextlib.suppress(exceptions.InterfaceError):
        await other.fetchval("SELECT 1")


@pytest.mark.parametrize("name", WORK)
async def test_leaves_nothing_behind(name: str, single: Pool) -> None:
    function, rounds = WORK[name]
    assert await growth(lambda: function(single), rounds) == {}


# ---- references to single objects ----


async def references_after(pool: Pool, objects: list[Any], work: Work) -> list[int]:
    """How many more references each object has after some rounds of `work`."""
    await work(pool)
    settle()
    before = [sys.getrefcount(each) for each in objects]
    for _ in range(20):
        await work(pool)
    settle()
    after = [sys.getrefcount(each) for each in objects]
    return [now - then for now, then in zip(after, before, strict=True)]


@pytest.mark.parametrize("name", [name for name, (_, rounds) in WORK.items() if rounds == ROUNDS])
async def test_types_and_pool_keep_their_references(name: str, single: Pool) -> None:
    objects = [
        single,
        _core.Operation,
        _core.Record,
        holisticpool.Connection,
        MyRecord,
        exceptions.DataError,
        asyncio.get_running_loop(),
        None,
    ]
    # the loop and None are in many hands, and the first rounds settle things
    for _ in range(12):
        changes = await references_after(single, objects, WORK[name][0])
        if all(abs(change) < 10 for change in changes):
            break
    else:
        pytest.fail(f"references taken or lost in 20 rounds: {changes}")


async def test_arguments_are_let_go(single: Pool) -> None:
    class Text(str):
        pass

    class List(list[Any]):
        pass

    query, text, array, timeout, row = Text("SELECT $1::text, $2::text[]"), Text("x"), List(["y"]), 1e6 + 0.5, List()
    row.extend([text, array])
    rows = List([row])
    objects = [query, text, array, timeout, row, rows]

    async def work(pool: Pool) -> None:
        await pool.fetch(query, text, array, timeout=timeout)
        with contextlib.suppress(exceptions.DataError):
            await pool.fetch(query, array, text)
        with contextlib.suppress(exceptions.InterfaceError):
            await pool.fetch(query, text, array, row, rows)
        async with pool.acquire() as connection:
            await connection.executemany(query, rows, timeout=timeout)
            with contextlib.suppress(exceptions.DataError):
                await connection.executemany(query, [row, [array, text]])
            operation = pool.fetch(query, text, array, timeout=timeout)
            operation.send(None)
            operation.close()
        pool.fetch(query, text, array, timeout=timeout).close()

    assert await references_after(single, objects, work) == [0] * len(objects)


async def test_callbacks_and_contexts_are_let_go(single: Pool) -> None:
    import contextvars

    def callback(_: object) -> None:
        pass

    context = contextvars.copy_context()

    async def work(pool: Pool) -> None:
        connection = await pool.acquire()
        for _ in range(2):
            operation = pool.fetchval("SELECT 1")
            operation.send(None)
            for _ in range(3):
                operation.add_done_callback(callback, context=context)  # type: ignore[attr-defined]
            assert operation.remove_done_callback(callback) == 3  # type: ignore[attr-defined]
            for _ in range(3):
                operation.add_done_callback(callback, context=context)  # type: ignore[attr-defined]
            operation.cancel()  # type: ignore[attr-defined]
            with contextlib.suppress(asyncio.CancelledError):
                operation.send(None)
        await asyncio.sleep(0)
        await pool.release(connection)

    assert await references_after(single, [callback, context], work) == [0, 0]


async def test_cancelling_by_tls_leaves_nothing_behind(tls_dsn: str) -> None:
    async with holisticpool.create_pool(tls_dsn, min_size=1, max_size=1) as pool:

        async def work() -> None:
            with contextlib.suppress(asyncio.TimeoutError):
                await pool.fetchval("SELECT pg_sleep(600)", timeout=0.002)
            await pool.fetchval("SELECT 1")  # behind the cancel request

        assert await growth(work, FEW_ROUNDS) == {}
        descriptors = len(os.listdir("/proc/self/fd"))
        await work()
        assert len(os.listdir("/proc/self/fd")) == descriptors


async def test_results_belong_to_the_caller_alone(single: Pool) -> None:
    rows = await single.fetch("SELECT 123456 AS a")
    referrers = [each for each in gc.get_referrers(rows[0]) if not inspect.isframe(each)]
    assert referrers == [rows]
    del referrers
    counts = [sys.getrefcount(rows)]
    row = await single.fetchrow("SELECT 123456 AS a")
    counts.append(sys.getrefcount(row))
    error = None
    try:
        await single.fetchval("SELECT 1/0")
    except exceptions.DivisionByZeroError as caught:
        error = caught
        error.__traceback__ = None
    counts.append(sys.getrefcount(error))
    assert counts == [2, 2, 2]
