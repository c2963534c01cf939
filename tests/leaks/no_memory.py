"""Program of test_no_memory.py: <dsn> <kind of operation> one|all

For n = 0, 1, 2, ... run the operation with its allocation number n (or all from n on) failing, until no allocation of
it is left to fail. Each step of the operation, and each look of the loop's reader at the socket, counts its own
allocations. Between two operations the pool must be as good as new.
"""

from __future__ import annotations

import _testcapi
import asyncio
import functools
import itertools
import select
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import holisticpool
from holisticpool import Connection, Pool, _core, exceptions
from holisticpool.cursor import CursorIterator
from holisticpool.prepared_stmt import PreparedStatement

MOST_ALLOCATIONS = 120
ANSWER_TIMEOUT_S = 60

Operation = Coroutine[Any, Any, Any]

numbers = itertools.count()


class Failing:
    """Calls functions while allocations fail, and counts the calls that did."""

    def __init__(self, first: int, only_one: bool) -> None:
        self._arguments = (first, first + 1) if only_one else (first,)
        self.failed = 0

    def call(self, function: Callable[[Any], Any], argument: Any) -> Any:
        try:
            _testcapi.set_nomemory(*self._arguments)
            try:
                return function(argument)
            finally:
                _testcapi.remove_mem_hooks()
        except MemoryError:
            self.failed += 1
            raise


def _call(function: Callable[[], Any], _: Any) -> Any:
    return function()


def reader_of(loop: Any) -> tuple[int, Callable[[Any], Any]]:
    """The descriptor that the pool has registered, and what the loop calls when it is readable."""
    for key in loop._selector.get_map().values():
        handle = key.data[0]
        if handle is not None and getattr(handle._callback, "__name__", "") == "on_readable":
            return key.fd, functools.partial(_call, handle._callback)
    raise AssertionError("the pool has registered no reader")


