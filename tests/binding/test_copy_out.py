"""copy_from_table() and copy_from_query(): each kind of output, each option, and what is left if they fail."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, exceptions

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")

ROWS = "SELECT i, 'name ' || i, CASE WHEN i % 3 = 0 THEN NULL ELSE i / 4.0 END FROM generate_series(1, {}) i"


@pytest.fixture
async def people(conn: Connection) -> AsyncIterator[str]:
    """A table that other sessions see, with names that need quoting."""
    await conn.execute(
        """
        DROP TABLE IF EXISTS copy_people;
        CREATE TABLE copy_people (id int, "full ""name" text, score numeric);
        INSERT INTO copy_people VALUES (1, 'Ada', 1.5), (2, E'tab\\there, "quoted"', NULL), (3, NULL, -1), (4, '*', 0);
        """
    )
    yield "copy_people"
    await conn.execute("DROP TABLE copy_people")


class Collector:
    """A coroutine function that keeps what it gets."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    async def __call__(self, data: bytes) -> None:
        assert isinstance(data, bytes) and data
        self.chunks.append(data)

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)


# ---- outputs ----


async def test_copy_to_each_kind_of_output_gives_the_same(conn: Connection, people: str, tmp_path: Path) -> None:
    collector, buffer = Collector(), io.BytesIO()
    path = tmp_path / "out"
    with open(tmp_path / "raw", "wb", buffering=0) as raw, open(tmp_path / "buffered", "wb") as buffered:
        for output in (collector, buffer, path, str(tmp_path / "str"), os.fsencode(tmp_path / "bytes"), raw, buffered):
            assert await conn.copy_from_table(people, output=output) == "COPY 4"
        assert not raw.closed and not buffered.closed
    expected = b'1\tAda\t1.5\n2\ttab\\there, "quoted"\t\\N\n3\t\\N\t-1\n4\t*\t0\n'
    assert collector.data == buffer.getvalue() == expected
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == dict.fromkeys(
        ("out", "str", "bytes", "raw", "buffered"), expected
    )


async def test_path_is_overwritten(conn: Connection, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"x" * 10_000)
    assert await conn.copy_from_query("SELECT 1", output=path) == "COPY 1"
    assert path.read_bytes() == b"1\n"


@pytest.mark.parametrize("output", [1, None, object()])
async def test_another_output_is_refused_and_the_connection_kept(conn: Connection, output: Any) -> None:
    with pytest.raises(TypeError, match="output is expected to be a file-like object, a path-like object or"):
        await conn.copy_from_query("SELECT $1::int", 1, output=output)
    assert await conn.fetchval("SELECT 1") == 1


