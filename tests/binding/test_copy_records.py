"""copy_records_to_table(): records of every shape and type, in bounded memory, and what a wrong one leaves behind."""

from __future__ import annotations

import asyncio
import collections
import datetime
import random
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from test_copy_out import assert_same, outcome  # type: ignore[import-not-found]

import holisticpool
from holisticpool import Connection, Pool, exceptions

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")

ROWS = [(1, "one", None), (2, None, 2.5), (3, "", -1.0)]


@pytest.fixture
async def target(conn: Connection) -> AsyncIterator[str]:
    """An empty table that other sessions see."""
    await conn.execute("DROP TABLE IF EXISTS copy_records; CREATE TABLE copy_records (id int, name text, d float8)")
    yield "copy_records"
    await conn.execute("DROP TABLE copy_records")


async def rows_of(conn: Any, table: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await conn.fetch(f"SELECT * FROM {table} ORDER BY 1")]


class Endless:
    """An iterable that gives iterators of its own, and counts."""

    def __init__(self, record: Any = (1, "x", 0.5)) -> None:
        self.record = record
        self.given = 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.given += 1
            yield self.record


async def async_records(records: Any, *, pause: bool = False) -> AsyncIterator[Any]:
    for record in records:
        yield record
        if pause:
            await asyncio.sleep(0)


Pair = collections.namedtuple("Pair", "id name d")


