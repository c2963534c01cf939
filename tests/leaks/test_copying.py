"""A COPY leaves nothing behind: done, failed, cancelled or given up."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from growth import growth

from holisticpool import Pool, exceptions

ROUNDS = 40
FEW_ROUNDS = 8  # of what takes milliseconds

WORK: dict[str, tuple[Callable[[Pool], Awaitable[None]], int]] = {}

OUT = "SELECT i, repeat('x', 100) FROM generate_series(1, 2000) i"
ROWS = [(i, "x" * 100) for i in range(2000)]
DATA = b"".join(b"%d\tname\n" % i for i in range(20_000))


def work(rounds: int = ROUNDS) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        WORK[function.__name__] = (function, rounds)
        return function

    return register


async def nothing(data: bytes) -> None:
    pass


async def chunks(*, fail: bool = False, wait: bool = False) -> AsyncIterator[bytes]:
    for at in range(0, len(DATA), 30_000):
        yield DATA[at : at + 30_000]
    if fail:
        raise RuntimeError("the source is dry")
    if wait:
        await asyncio.Event().wait()


async def records() -> AsyncIterator[tuple[int, str]]:
    for row in ROWS:
        yield row


@work()
async def out_to_a_writer(pool: Pool) -> None:
    await pool.copy_from_query(OUT, output=nothing)


@work()
async def out_to_a_file(pool: Pool) -> None:
    await pool.copy_from_query(OUT, output=io.BytesIO())


@work()
async def out_to_a_path(pool: Pool) -> None:
    await pool.copy_from_query(OUT, output=os.devnull)


@work()
async def out_with_arguments(pool: Pool) -> None:
    await pool.copy_from_query("SELECT $1::int, $2::text[]", 1, ["x"], output=nothing)


@work()
async def in_from_chunks(pool: Pool) -> None:
    await pool.copy_to_table("copy_leaks", source=chunks())


@work()
async def in_from_a_file(pool: Pool) -> None:
    await pool.copy_to_table("copy_leaks", source=io.BytesIO(DATA))


@work()
async def in_from_records(pool: Pool) -> None:
    await pool.copy_records_to_table("copy_leaks", records=ROWS)
    await pool.copy_records_to_table("copy_leaks", records=records())


@work()
async def in_of_a_wrong_record(pool: Pool) -> None:
    for wrong in ((1, 2), (1,), None):
        with contextlib.suppress(exceptions.DataError):
            await pool.copy_records_to_table("copy_leaks", records=[*ROWS[:10], wrong])


@work()
async def server_error(pool: Pool) -> None:
    with contextlib.suppress(exceptions.BadCopyFileFormatError):
        await pool.copy_to_table("copy_leaks", source=memoryview(b"1\n"))
    with contextlib.suppress(exceptions.DivisionByZeroError):
        await pool.copy_from_query("SELECT 1/0", output=nothing)
    with contextlib.suppress(exceptions.UndefinedTableError):
        await pool.copy_records_to_table("nothing_there", records=ROWS)


@work()
async def source_error(pool: Pool) -> None:
    with contextlib.suppress(RuntimeError):
        await pool.copy_to_table("copy_leaks", source=chunks(fail=True))


@work()
async def writer_error(pool: Pool) -> None:
    async def write(data: bytes) -> None:
        raise RuntimeError("full")

    with contextlib.suppress(RuntimeError):
        await pool.copy_from_query("SELECT 1", output=write)


@work(FEW_ROUNDS)
async def timeouts(pool: Pool) -> None:
    with contextlib.suppress(exceptions.QueryTimeoutError):
        await pool.copy_to_table("copy_leaks", source=chunks(wait=True), timeout=0.02)
    with contextlib.suppress(exceptions.QueryTimeoutError):
        await pool.copy_from_query("SELECT pg_sleep(600)", output=nothing, timeout=0.02)
    await pool.fetchval("SELECT 1")


@work(FEW_ROUNDS)
async def cancelled(pool: Pool) -> None:
    started = asyncio.Event()

    async def write(data: bytes) -> None:
        started.set()
        await asyncio.Event().wait()

    for copying in (
        pool.copy_from_query("SELECT repeat('x', 1000) FROM generate_series(1, 2000)", output=write),
        pool.copy_to_table("copy_leaks", source=chunks(wait=True)),
        pool.copy_records_to_table("copy_leaks", records=ROWS),
    ):
        task = asyncio.create_task(copying)
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await pool.fetchval("SELECT 1")


@work()
async def never_started(pool: Pool) -> None:
    async with pool.acquire() as connection:
        connection._copy("Connection.copy_to_table", "COPY copy_leaks FROM STDIN", None, True, None)


@work(FEW_ROUNDS)
async def released_in_the_middle(pool: Pool) -> None:
    lease = await pool.acquire()

    async def source() -> AsyncIterator[bytes]:
        yield DATA
        await pool.release(lease)
        yield DATA

    with contextlib.suppress(exceptions.InterfaceError):
        await lease.copy_to_table("copy_leaks", source=source())
    await pool.fetchval("SELECT 1")


def wrong_iterator() -> Iterator[Any]:
    yield ROWS[0]
    raise RuntimeError("no more")


@work()
async def iterator_error(pool: Pool) -> None:
    with contextlib.suppress(RuntimeError):
        await pool.copy_records_to_table("copy_leaks", records=wrong_iterator())


@pytest.mark.parametrize("name", WORK)
async def test_leaves_nothing_behind(name: str, single: Pool) -> None:
    function, rounds = WORK[name]
    await single.execute("CREATE TABLE IF NOT EXISTS copy_leaks (id int, t text)")
    assert await growth(lambda: function(single), rounds) == {}
    await single.execute("TRUNCATE copy_leaks")
