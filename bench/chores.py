"""Work other than one query at a time, through asyncpg's interface, inside a driver's own process.

Each chore prepares what it needs before the clock starts, does its work once, and says how long that took. `count` is
how much of it: rows, queries or transactions.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bench.workloads import BULK, ROW, SCHEMA

Chore = Callable[[Any, int, str], Awaitable[float]]
"""(pool, count, path of a file to read or write) -> seconds."""


@dataclass(frozen=True)
class Kind:
    """A chore and how it is called in tables; `counted` names what its count counts."""

    title: str
    counted: str
    run: Chore


async def executemany(pool: Any, count: int, _path: str) -> float:
    rows = _rows(count)
    async with pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {SCHEMA}.{BULK}")
        began = time.perf_counter()
        await connection.executemany(f"INSERT INTO {SCHEMA}.{BULK} VALUES ($1, $2, $3)", rows)
        return time.perf_counter() - began


async def copy_records(pool: Any, count: int, _path: str) -> float:
    rows = _rows(count)
    async with pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {SCHEMA}.{BULK}")
        began = time.perf_counter()
        status = await connection.copy_records_to_table(BULK, schema_name=SCHEMA, records=rows)
        return _checked(status, count, began)


async def copy_in(pool: Any, count: int, path: str) -> float:
    async with pool.acquire() as connection:
        await connection.execute(f"TRUNCATE {SCHEMA}.{BULK}")
        began = time.perf_counter()
        status = await connection.copy_to_table(BULK, schema_name=SCHEMA, source=path)
        return _checked(status, count, began)


async def copy_out(pool: Any, count: int, path: str) -> float:
    async with pool.acquire() as connection:
        began = time.perf_counter()
        status = await connection.copy_from_table(BULK, schema_name=SCHEMA, output=f"{path}.out")
        return _checked(status, count, began)


async def prepared(pool: Any, count: int, _path: str) -> float:
    keys = (ROW.shuffled_keys() * (count // len(ROW.keys) + 1))[:count]
    async with pool.acquire() as connection:
        fetch = (await connection.prepare(ROW.sql)).fetch
        await fetch(keys[0])
        began = time.perf_counter()
        for key in keys:
            await fetch(key)
        return time.perf_counter() - began


async def cursor(pool: Any, count: int, _path: str) -> float:
    sql = f"SELECT id, name, price FROM {SCHEMA}.{BULK} LIMIT {count}"
    seen = 0
    async with pool.acquire() as connection, connection.transaction():
        began = time.perf_counter()
        async for _row in connection.cursor(sql):
            seen += 1
        elapsed = time.perf_counter() - began
    if seen != count:
        raise RuntimeError(f"the cursor gave {seen} rows instead of {count}")
    return elapsed


async def one_query(pool: Any, count: int, _path: str) -> float:
    """A query on a lease, which is one round trip: the measure of the others."""
    async with pool.acquire() as connection:
        await connection.fetchrow(ROW.sql, 1)
        began = time.perf_counter()
        for _ in range(count):
            await connection.fetchrow(ROW.sql, 1)
        return time.perf_counter() - began


async def transaction(pool: Any, count: int, _path: str) -> float:
    """Transactions with two statements each, on one lease."""
    async with pool.acquire() as connection:
        await _transaction(connection)
        began = time.perf_counter()
        for _ in range(count):
            await _transaction(connection)
        return time.perf_counter() - began


async def _transaction(connection: Any) -> None:
    async with connection.transaction():
        await connection.fetchrow(ROW.sql, 1)
        await connection.fetchrow(ROW.sql, 2)


CHORES = {
    "executemany": Kind("executemany of an INSERT", "rows", executemany),
    "copy_records": Kind("copy_records_to_table", "rows", copy_records),
    "copy_in": Kind("copy_to_table from a file", "rows", copy_in),
    "copy_out": Kind("copy_from_table to a file", "rows", copy_out),
    "prepared": Kind("prepared statement, fetch", "queries", prepared),
    "cursor": Kind("async for over a cursor", "rows", cursor),
    "one_query": Kind("a query on a lease", "queries", one_query),
    "transaction": Kind("a transaction of two statements", "transactions", transaction),
}


def _rows(count: int) -> list[tuple[int, str, float]]:
    return [(number, f"item number {number}", number * 0.25) for number in range(count)]


def _checked(status: str, count: int, began: float) -> float:
    elapsed = time.perf_counter() - began
    if status != f"COPY {count}":
        raise RuntimeError(f"{status!r} instead of COPY {count}")
    return elapsed
