"""Work other than one query at a time, through asyncpg's interface, inside a driver's own process.

Each chore prepares what it needs before the clock starts, does its work once, and says how long that took, and for how
much of that the session's process in the server had work. `count` is how much of it: rows, queries or transactions.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.workloads import BULK, ROW, SCHEMA

NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Taken:
    """`server_seconds`: for so long had the session's process something to do; None where that cannot be told."""

    seconds: float
    server_seconds: float | None


class Clock:
    """Runs from when it is made."""

    def __init__(self, connection: Any) -> None:
        self._pid = int(connection.get_server_pid())
        self._worked = _worked_ns(self._pid)
        self._began = time.perf_counter()

    def taken(self) -> Taken:
        seconds = time.perf_counter() - self._began
        worked = _worked_ns(self._pid)
        if worked is None or self._worked is None:
            return Taken(seconds, None)
        return Taken(seconds, (worked - self._worked) / NS_PER_SECOND)


def _worked_ns(pid: int) -> int | None:
    """What Linux has counted for a process of this machine: its time on a processor, and waiting for one."""
    try:
        on_processor, waiting, _slices = Path(f"/proc/{pid}/schedstat").read_text().split()
    except OSError:
        return None
    return int(on_processor) + int(waiting)


Chore = Callable[[Any, int, str], Awaitable[Taken]]
"""(pool, count, path of a file to read or write) -> what it took."""


@dataclass(frozen=True)
class Kind:
    """A chore and how it is called in tables; `counted` names what its count counts."""

    title: str
    counted: str
    run: Chore


async def executemany(pool: Any, count: int, _path: str) -> Taken:
    rows = _rows(count)
    async with pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {SCHEMA}.{BULK}")
        clock = Clock(connection)
        await connection.executemany(f"INSERT INTO {SCHEMA}.{BULK} VALUES ($1, $2, $3)", rows)
        return clock.taken()


async def fetchmany(pool: Any, count: int, _path: str) -> Taken:
    rows = _rows(count)
    async with pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {SCHEMA}.{BULK}")
        clock = Clock(connection)
        found = await connection.fetchmany(f"INSERT INTO {SCHEMA}.{BULK} VALUES ($1, $2, $3) RETURNING id", rows)
        taken = clock.taken()
    if [row["id"] for row in found] != [row[0] for row in rows]:
        raise RuntimeError("fetchmany() gave other rows than were inserted")
    return taken


async def copy_records(pool: Any, count: int, _path: str) -> Taken:
    rows = _rows(count)
    async with pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {SCHEMA}.{BULK}")
        clock = Clock(connection)
        status = await connection.copy_records_to_table(BULK, schema_name=SCHEMA, records=rows)
        return _checked(clock.taken(), status, count)


async def copy_in(pool: Any, count: int, path: str) -> Taken:
    async with pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {SCHEMA}.{BULK}")
        clock = Clock(connection)
        status = await connection.copy_to_table(BULK, schema_name=SCHEMA, source=path)
        return _checked(clock.taken(), status, count)


async def copy_out(pool: Any, count: int, path: str) -> Taken:
    async with pool.acquire() as connection:
        clock = Clock(connection)
        status = await connection.copy_from_table(BULK, schema_name=SCHEMA, output=f"{path}.out")
        return _checked(clock.taken(), status, count)


async def prepared(pool: Any, count: int, _path: str) -> Taken:
    keys = (ROW.shuffled_keys() * (count // len(ROW.keys) + 1))[:count]
    async with pool.acquire() as connection:
        fetch = (await connection.prepare(ROW.sql)).fetch
        await fetch(keys[0])
        clock = Clock(connection)
        for key in keys:
            await fetch(key)
        return clock.taken()


async def cursor(pool: Any, count: int, _path: str) -> Taken:
    sql = f"SELECT id, name, price FROM {SCHEMA}.{BULK} LIMIT {count}"
    seen = 0
    async with pool.acquire() as connection, connection.transaction():
        clock = Clock(connection)
        async for _row in connection.cursor(sql):
            seen += 1
        taken = clock.taken()
    if seen != count:
        raise RuntimeError(f"the cursor gave {seen} rows instead of {count}")
    return taken


async def one_query(pool: Any, count: int, _path: str) -> Taken:
    """A query on a lease, which is one round trip: the measure of the others."""
    async with pool.acquire() as connection:
        await connection.fetchrow(ROW.sql, 1)
        clock = Clock(connection)
        for _ in range(count):
            await connection.fetchrow(ROW.sql, 1)
        return clock.taken()


async def transaction(pool: Any, count: int, _path: str) -> Taken:
    """Transactions with two statements each, on one lease."""
    async with pool.acquire() as connection:
        await _transaction(connection)
        clock = Clock(connection)
        for _ in range(count):
            await _transaction(connection)
        return clock.taken()


async def _transaction(connection: Any) -> None:
    async with connection.transaction():
        await connection.fetchrow(ROW.sql, 1)
        await connection.fetchrow(ROW.sql, 2)


async def piped_transaction(pool: Any, count: int, _path: str) -> Taken:
    """The same through Connection.pipeline(), which only holisticpool has."""
    async with pool.acquire() as connection:
        await _piped_transaction(connection)
        clock = Clock(connection)
        for _ in range(count):
            await _piped_transaction(connection)
        return clock.taken()


async def _piped_transaction(connection: Any) -> None:
    async with connection.pipeline() as pipe, pipe.transaction():
        pipe.fetchrow(ROW.sql, 1)
        pipe.fetchrow(ROW.sql, 2)


CHORES = {
    "executemany": Kind("executemany of an INSERT", "rows", executemany),
    "fetchmany": Kind("fetchmany of an INSERT ... RETURNING", "rows", fetchmany),
    "copy_records": Kind("copy_records_to_table", "rows", copy_records),
    "copy_in": Kind("copy_to_table from a file", "rows", copy_in),
    "copy_out": Kind("copy_from_table to a file", "rows", copy_out),
    "prepared": Kind("prepared statement, fetch", "queries", prepared),
    "cursor": Kind("async for over a cursor", "rows", cursor),
    "one_query": Kind("a query on a lease", "queries", one_query),
    "transaction": Kind("a transaction of two statements", "transactions", transaction),
    "piped_transaction": Kind("the same by conn.pipeline()", "transactions", piped_transaction),
}


def _rows(count: int) -> list[tuple[int, str, float]]:
    return [(number, f"item number {number}", number * 0.25) for number in range(count)]


def _checked(taken: Taken, status: str, count: int) -> Taken:
    if status != f"COPY {count}":
        raise RuntimeError(f"{status!r} instead of COPY {count}")
    return taken
