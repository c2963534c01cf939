"""Sessions that end, hang or make no sense in the middle of a COPY: its caller hears of it, and no data stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from observing import Observer, settled, unique_name, until, usable
from servers import PostgresServer
from test_odd_servers import AUTH_OK, READY, error, message, says, server_that  # type: ignore[import-not-found]

import holisticpool
from bench.proxy import DelayProxy
from holisticpool import exceptions

ENDED = (exceptions.PostgresError, exceptions.ConnectionDoesNotExistError)
LINE = b"1\t%s\n" % (b"x" * 1000)


@pytest.fixture
async def table(dsn: str) -> AsyncIterator[str]:
    """An empty table that every session sees."""
    name = unique_name("copied")
    session = await holisticpool.connect(dsn)
    await session.execute(f"CREATE TABLE {name} (id int, t text)")
    yield name
    await session.execute(f"DROP TABLE {name}")
    await session.close()


class Source:
    """Gives so many lines, then waits for ever."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.waits = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.lines):
            yield LINE
        self.waits.set()
        await asyncio.Event().wait()

    async def records(self) -> AsyncIterator[tuple[int, str]]:
        async for _ in self:
            yield 1, "x" * 1000


@pytest.mark.parametrize("lines", [1, 5000])
@pytest.mark.parametrize("records", [False, True], ids=["bytes", "records"])
async def test_session_terminated_while_the_source_waits_ends_it(
    server: PostgresServer, table: str, lines: int, records: bool
) -> None:
    application = unique_name("copy_in_end")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=1, max_size=1) as pool:
        source = Source(lines)
        copying = asyncio.create_task(
            pool.copy_records_to_table(table, records=source.records())
            if records
            else pool.copy_to_table(table, source=source)
        )
        await source.waits.wait()
        await asyncio.to_thread(server.kill_backends, application)
        with pytest.raises(ENDED) as caught:
            await copying
        assert "terminating connection due to administrator command" in str(caught.value)
        await usable(pool)
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0
        await settled(pool)


@pytest.mark.parametrize("rows", [1, 100_000])
async def test_session_terminated_while_the_writer_is_busy_ends_it(server: PostgresServer, rows: int) -> None:
    application = unique_name("copy_out_end")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=1, max_size=1) as pool:

        async def write(data: bytes) -> None:
            await asyncio.to_thread(server.kill_backends, application)

        with pytest.raises(ENDED):
            await pool.copy_from_query(f"SELECT repeat('x', 1000) FROM generate_series(1, {rows})", output=write)
        await usable(pool)
        await settled(pool)


async def test_server_that_crashes_in_the_middle_costs_the_data_and_no_slot(
    own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    server = own_server()
    dsn = server.dsn()
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2) as pool:
        async with pool.acquire() as conn, conn.transaction():
            await conn.execute("SET LOCAL synchronous_commit = on")  # the table itself must survive the crash
            await conn.execute("CREATE TABLE crashed (id int, t text)")
        source = Source(5000)
        waits = asyncio.Event()

        async def write(data: bytes) -> None:
            waits.set()
            await asyncio.Event().wait()

        copying = [
            asyncio.create_task(pool.copy_to_table("crashed", source=source)),
            asyncio.create_task(pool.copy_from_query("SELECT 1", output=write)),
        ]
        await source.waits.wait()
        await waits.wait()
        await asyncio.to_thread(server.stop, "immediate")
        for each in copying:
            with pytest.raises(ENDED):
                await each
        await asyncio.to_thread(server.start)

        async def is_back() -> bool:
            try:
                return bool(await pool.fetchval("SELECT count(*) FROM crashed") == 0)
            except (OSError, exceptions.PostgresError, exceptions.InterfaceError):
                return False

        await until(is_back, "the pool works again, and nothing was copied")
        await usable(pool)


@pytest.mark.parametrize("how", ["close_connections", "reset_connections"])
async def test_network_that_ends_in_the_middle_ends_it(proxy: DelayProxy, proxy_dsn: str, table: str, how: str) -> None:
    async with holisticpool.create_pool(proxy_dsn, min_size=1, max_size=1) as pool:
        source = Source(2000)
        copying = asyncio.create_task(pool.copy_to_table(table, source=source))
        await source.waits.wait()
        await asyncio.to_thread(getattr(proxy, how))
        with pytest.raises(exceptions.ConnectionDoesNotExistError):
            await copying
        await usable(pool)
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_server_that_hangs_in_the_middle_is_left_at_the_timeout(
    server: PostgresServer, observer: Observer, table: str
) -> None:
    application = unique_name("copy_hang")
    dsn = server.dsn(application_name=application)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, acquire_timeout=60) as pool:
        source = Source(10)
        copying = asyncio.create_task(pool.copy_to_table(table, source=source, timeout=0.5))
        await source.waits.wait()
        with server.freeze_backends(application):
            with pytest.raises(exceptions.QueryTimeoutError):
                await copying
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0
        await usable(pool)


# ---- servers that make no sense ----

VERSION_11 = (
    AUTH_OK
    + message(b"S", b"client_encoding\0UTF8\0")
    + message(b"S", b"server_version\x0011.22\0")
    + message(b"K", bytes(8))
    + READY
)
COPY_IN = message(b"G", b"\0\0\0")
COPY_OUT = message(b"H", b"\0\0\0")


async def test_where_is_refused_before_postgresql_12() -> None:
    with server_that(says(VERSION_11, stay=True)) as dsn:
        session = await holisticpool.connect(dsn)
        with pytest.raises(exceptions.UnsupportedServerFeatureError, match="requires PostgreSQL 12 or later"):
            await session.copy_to_table("t", source=memoryview(b""), where="true")
        session.terminate()


ANSWERS: dict[str, bytes] = {
    "the other direction": COPY_OUT,
    "both directions": message(b"W", b"\0\0\0"),
    "no copy at all": message(b"C", b"SELECT 1\0") + READY,
    "rows of a query": message(b"T", b"\0\0") + message(b"C", b"SELECT 0\0") + READY,
    "garbage": b"\x01\x02\x03\x04\x05\x06\x07\x08",
    "an end after the beginning": COPY_IN,
    "an error after the beginning": COPY_IN + error(b"57P01", b"going down"),
    "garbage after the beginning": COPY_IN + b"\x01\x02\x03\x04\x05\x06\x07\x08" * 100,
    "rows after the beginning": COPY_IN + message(b"d", b"1\n") + message(b"c"),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_odd_answer_to_a_copy_is_no_hang(answer: str) -> None:
    def reply(connection: Any) -> None:
        connection.sendall(VERSION_11)
        connection.recv(4096)
        connection.sendall(ANSWERS[answer])

    with server_that(reply) as dsn:
        session = await holisticpool.connect(dsn)
        source = Source(1)
        try:
            await asyncio.wait_for(session.copy_to_table("t", source=source), 20)
        except asyncio.TimeoutError:
            pytest.fail("it hangs")
        except (*ENDED, exceptions.InterfaceError, exceptions.InternalClientError):
            pass
        session.terminate()
