"""executemany() of iterators: read as the server takes them, all or none, whatever happens on the way."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, exceptions
from holisticpool.portions import FIRST_PORTION, LARGEST_PORTION

MANY = 20 * LARGEST_PORTION
SIZES = [0, 1, FIRST_PORTION - 1, FIRST_PORTION, FIRST_PORTION + 1, 3 * FIRST_PORTION, LARGEST_PORTION, MANY]

Source = Callable[..., Any]


def plain(count: int, fail_at: int | None = None, name: str = "x") -> Iterator[tuple[int, str]]:
    for n in range(count):
        if n == fail_at:
            raise KeyError(n)
        yield n, name


async def asynchronous(count: int, fail_at: int | None = None, name: str = "x") -> AsyncIterator[tuple[int, str]]:
    for row in plain(count, fail_at, name):
        if row[0] % 100 == 0:
            await asyncio.sleep(0)
        yield row


SOURCES = pytest.mark.parametrize("source", [plain, asynchronous])


def insert_into(table: str) -> str:
    return f"INSERT INTO {table} VALUES ($1, $2)"


async def count(connection: Connection, table: str) -> Any:
    return await connection.fetchval(f"SELECT count(*) FROM {table}")


@SOURCES
@pytest.mark.parametrize("size", SIZES)
async def test_every_element_counts_once(conn: Connection, table: str, source: Source, size: int) -> None:
    assert await conn.executemany(insert_into(table), source(size)) is None  # type: ignore[func-returns-value]
    row: Any = await conn.fetchrow(f"SELECT count(*), coalesce(sum(id), 0) FROM {table}")
    assert tuple(row) == (size, sum(range(size)))
    assert not conn.is_in_transaction()


@SOURCES
async def test_elements_are_committed_with_the_transaction_they_are_in(
    conn: Connection, table: str, source: Source
) -> None:
    async with conn.transaction():
        await conn.executemany(insert_into(table), source(MANY))
        assert await count(conn, table) == MANY
    assert await count(conn, table) == MANY
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute(f"DELETE FROM {table}")
    await conn.executemany(insert_into(table), source(MANY))
    await transaction.rollback()
    assert await count(conn, table) == MANY


@SOURCES
@pytest.mark.parametrize("fail_at", [0, 1, FIRST_PORTION, FIRST_PORTION + 1, MANY - 1])
async def test_exception_of_the_source_undoes_everything(
    conn: Connection, table: str, source: Source, fail_at: int
) -> None:
    pid = conn.get_server_pid()
    with pytest.raises(KeyError, match=str(fail_at)):
        await conn.executemany(insert_into(table), source(MANY, fail_at, "y" * 100))
    assert await count(conn, table) == 0
    assert (conn.get_server_pid(), conn.is_in_transaction()) == (pid, False)


@SOURCES
async def test_exception_of_the_source_leaves_the_transaction_without_the_batch(
    conn: Connection, table: str, source: Source
) -> None:
    async with conn.transaction():
        await conn.execute(f"INSERT INTO {table} VALUES (-1, 'before')")
        with pytest.raises(KeyError):
            await conn.executemany(insert_into(table), source(MANY, MANY - 1))
        await conn.execute(f"INSERT INTO {table} VALUES (-2, 'after')")
    assert [row["id"] for row in await conn.fetch(f"SELECT id FROM {table} ORDER BY 1")] == [-2, -1]


@SOURCES
async def test_server_error_undoes_everything_and_stops_reading(conn: Connection, table: str, source: Source) -> None:
    await conn.execute(f"INSERT INTO {table} VALUES (3, 'there')")
    reader = source(MANY, None, "z" * 32768)
    with pytest.raises(exceptions.UniqueViolationError):
        await conn.executemany(insert_into(table), reader)
    assert await count(conn, table) == 1
    left = [row async for row in reader] if hasattr(reader, "__aiter__") else list(reader)
    assert len(left) > MANY / 2


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        ((1, 2), exceptions.DataError, r"invalid input for query argument \$2 in element #{} of executemany\(\)"),
        ("ab", exceptions.DataError, r"sequence element #{}: a sequence of arguments is expected"),
        ((1,), exceptions.InterfaceError, "the server expects 2 arguments for this query, 1 was passed"),
    ],
)
@pytest.mark.parametrize("at", [0, FIRST_PORTION - 1, FIRST_PORTION, 1000])
async def test_bad_element_is_named_and_undoes_everything(
    conn: Connection, table: str, bad: Any, error: type[Exception], text: str, at: int
) -> None:
    rows = (bad if n == at else (n, "x") for n in range(MANY))
    with pytest.raises(error, match=text.format(at)):
        await conn.executemany(insert_into(table), rows)
    assert await count(conn, table) == 0


async def test_source_runs_in_the_task_that_waits(conn: Connection) -> None:
    tasks = set()

    def source() -> Iterator[tuple[int]]:
        for n in range(MANY):
            tasks.add(asyncio.current_task())
            yield (n,)

    await conn.executemany("SELECT $1::int", source())
    assert tasks == {asyncio.current_task()}


async def test_others_have_their_turn_while_a_source_is_read(conn: Connection) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await conn.executemany("SELECT $1::int", ((n,) for n in range(MANY)))
    task.cancel()
    assert turns >= MANY // LARGEST_PORTION


async def test_source_that_uses_the_connection_is_refused(conn: Connection, table: str) -> None:
    async def source() -> AsyncIterator[tuple[int, str]]:
        for row in plain(MANY):
            if row[0] == 1000:
                await conn.execute("SELECT 1")
            yield row

    with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
        await conn.executemany(insert_into(table), source())
    assert await count(conn, table) == 0


async def test_source_that_ends_its_connection(single: Pool) -> None:
    connection = await single.acquire()

    def source() -> Iterator[tuple[int]]:
        for n in range(MANY):
            if n == 1000:
                connection.terminate()
            yield (n,)

    with pytest.raises((exceptions.InterfaceError, exceptions.PostgresError, ConnectionError)):
        await connection.executemany("SELECT $1::int", source())
    await single.release(connection)
    assert await single.fetchval("SELECT 1") == 1


async def test_source_that_releases_its_connection(single: Pool) -> None:
    connection = await single.acquire()

    def source() -> Iterator[tuple[int]]:
        for n in range(MANY):
            if n == 1000:
                single.release(connection)
            yield (n,)

    with pytest.raises(exceptions.InterfaceError, match="released"):
        await connection.executemany("SELECT $1::int", source())
    assert await single.fetchval("SELECT 1") == 1
    assert single.get_idle_size() == 1


@pytest.fixture
async def locked(dsn: str, conn: Connection) -> AsyncIterator[str]:
    """A table that another session has locked, so that the server cannot begin with an insertion."""
    await conn.execute("CREATE TABLE portions_locked (id int, name text)")
    locker = await holisticpool.connect(dsn)
    await locker.execute("BEGIN; LOCK TABLE portions_locked IN SHARE MODE")
    yield "portions_locked"
    await locker.close()
    await conn.execute("DROP TABLE portions_locked")


BIG = "b" * 100_000


class Endless:
    """A source without an end that tells when it has not been asked for a while."""

    def __init__(self) -> None:
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[tuple[int, str]]:
        while True:
            self.read += 1
            yield self.read, BIG

    async def wait_until_paused(self) -> None:
        """Until other callbacks of the loop have run many times and nothing was read meanwhile."""
        before, turns = -1, 0
        while turns < 200:
            turns = turns + 1 if before == self.read > 0 else 0
            before = self.read
            await asyncio.sleep(0.001)


async def test_source_is_not_read_further_than_the_server_takes(single: Pool, locked: str) -> None:
    source = Endless()
    async with single.acquire() as connection:
        task = asyncio.create_task(connection.executemany(insert_into(locked), source))
        await source.wait_until_paused()
        assert source.read <= 4 * LARGEST_PORTION
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_cancelled_while_the_socket_is_full(single: Pool, locked: str, in_transaction: bool) -> None:
    source = Endless()
    async with single.acquire() as connection:
        pid = connection.get_server_pid()
        if in_transaction:
            await connection.execute("BEGIN")
        task = asyncio.create_task(connection.executemany(insert_into(locked), source))
        await source.wait_until_paused()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if in_transaction:
            await connection.execute("ROLLBACK")
        assert await connection.fetchval("SELECT 1") == 1
        assert connection.get_server_pid() == pid
    assert await single.fetchval(f"SELECT count(*) FROM {locked}") == 0


async def test_timeout_while_the_socket_is_full(single: Pool, locked: str) -> None:
    async with single.acquire() as connection:
        pid = connection.get_server_pid()
        with pytest.raises(asyncio.TimeoutError):
            await connection.executemany(insert_into(locked), Endless(), timeout=0.3)
        assert await connection.fetchval("SELECT 1") == 1
        assert connection.get_server_pid() == pid
    assert await single.fetchval(f"SELECT count(*) FROM {locked}") == 0


async def test_list_cancelled_while_the_socket_is_full_keeps_the_session(single: Pool, locked: str) -> None:
    rows = [(n, BIG) for n in range(400)]
    async with single.acquire() as connection:
        pid = connection.get_server_pid()
        for start in ("SELECT 1", "BEGIN"):
            await connection.execute(start)
            with pytest.raises(asyncio.TimeoutError):
                await connection.executemany(insert_into(locked), rows, timeout=0.3)
        with pytest.raises(exceptions.InFailedSQLTransactionError):
            await connection.execute("SELECT 1")
        await connection.execute("ROLLBACK")
        assert connection.get_server_pid() == pid
    assert await single.fetchval(f"SELECT count(*) FROM {locked}") == 0


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_cancelled_while_the_source_is_waited_for(single: Pool, in_transaction: bool) -> None:
    reached = asyncio.Event()

    async def source() -> AsyncIterator[tuple[int]]:
        for n in range(3 * FIRST_PORTION):
            yield (n,)
        reached.set()
        await asyncio.Event().wait()

    async with single.acquire() as connection:
        pid = connection.get_server_pid()
        await connection.execute("CREATE TEMP TABLE waited (n int)")
        if in_transaction:
            await connection.execute("BEGIN; INSERT INTO waited VALUES (-1)")
        task = asyncio.create_task(connection.executemany("INSERT INTO waited VALUES ($1)", source()))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if in_transaction:
            await connection.execute("ROLLBACK")
        assert await connection.fetchval("SELECT count(*) FROM waited") == 0
        assert connection.get_server_pid() == pid
    assert await single.fetchval("SELECT 1") == 1


async def test_timeout_covers_the_time_that_the_source_takes(conn: Connection, table: str) -> None:
    over = asyncio.Event()

    async def source() -> AsyncIterator[tuple[int, str]]:
        for row in plain(MANY):
            if row[0] == 2 * FIRST_PORTION:
                asyncio.get_running_loop().call_later(0.5, over.set)
                await over.wait()
            yield row

    with pytest.raises(asyncio.TimeoutError):
        await conn.executemany(insert_into(table), source(), timeout=0.1)
    assert await count(conn, table) == 0


async def test_awaitable_that_is_dropped_undoes_everything(conn: Connection, table: str) -> None:
    reached = asyncio.Event()

    async def source() -> AsyncIterator[tuple[int, str]]:
        for row in plain(3 * FIRST_PORTION):
            yield row
        reached.set()
        await asyncio.Event().wait()

    coroutine = conn.executemany(insert_into(table), source())
    task = asyncio.ensure_future(coroutine)
    await reached.wait()
    coroutine.close()
    task.cancel()
    with pytest.raises((asyncio.CancelledError, RuntimeError)):
        await task
    del coroutine, task
    gc.collect()
    assert await count(conn, table) == 0


async def test_pool_reads_an_async_source(pool: Pool) -> None:
    await pool.execute("CREATE TABLE pool_portions (id int, name text)")
    await pool.executemany("INSERT INTO pool_portions VALUES ($1, $2)", asynchronous(MANY))
    assert await pool.fetchval("SELECT count(*) FROM pool_portions") == MANY
    await pool.execute("DROP TABLE pool_portions")


@SOURCES
async def test_without_a_statement_cache(dsn: str, source: Source) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=0)
    await connection.execute("CREATE TEMP TABLE uncached (id int, name text)")
    await connection.executemany("INSERT INTO uncached VALUES ($1, $2)", source(MANY))
    async with connection.transaction():
        await connection.executemany("INSERT INTO uncached VALUES ($1, $2)", source(MANY))
    assert await connection.fetchval("SELECT count(*) FROM uncached") == 2 * MANY
    await connection.close()


async def test_source_of_a_statement_that_the_server_has_lost(conn: Connection, table: str) -> None:
    await conn.executemany(insert_into(table), [(-1, "x")])
    await conn.execute("DEALLOCATE ALL")
    with pytest.raises(exceptions.InvalidSQLStatementNameError):
        await conn.executemany(insert_into(table), plain(MANY))
    assert await count(conn, table) == 1
    await conn.executemany(insert_into(table), plain(FIRST_PORTION + 1))
    assert await count(conn, table) == FIRST_PORTION + 2


@SOURCES
async def test_arguments_by_name(conn: Connection, table: str, source: Source) -> None:
    async def named() -> AsyncIterator[dict[str, Any]]:
        rows = source(MANY)
        if hasattr(rows, "__aiter__"):
            async for n, name in rows:
                yield {"name": name, "id": n}
        else:
            for n, name in rows:
                yield {"name": name, "id": n}

    await conn.executemany(f"INSERT INTO {table} VALUES (:id, :name)", named())
    assert await count(conn, table) == MANY
    mixed = ({"id": -n} if n < 1000 else (n,) for n in range(1, MANY))
    with pytest.raises(exceptions.DataError, match=r"element #999: a mapping is expected"):
        await conn.executemany(f"INSERT INTO {table} VALUES (:id, 'x')", mixed)
    assert await count(conn, table) == MANY
