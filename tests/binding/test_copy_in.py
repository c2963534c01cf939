"""copy_to_table(): each kind of source, each option, and that nothing of the data stays if it fails."""

from __future__ import annotations

import array
import asyncio
import contextlib
import io
import os
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_copy_out import assert_same, outcome  # type: ignore[import-not-found]

import holisticpool
from holisticpool import Connection, Pool, exceptions

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")

LINES = b'1\tAda\n2\ttab\\there, "quoted"\n3\t\\N\n'
ROWS = [(1, "Ada"), (2, 'tab\there, "quoted"'), (3, None)]


@pytest.fixture
async def target(conn: Connection) -> AsyncIterator[str]:
    """An empty table that other sessions see."""
    await conn.execute('DROP TABLE IF EXISTS copy_target; CREATE TABLE copy_target (id int, "full ""name" text)')
    yield "copy_target"
    await conn.execute("DROP TABLE copy_target")


async def rows_of(conn: Any, table: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await conn.fetch(f"SELECT * FROM {table} ORDER BY 1")]


async def chunks_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


class Chunks:
    """An asynchronous iterable that is no generator."""

    def __init__(self, chunks: list[Any]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(0)
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None


# ---- sources ----


def sources(path: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    path.write_bytes(LINES)
    yield "str", lambda: str(path)
    yield "path", lambda: path
    yield "bytes path", lambda: os.fsencode(path)
    yield "buffered file", lambda: open(path, "rb")
    yield "raw file", lambda: open(path, "rb", buffering=0)
    yield "bytes file", lambda: io.BytesIO(LINES)
    yield "generator of bytes", lambda: chunks_of(LINES, 1)
    yield "generator of one", lambda: chunks_of(LINES, len(LINES))
    yield "iterable", lambda: Chunks([LINES[:5], b"", bytearray(LINES[5:7]), memoryview(LINES)[7:]])
    yield "memoryview", lambda: memoryview(LINES)
    yield "bytearray", lambda: bytearray(LINES)
    yield "array", lambda: array.array("b", LINES)


async def test_copy_from_each_kind_of_source_gives_the_same(conn: Connection, target: str, tmp_path: Path) -> None:
    for name, source in sources(tmp_path / "in"):
        given = source()
        assert await conn.copy_to_table(target, source=given) == "COPY 3", name
        assert await rows_of(conn, target) == ROWS, name
        await conn.execute(f"TRUNCATE {target}")
        if hasattr(given, "close"):
            assert not given.closed
            given.close()


@pytest.mark.parametrize("source", [1, None, [LINES], object()])
async def test_another_source_is_refused_and_the_connection_kept(conn: Connection, target: str, source: Any) -> None:
    with pytest.raises(TypeError, match="source is expected to give bytes-like objects, not"):
        await conn.copy_to_table(target, source=source)
    assert await conn.fetchval(f"SELECT count(*) FROM {target}") == 0


@pytest.mark.parametrize(
    "source", [lambda: Chunks([LINES, "1\tx\n"]), lambda: io.StringIO("1\tx\n")], ids=["chunks", "file"]
)
async def test_text_is_refused_and_nothing_stays(conn: Connection, target: str, source: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="bytes-like objects, not str"):
        await conn.copy_to_table(target, source=source())
    assert await rows_of(conn, target) == []


async def test_source_of_nothing(conn: Connection, target: str) -> None:
    for source in (io.BytesIO(), Chunks([]), Chunks([b"", b""]), memoryview(b"")):
        assert await conn.copy_to_table(target, source=source) == "COPY 0"


async def test_path_that_cannot_be_opened_costs_nothing(conn: Connection, target: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await conn.copy_to_table(target, source=tmp_path / "missing")
    assert await conn.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("size", [1, 100, 65_535, 65_536, 65_537, 200_000, 10_000_000])
async def test_pieces_of_any_size_arrive_in_order(conn: Connection, target: str, size: int) -> None:
    count = 2_000 if size == 1 else 100_000
    data = b"".join(b"%d\tname %d\n" % (i, i) for i in range(count))
    assert await conn.copy_to_table(target, source=chunks_of(data, size)) == f"COPY {count}"
    row: Any = await conn.fetchrow(
        f"""SELECT count(*), sum(id), bool_and("full ""name" = 'name ' || id) FROM {target}"""
    )
    assert tuple(row) == (count, sum(range(count)), True)


async def test_large_row(conn: Connection, target: str) -> None:
    data = b"1\t" + b"ab" * 10_000_000 + b"\n"
    assert await conn.copy_to_table(target, source=memoryview(data)) == "COPY 1"
    assert await conn.fetchval(f"""SELECT md5("full ""name") = md5(repeat('ab', 10000000)) FROM {target}""")


# ---- options, beside asyncpg ----

CSV = b"id|full\n*1*|n-u-l-l\n2|*!**\n3|*n-u-l-l*\n"

IN_OPTIONS: list[tuple[bytes, dict[str, Any]]] = [
    (LINES, {}),
    (LINES, {"schema_name": "public", "columns": ["id", 'full "name']}),
    (b"1\n2\n", {"columns": ("id",)}),
    (b"x\n", {"columns": ('full "name',)}),
    (CSV, {"format": "csv", "delimiter": "|", "null": "n-u-l-l", "header": True, "quote": "*", "escape": "!"}),
    (CSV, {"format": "csv", "delimiter": "|", "header": True, "quote": "*", "escape": "!", "force_quote": ("id",)}),
    (b"1,\n2,''\n", {"format": "csv", "null": "", "force_not_null": ('full "name',), "quote": "'"}),
    (b'1,""\n2,\n', {"format": "csv", "null": "", "force_null": ('full "name',)}),
    (b"id,no\n1,x\n", {"format": "csv", "header": "match"}),
    (b'id,"full ""name"\n1,x\n', {"format": "csv", "header": "match"}),
    ("1\té\n".encode("latin1"), {"encoding": "latin1"}),
    ("1\té\n".encode("latin1"), {}),
    (LINES, {"where": "id <> 2"}),
    (LINES, {"where": ""}),
    (LINES, {"where": "id <>"}),
    (b"1\tx\n", {"freeze": False}),
    (b"1\tx\n", {"freeze": True}),
    (b"1\tx\n", {"oids": True}),
    (b"x\ty\n", {}),
    (b"1\n", {}),
    (b"1\tx\n", {"schema_name": "nowhere"}),
    (b"1\tx\n", {"columns": ["nothing"]}),
    (b"1\tx\n", {"format": "binary"}),
    (b"1\tx\n", {"timeout": 0}),
    (b"1\tx\n", {"timeout": "soon"}),
]


@pytest.mark.parametrize(("data", "options"), IN_OPTIONS, ids=repr)
async def test_options_of_copy_to_table_as_in_asyncpg(
    dsn: str, target: str, data: bytes, options: dict[str, Any]
) -> None:
    async def call(session: Any) -> tuple[str, Any]:
        await session.execute(f"TRUNCATE {target}")
        status = await session.copy_to_table(target, source=io.BytesIO(data), **options)
        return status, await rows_of(session, target)

    assert_same(await outcome(holisticpool, dsn, call), await outcome(asyncpg, dsn, call))


async def test_copy_through_a_pool(pool: Pool, target: str) -> None:
    assert await pool.copy_to_table(target, source=io.BytesIO(b"1,x\n"), format="csv", where="id < 5") == "COPY 1"
    assert await rows_of(pool, target) == [(1, "x")]


async def test_what_was_copied_out_can_be_copied_in(conn: Connection, target: str) -> None:
    await conn.execute(f"INSERT INTO {target} SELECT i, chr(i) || E'\\\\\\t\\n' FROM generate_series(32, 500) i")
    before = await rows_of(conn, target)
    for form in ("text", "csv", "binary"):
        buffer = io.BytesIO()
        await conn.copy_from_table(target, output=buffer, format=form)
        await conn.execute(f"TRUNCATE {target}")
        buffer.seek(0)
        assert await conn.copy_to_table(target, source=buffer, format=form) == "COPY 469"
        assert await rows_of(conn, target) == before


# ---- what fails, and that nothing stays ----


async def failing(after: int) -> AsyncIterator[bytes]:
    for i in range(after):
        yield b"%d\tname\n" % i
    raise RuntimeError("the source is dry")


@pytest.mark.parametrize("after", [0, 1, 3_000, 100_000])
async def test_error_of_the_source_is_raised_and_nothing_stays(conn: Connection, target: str, after: int) -> None:
    pid = conn.get_server_pid()
    with pytest.raises(RuntimeError, match="the source is dry"):
        await conn.copy_to_table(target, source=failing(after))
    assert await conn.fetchval("SELECT pg_backend_pid()") == pid
    assert await rows_of(conn, target) == []


async def test_error_of_a_file_is_raised_and_nothing_stays(conn: Connection, target: str) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                raise OSError(5, "Input/output error")
            self.seek(1)
            return LINES

    with pytest.raises(OSError, match="Input/output error"):
        await conn.copy_to_table(target, source=Broken())
    assert await rows_of(conn, target) == []


async def test_error_of_the_source_in_a_transaction_leaves_what_was_there(conn: Connection, target: str) -> None:
    async with conn.transaction():
        await conn.copy_to_table(target, source=memoryview(b"1\tfirst\n"))
        with pytest.raises(RuntimeError):
            async with conn.transaction():
                await conn.copy_to_table(target, source=failing(10))
        await conn.copy_to_table(target, source=memoryview(b"2\tsecond\n"))
    assert await rows_of(conn, target) == [(1, "first"), (2, "second")]


async def endless(line: bytes = b"1\tname\n", *, pause: bool = False) -> AsyncIterator[bytes]:
    while True:
        yield line
        if pause:
            await asyncio.sleep(0)


async def test_error_of_the_server_ends_a_source_that_has_no_end(unix_dsn: str, conn: Connection, target: str) -> None:
    await conn.execute(f"ALTER TABLE {target} ADD CHECK (id > 5)")
    session = await holisticpool.connect(unix_dsn)
    with pytest.raises(exceptions.CheckViolationError):
        await session.copy_to_table(target, source=endless())
    assert await rows_of(session, target) == []
    await session.close()


async def test_error_of_the_server_ends_a_source_that_waits(unix_dsn: str, target: str) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"x\ty\n" * 16_384  # the server looks at it before it has all
        await asyncio.Event().wait()

    session = await holisticpool.connect(unix_dsn)
    with pytest.raises(exceptions.InvalidTextRepresentationError):
        await session.copy_to_table(target, source=source())
    assert await session.fetchval("SELECT 1") == 1
    await session.close()


async def test_error_of_the_server_at_the_end_is_raised(conn: Connection, target: str) -> None:
    await conn.execute(f"ALTER TABLE {target} ADD PRIMARY KEY (id)")
    with pytest.raises(exceptions.UniqueViolationError):
        await conn.copy_to_table(target, source=memoryview(b"1\tx\n1\ty\n"))
    assert await rows_of(conn, target) == []


@pytest.mark.parametrize("waiting", [False, True], ids=["feeding", "waiting"])
async def test_timeout_ends_it_and_nothing_stays(conn: Connection, target: str, waiting: bool) -> None:
    pid = conn.get_server_pid()

    async def source() -> AsyncIterator[bytes]:
        yield LINES
        await asyncio.Event().wait()

    with pytest.raises(exceptions.QueryTimeoutError) as caught:
        await conn.copy_to_table(target, source=source() if waiting else endless(), timeout=0.1)
    assert isinstance(caught.value, asyncio.TimeoutError)
    assert await conn.fetchval("SELECT pg_backend_pid()") == pid
    assert await rows_of(conn, target) == []


async def test_timeout_while_the_server_does_not_read_ends_it(conn: Connection, target: str) -> None:
    await conn.execute(
        f"""
        CREATE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON {target} FOR EACH ROW EXECUTE FUNCTION pg_temp.slow();
        """
    )
    pid = conn.get_server_pid()
    for source in (endless(b"1\t%s\n" % (b"x" * 10_000)), memoryview(LINES)):
        with pytest.raises(exceptions.QueryTimeoutError):
            await conn.copy_to_table(target, source=source, timeout=0.2)
        assert await conn.fetchval("SELECT pg_backend_pid()") == pid
    assert await rows_of(conn, target) == []


async def test_timeout_and_cancellation_at_once_end_as_a_cancellation(conn: Connection, target: str) -> None:
    async def source() -> AsyncIterator[bytes]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.cancel()  # by somebody else, while the timeout is on its way out
            raise
        yield b""

    task = asyncio.create_task(conn.copy_to_table(target, source=source(), timeout=0.05))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await conn.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("seed", range(4))
async def test_cancelled_anywhere_nothing_stays_and_the_connection_is_kept(
    conn: Connection, target: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    path = tmp_path / "in"
    data = b"".join(b"%d\tname %d\n" % (i, i) for i in range(20_000))
    path.write_bytes(data)
    pid = conn.get_server_pid()
    cancelled = 0
    for _ in range(30):
        kind = chance.randrange(3)
        source: Any = (path, chunks_of(data, 5_000), memoryview(data))[kind]
        task = asyncio.create_task(conn.copy_to_table(target, source=source))
        for _ in range(chance.randrange(60)):
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


async def test_connection_is_busy_while_it_copies(conn: Connection, target: str) -> None:
    async def source() -> AsyncIterator[bytes]:
        for again in (conn.fetchval("SELECT 1"), conn.copy_to_table(target, source=memoryview(LINES))):
            with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
                await again
        yield LINES

    assert await conn.copy_to_table(target, source=source()) == "COPY 3"


async def test_connection_released_in_the_middle_ends_it_and_serves_others(single: Pool, target: str) -> None:
    lease = await single.acquire()
    pid = lease.get_server_pid()

    async def source() -> AsyncIterator[bytes]:
        yield LINES
        await single.release(lease)
        yield LINES

    with pytest.raises(exceptions.InterfaceError, match="released while the operation was in progress"):
        await lease.copy_to_table(target, source=source())
    assert await single.fetchval("SELECT pg_backend_pid()") == pid
    assert await rows_of(single, target) == []


async def test_connection_terminated_in_the_middle_ends_it(dsn: str, conn: Connection, target: str) -> None:
    session = await holisticpool.connect(dsn)

    async def source() -> AsyncIterator[bytes]:
        yield LINES
        session.terminate()
        yield LINES

    with pytest.raises(exceptions.ConnectionDoesNotExistError, match="terminated"):
        await session.copy_to_table(target, source=source())
    assert await rows_of(conn, target) == []


async def test_abandoned_coroutine_takes_its_data_back(conn: Connection, target: str) -> None:
    copying = conn.copy_to_table(target, source=endless(pause=True))
    for _ in range(200):
        with contextlib.suppress(StopIteration):
            future = copying.send(None)
            if future is not None:
                # As a task would wait for it; no task drives this coroutine.
                future._asyncio_future_blocking = False
                while not future.done():
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(0)
    copying.close()
    assert await conn.fetchval(f"SELECT count(*) FROM {target}") == 0


async def test_cancelled_while_a_file_is_read_closes_it_after_that(
    conn: Connection, target: str, tmp_path: Path
) -> None:
    def is_open() -> bool:
        return any(os.path.realpath(f"/proc/self/fd/{fd}") == path for fd in os.listdir("/proc/self/fd") if fd != other)

    path = os.path.realpath(tmp_path / "fifo")
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    other = str(writer)
    copying = asyncio.create_task(conn.copy_to_table(target, source=path))
    while not is_open():
        await asyncio.sleep(0.001)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    os.write(writer, LINES)  # lets the thread go that reads
    while is_open():
        await asyncio.sleep(0.001)
    os.close(writer)
    assert await rows_of(conn, target) == []


# ---- memory and flow ----


async def test_source_is_asked_as_fast_as_the_server_takes_and_memory_stays_small(
    conn: Connection, target: str
) -> None:
    await conn.fetchval("SELECT 1")
    chunk = b"".join(b"%d\t%s\n" % (i, b"x" * 300) for i in range(100))
    most = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal most
        for _ in range(1000):
            yield chunk
            most = max(most, tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert await conn.copy_to_table(target, source=source()) == "COPY 100000"
    finally:
        tracemalloc.stop()
    assert most - before < 2 * 1024 * 1024  # of 30 MB


async def test_source_rests_while_the_server_does_not_read(dsn: str, conn: Connection, target: str) -> None:
    asked = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal asked
        for _ in range(2000):
            asked += 1
            yield b"1\t%s\n" % (b"x" * 60_000)

    session = await holisticpool.connect(dsn)
    async with conn.transaction():
        await conn.execute(f"LOCK TABLE {target} IN ACCESS EXCLUSIVE MODE")
        copying = asyncio.create_task(session.copy_to_table(target, source=source()))
        for _ in range(50):
            await asyncio.sleep(0)
        # The command waits for the lock: the source was not asked before the server is ready.
        assert asked == 0
    assert await copying == "COPY 2000"
    await session.close()


async def test_the_loop_runs_on_while_it_copies(conn: Connection, target: str) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await conn.copy_to_table(target, source=memoryview(b"1\tname\n" * 500_000))
    counting.cancel()
    assert turns > 20