class Sequence:
    """What has __len__ and __getitem__, no more."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, i: int) -> Any:
        return self._values[i]


# ---- records ----

SHAPES: dict[str, Callable[[], Any]] = {
    "list of tuples": lambda: ROWS,
    "tuple of lists": lambda: tuple(map(list, ROWS)),
    "generator": lambda: (row for row in ROWS),
    "iterator": lambda: iter(ROWS),
    "named tuples": lambda: [Pair(*row) for row in ROWS],
    "sequences": lambda: [Sequence(*row) for row in ROWS],
    "dict values": lambda: dict(enumerate(ROWS)).values(),
    "asynchronous generator": lambda: async_records(ROWS),
    "asynchronous generator that waits": lambda: async_records(ROWS, pause=True),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_records_of_any_shape(conn: Connection, target: str, shape: str) -> None:
    assert await conn.copy_records_to_table(target, records=SHAPES[shape]()) == "COPY 3"
    assert await rows_of(conn, target) == ROWS


async def test_fetched_records_can_be_copied_back(conn: Connection, target: str) -> None:
    await conn.copy_records_to_table(target, records=ROWS)
    fetched = await conn.fetch(f"SELECT * FROM {target}")
    assert await conn.copy_records_to_table(target, records=fetched) == "COPY 3"
    assert await conn.fetchval(f"SELECT count(*) FROM {target}") == 6


async def test_no_records(conn: Connection, target: str) -> None:
    empty: list[Any] = [[], iter(()), async_records([])]
    for nothing in empty:
        assert await conn.copy_records_to_table(target, records=nothing) == "COPY 0"


async def test_hundred_thousand_records_in_order(conn: Connection, target: str) -> None:
    for records in (
        ((i, f"name {i}", i / 4) for i in range(100_000)),
        async_records((i, f"name {i}", i / 4) for i in range(100_000)),
    ):
        assert await conn.copy_records_to_table(target, records=records) == "COPY 100000"
        row: Any = await conn.fetchrow(
            f"SELECT count(*), sum(id), bool_and(name = 'name ' || id AND d = id / 4.0) FROM {target}"
        )
        assert tuple(row) == (100_000, sum(range(100_000)), True)
        await conn.execute(f"TRUNCATE {target}")


async def test_large_record(conn: Connection, target: str) -> None:
    text = "ab" * 5_000_000
    assert await conn.copy_records_to_table(target, records=[(1, text, 1.0), (2, "x", 2.0)]) == "COPY 2"
    assert await conn.fetchval(f"SELECT name FROM {target} WHERE id = 1") == text


async def test_columns_schema_and_where(conn: Connection, target: str) -> None:
    copied = conn.copy_records_to_table(
        target,
        records=[("a", 1), ("b", 2), ("c", 3)],
        columns=iter(("name", "id")),
        schema_name="public",
        where="id <> 2 AND name <> 'it''s'",
    )
    assert await copied == "COPY 2"
    assert await rows_of(conn, target) == [(1, "a", None), (3, "c", None)]


async def test_names_that_need_quotes(conn: Connection) -> None:
    await conn.execute('CREATE SCHEMA "My ""Schema"; CREATE TABLE "My ""Schema"."My table" ("a b" int, "select" text)')
    try:
        copied = conn.copy_records_to_table(
            "My table", schema_name='My "Schema', columns=["select", "a b"], records=[("x", 1)]
        )
        assert await copied == "COPY 1"
    finally:
        await conn.execute('DROP SCHEMA "My ""Schema" CASCADE')


async def test_copy_through_a_pool(pool: Pool, target: str) -> None:
    assert await pool.copy_records_to_table(target, records=ROWS, where="id > 1") == "COPY 2"
    assert (
        await pool.copy_records_to_table(target, records=async_records(ROWS), columns=["id", "name", "d"]) == "COPY 3"
    )


# ---- types ----


async def test_values_of_many_types_arrive_as_they_are(conn: Connection) -> None:
    await conn.execute(
        """
        CREATE TYPE pg_temp.mood AS ENUM ('sad', 'happy');
        CREATE TYPE pg_temp.pair AS (a int, b text);
        CREATE DOMAIN pg_temp.positive AS int CHECK (VALUE > 0);
        CREATE TEMP TABLE copy_types (
            a int2, b int8, c numeric, d bool, e bytea, f timestamptz, g date, h interval, i uuid, j jsonb,
            k int[], l text[], m mood, n pair, o positive, p int4range, q inet, r varchar(5), s char(3), t mood[]
        )
        """
    )
    record = (
        -5,
        2**60,
        Decimal("1.50"),
        True,
        b"\x00\xff",
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc),
        datetime.date(1999, 12, 31),
        datetime.timedelta(days=1, seconds=2),
        uuid.UUID(int=7),
        '{"a": [1, null]}',
        [1, None, 3],
        [["a", "b"], ["c", None]],
        "happy",
        (1, "x"),
        3,
        holisticpool.Range(1, 5),
        "10.0.0.1",
        "short",
        "abc",
        ["sad", None],
    )
    assert await conn.copy_records_to_table("copy_types", records=[record, (None,) * len(record)]) == "COPY 2"
    columns = ", ".join(f"${i + 1}" for i in range(len(record)))
    await conn.execute(f"INSERT INTO copy_types VALUES ({columns})", *record)
    assert await conn.fetchval("SELECT count(DISTINCT t) FROM copy_types t WHERE a IS NOT NULL") == 1
    assert await conn.fetchval("SELECT count(*) FROM copy_types t WHERE NOT t IS NULL") == 2


async def test_codecs_of_the_session_are_used(conn: Connection, target: str) -> None:
    def encode(value: str) -> bytes:
        return int(value[1:]).to_bytes(4, "big")

    await conn.set_type_codec("int4", schema="pg_catalog", encoder=encode, decoder=bytes, format="binary")
    assert await conn.copy_records_to_table(target, records=[("#7", "x", 1.0)]) == "COPY 1"
    assert await conn.fetchval(f"SELECT id = 7 FROM {target}") is True


async def test_text_codec_is_refused_as_in_asyncpg(conn: Connection, target: str) -> None:
    await conn.set_type_codec("int4", schema="pg_catalog", encoder=str, decoder=int)
    with pytest.raises(exceptions.InternalClientError, match=r"no binary format encoder for type integer \(OID 23\)"):
        await conn.copy_records_to_table(target, records=ROWS)
    assert await conn.fetchval(f"SELECT count(*) FROM {target}") == 0


async def test_role_that_may_only_insert_can_copy(conn: Connection, target: str) -> None:
    await conn.execute(f"CREATE ROLE copy_writer; GRANT INSERT ON {target} TO copy_writer; SET ROLE copy_writer")
    try:
        assert await conn.copy_records_to_table(target, records=ROWS) == "COPY 3"
    finally:
        await conn.execute(f"RESET ROLE; REVOKE ALL ON {target} FROM copy_writer; DROP ROLE copy_writer")


async def test_table_altered_since_the_last_copy_is_seen_as_it_is(dsn: str, conn: Connection, target: str) -> None:
    assert await conn.copy_records_to_table(target, records=ROWS) == "COPY 3"
    other = await holisticpool.connect(dsn)
    # As many bytes as before, which would be taken for another value.
    await other.execute(f"TRUNCATE {target}; ALTER TABLE {target} ALTER d TYPE bigint USING NULL")
    await other.close()
    assert await conn.copy_records_to_table(target, records=[(1, "x", 7)]) == "COPY 1"
    assert await conn.fetchval(f"SELECT d FROM {target}") == 7


async def test_generated_column_is_named_in_the_error(conn: Connection) -> None:
    await conn.execute("CREATE TEMP TABLE copy_generated (a int, b int GENERATED ALWAYS AS (a * 2) STORED)")
    with pytest.raises(exceptions.InterfaceError, match="1 of the 2 columns of the table, the others are generated"):
        await conn.copy_records_to_table("copy_generated", records=[(1, 2)])
    assert await conn.copy_records_to_table("copy_generated", records=[(1,)], columns=["a"]) == "COPY 1"


# ---- beside asyncpg ----

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "rows": (ROWS, {}),
    "columns": ([("x", 1)], {"columns": ["name", "id"]}),
    "no columns named": (ROWS, {"columns": []}),
    "where": (ROWS, {"where": "id > 1"}),
    "wrong where": (ROWS, {"where": "id >"}),
    "no such table": (ROWS, {"schema_name": "nowhere"}),
    "no such column": (ROWS, {"columns": ["nothing"]}),
    "not iterable": (5, {}),
    "too few": ([(1, "x")], {}),
    "timeout": (ROWS, {"timeout": 0}),
}


@pytest.mark.parametrize("case", CASES)
async def test_records_as_in_asyncpg(dsn: str, target: str, case: str) -> None:
    records, options = CASES[case]

    async def call(session: Any) -> tuple[str, Any]:
        await session.execute(f"TRUNCATE {target}")
        status = await session.copy_records_to_table(target, records=records, **options)
        return status, await rows_of(session, target)

    ours, theirs = await outcome(holisticpool, dsn, call), await outcome(asyncpg, dsn, call)
    if case == "too few":
        assert theirs[0] == ours[0] == "error"  # IndexError there
        return
    assert_same(ours, theirs)


# ---- what fails, and that nothing stays ----


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("at", [1, 2, 1000, 50_000])
async def test_wrong_value_is_named_by_record_and_column_and_nothing_stays(
    conn: Connection, target: str, at: int, asynchronous: bool
) -> None:
    pid = conn.get_server_pid()

    def records() -> Iterator[Any]:
        for i in range(1, at):
            yield i, "name", 1.0
        yield "no number", "name", 1.0

    given: Any = async_records(records()) if asynchronous else records()
    with pytest.raises(exceptions.DataError) as caught:
        await conn.copy_records_to_table(target, records=given)
    assert str(caught.value).startswith(f"invalid input in record {at} for column \"id\": 'no number' (")
    assert isinstance(caught.value, exceptions.ClientDataError) and isinstance(caught.value.__cause__, TypeError)
    assert await conn.fetchval("SELECT pg_backend_pid()") == pid
    assert await rows_of(conn, target) == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ((1, "x"), "invalid input in record 2: 2 values for 3 columns"),
        ((1, "x", 1.0, 4), "invalid input in record 2: 4 values for 3 columns"),
        ((), "invalid input in record 2: 0 values for 3 columns"),
        ("abc", "invalid input in record 2: a sequence of values is expected, got str"),
        ({0: 1, 1: "x", 2: 1.0}, "invalid input in record 2: a sequence of values is expected, got dict"),
        (None, "invalid input in record 2: a sequence of values is expected, got NoneType"),
        ((2**31, "x", 1.0), 'invalid input in record 2 for column "id": 2147483648 ('),
    ],
)
async def test_wrong_record_is_refused_and_nothing_stays(
    conn: Connection, target: str, record: Any, message: str
) -> None:
    with pytest.raises(exceptions.ClientDataError) as caught:
        await conn.copy_records_to_table(target, records=[ROWS[0], record])
    assert str(caught.value).startswith(message)
    assert await rows_of(conn, target) == []


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_error_of_the_iterable_is_raised_and_nothing_stays(
    conn: Connection, target: str, asynchronous: bool
) -> None:
    def records() -> Iterator[Any]:
        for _ in range(10_000):
            yield ROWS[0]
        raise LookupError("no more of them")

    given: Any = async_records(records()) if asynchronous else records()
    with pytest.raises(LookupError, match="no more of them"):
        await conn.copy_records_to_table(target, records=given)
    assert await rows_of(conn, target) == []


async def test_error_of_an_encoder_is_raised_and_nothing_stays(conn: Connection, target: str) -> None:
    def encode(value: Any) -> bytes:
        raise LookupError("no such code")

    await conn.set_type_codec("text", schema="pg_catalog", encoder=encode, decoder=bytes, format="binary")
    with pytest.raises(LookupError, match="no such code"):
        await conn.copy_records_to_table(target, records=[(1, "x", 1.0)])
    assert await conn.fetchval(f"SELECT count(*) FROM {target}") == 0


async def test_error_of_the_server_is_raised_and_nothing_stays(conn: Connection, target: str) -> None:
    await conn.execute(f"ALTER TABLE {target} ADD CHECK (id < 1000)")
    with pytest.raises(exceptions.CheckViolationError):
        await conn.copy_records_to_table(target, records=((i, "x", 1.0) for i in range(5000)))
    assert await rows_of(conn, target) == []


async def test_error_of_the_server_ends_records_that_have_no_end(unix_dsn: str, conn: Connection, target: str) -> None:
    await conn.execute(f"ALTER TABLE {target} ADD CHECK (id > 1000)")
    session = await holisticpool.connect(unix_dsn)
    for records in (Endless(), async_records(Endless())):
        with pytest.raises(exceptions.CheckViolationError):
            await session.copy_records_to_table(target, records=records)
    await session.close()


@pytest.mark.parametrize("kind", ["sync", "async", "waiting"])
async def test_timeout_ends_it_and_nothing_stays(conn: Connection, target: str, kind: str) -> None:
    pid = conn.get_server_pid()

    async def waiting() -> AsyncIterator[Any]:
        yield ROWS[0]
        await asyncio.Event().wait()

    records: Any = {"sync": Endless(), "async": async_records(Endless()), "waiting": waiting()}[kind]
    with pytest.raises(exceptions.QueryTimeoutError):
        await conn.copy_records_to_table(target, records=records, timeout=0.2)
    assert await conn.fetchval("SELECT pg_backend_pid()") == pid
    assert await rows_of(conn, target) == []


@pytest.mark.parametrize("seed", range(4))
async def test_cancelled_anywhere_nothing_stays_and_the_connection_is_kept(
    conn: Connection, target: str, seed: int
) -> None:
    chance = random.Random(seed)
    rows = [(i, "name", 1.0) for i in range(20_000)]
    pid = conn.get_server_pid()
    cancelled = 0
    for _ in range(30):
        records: Any = rows if chance.random() < 0.5 else async_records(rows)
        task = asyncio.create_task(conn.copy_records_to_table(target, records=records))
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            assert await task == "COPY 20000"
            expected = {20_000}
        except asyncio.CancelledError:
            cancelled += 1
            expected = {0, 20_000}  # whole, where the end was on its way
        assert await conn.fetchval(f"SELECT count(*) FROM {target}") in expected
        assert await conn.fetchval("SELECT pg_backend_pid()") == pid
        await conn.execute(f"TRUNCATE {target}")
    assert cancelled > 5


async def test_records_that_use_their_own_connection_are_refused(conn: Connection, target: str) -> None:
    async def records() -> AsyncIterator[Any]:
        with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
            await conn.fetchval("SELECT 1")
        yield ROWS[0]

    assert await conn.copy_records_to_table(target, records=records()) == "COPY 1"


async def test_records_of_another_connections_query(conn: Connection, pool: Pool, target: str) -> None:
    async def records() -> AsyncIterator[Any]:
        for i in range(20):
            for row in await pool.fetch("SELECT g, 'x', 0.5::float8 FROM generate_series(1, $1) g", i):
                yield row

    assert await conn.copy_records_to_table(target, records=records()) == f"COPY {sum(range(20))}"


@pytest.mark.parametrize("where", ["iterator", "encoder"])
async def test_connection_terminated_by_code_of_the_user_ends_it(
    dsn: str, conn: Connection, target: str, where: str
) -> None:
    session = await holisticpool.connect(dsn)

    def encode(value: str) -> bytes:
        if where == "encoder":
            session.terminate()
        return value.encode()

    def records() -> Iterator[Any]:
        yield ROWS[0]
        if where == "iterator":
            session.terminate()
        yield ROWS[0]

    await session.set_type_codec("text", schema="pg_catalog", encoder=encode, decoder=bytes, format="binary")
    with pytest.raises(exceptions.ConnectionDoesNotExistError, match="terminated"):
        await session.copy_records_to_table(target, records=records())
    assert await rows_of(conn, target) == []


# ---- memory and flow ----


async def test_records_are_taken_as_they_are_sent_and_memory_stays_small(conn: Connection, target: str) -> None:
    most = 0

    def records() -> Iterator[Any]:
        nonlocal most
        for i in range(100_000):
            yield i, "x" * 300, 1.0
            if i % 1000 == 0:
                most = max(most, tracemalloc.get_traced_memory()[0])

    await conn.copy_records_to_table(target, records=ROWS)  # what is made once
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert await conn.copy_records_to_table(target, records=records()) == "COPY 100000"
    finally:
        tracemalloc.stop()
    assert most - before < 1024 * 1024  # of 32 MB


async def test_the_loop_runs_on_between_slow_records(conn: Connection, target: str) -> None:
    turns = 0
    seen: list[int] = []

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def records() -> Iterator[Any]:
        for i in range(400):
            sum(range(20_000))  # work of some 100 us
            seen.append(turns)
            yield i, "x", 1.0

    counting = asyncio.create_task(count())
    await conn.copy_records_to_table(target, records=records())
    counting.cancel()
    assert len(set(seen)) > 3