async def test_path_that_cannot_be_opened_costs_nothing(conn: Connection, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await conn.copy_from_query("SELECT 1", output=tmp_path / "missing" / "out")
    assert await conn.fetchval("SELECT 1") == 1


async def test_copy_of_nothing_calls_no_writer(conn: Connection) -> None:
    collector = Collector()
    assert await conn.copy_from_query("SELECT 1 WHERE false", output=collector) == "COPY 0"
    assert collector.chunks == []


async def test_rows_larger_than_any_buffer_arrive_whole(conn: Connection) -> None:
    collector = Collector()
    query = "SELECT repeat('a' || i, 500000), repeat('b' || i, 500000) FROM generate_series(1, 5) i"
    assert await conn.copy_from_query(query, output=collector) == "COPY 5"
    assert collector.data.split(b"\n") == [
        b"\t".join((b"a%d" % i * 500_000, b"b%d" % i * 500_000)) for i in range(1, 6)
    ] + [b""]


async def test_first_rows_arrive_while_the_query_still_runs(conn: Connection, pool: Pool) -> None:
    key = 7_304_911
    chunks: list[bytes] = []
    async with pool.acquire() as holder:
        await holder.fetchval("SELECT pg_advisory_lock($1)", key)

        async def write(data: bytes) -> None:
            if not chunks:
                assert await holder.fetchval("SELECT pg_advisory_unlock($1)", key)
            chunks.append(data)

        query = f"""
            SELECT repeat('x', 50000), NULL FROM generate_series(1, 2)
            UNION ALL SELECT 'end', pg_advisory_xact_lock({key})::text"""
        assert await conn.copy_from_query(query, output=write) == "COPY 3"
    assert b"".join(chunks) == (b"x" * 50_000 + b"\t\\N\n") * 2 + b"end\t\n"


# ---- options, beside asyncpg ----

OUT_OPTIONS: list[dict[str, Any]] = [
    {},
    {"columns": ["score", "id"]},
    {"columns": ('full "name',), "schema_name": "public"},
    {"columns": []},
    {"format": "csv"},
    {"format": "text", "delimiter": "|", "null": "nothing"},
    {"format": "csv", "header": True, "quote": "*", "escape": "!", "force_quote": ("id", 'full "name'), "null": "n'n"},
    {"format": "csv", "force_quote": True},
    {"format": "csv", "force_quote": False},
    {"format": "csv", "header": False, "delimiter": "'"},
    {"format": "csv", "null": "back\\slash"},
    {"format": "binary"},
    {"encoding": "latin1"},
    {"schema_name": "pg_catalog"},
    {"columns": ["no such column"]},
    {"format": "no such format"},
    {"delimiter": "two"},
    {"encoding": "no such encoding"},
    {"timeout": -1},
    {"timeout": "soon"},
]


async def outcome(driver: Any, dsn: str, call: Callable[[Any], Any]) -> tuple[str, Any]:
    session = await driver.connect(dsn)
    try:
        return "result", await call(session)
    except Exception as error:
        return "error", error
    finally:
        assert await session.fetchval("SELECT 1") == 1
        await session.close()


def assert_same(ours: tuple[str, Any], theirs: tuple[str, Any]) -> None:
    assert ours[0] == theirs[0], (ours, theirs)
    if ours[0] == "result":
        assert ours[1] == theirs[1]
        return
    name = type(theirs[1]).__name__
    if hasattr(holisticpool, name):
        assert isinstance(ours[1], getattr(holisticpool, name)), (ours, theirs)
        # The reason in brackets is that of either library.
        if isinstance(theirs[1], asyncpg.PostgresError) and "invalid input for query argument" not in str(theirs[1]):
            assert str(ours[1]).splitlines()[0] == str(theirs[1]).splitlines()[0]
    else:
        assert isinstance(ours[1], type(theirs[1])), (ours, theirs)


@pytest.mark.parametrize("options", OUT_OPTIONS, ids=repr)
async def test_options_of_copy_from_table_as_in_asyncpg(dsn: str, people: str, options: dict[str, Any]) -> None:
    async def call(session: Any) -> tuple[str, bytes]:
        buffer = io.BytesIO()
        return await session.copy_from_table(people, output=buffer, **options), buffer.getvalue()

    assert_same(await outcome(holisticpool, dsn, call), await outcome(asyncpg, dsn, call))


@pytest.mark.parametrize(
    ("query", "args"),
    [
        ("SELECT 1, 'x'", ()),
        ("SELECT i FROM generate_series($1::int, $2) i WHERE $3::text IS NULL", (3, 5, None)),
        ("SELECT $1", ("it's",)),
        ("SELECT $2::text || $1::text, $1", ("a\\b", "'; DROP TABLE x; --")),
        ("VALUES ($1::jsonb, $2::int[], $3::bytea)", ('{"a": "it\'s $1"}', [1, None], b"\\\x00'")),
        ("SELECT 1", (1,)),
        ("SELECT $1::int", (1, 2)),
        ("SELECT $1::int", ("one",)),
        ("SELECT $1::int +", (1,)),
        ("SELECT nothing_of_that_name", ()),
        ("SELECT 1 / 0", ()),
        ("SELECT 1 / (3 - i) FROM generate_series(1, 5) i", ()),
    ],
    ids=repr,
)
async def test_queries_as_in_asyncpg(dsn: str, query: str, args: tuple[Any, ...]) -> None:
    async def call(session: Any) -> tuple[str, bytes]:
        buffer = io.BytesIO()
        return await session.copy_from_query(query, *args, output=buffer, format="csv"), buffer.getvalue()

    assert_same(await outcome(holisticpool, dsn, call), await outcome(asyncpg, dsn, call))


async def test_copy_from_pool_as_from_a_connection(pool: Pool, people: str) -> None:
    async with pool.acquire() as connection:
        each: list[dict[str, Any]] = [{}, {"format": "csv", "header": True, "columns": ["id"]}]
        for options in each:
            mine, theirs = io.BytesIO(), io.BytesIO()
            assert await pool.copy_from_table(people, output=mine, **options) == "COPY 4"
            assert await connection.copy_from_table(people, output=theirs, **options) == "COPY 4"
            assert mine.getvalue() == theirs.getvalue()
    assert await pool.copy_from_query("SELECT $1::int", 5, output=mine, format="csv") == "COPY 1"


async def test_columns_as_one_str_are_refused(conn: Connection, people: str) -> None:
    for options in ({"columns": "id"}, {"format": "csv", "force_quote": "id"}):
        with pytest.raises(TypeError, match="a list of column names is expected, not the str 'id'"):
            await conn.copy_from_table(people, output=Collector(), **options)  # type: ignore[arg-type]
    assert await conn.fetchval("SELECT 1") == 1


# ---- arguments ----


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("bpchar", "a  "),
        ("varchar", "x' \\ y"),
        ('"char"', b"'"),
        ("name", 'na"me'),
        ("bool", True),
        ("float8", 0.1 + 0.2),
        ("float4", 1.0000001),
        ("numeric", Decimal("12345678901234567890.123456789")),
        ("bytea", bytes(range(256))),
        ("jsonb", '{"k": ["\\u00e9", "\'"]}'),
        ("text[]", ["a", None, "q\"uo'te", "back\\slash", "{}"]),
        ("int[]", [[1, 2], [3, 4]]),
        ("bit(5)", holisticpool.BitString("10101")),
        ("int4range", holisticpool.Range(1, 5)),
        ("text", "$1 $2 $$ $tag$ -- /*"),
        ("text", "\N{SNOWMAN} é \N{GRINNING FACE}"),
        ("text", None),
        ("int[]", None),
    ],
)
async def test_argument_of_each_type_is_what_a_parameter_would_be(conn: Connection, type_: str, value: Any) -> None:
    query = f"SELECT $1::{type_}, pg_typeof($1), $1::{type_} IS NULL"
    row: Any = await conn.fetchrow(f"SELECT ROW(r.*)::text FROM ({query}) r", value)
    for strings in ("on", "off"):
        await conn.execute(f"SET standard_conforming_strings TO {strings}")
        collector = Collector()
        copied = f"SELECT ROW(r.*)::text FROM ({query}) r"
        assert await conn.copy_from_query(copied, value, output=collector, format="binary") == "COPY 1"
        expected = row[0].encode()
        assert collector.data[25 : 25 + len(expected)] == expected


