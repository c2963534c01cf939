"""Cursors of connections and prepared statements: iteration, reading by hand, their life, side by side with asyncpg."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, Record, _core, exceptions

SERIES = "SELECT i FROM generate_series(0, $1::int) i"


async def values(cursor: Any) -> list[Any]:
    return [row[0] async for row in cursor]


async def on_server(connection: Connection) -> list[str]:
    return [row["name"] for row in await connection.fetch("SELECT name FROM pg_cursors WHERE name <> ''")]


# ---- iteration ----


@pytest.mark.parametrize("prefetch", [1, 2, 6, 7, 20, 21, 22, 100, 2**31, None])
async def test_iteration_gives_every_row_once(conn: Connection, prefetch: int | None) -> None:
    statement = await conn.prepare(SERIES)
    async with conn.transaction():
        assert await values(conn.cursor(SERIES, 20, prefetch=prefetch)) == list(range(21))
        assert await values(statement.cursor(20, prefetch=prefetch)) == list(range(21))
        assert await on_server(conn) == []


async def test_iteration_of_nothing(conn: Connection) -> None:
    async with conn.transaction():
        assert await values(conn.cursor(SERIES, -1)) == []
        iterator = aiter(conn.cursor(SERIES, 0))
        assert await anext(iterator) == (0,)
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(iterator)


async def test_factory_can_be_iterated_again(conn: Connection) -> None:
    factory = conn.cursor(SERIES, 3, prefetch=2)
    async with conn.transaction():
        assert await values(factory) == await values(factory) == [0, 1, 2, 3]


async def test_rows_are_computed_as_they_are_fetched(conn: Connection) -> None:
    await conn.execute("CREATE TEMP SEQUENCE computed")
    async with conn.transaction():
        async for row in conn.cursor("SELECT nextval('computed') FROM generate_series(1, 1000)", prefetch=10):
            if row[0] == 15:
                break
        assert await conn.fetchval("SELECT last_value FROM computed") == 20


async def test_default_prefetch_is_fifty_at_first_and_grows(conn: Connection) -> None:
    await conn.execute("CREATE TEMP SEQUENCE growing")
    computed = []
    async with conn.transaction():
        async for row in conn.cursor("SELECT nextval('growing') FROM generate_series(1, 2000)"):
            last = await conn.fetchval("SELECT last_value FROM growing")
            if last not in computed:
                computed.append(last)
            if row[0] == 1200:
                break
    assert computed == [50, 150, 350, 750, 1150, 1550]


async def test_each_row_can_be_awaited_as_a_task(conn: Connection) -> None:
    async with conn.transaction():
        iterator = aiter(conn.cursor(SERIES, 4, prefetch=3))
        tasks = []
        for _ in range(5):
            tasks.append(asyncio.create_task(iterator.__anext__()))
            await tasks[-1]
        assert [task.result()[0] for task in tasks] == list(range(5))


async def test_awaitable_of_a_row_is_good_for_one_await(conn: Connection) -> None:
    async with conn.transaction():
        iterator = aiter(conn.cursor(SERIES, 5))
        await anext(iterator)
        first, second = iterator.__anext__(), iterator.__anext__()
        assert (await second, await first) == ((2,), (1,))
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            await first
        third = iterator.__anext__()
        with pytest.raises(KeyError):
            third.throw(KeyError("thrown"))
        closed = iterator.__anext__()
        closed.close()
        with pytest.raises(RuntimeError):
            closed.send(None)
        assert await anext(iterator) == (5,)


@pytest.mark.parametrize("prefetch", [0, -1])
async def test_prefetch_below_one_is_refused(conn: Connection, prefetch: int) -> None:
    async with conn.transaction():
        with pytest.raises(exceptions.InterfaceError, match="prefetch argument must be greater than zero"):
            await values(conn.cursor(SERIES, 1, prefetch=prefetch))
    assert not conn.is_in_transaction()


# ---- by hand ----


async def test_cursor_is_read_by_hand(conn: Connection) -> None:
    statement = await conn.prepare(SERIES)
    async with conn.transaction():
        for cursor in (await conn.cursor(SERIES, 20), await statement.cursor(20)):
            for n in (0, -1):
                with pytest.raises(exceptions.InterfaceError, match="n must be greater than zero"):
                    await cursor.fetch(n)
                with pytest.raises(exceptions.InterfaceError, match="n must be greater than zero"):
                    await cursor.forward(n)
            assert await cursor.fetch(2) == [(0,), (1,)]
            assert await cursor.fetchrow() == (2,)
            assert repr(cursor).startswith('<holisticpool.Cursor "SELECT i FROM generate_series') and (
                "exhausted" not in repr(cursor)
            )
            assert await cursor.forward(5) == 5
            assert await cursor.fetchrow() == (8,)
            assert await cursor.fetch(2**40) == [(n,) for n in range(9, 21)]
            assert "exhausted" in repr(cursor)
            assert await cursor.fetchrow() is None
            assert await cursor.fetch(5) == []
            assert await cursor.forward(5) == 0


async def test_forward_beyond_the_end(conn: Connection) -> None:
    async with conn.transaction():
        cursor = await conn.cursor(SERIES, 9)
        assert await cursor.forward(4) == 4
        assert await cursor.forward(2**40) == 6
        assert await cursor.fetchrow() is None


async def test_awaited_cursor_takes_no_prefetch(conn: Connection) -> None:
    async with conn.transaction():
        with pytest.raises(exceptions.InterfaceError, match="prefetch argument can only be specified for iterable"):
            await conn.cursor(SERIES, 1, prefetch=10)


async def test_record_class(conn: Connection) -> None:
    class Own(Record):
        pass

    statement = await conn.prepare(SERIES, record_class=Own)
    async with conn.transaction():
        assert {type(row) async for row in conn.cursor(SERIES, 3, record_class=Own)} == {Own}
        assert {type(row) async for row in statement.cursor(3)} == {Own}
        assert {type(row) async for row in conn.cursor("SHOW TimeZone", record_class=Own)} == {Own}
        assert type(await (await conn.cursor(SERIES, 3, record_class=Own)).fetchrow()) is Own


# ---- side by side ----

COMMANDS = [
    "INSERT INTO cursor_t VALUES (5, 'five'), (6, 'six') RETURNING id",
    "WITH i AS (INSERT INTO cursor_t VALUES (5, 'five') RETURNING id) SELECT * FROM i",
    "UPDATE cursor_t SET name = 'x' RETURNING id, name",
    "DELETE FROM cursor_t WHERE id = 1 RETURNING *",
    "SHOW TimeZone",
    "EXPLAIN (COSTS off) SELECT 1",
    "VALUES (1, 'a'), (2, 'b')",
    "TABLE cursor_t",
    "(SELECT 1) UNION ALL (SELECT 2)",
    "  /* a comment */ SELECT 1 -- and another",
    "SELECT 1;",
    "SELECT id FROM cursor_t ORDER BY id FOR UPDATE",
    "WITH x AS (SELECT 1 AS n) SELECT * FROM x",
    "SELECT nextval('cursor_s'), 'INSERT'",
    "SELECT 'a' AS \"weird \"\" name\", NULL, ARRAY[1, NULL], ROW(1, 'x'), '1 day'::interval",
    "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 200) SELECT n FROM t",
]


@pytest.mark.parametrize("query", COMMANDS)
async def test_every_kind_of_statement_gives_what_asyncpgs_cursor_gives(dsn: str, query: str) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")
    seen: list[list[Any]] = []
    for driver in (asyncpg, holisticpool):
        connection = await driver.connect(dsn)
        await connection.execute(
            "CREATE TEMP TABLE cursor_t (id int, name text); INSERT INTO cursor_t VALUES (1, 'one'), (2, 'two');"
            "CREATE TEMP SEQUENCE cursor_s"
        )
        seen.append(results := [])
        for prepared in (False, True):
            async with connection.transaction():
                source = connection
                arguments: tuple[str, ...] = (query,)
                if prepared:
                    source, arguments = await connection.prepare(query), ()
                results.append([tuple(row.items()) async for row in source.cursor(*arguments, prefetch=1)])
                cursor = await source.cursor(*arguments)
                results.append([await cursor.fetchrow(), await cursor.fetch(2), await cursor.fetch(1)])
                cursor = await source.cursor(*arguments)
                results.append([await cursor.forward(1), await cursor.fetch(3)])
            results.append([tuple(row) for row in await connection.fetch("SELECT * FROM cursor_t ORDER BY 1, 2")])
        await connection.close()
    assert repr(seen[0]) == repr(seen[1])


MISUSES: list[tuple[str, Any]] = [
    ("iterated outside of a transaction", lambda conn: values(conn.cursor("SELECT 1"))),
    ("awaited outside of a transaction", lambda conn: conn.cursor("SELECT 1")),
    ("run outside of a transaction", lambda conn: conn.cursor("SHOW TimeZone")),
]


@pytest.mark.parametrize(("what", "misuse"), MISUSES)
async def test_outside_of_a_transaction_is_refused_as_by_asyncpg(dsn: str, what: str, misuse: Any) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")
    raised = []
    for driver in (asyncpg, holisticpool):
        connection = await driver.connect(dsn)
        with pytest.raises(driver.NoActiveSQLTransactionError) as caught:
            await misuse(connection)
        raised.append(str(caught.value))
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    assert raised[0] == raised[1] == "cursor cannot be created outside of a transaction"


@pytest.mark.parametrize("query", ["SELECT 1", "SHOW TimeZone"])
async def test_cursor_ends_with_its_transaction(conn: Connection, query: str) -> None:
    async with conn.transaction():
        cursor = await conn.cursor(query)
        iterator = aiter(conn.cursor("SELECT generate_series(1, 10)", prefetch=1))
        await anext(iterator)
    for call in (cursor.fetchrow(), cursor.fetch(1), cursor.forward(1), iterator.__anext__()):
        with pytest.raises(exceptions.NoActiveSQLTransactionError):
            await call
    with pytest.raises(exceptions.InvalidCursorNameError, match="does not exist"):
        async with conn.transaction():
            await cursor.fetchrow()
    assert await conn.fetchval("SELECT 1") == 1


async def test_transaction_may_be_begun_by_hand(conn: Connection) -> None:
    await conn.execute("BEGIN")
    assert await values(conn.cursor(SERIES, 3, prefetch=2)) == [0, 1, 2, 3]
    await conn.execute("ROLLBACK")


# ---- together with others ----


async def test_cursors_and_statements_take_turns(conn: Connection) -> None:
    seen = []
    async with conn.transaction():
        other = aiter(conn.cursor(SERIES, 1000, prefetch=3))
        by_hand = await conn.cursor(SERIES, 1000)
        async for row in conn.cursor(SERIES, 20, prefetch=2):
            seen.append((row[0], (await anext(other))[0], (await by_hand.fetchrow())[0]))
            assert await conn.fetchval("SELECT $1::int", row[0]) == row[0]
    assert seen == [(n, n, n) for n in range(21)]


async def test_cursor_holds_nothing_once_it_is_read(conn: Connection, table: str) -> None:
    async with conn.transaction():
        await conn.execute("CREATE TEMP TABLE dropped (n int); INSERT INTO dropped VALUES (1), (2)")
        assert await values(conn.cursor("SELECT n FROM dropped")) == [1, 2]
        await conn.execute("DROP TABLE dropped")


async def test_cursor_that_was_left_early_ends_with_the_transaction(single: Pool) -> None:
    async with single.acquire() as connection:
        async with connection.transaction():
            async for _ in connection.cursor(SERIES, 100, prefetch=2):
                break
            assert len(await on_server(connection)) == 1
        assert await on_server(connection) == []
        transaction = connection.transaction()
        await transaction.start()
        await connection.cursor(SERIES, 100)
    assert await single.fetchval("SELECT count(*) FROM pg_cursors WHERE name <> ''") == 0


async def test_savepoint_that_is_rolled_back_takes_its_cursor_along(conn: Connection) -> None:
    async with conn.transaction():
        outer = await conn.cursor(SERIES, 10)
        inner = conn.transaction()
        await inner.start()
        await conn.cursor(SERIES, 10)
        assert len(await on_server(conn)) == 2
        await inner.rollback()
        assert await outer.fetchrow() == (0,)
        assert len(await on_server(conn)) == 1


async def test_cursors_leave_nothing_in_the_statement_cache(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=4)
    for n in range(20):
        async with connection.transaction():
            assert await values(connection.cursor(SERIES, n, prefetch=n % 5 + 1)) == list(range(n + 1))
            await (await connection.cursor(SERIES, n)).forward(n + 1)
    texts = [row[0] for row in await connection.fetch("SELECT statement FROM pg_prepared_statements")]
    assert [text for text in texts if text.startswith(("DECLARE", "FETCH", "MOVE", "CLOSE"))] == []
    assert len(texts) <= 4
    await connection.close()


async def test_without_a_statement_cache(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=0)
    async with connection.transaction():
        assert await values(connection.cursor(SERIES, 10, prefetch=4)) == list(range(11))
        statement = await connection.prepare(SERIES)
        assert await values(statement.cursor(5)) == list(range(6))
    assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
    await connection.close()


async def test_released_lease_is_not_reset_for_a_cursor(single: Pool) -> None:
    async with single.acquire() as connection, connection.transaction():
        assert await values(connection.cursor(SERIES, 3)) == [0, 1, 2, 3]
    await single.fetchval("SELECT 1")
    assert single._stats()["resets"] == 0


# ---- types ----


async def test_arguments_and_rows_of_every_kind_of_type(conn: Connection) -> None:
    await conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok'); CREATE TYPE pg_temp.pair AS (a int, b text)")
    query = "SELECT $1::pg_temp.mood, $2::pg_temp.pair, $3::int[], $4::jsonb, $5::money, $6::numeric, $7::text"
    arguments = ("ok", (1, "x"), [1, None], '{"a": 1}', "$1.50", 5, None)
    row = await conn.fetchrow(query, *arguments)
    async with conn.transaction():
        assert [each async for each in conn.cursor(query, *arguments)] == [row]
        assert await (await conn.cursor(query, *arguments)).fetch(1) == [row]


async def test_codecs_of_the_session_are_used(conn: Connection) -> None:
    await conn.set_type_codec("int4", schema="pg_catalog", encoder=lambda v: v[1:], decoder=lambda v: f"n{v}")
    async with conn.transaction():
        assert await values(conn.cursor(SERIES, "n2", prefetch=1)) == ["n0", "n1", "n2"]


async def test_wrong_arguments_are_refused_and_leave_the_transaction(conn: Connection) -> None:
    async with conn.transaction():
        for arguments in ((), (1, 2), ("x",)):
            with pytest.raises(exceptions.InterfaceError):
                await conn.cursor(SERIES, *arguments)
            with pytest.raises(exceptions.InterfaceError):
                await values(conn.cursor(SERIES, *arguments))
        assert await conn.fetchval("SELECT 1") == 1


async def test_column_that_has_changed_meanwhile(conn: Connection, table: str) -> None:
    query = f"SELECT * FROM {table}"
    await conn.execute(f"INSERT INTO {table} VALUES (1, 'a')")
    async with conn.transaction():
        assert [tuple(row) async for row in conn.cursor(query)] == [(1, "a")]
        await conn.execute(f"ALTER TABLE {table} ADD COLUMN more int DEFAULT 5")
        assert [tuple(row) async for row in conn.cursor(query)] == [(1, "a", 5)]
        assert [tuple(row) async for row in conn.cursor(query)] == [(1, "a", 5)]
    assert [tuple(row) for row in await conn.fetch(query)] == [(1, "a", 5)]


# ---- errors, timeouts, cancellation ----


async def test_error_of_a_later_row_comes_with_its_batch(conn: Connection) -> None:
    seen = []
    with pytest.raises(exceptions.DivisionByZeroError):
        async with conn.transaction():
            async for row in conn.cursor("SELECT 10 / (5 - i) FROM generate_series(1, 9) i", prefetch=2):
                seen.append(row[0])
    assert seen == [2, 3, 5, 10]
    assert await conn.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("query", ["SELECT nonsense", "SELEC 1", "SELECT 1; SELECT 2"])
async def test_query_that_the_server_refuses(conn: Connection, query: str) -> None:
    with pytest.raises(exceptions.PostgresError):
        async with conn.transaction():
            await conn.cursor(query)
    assert await conn.fetchval("SELECT 1") == 1


SLOW = "SELECT i, pg_sleep(CASE WHEN i > $1 THEN 60 ELSE 0 END) FROM generate_series(1, 10) i"


@pytest.mark.parametrize("fast", [0, 3])
async def test_timeout_leaves_the_session_usable(single: Pool, fast: int) -> None:
    async with single.acquire() as connection:
        pid = connection.get_server_pid()
        with pytest.raises(asyncio.TimeoutError):
            async with connection.transaction():
                async for _ in connection.cursor(SLOW, fast, prefetch=1, timeout=0.1):
                    pass
        with pytest.raises(asyncio.TimeoutError):
            async with connection.transaction():
                cursor = await connection.cursor(SLOW, fast)
                await cursor.fetch(10, timeout=0.1)
        assert await connection.fetchval("SELECT 1") == 1
        assert connection.get_server_pid() == pid


@pytest.mark.parametrize("fast", [0, 3])
async def test_cancellation_leaves_the_session_usable(single: Pool, fast: int) -> None:
    reached = asyncio.Event()

    async def read(connection: Connection) -> None:
        async with connection.transaction():
            seen = 0
            if fast == 0:
                reached.set()
            async for _ in connection.cursor(SLOW, fast, prefetch=1):
                seen += 1
                if seen == fast:
                    reached.set()

    async with single.acquire() as connection:
        pid = connection.get_server_pid()
        task = asyncio.create_task(read(connection))
        await reached.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await connection.fetchval("SELECT 1") == 1
        assert connection.get_server_pid() == pid


async def test_second_use_at_the_same_time_is_refused(conn: Connection) -> None:
    async with conn.transaction():
        iterator = aiter(conn.cursor(SLOW, 10, prefetch=1))
        first = asyncio.create_task(iterator.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
            await conn.fetchval("SELECT 1")
        assert (await first)[0] == 1


# ---- the end of the lease ----


async def test_rows_of_a_released_connection_are_refused(single: Pool) -> None:
    connection = await single.acquire()
    await connection.execute("BEGIN")
    factory = connection.cursor(SERIES, 100)
    iterator = aiter(factory)
    await anext(iterator)  # and 49 more are there
    cursor = await connection.cursor(SERIES, 100)
    await single.release(connection)
    released = "the underlying connection has been released back to the pool"
    calls = {
        r"CursorIterator\.__anext__": iterator.__anext__,
        r"Cursor\.fetch": lambda: cursor.fetch(1),
        r"Cursor\.fetchrow": cursor.fetchrow,
        r"Cursor\.forward": lambda: cursor.forward(1),
        r"CursorFactory\.__aiter__": factory.__aiter__,
        r"CursorFactory\.__await__": factory.__await__,
    }
    for name, call in calls.items():
        with pytest.raises(exceptions.InterfaceError, match=rf"cannot call {name}\(\): {released}"):
            await call()  # type: ignore[misc]
    with pytest.raises(exceptions.InterfaceError, match=r"cannot call Connection\.cursor\(\)"):
        connection.cursor(SERIES, 1)
    assert await single.fetchval("SELECT 1") == 1


async def test_rows_of_a_closed_connection_are_refused(dsn: str) -> None:
    connection = await holisticpool.connect(dsn)
    await connection.execute("BEGIN")
    iterator = aiter(connection.cursor(SERIES, 100))
    await anext(iterator)
    cursor = await connection.cursor(SERIES, 100)
    connection.terminate()
    for name, call in {"CursorIterator.__anext__": iterator.__anext__, "Cursor.fetchrow": cursor.fetchrow}.items():
        with pytest.raises(
            exceptions.InterfaceError, match=rf"cannot call {name}\(\): the underlying connection is cl"
        ):
            await call()


# ---- what DECLARE takes ----


@pytest.mark.parametrize(
    ("query", "declarable"),
    [
        ("SELECT 1", True),
        ("(SELECT 1)", True),
        ("VALUES (1)", True),
        ("TABLE t", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x", True),
        ("SELECT * FROM t FOR UPDATE", True),
        ("SELECT nextval('s')", True),
        ("WITH x AS (SELECT nextval('s')) SELECT * FROM x", False),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", False),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x RETURNING *", False),
        ("SELECT 1 INTO t", False),
        ("INSERT INTO t VALUES (1) RETURNING *", False),
        ("EXPLAIN SELECT 1", False),
        ("SHOW TimeZone", False),
        ("FETCH 1 FROM c", False),
        ("EXECUTE s", False),
        ("CALL p()", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_what_declare_takes_is_told_by_the_text(query: str, declarable: bool) -> None:
    assert _core.is_declarable(query) is declarable
