"""Statements: results, types, time limits, and what is kept of a statement between two executions."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import Connection, Pool, Record, exceptions

METHODS = ("fetch", "fetchrow", "fetchval", "execute")


# ---- the cache of prepared statements ----


async def prepared_on_the_server(connection: Connection) -> int:
    count: int = await connection.fetchval("SELECT count(*)::int FROM pg_prepared_statements")
    return count


async def test_many_distinct_statements_answer_right_and_stay_bounded_on_the_server(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=5)
    for _ in range(2):
        for i in range(60):
            assert await connection.fetchval(f"SELECT {i} + $1::int", 1) == i + 1
    for _ in range(20):  # what fell out of the cache is closed a few at a time
        await connection.fetchval("SELECT 1")
    assert await prepared_on_the_server(connection) <= 6
    await connection.close()


async def test_statements_in_use_stay_prepared(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=5)
    for i in range(30):
        await connection.fetchval("SELECT 'kept'")
        await connection.fetchval(f"SELECT {i}")
    kept = await connection.fetchval(
        "SELECT count(*)::int FROM pg_prepared_statements WHERE statement = $1", "SELECT 'kept'"
    )
    assert kept == 1
    await connection.close()


async def test_statement_that_fell_out_of_the_cache_works_in_a_failed_transactions_successor(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=2)
    for i in range(6):
        with pytest.raises(exceptions.DivisionByZeroError):
            async with connection.transaction():
                await connection.fetchval(f"SELECT {i}")
                await connection.fetchval(f"SELECT {i} / 0")
        assert await connection.fetchval(f"SELECT {i}") == i
    await connection.close()


async def test_without_a_cache_nothing_stays_prepared_on_the_server(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, statement_cache_size=0)
    for i in range(10):
        assert await connection.fetchval("SELECT $1::int", i) == i
        assert await connection.fetchval(f"SELECT {i}") == i
    assert await prepared_on_the_server(connection) == 0
    await connection.executemany("SELECT $1::int", [(1,), (2,)])
    await connection.close()


async def test_long_statement_is_not_cached_and_answers_right(dsn: str) -> None:
    connection = await holisticpool.connect(dsn)
    long = f"SELECT $1::int /* {'x' * 16_000} */"
    for i in range(3):
        assert await connection.fetchval(long, i) == i
        assert await connection.fetchval("SELECT $1::int", -i) == -i
    assert await prepared_on_the_server(connection) == 2  # the short one and the count
    await connection.close()


async def test_very_long_statement_with_a_very_long_argument(pool: Pool) -> None:
    filler = "x" * 3_000_000
    for _ in range(2):
        assert await pool.fetchval(f"SELECT length($1) /* {filler} */", filler) == len(filler)


async def test_pool_that_sees_endless_texts_forgets_the_old_ones(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, statement_cache_size=1) as pool:
        for i in range(600):
            assert await pool.fetchval(f"SELECT {i}") == i
        assert await pool.fetchval("SELECT 0") == 0


async def test_deallocated_statements_are_prepared_again(conn: Connection) -> None:
    for _ in range(2):
        assert await conn.fetchval("SELECT $1::int", 1) == 1
        await conn.execute("DEALLOCATE ALL")
    await conn.execute("DISCARD ALL")
    assert await conn.fetchval("SELECT $1::int", 1) == 1


async def test_changed_result_type_is_noticed(conn: Connection, table: str) -> None:
    assert await conn.fetch(f"SELECT * FROM {table}") == []
    await conn.execute(f"ALTER TABLE {table} ADD COLUMN more uuid DEFAULT gen_random_uuid()")
    await conn.execute(f"INSERT INTO {table} VALUES (1, 'one')")
    row: Any = await conn.fetchrow(f"SELECT * FROM {table}")
    assert list(row.keys()) == ["id", "name", "more"]
    assert isinstance(row["more"], uuid.UUID)
    await conn.execute(f"ALTER TABLE {table} ALTER COLUMN id TYPE text")
    row = await conn.fetchrow(f"SELECT * FROM {table}")
    assert row["id"] == "1"


async def test_changed_parameter_type_is_noticed(conn: Connection, table: str) -> None:
    sql = f"SELECT count(*) FROM {table} WHERE id = $1"
    assert await conn.fetchval(sql, 1) == 0
    await conn.execute(f"ALTER TABLE {table} ALTER COLUMN id TYPE text")
    await conn.execute("DEALLOCATE ALL")
    with pytest.raises(exceptions.DataError, match="expected str"):
        await conn.fetchval(sql, 1)
    assert await conn.fetchval(sql, "1") == 0


async def test_statement_older_than_its_lifetime_is_prepared_anew(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, max_cached_statement_lifetime=1e-6)
    try:
        for _ in range(3):
            assert await connection.fetchval("SELECT 'lived'") == "lived"
        prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement = $1"
        assert await connection.fetchval(prepared, "SELECT 'lived'") == 3
    finally:
        await connection.close()


# ---- results ----


async def test_fetch_gives_a_list_of_records(pool: Pool) -> None:
    rows = await pool.fetch("SELECT i AS n, i::text AS t FROM generate_series(1, 3) i")
    assert type(rows) is list
    assert all(type(row) is Record for row in rows)
    assert [tuple(row) for row in rows] == [(1, "1"), (2, "2"), (3, "3")]


async def test_no_rows(pool: Pool) -> None:
    sql = "SELECT 1 AS n WHERE false"
    assert await pool.fetch(sql) == []
    assert await pool.fetchrow(sql) is None
    assert await pool.fetchval(sql) is None
    assert await pool.fetchval(sql, column=7) is None
    assert await pool.execute(sql) == "SELECT 0"


async def test_command_without_rows(conn: Connection, table: str) -> None:
    insert = f"INSERT INTO {table} VALUES ($1, 'x')"
    assert await conn.fetch(insert, 1) == []
    assert await conn.fetchrow(insert, 2) is None
    assert await conn.fetchval(insert, 3) is None
    assert await conn.execute(insert, 4) == "INSERT 0 1"
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 4


async def test_zero_columns(pool: Pool) -> None:
    rows = await pool.fetch("SELECT FROM generate_series(1, 3)")
    assert [tuple(row) for row in rows] == [(), (), ()]
    row = await pool.fetchrow("SELECT")
    assert row is not None
    assert len(row) == 0 and list(row.keys()) == []
    with pytest.raises(IndexError):
        await pool.fetchval("SELECT")


async def test_duplicate_names_keep_all_values_and_the_last_by_name(pool: Pool) -> None:
    row: Any = await pool.fetchrow("SELECT 1 AS a, 2 AS a, 3 AS b")
    assert tuple(row) == (1, 2, 3)
    assert row["a"] == 2
    assert list(row.keys()) == ["a", "a", "b"]


async def test_unusual_names(pool: Pool) -> None:
    for _ in range(2):
        row: Any = await pool.fetchrow('SELECT 1 AS "ä", 2 AS "日本", 3 AS "a b", 4')
        assert (row["ä"], row["日本"], row["a b"], row["?column?"]) == (1, 2, 3, 4)


@pytest.mark.parametrize("column, value", [(0, "a"), (1, "b"), (2, None), (-1, None), (-3, "a"), (True, "b")])
async def test_fetchval_takes_a_column(pool: Pool, column: int, value: Any) -> None:
    assert await pool.fetchval("SELECT 'a', 'b', NULL::text", column=column) == value


@pytest.mark.parametrize("column", [3, -4, 10**6, -(10**6)])
async def test_fetchval_of_a_column_that_is_not_there_is_an_index_error(pool: Pool, column: int) -> None:
    for _ in range(2):
        with pytest.raises(IndexError):
            await pool.fetchval("SELECT 'a', 'b', NULL::text", column=column)
    assert await pool.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("column, error", [("a", KeyError), (1.0, TypeError), (None, TypeError), (10**30, IndexError)])
async def test_fetchval_column_must_be_an_index_or_a_name(pool: Pool, column: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await pool.fetchval("SELECT 1", column=column)


async def test_fetchrow_takes_the_first_of_many_rows(pool: Pool) -> None:
    assert await pool.fetchrow("SELECT i FROM generate_series(7, 9) i") == (7,)


async def test_large_results(pool: Pool) -> None:
    rows = await pool.fetch("SELECT i, repeat('x', 100) AS t FROM generate_series(1, 100000) i")
    assert len(rows) == 100_000
    assert [rows[0]["i"], rows[-1]["i"]] == [1, 100_000]
    assert len(await pool.fetchval("SELECT repeat('x', 20000000)")) == 20_000_000
    data = bytes(range(256)) * 40_000
    assert await pool.fetchval("SELECT $1::bytea", data) == data


async def test_many_columns(pool: Pool) -> None:
    row: Any = await pool.fetchrow("SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1600)))
    assert tuple(row) == tuple(range(1600))
    assert row["c1599"] == 1599


async def test_record_class_of_the_call_wins_over_the_pools(dsn: str) -> None:
    class Mine(Record):
        @property
        def double(self) -> int:
            return 2 * int(self["n"])

    class Other(Record):
        pass

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, record_class=Other) as pool:
        for _ in range(2):
            assert type(await pool.fetchrow("SELECT 1 AS n")) is Other
            row = await pool.fetchrow("SELECT 2 AS n", record_class=Mine)
            assert type(row) is Mine and row.double == 4
            assert [type(row) for row in await pool.fetch("SELECT 1 AS n", record_class=Mine)] == [Mine]
            assert type(await pool.fetchrow("SELECT 1 AS n", record_class=None)) is Other
            async with pool.acquire() as connection:
                assert type(await connection.fetchrow("SELECT 1 AS n")) is Other


@pytest.mark.parametrize("record_class", [dict, tuple, 1, "Record", object()])
async def test_record_class_must_be_one(pool: Pool, record_class: Any) -> None:
    with pytest.raises((exceptions.InterfaceError, TypeError)):
        await pool.fetch("SELECT 1", record_class=record_class)


async def test_notices_do_not_disturb(conn: Connection) -> None:
    await conn.execute("DO $$ BEGIN FOR i IN 1..50 LOOP RAISE NOTICE 'notice %', i; END LOOP; END $$")
    await conn.fetch("DROP TABLE IF EXISTS nothing_of_that_name")
    await conn.execute("DO $$ BEGIN RAISE WARNING 'with an argument'; END $$")
    assert await conn.fetchval("SELECT 1") == 1


async def test_notifications_do_not_disturb(conn: Connection) -> None:
    await conn.execute("LISTEN somewhere")
    for i in range(5):
        await conn.execute(f"NOTIFY somewhere, '{i}'")
        assert await conn.fetchval("SELECT $1::int", i) == i
    await conn.execute("UNLISTEN *")


# ---- execute ----


@pytest.mark.parametrize(
    "sql, tag",
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT generate_series(1, 5)", "SELECT 5"),
        ("SET TIME ZONE 'UTC'", "SET"),
        ("BEGIN; COMMIT", "COMMIT"),
        ("SELECT 1; SELECT 1 UNION SELECT 2", "SELECT 2"),
        ("CREATE TEMP TABLE tag_t (n int); INSERT INTO tag_t SELECT generate_series(1, 3)", "INSERT 0 3"),
        ("CREATE TEMP TABLE tag_u (n int); DROP TABLE tag_u", "DROP TABLE"),
        ("", ""),
        ("  -- nothing\n;", ""),
    ],
)
async def test_execute_returns_the_last_tag(pool: Pool, sql: str, tag: str) -> None:
    assert await pool.execute(sql) == tag


async def test_execute_with_arguments_returns_the_tag(conn: Connection, table: str) -> None:
    assert await conn.execute(f"INSERT INTO {table} SELECT i FROM generate_series(1, $1::int) i", 7) == "INSERT 0 7"
    assert await conn.execute(f"UPDATE {table} SET name = $1", "n") == "UPDATE 7"
    assert await conn.execute(f"DELETE FROM {table} WHERE id > $1", 5) == "DELETE 2"


async def test_script_that_fails_leaves_nothing_of_it(conn: Connection, table: str) -> None:
    with pytest.raises(exceptions.DivisionByZeroError):
        await conn.execute(f"INSERT INTO {table} VALUES (1); SELECT 1/0; INSERT INTO {table} VALUES (2)")
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_same_text_works_as_script_and_as_statement(conn: Connection) -> None:
    for _ in range(2):
        assert await conn.execute("SELECT 1") == "SELECT 1"
        assert await conn.fetchval("SELECT 1") == 1


async def test_several_statements_with_arguments_are_refused_by_the_server(pool: Pool) -> None:
    with pytest.raises(exceptions.PostgresSyntaxError):
        await pool.fetch("SELECT 1; SELECT 2")
    assert await pool.fetchval("SELECT 1") == 1


async def test_copy_is_refused_and_the_connection_goes_on(conn: Connection, table: str) -> None:
    for sql in (f"COPY {table} TO STDOUT", f"COPY {table} FROM STDIN"):
        with pytest.raises(exceptions.InterfaceError):
            await conn.execute(sql)
        with pytest.raises(exceptions.InterfaceError):
            await conn.fetch(sql)
    assert await conn.fetchval("SELECT 1") == 1


async def test_errors_in_the_middle_of_rows_give_no_rows(pool: Pool) -> None:
    for _ in range(2):
        with pytest.raises(exceptions.DivisionByZeroError):
            await pool.fetch("SELECT 1 / (5000 - i) FROM generate_series(1, 10000) i")
    assert await pool.fetchval("SELECT 1") == 1


# ---- types that need a look into the catalogue ----


@pytest.fixture
def types(server: PostgresServer) -> Any:
    """A mood enum, domains over int and the enum, and a composite type, for one test."""
    server.psql(
        "DROP SCHEMA IF EXISTS looked_up CASCADE; CREATE SCHEMA looked_up; "
        "CREATE TYPE looked_up.mood AS ENUM ('sad', 'ok', 'happy'); "
        "CREATE DOMAIN looked_up.positive AS int CHECK (VALUE > 0); "
        "CREATE DOMAIN looked_up.good_mood AS looked_up.mood CHECK (VALUE > 'sad'); "
        "CREATE TYPE looked_up.pair AS (a int, b text)"
    )
    yield
    server.psql("DROP SCHEMA looked_up CASCADE")


LOOKED_UP: list[tuple[str, Any]] = [
    ("looked_up.mood", "happy"),
    ("looked_up.positive", 5),
    ("looked_up.good_mood", "ok"),
    ("looked_up.mood[]", ["sad", None, "ok"]),
    ("looked_up.positive[]", [1, 2]),
    ("looked_up.good_mood[]", [["ok"], ["happy"]]),
]


@pytest.mark.parametrize("type_name, value", LOOKED_UP)
async def test_types_of_the_user_come_and_go(types: Any, dsn: str, type_name: str, value: Any) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        for _ in range(2):
            row: Any = await pool.fetchrow(f"SELECT $1::{type_name} AS v, $2::int AS n, now() AS at", value, 7)
            assert (row["v"], row["n"]) == (value, 7)
            assert isinstance(row["at"], datetime.datetime)


async def test_types_that_come_as_text_leave_the_values_of_other_columns_alone(types: Any, dsn: str) -> None:
    at = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        for _ in range(2):
            row: Any = await pool.fetchrow(
                "SELECT $1::looked_up.pair AS p, $2::int AS n, $3::timestamptz AS at, $4::numeric AS d, "
                "$5::bytea AS b, $6::bool AS t, $7::int[] AS a, $8::text AS s, NULL::uuid AS u, $9::tsquery AS q",
                (1, "a b"), 7, at, Decimal("1.50"), b"\x00\xff", True, [1, None], "ä", "'a'",
            )  # fmt: skip
            assert tuple(row) == ((1, "a b"), 7, at, Decimal("1.50"), b"\x00\xff", True, [1, None], "ä", None, "'a'")


async def test_first_use_of_a_type_on_many_connections_at_once(types: Any, dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=8, max_size=8) as pool:
        moods = await asyncio.gather(
            *(pool.fetchval("SELECT $1::looked_up.mood", ["sad", "ok", "happy"][i % 3]) for i in range(64))
        )
        assert moods == [["sad", "ok", "happy"][i % 3] for i in range(64)]


async def test_eight_connections_describe_at_the_same_time(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=8, max_size=8) as pool:
        for k in range(10):
            sql = f"SELECT $1::int + {k}, $2::text, ARRAY[$1::int]"
            rows: list[Any] = await asyncio.gather(*(pool.fetchrow(sql, i, str(i)) for i in range(24)))
            assert [tuple(row) for row in rows] == [(i + k, str(i), [i]) for i in range(24)]


async def test_bad_and_good_arguments_at_the_first_use_on_many_connections(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=8, max_size=8) as pool:
        arguments: list[Any] = [i if i % 2 else f"bad {i}" for i in range(32)]
        results = await asyncio.gather(
            *(pool.fetchval("SELECT $1::int * 2", argument) for argument in arguments), return_exceptions=True
        )
        for argument, result in zip(arguments, results, strict=True):
            if isinstance(argument, int):
                assert result == 2 * argument
            else:
                assert isinstance(result, exceptions.DataError)
        assert pool.get_idle_size() == 8


async def test_cancelled_first_uses_leave_the_statement_usable(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=4, max_size=4) as pool:
        for turns in range(6):
            sql = f"SELECT $1::int + {turns}"
            tasks = [asyncio.create_task(pool.fetchval(sql, i)) for i in range(8)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [results[i] for i in range(1, 8, 2)] == [i + turns for i in range(1, 8, 2)]
            assert await pool.fetchval(sql, 100) == 100 + turns


async def test_type_made_in_the_same_transaction_is_known(conn: Connection) -> None:
    await conn.execute("BEGIN; CREATE TYPE pg_temp.fresh AS ENUM ('a', 'b')")
    assert await conn.fetchval("SELECT $1::pg_temp.fresh", "b") == "b"
    await conn.execute("ROLLBACK")


# ---- time limits ----


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
async def test_time_limit_that_is_over_sends_nothing(pool: Pool, timeout: float) -> None:
    before = pool._stats()["queries"]
    for method in METHODS:
        with pytest.raises(asyncio.TimeoutError):
            await getattr(pool, method)("SELECT 1", timeout=timeout)
    assert pool._stats()["queries"] == before


async def test_time_limit_cancels_and_keeps_the_connection(conn: Connection) -> None:
    pid = conn.get_server_pid()
    for _ in range(2):
        with pytest.raises(asyncio.TimeoutError):
            await conn.fetchval("SELECT pg_sleep(600)", timeout=0.05)
    assert await conn.fetchval("SELECT pg_backend_pid()") == pid


async def test_time_limit_of_the_session_cancels_too(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, command_timeout=0.05)
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_sleep(600)")
    assert await connection.fetchval("SELECT 1", timeout=60) == 1
    await connection.close()


async def test_time_limit_for_executemany_is_for_all_together(conn: Connection) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await conn.executemany("SELECT pg_sleep($1)", [(0.05,)] * 100, timeout=0.1)
    assert await conn.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("timeout", [True, "soon", [], float("nan")])
async def test_time_limit_that_is_no_number_is_a_value_error(pool: Pool, method: str, timeout: Any) -> None:
    with pytest.raises(ValueError):
        await getattr(pool, method)("SELECT 1", timeout=timeout)


async def test_statement_of_a_subclass_of_str_is_its_text_alone(pool: Pool) -> None:
    class Query(str):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError("code of the user in the middle of the pool's work")

    for _ in range(2):
        assert await pool.fetchval(Query("SELECT 1")) == 1
        assert await pool.execute(Query("SELECT 2")) == "SELECT 1"
        await pool.executemany(Query("SELECT $1::int4"), [(3,)])


async def test_composite_type_that_was_altered_is_looked_up_again_after_one_error(pool: Pool) -> None:
    await pool.execute("CREATE TYPE altered AS (a int)")
    try:
        query = "SELECT ROW(1)::altered AS value"
        assert await pool.fetchval(query) == (1,)
        await pool.execute("ALTER TYPE altered ADD ATTRIBUTE b text")
        with pytest.raises(exceptions.OutdatedSchemaCacheError):
            await pool.fetchval("SELECT (1, 'x')::altered")
        assert await pool.fetchval("SELECT (1, 'x')::altered") == (1, "x")
        assert await pool.fetchval("SELECT $1::altered", (2, "y")) == (2, "y")
    finally:
        await pool.execute("DROP TYPE altered")