async def test_only_parameters_are_replaced(conn: Connection) -> None:
    query = """
        SELECT $1 /* $1 /* $2 */ */, '$1', E'\\'$1', $$ $1 $$, $a$ $2 $a$, "$1", ($2::int[])[2], ($2)[1], U&'$1' -- $1
        FROM (SELECT 1 AS "$1") s WHERE $1 <> 'x$1' AND 2 = ANY ($2)"""
    collector = Collector()
    assert await conn.copy_from_query(query, "it", [7, 2], output=collector, format="csv") == "COPY 1"
    assert collector.data == b"it,$1,'$1, $1 , $2 ,1,2,7,$1\n"


async def test_argument_is_of_its_type_wherever_it_stands(conn: Connection) -> None:
    # What looks like text would be taken for text, or its operator would not be found.
    query = "SELECT $1 - 1, to_char($2, 'YYYY'), $1 / 2, pg_typeof($1) FROM (SELECT $1::bigint, $2::date) s LIMIT $3"
    collector = Collector()
    await conn.copy_from_query(query, 7, datetime.date(2024, 5, 6), 1, output=collector, format="csv")
    assert collector.data == b"6,2024,3,bigint\n"


async def test_more_arguments_than_a_row_has_columns(conn: Connection) -> None:
    n = 2000
    query = f"SELECT {' + '.join(f'${i}::int' for i in range(1, n + 1))}"
    collector = Collector()
    assert await conn.copy_from_query(query, *range(n), output=collector) == "COPY 1"
    assert collector.data == b"%d\n" % sum(range(n))


async def test_arguments_are_encoded_by_the_sessions_codecs(conn: Connection) -> None:
    await conn.set_type_codec("int4", schema="pg_catalog", encoder=lambda value: value[1:], decoder=str)
    collector = Collector()
    await conn.copy_from_query("SELECT $1::int + 1", "#41", output=collector)
    assert collector.data == b"42\n"


# ---- what fails, and what is left then ----


async def test_error_of_the_writer_is_raised_and_the_connection_kept(conn: Connection) -> None:
    pid = conn.get_server_pid()
    for failing_at in (0, 1, 3):
        calls = 0

        async def write(data: bytes, failing_at: int = failing_at) -> None:
            nonlocal calls
            calls += 1
            if calls > failing_at:
                raise RuntimeError("the disk is full")

        with pytest.raises(RuntimeError, match="the disk is full"):
            await conn.copy_from_query(ROWS.format(200_000), output=write)
        assert await conn.fetchval("SELECT pg_backend_pid()") == pid


