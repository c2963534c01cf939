"""executemany(): each set of arguments or none."""

from __future__ import annotations

import asyncio
import collections
from typing import Any

import pytest

from holisticpool import Connection, Pool, exceptions


async def test_executemany_runs_each(conn: Connection, table: str) -> None:
    assert await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", [(1, "a"), [2, "b"], (3, None)]) is None  # type: ignore[func-returns-value]
    assert [tuple(row) for row in await conn.fetch(f"SELECT * FROM {table} ORDER BY id")] == [
        (1, "a"),
        (2, "b"),
        (3, None),
    ]


async def test_executemany_is_atomic(conn: Connection, table: str) -> None:
    insert = f"INSERT INTO {table} VALUES ($1, $2)"
    for n in (3, 1000):
        with pytest.raises(exceptions.UniqueViolationError):
            await conn.executemany(insert, [(i, "x") for i in range(n)] + [(0, "again")] + [(n + 1, "y")])
        assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert not conn.is_in_transaction()


async def test_executemany_in_a_transaction_fails_with_it(conn: Connection, table: str) -> None:
    insert = f"INSERT INTO {table} VALUES ($1, $2)"
    async with conn.transaction():
        await conn.executemany(insert, [(1, "a")])
        with pytest.raises(exceptions.UniqueViolationError):
            async with conn.transaction():
                await conn.executemany(insert, [(2, "b"), (1, "again")])
        await conn.executemany(insert, [(3, "c")])
    assert [row["id"] for row in await conn.fetch(f"SELECT id FROM {table} ORDER BY id")] == [1, 3]


async def test_executemany_of_nothing_does_nothing(conn: Connection, table: str) -> None:
    empty: list[Any] = [[], (), iter(())]
    for nothing in empty:
        assert await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", nothing) is None  # type: ignore[func-returns-value]
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_executemany_of_fifty_thousand_rows(conn: Connection, table: str) -> None:
    await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", [(i, f"name {i}") for i in range(50_000)])
    row: Any = await conn.fetchrow(f"SELECT count(*), sum(id), max(name) FROM {table}")
    assert tuple(row) == (50_000, sum(range(50_000)), "name 9999")


@pytest.mark.parametrize("bad", [1, 63, 64, 65, 10_000, 49_999])
async def test_executemany_error_among_many_rows_leaves_nothing_and_keeps_the_connection(
    conn: Connection, table: str, bad: int
) -> None:
    pid = conn.get_server_pid()
    rows = [(i if i != bad else 0, "x" * 100) for i in range(50_000)]
    with pytest.raises(exceptions.UniqueViolationError):
        await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", rows)
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert conn.get_server_pid() == pid


async def test_executemany_that_cannot_be_prepared_keeps_the_connection(conn: Connection, table: str) -> None:
    insert = f"INSERT INTO {table} (id, name) VALUES ($1, $2)"
    await conn.executemany(insert, [(1, "a")])
    await conn.execute(f"DEALLOCATE ALL; ALTER TABLE {table} RENAME COLUMN name TO other")
    with pytest.raises(exceptions.UndefinedColumnError):
        await conn.executemany(insert, [(i, "x" * 100) for i in range(2, 50_000)])
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 1


async def test_executemany_with_results_drops_them(conn: Connection) -> None:
    await conn.executemany("SELECT repeat('x', 1000), $1::int", [(i,) for i in range(5000)])
    assert await conn.fetchval("SELECT 1") == 1


async def test_executemany_takes_a_generator(conn: Connection, table: str) -> None:
    await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", ((i, "g") for i in range(10)))
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 10


async def test_executemany_of_a_generator_that_fails_sends_nothing(conn: Connection, table: str) -> None:
    def rows() -> Any:
        yield (1, "a")
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", rows())
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_executemany_takes_records_and_named_tuples(conn: Connection, table: str) -> None:
    Pair = collections.namedtuple("Pair", "id name")
    rows: list[Any] = await conn.fetch("SELECT 1 AS id, 'record' AS name")
    await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", [*rows, Pair(2, "named")])
    assert await conn.fetchval(f"SELECT string_agg(name, ',' ORDER BY id) FROM {table}") == "record,named"


async def test_executemany_without_parameters(conn: Connection, table: str) -> None:
    await conn.execute("CREATE TEMP TABLE counted (n serial)")
    await conn.executemany("INSERT INTO counted DEFAULT VALUES", [(), (), ()])
    assert await conn.fetchval("SELECT count(*) FROM counted") == 3
    await conn.execute("DROP TABLE counted")


@pytest.mark.parametrize("rows", [[(1, "a"), (2, 5)], [(1, "a"), (2, "b"), (3, b"c")]])
async def test_executemany_bad_argument_is_named_by_element_and_position(
    conn: Connection, table: str, rows: list[tuple[Any, ...]]
) -> None:
    element = len(rows) - 1
    for _ in range(2):
        with pytest.raises(exceptions.DataError) as caught:
            await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", rows)
        assert str(caught.value).startswith(
            f"invalid input for query argument $2 in element #{element} of executemany() sequence: {rows[-1][1]!r} ("
        )
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_executemany_wrong_number_of_arguments(conn: Connection, table: str) -> None:
    for _ in range(2):
        with pytest.raises(exceptions.InterfaceError, match="the server expects 2 arguments for this query, 1 was"):
            await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", [(1, "a"), (2,)])


@pytest.mark.parametrize("rows", [["ab"], [1], [None], [b"ab"], [{"id": 1, "name": 2}], [(1, "a"), 5]])
async def test_executemany_element_that_is_no_sequence_is_named(conn: Connection, table: str, rows: list[Any]) -> None:
    with pytest.raises(exceptions.DataError, match=r"element #\d: a sequence of arguments is expected"):
        await conn.executemany(f"INSERT INTO {table} VALUES ($1, $2)", rows)


@pytest.mark.parametrize("rows", [None, 1])
async def test_executemany_of_what_is_no_iterable_is_a_type_error(conn: Connection, rows: Any) -> None:
    with pytest.raises(TypeError):
        await conn.executemany("SELECT $1::int", rows)


async def test_cancelled_executemany_leaves_nothing(dsn: str, single: Pool) -> None:
    await single.execute("CREATE TABLE IF NOT EXISTS cancelled_many (n int, t text); TRUNCATE cancelled_many")
    async with single.acquire() as connection:
        task = asyncio.create_task(
            connection.executemany(
                "INSERT INTO cancelled_many VALUES ($1, $2)", [(i, "x" * 1000) for i in range(20_000)]
            )
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await single.fetchval("SELECT count(*) FROM cancelled_many") == 0
    await single.execute("DROP TABLE cancelled_many")
