"""Connection.transaction(): what asyncpg documents, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, exceptions


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Connection]:
    connection = await holisticpool.connect(dsn)
    await connection.execute("CREATE TEMP TABLE kept (n int PRIMARY KEY)")
    yield connection
    connection.terminate()


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as made:
        yield made


async def kept(conn: Connection) -> list[int]:
    return [row["n"] for row in await conn.fetch("SELECT n FROM kept ORDER BY n")]


async def insert(conn: Connection, n: int) -> None:
    await conn.execute("INSERT INTO kept VALUES ($1)", n)


# ---- one transaction ----


async def test_block_that_ends_commits(conn: Connection) -> None:
    async with conn.transaction():
        assert conn.is_in_transaction()
        await insert(conn, 1)
    assert not conn.is_in_transaction()
    assert await kept(conn) == [1]


async def test_block_that_raises_rolls_back(conn: Connection) -> None:
    with pytest.raises(ZeroDivisionError):
        async with conn.transaction():
            await insert(conn, 1)
            raise ZeroDivisionError
    assert not conn.is_in_transaction()
    assert await kept(conn) == []


async def test_server_error_in_the_block_rolls_back_and_passes(conn: Connection) -> None:
    with pytest.raises(holisticpool.UniqueViolationError):
        async with conn.transaction():
            await insert(conn, 1)
            await insert(conn, 1)
    assert await kept(conn) == []


async def test_start_and_commit(conn: Connection) -> None:
    transaction = conn.transaction()
    await transaction.start()
    await insert(conn, 1)
    await transaction.commit()
    assert await kept(conn) == [1]


async def test_start_and_rollback(conn: Connection) -> None:
    transaction = conn.transaction()
    await transaction.start()
    await insert(conn, 1)
    await transaction.rollback()
    assert await kept(conn) == []


async def test_connection_is_usable_after_a_failed_commit(conn: Connection) -> None:
    await conn.execute("CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(holisticpool.UniqueViolationError):
        async with conn.transaction():
            await conn.execute("INSERT INTO late VALUES (1), (1)")
    async with conn.transaction():
        await insert(conn, 1)
    assert await kept(conn) == [1]


@pytest.mark.parametrize("level", ["read_committed", "read_uncommitted", "repeatable_read", "serializable"])
async def test_isolation_level_is_the_servers(conn: Connection, level: str) -> None:
    async with conn.transaction(isolation=level):
        assert await conn.fetchval("SHOW transaction_isolation") == level.replace("_", " ")


async def test_readonly_refuses_writes(conn: Connection) -> None:
    with pytest.raises(holisticpool.ReadOnlySQLTransactionError):
        async with conn.transaction(readonly=True):
            await conn.execute("CREATE TABLE never (n int)")


async def test_deferrable_reaches_the_server(conn: Connection) -> None:
    async with conn.transaction(isolation="serializable", readonly=True, deferrable=True):
        assert await conn.fetchval("SHOW transaction_deferrable") == "on"


@pytest.mark.parametrize("level", ["snapshot", "READ COMMITTED", "read committed"])
async def test_unknown_isolation_level_is_a_value_error(conn: Connection, level: str) -> None:
    with pytest.raises(ValueError, match="isolation is expected to be either of"):
        conn.transaction(isolation=level)


# ---- wrong use ----


async def test_manual_begin_is_refused(conn: Connection) -> None:
    await conn.execute("BEGIN")
    with pytest.raises(exceptions.InterfaceError, match="manually started transaction"):
        await conn.transaction().start()
    await conn.execute("ROLLBACK")
    async with conn.transaction():
        await insert(conn, 1)


async def test_double_start_is_refused(conn: Connection) -> None:
    transaction = conn.transaction()
    await transaction.start()
    with pytest.raises(exceptions.InterfaceError, match="cannot start; the transaction is already started"):
        await transaction.start()
    await transaction.rollback()


@pytest.mark.parametrize("operation", ["commit", "rollback"])
async def test_end_before_start_is_refused(conn: Connection, operation: str) -> None:
    with pytest.raises(exceptions.InterfaceError, match=f"cannot {operation}; the transaction is not yet started"):
        await getattr(conn.transaction(), operation)()


@pytest.mark.parametrize(("end", "said"), [("commit", "already committed"), ("rollback", "already rolled back")])
@pytest.mark.parametrize("operation", ["start", "commit", "rollback"])
async def test_finished_transaction_cannot_be_used(conn: Connection, end: str, said: str, operation: str) -> None:
    transaction = conn.transaction()
    await transaction.start()
    await getattr(transaction, end)()
    with pytest.raises(exceptions.InterfaceError, match=f"cannot {operation}; the transaction is {said}"):
        await getattr(transaction, operation)()


async def test_failed_transaction_cannot_be_used(conn: Connection) -> None:
    await conn.execute("CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute("INSERT INTO late VALUES (1), (1)")
    with pytest.raises(holisticpool.UniqueViolationError):
        await transaction.commit()
    with pytest.raises(exceptions.InterfaceError, match="the transaction is in error state"):
        await transaction.rollback()


@pytest.mark.parametrize("operation", ["commit", "rollback"])
async def test_manual_end_within_a_block_is_refused(conn: Connection, operation: str) -> None:
    transaction = conn.transaction()
    async with transaction:
        with pytest.raises(exceptions.InterfaceError, match=f"cannot manually {operation} from within"):
            await getattr(transaction, operation)()


async def test_entering_a_block_twice_is_refused(conn: Connection) -> None:
    transaction = conn.transaction()
    async with transaction:
        with pytest.raises(exceptions.InterfaceError, match="already in an `async with` block"):
            async with transaction:
                pass


async def test_transaction_of_a_closed_connection_is_refused(dsn: str) -> None:
    conn = await holisticpool.connect(dsn)
    transaction = conn.transaction()
    await conn.close()
    with pytest.raises(exceptions.InterfaceError, match=r"Transaction\.start\(\): the underlying connection is closed"):
        await transaction.start()
    with pytest.raises(exceptions.InterfaceError, match="connection is closed"):
        conn.transaction()


async def test_transaction_of_a_released_connection_is_refused(pool: Pool) -> None:
    conn = await pool.acquire()
    transaction = conn.transaction()
    await transaction.start()
    await pool.release(conn)
    with pytest.raises(exceptions.InterfaceError, match="released back to the pool"):
        await transaction.commit()
    with pytest.raises(exceptions.InterfaceError, match="released back to the pool"):
        conn.transaction()


async def test_repr_says_the_state(conn: Connection) -> None:
    transaction = conn.transaction(isolation="serializable", readonly=True, deferrable=True)
    assert "state:new serializable readonly deferrable" in repr(transaction)
    await transaction.start()
    assert "state:started" in repr(transaction)
    await transaction.rollback()
    assert "state:rolledback" in repr(transaction)


# ---- nested ----


async def test_nested_block_that_ends_stays(conn: Connection) -> None:
    async with conn.transaction():
        async with conn.transaction():
            await insert(conn, 1)
        await insert(conn, 2)
    assert await kept(conn) == [1, 2]


async def test_nested_block_that_raises_rolls_back_alone(conn: Connection) -> None:
    async with conn.transaction():
        await insert(conn, 1)
        with pytest.raises(holisticpool.UniqueViolationError):
            async with conn.transaction():
                await insert(conn, 2)
                await insert(conn, 2)
        await insert(conn, 3)
    assert await kept(conn) == [1, 3]


async def test_nesting_goes_to_any_depth(conn: Connection) -> None:
    async def nest(depth: int) -> None:
        async with conn.transaction():
            await insert(conn, depth)
            if depth < 20:
                await nest(depth + 1)
            if depth == 10:
                raise ZeroDivisionError

    async with conn.transaction():
        await insert(conn, 0)
        with pytest.raises(ZeroDivisionError):
            await nest(1)
        assert await kept(conn) == [0]
        await nest(11)
    assert await kept(conn) == [0, *range(11, 21)]


async def test_many_failing_nested_blocks_leave_no_savepoint(conn: Connection) -> None:
    with pytest.raises(holisticpool.InvalidSavepointSpecificationError):
        async with conn.transaction():
            for _ in range(5):
                with pytest.raises(ZeroDivisionError):
                    async with conn.transaction():
                        raise ZeroDivisionError
            await conn.execute("RELEASE SAVEPOINT holisticpool_1")


async def test_outer_end_ends_the_inner_ones(conn: Connection) -> None:
    outer, inner = conn.transaction(), conn.transaction()
    await outer.start()
    await inner.start()
    await insert(conn, 1)
    await outer.commit()
    with pytest.raises(exceptions.InterfaceError, match="in error state"):
        await inner.rollback()
    assert await kept(conn) == [1]


async def test_nested_transaction_with_the_same_isolation_is_taken(conn: Connection) -> None:
    async with conn.transaction(isolation="serializable"):
        async with conn.transaction(isolation="serializable"):
            pass


@pytest.mark.parametrize("outer", ["repeatable_read", None])
async def test_nested_transaction_with_another_isolation_is_refused(conn: Connection, outer: str | None) -> None:
    async with conn.transaction(isolation=outer):
        with pytest.raises(exceptions.InterfaceError, match="nested transaction has a different isolation level"):
            async with conn.transaction(isolation="serializable"):
                pass


async def test_nested_isolation_may_be_the_sessions_default(conn: Connection) -> None:
    async with conn.transaction():
        async with conn.transaction(isolation="read_committed"):
            await insert(conn, 1)
    assert await kept(conn) == [1]


# ---- what goes wrong around it ----


async def test_cancelled_block_rolls_back(conn: Connection) -> None:
    started = asyncio.Event()

    async def work() -> None:
        async with conn.transaction():
            await insert(conn, 1)
            started.set()
            await conn.execute("SELECT pg_sleep(600)")

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not conn.is_in_transaction()
    assert await kept(conn) == []


async def test_block_cancelled_again_and_again_leaves_nothing_in_the_pool(pool: Pool) -> None:
    started = asyncio.Event()

    async def work() -> None:
        async with pool.acquire() as conn:
            async with conn.transaction():
                await conn.execute("CREATE TABLE never_committed (n int)")
                started.set()
                await conn.execute("SELECT pg_sleep(600)")

    task = asyncio.create_task(work())
    await started.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    async with pool.acquire() as conn:
        assert not conn.is_in_transaction()
        assert await conn.fetchval("SELECT to_regclass('never_committed')") is None


async def test_open_transaction_is_rolled_back_at_release(pool: Pool) -> None:
    conn = await pool.acquire()
    await conn.transaction().start()
    await conn.execute("CREATE TABLE never_committed (n int)")
    await pool.release(conn)
    assert await pool.fetchval("SELECT to_regclass('never_committed')") is None


async def test_error_of_a_lost_session_is_not_hidden_by_the_rollback(dsn: str) -> None:
    conn = await holisticpool.connect(dsn)
    with pytest.raises((exceptions.PostgresError, exceptions.InterfaceError, ConnectionError)) as caught:
        async with conn.transaction():
            await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            await conn.fetchval("SELECT 1")
    assert "Transaction" not in str(caught.value)


async def test_async_generator_left_open_does_not_fail_at_release(pool: Pool) -> None:
    async def numbers(conn: Connection) -> AsyncIterator[Any]:
        async with conn.transaction():
            for row in await conn.fetch("SELECT n FROM generate_series(1, 3) AS n"):
                yield row["n"]

    async with pool.acquire() as conn:
        generator = numbers(conn)
        async for _ in generator:
            break
    await generator.aclose()  # type: ignore[attr-defined]
    assert await pool.fetchval("SELECT 1") == 1


async def test_begin_takes_no_round_trip(pool: Pool) -> None:
    async with pool.acquire() as conn:
        before = pool._stats()["queries"]
        async with conn.transaction(isolation="serializable", readonly=True):
            assert conn.is_in_transaction()
            assert pool._stats()["queries"] == before
            assert await conn.fetchval("SHOW transaction_isolation") == "serializable"
            assert await conn.fetchval("SHOW transaction_read_only") == "on"
        assert not conn.is_in_transaction()
        assert pool._stats()["queries"] == before + 3  # with COMMIT


async def test_transaction_without_statements_sends_nothing(pool: Pool) -> None:
    async with pool.acquire() as conn:
        before = pool._stats()["queries"]
        async with conn.transaction():
            pass
        transaction = conn.transaction()
        await transaction.start()
        assert conn.is_in_transaction()
        await transaction.rollback()
        assert not conn.is_in_transaction()
        assert pool._stats()["queries"] == before


async def test_whoever_observes_the_connection_sees_begin(pool: Pool) -> None:
    async with pool.acquire() as conn:
        seen: list[str] = []
        with conn.query_logger(lambda record: seen.append(record.query)):
            async with conn.transaction():
                await conn.execute("SELECT 1")
            await conn.execute("SELECT 2")
        assert seen[:3] == ["BEGIN", "SELECT 1", "COMMIT"]


async def test_timeout_of_the_first_statement_leaves_no_transaction(pool: Pool) -> None:
    async with pool.acquire() as conn:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with conn.transaction():
                    await conn.fetch("SELECT pg_sleep(600)", timeout=0.05)
            assert not conn.is_in_transaction()
        assert await conn.fetchval("SELECT 1") == 1