async def test_error_of_the_last_writing_is_raised_and_the_connection_kept(conn: Connection) -> None:
    async def write(data: bytes) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        await conn.copy_from_query("SELECT 1", output=write)
    assert await conn.fetchval("SELECT 2") == 2


async def test_writer_that_is_no_coroutine_function_is_an_error(conn: Connection) -> None:
    with pytest.raises(TypeError, match="await"):
        await conn.copy_from_query("SELECT 1", output=lambda data: None)  # type: ignore[arg-type, return-value]
    assert await conn.fetchval("SELECT 2") == 2


async def test_error_of_a_file_is_raised_and_the_connection_kept(conn: Connection) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await conn.copy_from_query(ROWS.format(50_000), output=Full())
    assert await conn.fetchval("SELECT 2") == 2


async def test_text_file_is_an_error(conn: Connection) -> None:
    with pytest.raises(TypeError):
        await conn.copy_from_query("SELECT 1", output=io.StringIO())  # type: ignore[arg-type]
    assert await conn.fetchval("SELECT 2") == 2


async def test_raw_file_that_takes_a_part_gets_the_rest(conn: Connection) -> None:
    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data[:1000])
            return min(len(data), 1000)

    slow = Slow()
    assert await conn.copy_from_query(ROWS.format(5000), output=slow) == "COPY 5000"  # type: ignore[arg-type]
    assert slow.data.count(b"\n") == 5000 and slow.data.startswith(b"1\tname 1\t0.25")


async def test_server_error_in_the_middle_is_raised_after_some_rows(conn: Connection) -> None:
    collector = Collector()
    with pytest.raises(exceptions.DivisionByZeroError):
        await conn.copy_from_query("SELECT 1 / (50000 - i) FROM generate_series(1, 60000) i", output=collector)
    assert await conn.fetchval("SELECT 2") == 2


@pytest.mark.parametrize("paused", [False, True], ids=["reading", "in the writer"])
async def test_timeout_ends_it_and_keeps_the_connection(conn: Connection, paused: bool) -> None:
    pid = conn.get_server_pid()
    forever = asyncio.Event()
    was_cancelled = False

    async def write(data: bytes) -> None:
        nonlocal was_cancelled
        if paused:
            try:
                await forever.wait()
            except asyncio.CancelledError:
                was_cancelled = True
                raise

    query = ROWS.format(50_000) if paused else "SELECT pg_sleep(600)"
    with pytest.raises(exceptions.QueryTimeoutError) as caught:
        await conn.copy_from_query(query, output=write, timeout=0.2)
    assert isinstance(caught.value, asyncio.TimeoutError)
    assert was_cancelled is paused
    assert await conn.fetchval("SELECT pg_backend_pid()") == pid


async def test_writer_that_swallows_the_timeout_ends_with_it_all_the_same(conn: Connection) -> None:
    async def write(data: bytes) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    with pytest.raises(exceptions.QueryTimeoutError):
        await conn.copy_from_query("SELECT 1", output=write, timeout=0.05)
    task = asyncio.current_task()
    assert task is not None and (not hasattr(task, "cancelling") or task.cancelling() == 0)
    assert await conn.fetchval("SELECT 2") == 2


async def test_timeout_covers_the_arguments(conn: Connection) -> None:
    with pytest.raises(exceptions.QueryTimeoutError):
        await conn.copy_from_query("SELECT $1::int", 1, output=Collector(), timeout=0)
    assert await conn.fetchval("SELECT 2") == 2


async def test_command_timeout_ends_a_copy(dsn: str) -> None:
    session = await holisticpool.connect(dsn, command_timeout=0.1)
    with pytest.raises(exceptions.QueryTimeoutError, match="took longer than 0.100 s"):
        await session.copy_from_query("SELECT pg_sleep(600)", output=Collector())
    assert await session.fetchval("SELECT 1", timeout=60) == 1
    await session.close()


