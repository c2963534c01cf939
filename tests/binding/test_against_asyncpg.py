"""The same calls on asyncpg and on holisticpool: what asyncpg documents must come out the same.

Each case gets a driver (the module), a pool of one connection that it may use up, and a connection of its own.
Its outcome is what it returns, or the class and the first line of what it raises: holisticpool's exception must
be an instance of the class of that name.
"""

from __future__ import annotations

import asyncio
import builtins
import datetime
import ipaddress
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

import holisticpool

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")

Case = Callable[[Any, Any, Any], Awaitable[Any]]

# The text of the error is the server's or documented, and must be equal.
SAME_TEXT: dict[str, Case] = {}
# Only the kind of error must be equal.
SAME_KIND: dict[str, Case] = {}


def same_text(case: Case) -> Case:
    SAME_TEXT[case.__name__] = case
    return case


def same_kind(case: Case) -> Case:
    SAME_KIND[case.__name__] = case
    return case


# ---- results ----


def plain(value: Any) -> Any:
    """Records of either driver as what they hold."""
    if isinstance(value, (asyncpg.Record, holisticpool.Record)):
        return [(name, plain(each)) for name, each in value.items()]
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    return value


@same_text
async def fetchval_takes_a_column_by_its_name(driver: Any, pool: Any, conn: Any) -> Any:
    statement = await conn.prepare("SELECT 1 AS a, 2 AS b, 3 AS a")
    return (
        await conn.fetchval("SELECT 1 AS a, 2 AS b", column="b"),
        await pool.fetchval("SELECT 1 AS a, 2 AS b, 3 AS a", column="a"),
        await statement.fetchval(column="a"),
        await conn.fetchval("SELECT 1 AS a WHERE false", column="b"),
    )