def drive(operation: Operation, failing: Failing, fd: int, read: Callable[[Any], Any]) -> Any:
    """Run an operation to its end; its result, or what it raises."""
    try:
        failing.call(operation.send, None)
        while not operation.done():  # type: ignore[attr-defined]
            select.select([fd], [], [], ANSWER_TIMEOUT_S)
            failing.call(read, None)
        failing.call(operation.send, None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the operation paused again")


def anext_of(iterator: Any) -> Any:
    """The next row of an iterator that has one ready."""
    try:
        iterator.__anext__().send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the row was not ready")


class Bare(_core.Pool):
    """A pool without a policy in Python, to be initialised by hand."""


def _init(pool: Bare, loop: asyncio.AbstractEventLoop) -> None:
    _core.Pool.__init__(
        pool,
        loop,
        init_size=1,
        min_size=1,
        max_size=1,
        max_queries=0,
        max_inactive_connection_lifetime=0.0,
        max_lifetime=0.0,
        acquire_timeout=None,
        command_timeout=None,
        connect_timeout=60.0,
        max_waiters=0,
        statement_cache_size=10,
        max_cached_statement_lifetime=0.0,
        max_cacheable_statement_size=0,
        reset="touched",
        record_class=holisticpool.Record,
        connection_class=Connection,
        dedicated=False,
        pipeline=0,
    )


async def check_pool(pool: Pool) -> None:
    assert await pool.fetchval("SELECT 12345") == 12345
    stats = pool._stats()
    assert (stats["leased"], stats["busy"], stats["waiters"]) == (0, 0, 0), stats


async def attempt(pool: Pool, kind: str, failing: Failing) -> None:
    fd, read = reader_of(asyncio.get_running_loop())

    def run(operation: Operation) -> Any:
        try:
            return drive(operation, failing, fd, read)
        except MemoryError:
            return MemoryError
        finally:
            operation.close()

    if kind == "fetch known":
        sql = "SELECT i, i::text AS t, array[i, NULL] AS a, now() AS at FROM generate_series(1000, 1003) i WHERE i > $1"
        await pool.fetch(sql, 1)
        rows = run(pool.fetch(sql, 2000 - 1000))
        assert rows is MemoryError or [row["t"] for row in rows] == ["1001", "1002", "1003"]
    elif kind == "fetch new":
        rows = run(pool.fetch(f"SELECT $1::text AS t, $2::int[] AS a /* {next(numbers)} */", "x" * 50, [1, None]))
        assert rows is MemoryError or tuple(rows[0]) == ("x" * 50, [1, None])
    elif kind == "fetchval error":
        try:
            assert run(pool.fetchval("SELECT 1 / $1::int", 0)) is MemoryError
        except exceptions.DivisionByZeroError:
            pass
    elif kind == "fetchval bad argument":
        try:
            assert run(pool.fetchval(f"SELECT $1::int /* {next(numbers) % 2} */", "x")) is MemoryError
        except exceptions.DataError:
            pass
    elif kind == "execute script":
        assert run(pool.execute("SELECT 1; SELECT 2")) in (MemoryError, "SELECT 1")
    elif kind == "executemany":
        async with pool.acquire() as connection:
            assert run(connection.executemany("SELECT $1::int, $2::text", [(1, "a"), (2, None)])) in (MemoryError, None)
    elif kind == "executemany in portions":
        async with pool.acquire() as connection:
            await connection.executemany("SELECT $1::int", [(0,)])
            operation = _core.Connection.executemany(connection, "SELECT $1::int", [(1,), (2,)])
            operation._in_portions()
            try:
                failing.call(operation.send, None)
                raise AssertionError("the first portion was not taken")
            except StopIteration as stop:
                assert stop.value is True
                try:
                    failing.call(lambda _: operation._feed([(3,), (4,)], False), None)
                    assert drive(operation, failing, fd, read) is None
                except MemoryError:
                    pass
            except MemoryError:
                pass
            finally:
                operation.close()
    elif kind == "fetchmany":
        async with pool.acquire() as connection:
            rows = run(connection.fetchmany("SELECT $1::int, $2::text", [(1, "a"), (2, None)]))
            assert rows is MemoryError or [tuple(row) for row in rows] == [(1, "a"), (2, None)]
    elif kind == "prepare":
        async with pool.acquire() as connection:
            try:
                text = f"SELECT $1::int /* {next(numbers)} */"
                statement = failing.call(
                    lambda _: connection._prepare(PreparedStatement, text, None, None, False), None
                )
            except MemoryError:
                return
            assert run(statement._describe(None)) in (MemoryError, None)
            await connection.fetchval("SELECT 1")
    elif kind == "prepared":
        async with pool.acquire() as connection:
            statement = await connection.prepare("SELECT $1::int AS n")
            rows = run(statement.fetch(5000))
            assert rows is MemoryError or [tuple(row) for row in rows] == [(5000,)]
    elif kind == "cursor":
        async with pool.acquire() as connection, connection.transaction():
            sql, declare = "SELECT $1::int AS n", "DECLARE c NO SCROLL CURSOR FOR SELECT $1::int AS n"
            rows = run(connection._cursor(sql, (5000,), declare, "FETCH 5 FROM c", True, None, None, None))
            if rows is not MemoryError:
                assert [tuple(row) for row in rows] == [(5000,)]
                iterator = connection._rows(CursorIterator)
                try:
                    iterator._put([*rows, 1, 2])
                    assert failing.call(anext_of, iterator) == 1
                except MemoryError:
                    pass
    elif kind == "acquire":
        connection = run(pool.acquire())
        if connection is not MemoryError:
            assert isinstance(connection, Connection)
            pool.release(connection)
    elif kind == "acquire waiting":
        held = await pool.acquire()
        operation = pool.acquire()
        try:
            failing.call(operation.send, None)
            failing.call(pool.release, held)
            held = None
            failing.call(operation.send, None)
        except StopIteration as stop:
            pool.release(stop.value)
        except MemoryError:
            pass
        finally:
            if held is not None:
                pool.release(held)
            operation.close()
    elif kind == "cancel waiting":
        async with pool.acquire():
            operation = pool.fetchval("SELECT 1")
            operation.send(None)
            try:
                failing.call(operation.add_done_callback, repr)  # type: ignore[attr-defined]
                failing.call(operation.add_done_callback, repr)  # type: ignore[attr-defined]
                failing.call(lambda _: operation.cancel("why"), None)  # type: ignore[attr-defined]
                failing.call(operation.send, None)
            except (MemoryError, asyncio.CancelledError):
                pass
            finally:
                operation.close()
    elif kind == "enum new":
        name = f"no_memory_{next(numbers)}"
        await pool.execute(f"CREATE TYPE {name} AS ENUM ('a', 'b')")
        try:
            assert run(pool.fetchval(f"SELECT ARRAY[$1::{name}]", "b")) in (MemoryError, ["b"])
        finally:
            await pool.execute(f"DROP TYPE {name}")
    elif kind == "init":
        loop = asyncio.get_running_loop()
        made = Bare.__new__(Bare)
        try:
            failing.call(functools.partial(_init, made), loop)
        except MemoryError:
            made.terminate()
            _init(made, loop)
        assert made.get_max_size() == 1
    else:
        raise AssertionError(kind)


async def main(dsn: str, kind: str, only_one: bool) -> int:
    failures = 0
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        await check_pool(pool)
        # What Python's own modules prepare at their first use is theirs: CPython's re does not survive it.
        await attempt(pool, kind, Failing(2**30, only_one))
        for first in range(MOST_ALLOCATIONS):
            failing = Failing(first, only_one)
            await attempt(pool, kind, failing)
            await asyncio.sleep(0)
            await check_pool(pool)
            failures += failing.failed
    return failures


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "one")), "failures")