@pytest.mark.parametrize("where", ["server", "writer", "file"])
async def test_cancelled_copy_keeps_the_connection(conn: Connection, tmp_path: Path, where: str) -> None:
    pid = conn.get_server_pid()
    started = asyncio.Event()

    async def write(data: bytes) -> None:
        started.set()
        await asyncio.Event().wait()

    if where == "server":
        copying = conn.copy_from_query("SELECT pg_sleep(600)", output=write)
    elif where == "writer":
        copying = conn.copy_from_query(ROWS.format(500_000), output=write)
    else:
        copying = conn.copy_from_query(ROWS.format(500_000), output=tmp_path / "out")
    task = asyncio.create_task(copying)
    if where == "writer":
        await started.wait()
    else:
        await asyncio.sleep(0.05)  # anywhere in it
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await conn.fetchval("SELECT pg_backend_pid()") == pid


async def test_connection_is_busy_while_it_copies(conn: Connection) -> None:
    async def write(data: bytes) -> None:
        with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
            await conn.fetchval("SELECT 1")
        with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
            await conn.copy_from_query("SELECT 1", output=Collector())

    assert await conn.copy_from_query("SELECT 1", output=write) == "COPY 1"


async def test_connection_released_in_the_middle_ends_it_and_serves_others(single: Pool) -> None:
    lease = await single.acquire()
    pid = lease.get_server_pid()

    async def write(data: bytes) -> None:
        await single.release(lease)
        await asyncio.Event().wait()

    with pytest.raises(exceptions.InterfaceError, match="released while the operation was in progress"):
        await lease.copy_from_query(ROWS.format(50_000), output=write)
    assert await single.fetchval("SELECT pg_backend_pid()") == pid


async def test_connection_terminated_in_the_middle_ends_it(dsn: str) -> None:
    session = await holisticpool.connect(dsn)

    async def write(data: bytes) -> None:
        session.terminate()
        await asyncio.Event().wait()

    with pytest.raises(exceptions.ConnectionDoesNotExistError, match="terminated"):
        await session.copy_from_query(ROWS.format(50_000), output=write)
    assert session.is_closed()


async def test_released_or_closed_connection_refuses_and_spares_the_file(single: Pool, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_bytes(b"kept")
    lease = await single.acquire()
    await single.release(lease)
    for copying in (
        lease.copy_from_table("pg_class", output=path),
        lease.copy_from_query("SELECT 1", output=path),
        lease.copy_from_query("SELECT $1::int", 1, output=path),
        lease.copy_to_table("pg_class", source=path),
        lease.copy_records_to_table("pg_class", records=[]),
    ):
        with pytest.raises(exceptions.InterfaceError, match="released back to the pool"):
            await copying
    assert path.read_bytes() == b"kept"


async def test_failed_copy_in_a_transaction_fails_it(conn: Connection) -> None:
    with pytest.raises(exceptions.InFailedSQLTransactionError):
        async with conn.transaction():
            with pytest.raises(exceptions.DivisionByZeroError):
                await conn.copy_from_query("SELECT 1/0", output=Collector())
            await conn.fetchval("SELECT 1")
    assert await conn.fetchval("SELECT 2") == 2


async def test_execute_of_copy_is_refused_as_before(conn: Connection, people: str) -> None:
    for sql in (f"COPY {people} TO STDOUT", f"COPY {people} FROM STDIN"):
        with pytest.raises(exceptions.InterfaceError, match="COPY cannot be run by this method"):
            await conn.execute(sql)
    assert await conn.copy_from_table(people, output=Collector()) == "COPY 4"


# ---- memory and flow ----


async def test_slow_writer_stops_the_server_and_memory_stays_small(conn: Connection) -> None:
    largest = 0
    count = 0
    at_rest = 0

    async def write(data: bytes) -> None:
        nonlocal largest, count, at_rest
        largest = max(largest, len(data))
        count += data.count(b"\n")
        await asyncio.sleep(0)
        at_rest = max(at_rest, tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        query = "SELECT i, repeat('x', 300) FROM generate_series(1, 100000) i"
        assert await conn.copy_from_query(query, output=write) == "COPY 100000"
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert largest < 1024 * 1024
    assert at_rest - before < 3 * 1024 * 1024  # of 30 MB


async def test_hundred_thousand_rows_arrive_once_and_in_order(conn: Connection, tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert await conn.copy_from_query("SELECT i FROM generate_series(1, 100000) i", output=path) == "COPY 100000"
    assert path.read_bytes() == b"".join(b"%d\n" % i for i in range(1, 100_001))


async def test_the_loop_runs_on_while_it_copies(conn: Connection) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def write(data: bytes) -> None:
        pass

    counting = asyncio.create_task(count())
    await conn.copy_from_query(ROWS.format(100_000), output=write)
    counting.cancel()
    assert turns > 10