@same_text
async def fetchval_of_a_column_that_is_not_there(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetchval("SELECT 1 AS a", column="b")


def redefining(driver: Any, method: str) -> type:
    return type("Redefining", (driver.Record,), {method: lambda *args: None})


@same_text
async def record_class_of_a_call_that_redefines_new(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetch("SELECT 1 AS a", record_class=redefining(driver, "__new__"))


@same_text
async def record_class_of_a_call_that_redefines_init(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetchrow("SELECT 1 AS a", record_class=redefining(driver, "__init__"))


@same_text
async def address_for_instrumentations(driver: Any, pool: Any, conn: Any) -> Any:
    return conn._addr, conn._params.user, conn._params.database


@same_text
async def fetch_rows(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetch("SELECT i, i::text AS t, i / 2.0 AS d FROM generate_series(1, $1::int) i", 3)


@same_text
async def fetch_no_rows(driver: Any, pool: Any, conn: Any) -> Any:
    return [await conn.fetch("SELECT 1 WHERE false"), await conn.fetchrow("SELECT 1 WHERE false")]


@same_text
async def fetch_of_a_command(driver: Any, pool: Any, conn: Any) -> Any:
    return [await conn.fetch("SET TIME ZONE 'UTC'"), await conn.fetchrow("SET TIME ZONE 'UTC'")]


@same_text
async def fetchrow_many(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetchrow("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y' ORDER BY 1")


@same_text
async def fetchval_of_each_column(driver: Any, pool: Any, conn: Any) -> Any:
    return [await conn.fetchval("SELECT 1, 'two', NULL", column=column) for column in (0, 1, 2, -1)]


@same_text
async def fetchval_null_and_none(driver: Any, pool: Any, conn: Any) -> Any:
    return [await conn.fetchval("SELECT NULL"), await conn.fetchval("SELECT 1 WHERE false")]


@same_kind
async def fetchval_column_out_of_range(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetchval("SELECT 1", column=5)


@same_text
async def is_in_transaction_while_a_statement_runs(driver: Any, pool: Any, conn: Any) -> Any:
    seen = []

    async def run(statement: Any) -> None:
        task = asyncio.ensure_future(statement)
        await asyncio.sleep(0)
        seen.append(conn.is_in_transaction())
        await task
        seen.append(conn.is_in_transaction())

    await run(conn.fetchval("SELECT 1 FROM pg_sleep(0.01)"))
    await run(conn.execute("BEGIN"))
    await run(conn.fetchval("SELECT 1 FROM pg_sleep(0.01)"))
    await run(conn.execute("SELECT 1 FROM pg_sleep(0.01)"))
    await run(conn.execute("COMMIT"))
    await run(conn.fetchval("SELECT 1"))
    return seen


@same_text
async def duplicate_names(driver: Any, pool: Any, conn: Any) -> Any:
    row = await conn.fetchrow("SELECT 1 AS a, 2 AS a")
    return [tuple(row), row["a"], list(row.keys()), dict(row), repr(row)]


@same_text
async def pools_own_methods(driver: Any, pool: Any, conn: Any) -> Any:
    return [
        await pool.fetch("SELECT $1::int AS n", 1),
        await pool.fetchrow("SELECT $1::int AS n", 2),
        await pool.fetchval("SELECT $1::int AS n", 3),
        await pool.execute("SELECT $1::int AS n", 4),
        await pool.executemany("SELECT $1::int", [(1,), (2,)]),
    ]


@same_text
async def sizes(driver: Any, pool: Any, conn: Any) -> Any:
    async with pool.acquire():
        leased = (pool.get_size(), pool.get_idle_size(), pool.get_min_size(), pool.get_max_size())
    return [leased, (pool.get_size(), pool.get_idle_size()), pool.is_closing()]


@same_text
async def execute_tags(driver: Any, pool: Any, conn: Any) -> Any:
    tags = []
    for sql in (
        "CREATE TEMP TABLE tags (n int)",
        "INSERT INTO tags SELECT generate_series(1, 5)",
        "UPDATE tags SET n = n + 1 WHERE n > 2",
        "DELETE FROM tags WHERE n = 1",
        "SELECT * FROM tags",
        "BEGIN",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "COMMIT",
        "SELECT 1; SELECT 2; SET TIME ZONE 'UTC'",
        "TRUNCATE tags",
        "DROP TABLE tags",
    ):
        tags.append(await conn.execute(sql))
    return tags


@same_text
async def execute_tags_with_arguments(driver: Any, pool: Any, conn: Any) -> Any:
    await conn.execute("CREATE TEMP TABLE tags (n int)")
    return [
        await conn.execute("INSERT INTO tags SELECT generate_series(1, $1::int)", 5),
        await conn.execute("UPDATE tags SET n = $1", 1),
        await conn.execute("DELETE FROM tags WHERE n = $1", 2),
        await conn.execute("SELECT $1::text", "x"),
    ]


@same_text
async def executemany_rows(driver: Any, pool: Any, conn: Any) -> Any:
    await conn.execute("CREATE TEMP TABLE many (n int, t text)")
    result = [
        await conn.executemany("INSERT INTO many VALUES ($1, $2)", [(1, "a"), [2, None]]),
        await conn.executemany("INSERT INTO many VALUES ($1, $2)", ((i, str(i)) for i in range(3, 5))),
        await conn.executemany("INSERT INTO many VALUES ($1, $2)", []),
    ]
    return result + await conn.fetch("SELECT * FROM many ORDER BY n")


@same_text
async def executemany_is_atomic(driver: Any, pool: Any, conn: Any) -> Any:
    await conn.execute("CREATE TEMP TABLE many (n int PRIMARY KEY)")
    try:
        await conn.executemany("INSERT INTO many VALUES ($1)", [(1,), (2,), (1,)])
    except driver.UniqueViolationError as error:
        return [error.sqlstate, error.constraint_name, await conn.fetchval("SELECT count(*) FROM many")]
    return None


VALUES: list[tuple[str, Any]] = [
    ("bool", True),
    ("int2", -5),
    ("int8", 2**62),
    ("oid", 2**31 + 1),
    ("float4", 1.5),
    ("float8", 0.1),
    ("numeric", Decimal("12345678901234567890.123456789")),
    ("text", "täxt"),
    ("varchar", "v"),
    ("char(3)", "ab "),
    ('"char"', b"x"),
    ("name", "name"),
    ("bytea", b"\x00\x01"),
    ("uuid", uuid.UUID(int=5)),
    ("date", datetime.date(2024, 2, 29)),
    ("date", datetime.date.max),
    ("time", datetime.time(23, 59, 59, 999999)),
    ("timetz", datetime.time(1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=-3)))),
    ("timestamp", datetime.datetime(1999, 12, 31, 23, 59, 59, 1)),
    ("timestamptz", datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)),
    ("interval", datetime.timedelta(days=-400, seconds=5, microseconds=7)),
    ("json", '{"a": 1}'),
    ("jsonb", '{"a": 1}'),
    ("inet", ipaddress.ip_interface("10.0.0.1/8")),
    ("inet", ipaddress.ip_address("::1")),
    ("cidr", ipaddress.ip_network("10.0.0.0/8")),
    ("macaddr", "01:02:03:04:05:06"),
    ("int[]", [1, None, 3]),
    ("int[]", []),
    ("text[]", [["a", "b"], ["c", None]]),
    ("timestamptz[]", [datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)]),
]


@pytest.mark.parametrize("type_name, value", VALUES)
async def test_same_value_comes_back(type_name: str, value: Any, dsn: str) -> None:
    answers = []
    for driver in (asyncpg, holisticpool):
        conn = await driver.connect(dsn)
        try:
            got = await conn.fetchval(f"SELECT $1::{type_name}", value)
        finally:
            await conn.close()
        answers.append(got)
    assert answers[0] == answers[1]
    assert isinstance(answers[0], type(answers[1]))


# ---- errors of the arguments ----

# Left out on purpose: a float for an integer parameter, which asyncpg truncates and holisticpool refuses.


@same_text
async def too_many_arguments(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetch("SELECT $1::int", 1, 2)


@same_text
async def too_few_arguments(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetch("SELECT $1::int, $2::int", 1)


@same_text
async def no_arguments(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetch("SELECT $1::int, $2::int")


@same_text
async def arguments_for_none(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetchval("SELECT 1", 1)


@same_kind
async def executemany_with_too_few_arguments(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.executemany("SELECT $1::int, $2::int", [(1,)])


def bad_argument(type_name: str, value: Any) -> Case:
    async def case(driver: Any, pool: Any, conn: Any) -> Any:
        return await conn.fetchval(f"SELECT $1::{type_name}", value)

    return case


for _type_name, _value, _register in (
    ("int", "1", SAME_KIND),
    ("int", b"1", SAME_KIND),
    ("int", 2**31, SAME_TEXT),
    ("int2", 2**15, SAME_TEXT),
    ("int8", 2**63, SAME_TEXT),
    ("int", [1], SAME_KIND),
    ("oid", -1, SAME_TEXT),
    ("float8", "1", SAME_KIND),
    ("numeric", "x", SAME_KIND),
    ("text", 1, SAME_TEXT),
    ("text", b"x", SAME_TEXT),
    ("bytea", "x", SAME_KIND),
    ("uuid", "x", SAME_KIND),
    ("date", "2020-01-01", SAME_KIND),
    ("timestamp", "2020-01-01", SAME_KIND),
    ("timestamptz", 5, SAME_KIND),
    ("interval", 5, SAME_KIND),
    ("inet", "x", SAME_KIND),
    ("jsonb", {"a": 1}, SAME_TEXT),
    ("int[]", 1, SAME_KIND),
    ("int[]", "{1}", SAME_KIND),
    ("int[]", ["1"], SAME_KIND),
    ("int[]", [[1], [2, 3]], SAME_KIND),
    ("text[]", [1], SAME_KIND),
):
    _register[f"{_value!r} for {_type_name}"] = bad_argument(_type_name, _value)


@same_kind
async def executemany_bad_argument(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.executemany("SELECT $1::int", [(1,), ("two",)])


# ---- errors of the server ----


@same_text
async def division_by_zero(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetchval("SELECT 1/0")


@same_text
async def syntax_error(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetch("SELEC 1")


@same_text
async def undefined_table(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.execute("SELECT * FROM no_table_of_that_name")


@same_text
async def execute_with_a_parameter_and_no_arguments(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.execute("SELECT $1::int")


@same_text
async def several_statements_in_fetch(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.fetch("SELECT 1; SELECT 2")


@same_text
async def failed_transaction(driver: Any, pool: Any, conn: Any) -> Any:
    await conn.execute("BEGIN")
    try:
        await conn.execute("SELECT 1/0")
    except driver.DivisionByZeroError:
        pass
    return await conn.fetchval("SELECT 1")


@same_text
async def fields_of_an_error(driver: Any, pool: Any, conn: Any) -> Any:
    await conn.execute("CREATE TEMP TABLE fields (n int NOT NULL, CONSTRAINT n_positive CHECK (n > 0))")
    result = []
    for value in (0, None):
        try:
            await conn.execute("INSERT INTO fields VALUES ($1)", value)
        except driver.PostgresError as error:
            result.append((type(error).__name__, str(error), error.sqlstate, error.message, error.severity))
            result.append((error.table_name, error.column_name, error.constraint_name, error.hint, error.position))
    return result


# ---- time limits ----


def with_timeout(timeout: Any) -> Case:
    async def case(driver: Any, pool: Any, conn: Any) -> Any:
        return await conn.fetchval("SELECT 1", timeout=timeout)

    return case


for _timeout in (0, -1, -0.5, True, False, "soon", 60, 60.5, None):
    SAME_KIND[f"timeout={_timeout!r}"] = with_timeout(_timeout)


@same_kind
async def timeout_of_a_statement(driver: Any, pool: Any, conn: Any) -> Any:
    return await conn.execute("SELECT pg_sleep(600)", timeout=0.05)


@same_kind
async def connection_goes_on_after_a_timeout(driver: Any, pool: Any, conn: Any) -> Any:
    try:
        await conn.execute("SELECT pg_sleep(600)", timeout=0.05)
    except asyncio.TimeoutError:
        return await conn.fetchval("SELECT 1")
    return None


@same_kind
async def acquire_timeout(driver: Any, pool: Any, conn: Any) -> Any:
    async with pool.acquire():
        return await pool.acquire(timeout=0.01)


# ---- closed and released ----


@same_text
async def closed_connection(driver: Any, pool: Any, conn: Any) -> Any:
    await conn.close()
    return await conn.fetchval("SELECT 1")


@same_text
async def closed_connection_says_so(driver: Any, pool: Any, conn: Any) -> Any:
    before = conn.is_closed()
    await conn.close()
    await conn.close()
    return [before, conn.is_closed()]


def released_call(method: str, *arguments: Any) -> Case:
    async def case(driver: Any, pool: Any, conn: Any) -> Any:
        lease = await pool.acquire()
        await pool.release(lease)
        result = getattr(lease, method)(*arguments)
        return await result if asyncio.iscoroutine(result) else result

    return case


for _method, _arguments in (
    ("fetch", ("SELECT 1",)),
    ("fetchrow", ("SELECT 1",)),
    ("fetchval", ("SELECT 1",)),
    ("execute", ("SELECT 1",)),
    ("executemany", ("SELECT $1::int", [(1,)])),
    ("transaction", ()),
    ("is_in_transaction", ()),
    ("is_closed", ()),
    ("get_server_pid", ()),
    ("get_server_version", ()),
    ("get_settings", ()),
):
    SAME_TEXT[f"released {_method}"] = released_call(_method, *_arguments)


@same_text
async def release_twice(driver: Any, pool: Any, conn: Any) -> Any:
    lease = await pool.acquire()
    await pool.release(lease)
    return await pool.release(lease)


@same_kind
async def release_of_a_foreign_connection(driver: Any, pool: Any, conn: Any) -> Any:
    return await pool.release(conn)


@same_text
async def two_operations_at_once(driver: Any, pool: Any, conn: Any) -> Any:
    results = await asyncio.gather(conn.fetchval("SELECT 1"), conn.fetchval("SELECT 2"), return_exceptions=True)
    return [type(result).__name__ for result in results] + [str(results[1]), await conn.fetchval("SELECT 3")]


@same_text
async def closed_pool_acquire(driver: Any, pool: Any, conn: Any) -> Any:
    await pool.close()
    return await pool.acquire()


@same_text
async def closed_pool_fetch(driver: Any, pool: Any, conn: Any) -> Any:
    await pool.close()
    return await pool.fetch("SELECT 1")


@same_text
async def closed_pool_again(driver: Any, pool: Any, conn: Any) -> Any:
    return [await pool.close(), await pool.close(), pool.terminate(), pool.is_closing()]


@same_text
async def acquire_twice_with_one_context(driver: Any, pool: Any, conn: Any) -> Any:
    context = pool.acquire()
    async with context:
        async with context:
            return "entered twice"


# ---- transactions ----


@same_text
async def in_transaction(driver: Any, pool: Any, conn: Any) -> Any:
    states = [conn.is_in_transaction()]
    async with conn.transaction():
        states.append(conn.is_in_transaction())
        async with conn.transaction():
            states.append(conn.is_in_transaction())
    return [*states, conn.is_in_transaction()]


@same_text
async def isolation(driver: Any, pool: Any, conn: Any) -> Any:
    levels = []
    for level in ("serializable", "repeatable_read", "read_committed", None):
        async with conn.transaction(isolation=level, readonly=True):
            levels.append(await conn.fetchval("SHOW transaction_isolation"))
            levels.append(await conn.fetchval("SHOW transaction_read_only"))
    return levels


# ---- running them ----


async def outcome(driver: Any, case: Case, dsn: str) -> tuple[str, Any]:
    conn = await driver.connect(dsn)
    pool = await driver.create_pool(dsn, min_size=1, max_size=1)
    try:
        return "result", plain(await case(driver, pool, conn))
    except Exception as error:
        return "error", error
    finally:
        pool.terminate()
        conn.terminate()


def class_of_ours(theirs: BaseException) -> type[BaseException]:
    """The class that holisticpool has under the name of asyncpg's, or the built-in that was raised."""
    name = type(theirs).__name__
    if type(theirs).__module__.startswith("asyncpg"):
        ours = getattr(holisticpool, name)
    else:
        ours = getattr(builtins, name, None) or getattr(asyncio, name)
    assert isinstance(ours, type) and issubclass(ours, BaseException)
    return ours


@pytest.mark.parametrize("name", [*SAME_TEXT, *SAME_KIND])
async def test_same_outcome(name: str, dsn: str) -> None:
    case = SAME_TEXT.get(name) or SAME_KIND[name]
    kind, theirs = await outcome(asyncpg, case, dsn)
    kind_of_ours, ours = await outcome(holisticpool, case, dsn)
    assert (kind_of_ours, ours) == (kind, theirs) if kind == "result" else kind_of_ours == kind, (theirs, ours)
    if kind == "error":
        assert isinstance(ours, class_of_ours(theirs)), (theirs, ours)
        if name in SAME_TEXT:
            assert str(ours).split("\n")[0] == str(theirs).split("\n")[0]
