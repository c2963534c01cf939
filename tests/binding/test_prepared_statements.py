"""Connection.prepare() and PreparedStatement: description, execution, life on the server, side by side with asyncpg."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, Record, exceptions
from holisticpool.prepared_stmt import PreparedStatement

ON_SERVER = "SELECT name FROM pg_prepared_statements WHERE name = $1"


async def is_on_server(connection: Connection, name: str) -> bool:
    return bool(await connection.fetchval(ON_SERVER, name) == name)


# ---- description ----


async def test_prepare_gives_a_prepared_statement(conn: Connection) -> None:
    statement = await conn.prepare("SELECT $1::int AS n")
    assert type(statement) is PreparedStatement
    assert statement.get_query() == "SELECT $1::int AS n"
    assert statement.get_statusmsg() is None


TYPES = {
    "enum": "CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok')",
    "domain": "CREATE DOMAIN pg_temp.positive AS int CHECK (VALUE > 0)",
    "domain of domain": "CREATE DOMAIN pg_temp.small AS pg_temp.positive CHECK (VALUE < 10)",
    "domain of array": "CREATE DOMAIN pg_temp.numbers AS int[]",
    "composite": "CREATE TYPE pg_temp.pair AS (a int, b text)",
    "range": "CREATE TYPE pg_temp.floats AS RANGE (subtype = float8)",
}

DESCRIBED = [
    "SELECT 1 AS a, 'x'::text AS b, NULL::void AS c, ARRAY[1] AS d, now() AS e, '1'::\"char\" AS f, 'x'::name AS g",
    "SELECT 'ok'::pg_temp.mood, ARRAY['ok'::pg_temp.mood], 1::pg_temp.positive, '{1}'::pg_temp.numbers",
    "SELECT ROW(1, 'x')::pg_temp.pair, ARRAY[ROW(1, 'x')::pg_temp.pair], ROW(1, 2), int4range(1, 2)",
    "SELECT pg_temp.floats(1, 2), '{[1,2]}'::int4multirange, ARRAY[int4range(1, 2)], 1::money, 'pg_class'::regclass",
    "SELECT 1 AS a, 2 AS a, 3",
    "SELECT $1::pg_temp.small, $2::pg_temp.numbers, $3::pg_temp.mood, $4::pg_temp.pair, $5::int[], $6::text",
    "SELECT $1::pg_temp.positive[], $2::pg_temp.pair[], $3::timestamptz, $4::varchar(3), $5::numeric(3, 1)",
    "SELECT oid FROM pg_class WHERE relname = $1 AND relpages > $2",
    "CREATE TEMP TABLE never_made (n int)",
    "SHOW TimeZone",
    "EXPLAIN SELECT 1",
    "",
    ";",
]


@pytest.mark.parametrize("query", DESCRIBED)
async def test_types_and_columns_are_described_as_by_asyncpg(dsn: str, query: str) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")
    described = []
    for driver in (asyncpg, holisticpool):
        connection = await driver.connect(dsn)
        for sql in TYPES.values():
            await connection.execute(sql)
        statement = await connection.prepare(query)
        described.append(
            (
                [(type_.name, type_.kind, type_.schema[:7]) for type_ in statement.get_parameters()],
                [
                    (column.name, column.type.name, column.type.kind, column.type.schema[:7])
                    for column in statement.get_attributes()
                ],
                # types of the test itself have other OIDs in each session
                [type_.oid for type_ in statement.get_parameters() if type_.oid < 16384],
                [column.type.oid for column in statement.get_attributes() if column.type.oid < 16384],
            )
        )
        await connection.close()
    assert described[0] == described[1]


async def test_type_names_are_looked_up_once_for_a_pool(single: Pool) -> None:
    queries = []
    for _ in range(2):
        async with single.acquire() as connection:
            before = single._stats()["queries"]
            await connection.prepare("SELECT $1::int8, 'x'::text")
            queries.append(single._stats()["queries"] - before)
    assert queries == [2, 1]


@pytest.mark.parametrize("query", ["SELECT nonsense", "SELECT 1; SELECT 2", "SELEC 1"])
async def test_statement_that_the_server_refuses_cannot_be_prepared(conn: Connection, query: str) -> None:
    with pytest.raises(exceptions.PostgresError):
        await conn.prepare(query)
    assert await conn.fetchval("SELECT 1") == 1


# ---- execution ----


async def test_prepared_statement_fetches(conn: Connection) -> None:
    statement = await conn.prepare("SELECT i, i::text AS t FROM generate_series(1, $1::int) i")
    assert [tuple(row) for row in await statement.fetch(2)] == [(1, "1"), (2, "2")]
    assert await statement.fetch(0) == []
    assert dict(await statement.fetchrow(1)) == {"i": 1, "t": "1"}
    assert await statement.fetchrow(0) is None
    assert await statement.fetchval(1) == 1
    assert await statement.fetchval(1, column=1) == "1"
    assert await statement.fetchval(0) is None


async def test_prepared_statement_fetches_without_a_python_frame(conn: Connection) -> None:
    statement = await conn.prepare("SELECT 1")
    operation = statement.fetch()
    assert type(operation) is holisticpool._core.Operation
    assert await operation == [(1,)]


async def test_prepared_statement_runs_as_a_task(conn: Connection) -> None:
    statement = await conn.prepare("SELECT $1::int")
    assert await asyncio.create_task(statement.fetchval(3)) == 3
    assert await asyncio.wait_for(statement.fetchval(4), 60) == 4


async def test_record_class_is_that_of_prepare(conn: Connection) -> None:
    class Own(Record):
        pass

    statement = await conn.prepare("SELECT 1 AS n", record_class=Own)
    assert type((await statement.fetch())[0]) is Own
    assert type(await statement.fetchrow()) is Own
    assert type(await (await conn.prepare("SELECT 1")).fetchrow()) is Record
    with pytest.raises(exceptions.InterfaceError, match="record_class"):
        await conn.prepare("SELECT 1", record_class=dict)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [(), (1, 2), ("x",), (2**40,)])
async def test_wrong_arguments_are_refused_as_by_the_connection(conn: Connection, arguments: tuple[Any, ...]) -> None:
    statement = await conn.prepare("SELECT $1::int")
    raised = []
    for call in (statement.fetch(*arguments), conn.fetch("SELECT $1::int", *arguments)):
        with pytest.raises(exceptions.InterfaceError) as caught:
            await call
        raised.append((type(caught.value), str(caught.value)))
    assert raised[0] == raised[1]
    assert await statement.fetchval(1) == 1


async def test_statusmsg_is_that_of_the_command_that_ran_to_its_end(dsn: str) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")
    seen: list[list[Any]] = []
    for driver in (asyncpg, holisticpool):
        connection = await driver.connect(dsn)
        await connection.execute("CREATE TEMP TABLE status_t (n int)")
        seen.append(messages := [])
        insert = await connection.prepare("INSERT INTO status_t VALUES ($1), ($1) RETURNING n")
        for call in (insert.fetch(1), insert.fetchval(1), insert.fetch(1), insert.fetchrow(1)):
            await call
            messages.append(insert.get_statusmsg())
        await insert.fetch(1)
        await insert.executemany([(1,), (2,)])
        messages.append(insert.get_statusmsg())
        for query in ("SELECT 1 WHERE false", "CREATE TEMP TABLE status_u (n int)", "", "SET TIME ZONE 'UTC'"):
            statement = await connection.prepare(query)
            await statement.fetchrow()
            messages.append(statement.get_statusmsg())
        await connection.close()
    assert seen[0] == seen[1]


async def test_prepared_executemany_is_atomic(conn: Connection, table: str) -> None:
    insert = await conn.prepare(f"INSERT INTO {table} VALUES ($1, $2)")
    assert await insert.executemany([(1, "a"), (2, "b")]) is None  # type: ignore[func-returns-value]
    with pytest.raises(exceptions.UniqueViolationError):
        await insert.executemany((i, "x") for i in (3, 4, 1))
    await insert.executemany([])
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 2


async def test_codecs_of_the_session_are_used(conn: Connection) -> None:
    statement = await conn.prepare("SELECT $1::int4")
    assert await statement.fetchval(1) == 1
    await conn.set_type_codec("int4", schema="pg_catalog", encoder=lambda v: v[1:], decoder=lambda v: f"n{v}")
    assert await statement.fetchval("n7") == "n7"


async def test_explain_gives_the_plan(conn: Connection, table: str) -> None:
    statement = await conn.prepare(f"INSERT INTO {table} VALUES ($1, 'x')")
    plan = await statement.explain(1)
    assert plan[0]["Plan"]["Node Type"] == "ModifyTable" and "Execution Time" not in plan[0]
    plan = await statement.explain(1, analyze=True)
    assert plan[0]["Execution Time"] >= 0
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0
    async with conn.transaction():
        assert "Plan" in (await statement.explain(2, analyze=True))[0]
        await statement.fetch(3)
    assert await conn.fetchval(f"SELECT id FROM {table}") == 3


async def test_timeout_of_a_prepared_statement_leaves_the_session_usable(conn: Connection) -> None:
    statement = await conn.prepare("SELECT pg_sleep($1)")
    with pytest.raises(asyncio.TimeoutError):
        await statement.fetch(60.0, timeout=0.05)
    assert await statement.fetchval(0.0) is None
    assert await conn.fetchval("SELECT 1") == 1


async def test_cancelled_prepared_statement_leaves_the_session_usable(single: Pool) -> None:
    async with single.acquire() as connection:
        statement = await connection.prepare("SELECT pg_sleep($1)")
        task = asyncio.create_task(statement.fetch(60.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await statement.fetchval(0.0) is None
    assert await single.fetchval("SELECT 1") == 1


async def test_cancelled_prepare_leaves_the_session_usable(single: Pool) -> None:
    async with single.acquire() as connection:
        task = asyncio.create_task(connection.prepare("SELECT 1"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await (await connection.prepare("SELECT 1")).fetchval() == 1
    assert await single.fetchval("SELECT 1") == 1


async def test_another_operation_in_progress_is_refused(conn: Connection) -> None:
    statement = await conn.prepare("SELECT pg_sleep(60)")
    task = asyncio.create_task(statement.fetch())
    await asyncio.sleep(0)
    with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
        await statement.fetch()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# ---- the end of the lease ----

METHODS: list[tuple[str, Any]] = [
    ("get_name", lambda statement: statement.get_name()),
    ("get_query", lambda statement: statement.get_query()),
    ("get_statusmsg", lambda statement: statement.get_statusmsg()),
    ("get_parameters", lambda statement: statement.get_parameters()),
    ("get_attributes", lambda statement: statement.get_attributes()),
    ("fetch", lambda statement: statement.fetch()),
    ("fetchrow", lambda statement: statement.fetchrow()),
    ("fetchval", lambda statement: statement.fetchval()),
    ("executemany", lambda statement: statement.executemany([()])),
    ("explain", lambda statement: statement.explain()),
]


async def run(call: Any, statement: Any) -> None:
    result = call(statement)
    if hasattr(result, "__await__"):
        await result


@pytest.mark.parametrize(("method", "call"), METHODS)
async def test_statement_of_a_released_connection_is_refused(single: Pool, method: str, call: Any) -> None:
    async with single.acquire() as connection:
        statement = await connection.prepare("SELECT 1")
    text = rf"cannot call PreparedStatement\.{method}\(\): the underlying connection has been released back to the pool"
    with pytest.raises(exceptions.InterfaceError, match=text):
        await run(call, statement)
    assert await single.fetchval("SELECT 1") == 1


@pytest.mark.parametrize(("method", "call"), METHODS)
async def test_statement_of_a_closed_connection_is_refused(dsn: str, method: str, call: Any) -> None:
    connection = await holisticpool.connect(dsn)
    statement = await connection.prepare("SELECT 1")
    await connection.close()
    text = rf"cannot call PreparedStatement\.{method}\(\): the underlying connection is closed"
    with pytest.raises(exceptions.InterfaceError, match=text):
        await run(call, statement)


async def test_prepare_on_a_released_connection_is_refused(single: Pool) -> None:
    async with single.acquire() as connection:
        pass
    with pytest.raises(exceptions.InterfaceError, match=r"cannot call Connection\.prepare\(\)"):
        await connection.prepare("SELECT 1")


# ---- life on the server ----


async def test_statement_has_its_name_on_the_server(conn: Connection) -> None:
    statement = await conn.prepare("SELECT 1")
    assert await conn.fetchval(f'EXECUTE "{statement.get_name()}"') == 1


async def test_explicit_name_is_the_name(conn: Connection) -> None:
    name = 'Na"me of mine'
    statement = await conn.prepare("SELECT 1", name=name)
    assert statement.get_name() == name
    assert await is_on_server(conn, name)
    with pytest.raises(exceptions.DuplicatePreparedStatementError, match="already exists"):
        await conn.prepare("SELECT 2", name=name)
    assert await statement.fetchval() == 1


async def test_name_can_be_used_again_once_its_statement_is_gone(conn: Connection) -> None:
    for n in range(3):
        statement = await conn.prepare(f"SELECT {n}", name="again")
        assert await statement.fetchval() == n
        del statement
        gc.collect()
    async with conn.transaction():
        statement = await conn.prepare("SELECT 4", name="again")
        assert await statement.fetchval() == 4
        del statement
        assert await (await conn.prepare("SELECT 5", name="again")).fetchval() == 5


@pytest.mark.parametrize("name", ["x" * 64, "a\0b", "é" * 32])
async def test_name_that_cannot_be_is_refused(conn: Connection, name: str) -> None:
    with pytest.raises(ValueError, match="the name of a prepared statement has at most 63 bytes"):
        await conn.prepare("SELECT 1", name=name)
    assert await (await conn.prepare("SELECT 1", name="é" * 31)).fetchval() == 1


async def test_statement_ends_on_the_server_with_its_object(conn: Connection) -> None:
    statement = await conn.prepare("SELECT 1", name="ending")
    assert await is_on_server(conn, "ending")
    del statement
    gc.collect()
    await conn.fetchval("SELECT 1")
    assert not await is_on_server(conn, "ending")


async def test_statement_ends_on_the_server_with_the_lease(single: Pool) -> None:
    async with single.acquire() as connection:
        statement = await connection.prepare("SELECT 1", name="leased")
    await single.fetchval("SELECT 1")
    assert await single.fetchval(ON_SERVER, "leased") is None
    async with single.acquire() as connection:
        assert await (await connection.prepare("SELECT 2", name="leased")).fetchval() == 2
    del statement


async def test_next_lease_can_have_the_name_at_once(single: Pool) -> None:
    async with single.acquire() as connection:
        held = await connection.prepare("SELECT 1", name="mine")
    async with single.acquire() as connection:
        async with connection.transaction():
            assert await (await connection.prepare("SELECT 2", name="mine")).fetchval() == 2
    del held


async def test_statement_outlives_any_number_of_others(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=2)
    statement = await connection.prepare("SELECT $1::int")
    name = statement.get_name()
    for n in range(10):
        await connection.fetchval(f"SELECT {n}")
    assert await is_on_server(connection, name)
    assert await statement.fetchval(1) == 1
    assert statement.get_name() == name
    await connection.close()


async def test_many_statements_at_once(conn: Connection) -> None:
    statements = [await conn.prepare(f"SELECT {n} + $1::int") for n in range(300)]
    assert [await statement.fetchval(1) for statement in statements] == [n + 1 for n in range(300)]
    names = {statement.get_name() for statement in statements}
    assert len(names) == 300
    del statements
    for _ in range(300):
        await conn.fetchval("SELECT 1")
    assert await conn.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name = ANY($1)", list(names)) == 0


async def test_statements_made_in_transactions_do_not_pile_up_on_the_server(conn: Connection) -> None:
    for _ in range(20):
        async with conn.transaction():
            for i in range(10):
                await (await conn.prepare(f"SELECT {i}")).fetchval()
    assert await conn.fetchval("SELECT count(*) FROM pg_prepared_statements") <= 30


async def test_without_a_statement_cache_the_statement_has_no_name(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=0)
    statement = await connection.prepare("SELECT $1::int AS n")
    assert statement.get_name() == ""
    await connection.fetchval("SELECT 'another'")
    assert await statement.fetchval(1) == 1
    named = await connection.prepare("SELECT 2", name="named")
    assert named.get_name() == "named" and await named.fetchval() == 2
    await connection.close()


@pytest.mark.parametrize("forget", ["DEALLOCATE ALL", "DISCARD ALL"])
async def test_statement_that_the_server_has_lost_is_prepared_again(conn: Connection, forget: str) -> None:
    statement = await conn.prepare("SELECT $1::int", name="lost")
    assert await statement.fetchval(1) == 1
    await conn.execute(forget)
    assert await statement.fetchval(2) == 2
    assert statement.get_name() == "lost"
    assert await is_on_server(conn, "lost")


async def test_statement_whose_result_has_changed_is_prepared_again(conn: Connection, table: str) -> None:
    await conn.execute(f"INSERT INTO {table} VALUES (1, 'a')")
    statement = await conn.prepare(f"SELECT * FROM {table} WHERE id = $1", name="changing")
    assert tuple(await statement.fetchrow(1)) == (1, "a")
    await conn.execute(f"ALTER TABLE {table} ADD COLUMN more int DEFAULT 5")
    assert tuple(await statement.fetchrow(1)) == (1, "a", 5)
    assert await is_on_server(conn, "changing")


async def test_changed_result_in_a_transaction_is_an_error_and_then_healed(conn: Connection, table: str) -> None:
    statement = await conn.prepare(f"SELECT * FROM {table}")
    await statement.fetch()
    with pytest.raises(exceptions.PostgresError):
        async with conn.transaction():
            await conn.execute(f"ALTER TABLE {table} ADD COLUMN more int")
            await statement.fetch()
    await conn.execute(f"ALTER TABLE {table} ADD COLUMN other int")
    assert await statement.fetch() == []


async def test_statements_of_an_init_hook_do_not_stay(dsn: str) -> None:
    async def init(connection: Connection) -> None:
        init_statements.append(await connection.prepare("SELECT 1", name="of_init"))

    init_statements: list[PreparedStatement] = []
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, init=init) as pool:
        await pool.fetchval("SELECT 1")
        assert await pool.fetchval(ON_SERVER, "of_init") is None
        with pytest.raises(exceptions.InterfaceError, match="released back to the pool"):
            await init_statements[0].fetch()


async def test_statement_can_go_after_its_pool(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1)
    connection = await pool.acquire()
    statement = await connection.prepare("SELECT 1")
    pool.terminate()
    with pytest.raises(exceptions.InterfaceError, match="the underlying connection is closed"):
        await statement.fetch()
    del connection, pool
    gc.collect()
    del statement
    gc.collect()


async def test_subclass_of_str_is_taken_as_its_text(conn: Connection) -> None:
    class Text(str):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("code of the query's class ran")

        __hash__ = str.__hash__

    statement = await conn.prepare(Text("SELECT 1"))
    assert await statement.fetchval() == 1
    assert type(statement.get_query()) is str
