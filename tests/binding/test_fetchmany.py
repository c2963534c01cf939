"""fetchmany(): the rows of one statement for each set of arguments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, Record, exceptions

MANY = 5000


async def test_rows_come_in_the_order_of_the_arguments(conn: Connection) -> None:
    rows = await conn.fetchmany("SELECT $1::int AS n, i FROM generate_series(1, $2::int) i", [(7, 2), (8, 0), (9, 1)])
    assert [dict(row) for row in rows] == [{"n": 7, "i": 1}, {"n": 7, "i": 2}, {"n": 9, "i": 1}]


async def test_fetchmany_does_what_asyncpgs_does(dsn: str) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")
    seen = []
    for driver in (asyncpg, holisticpool):
        connection = await driver.connect(dsn)
        await connection.execute("CREATE TEMP TABLE many_t (a text, b int PRIMARY KEY)")
        insert = "INSERT INTO many_t VALUES ($1, $2)"
        results: list[Any] = [
            await connection.fetchmany(f"{insert} RETURNING a, b", [("a", 1), ("b", 2)]),
            await connection.fetchmany(f"{insert} RETURNING b", ()),
            await connection.fetchmany(insert, [("c", 3), ("d", 4)]),
        ]
        statement = await connection.prepare(f"{insert} RETURNING b")
        results.append(await statement.fetchmany([("e", 5), ("f", 6)]))
        try:
            await statement.fetchmany([("g", 7), ("a", 1)])
        except driver.UniqueViolationError as error:
            results.append(str(error))
        results.append(await connection.fetch("SELECT * FROM many_t"))
        seen.append([[tuple(row) for row in each] if isinstance(each, list) else each for each in results])
        await connection.close()
    assert seen[0] == seen[1]


async def test_many_sets_and_rows(conn: Connection, table: str) -> None:
    insert = f"INSERT INTO {table} VALUES ($1, $2) RETURNING id, name"
    rows = await conn.fetchmany(insert, [(n, f"name {n}") for n in range(MANY)])
    assert [tuple(row) for row in rows] == [(n, f"name {n}") for n in range(MANY)]


async def test_sets_of_iterators(conn: Connection) -> None:
    async def asynchronous() -> Any:
        for n in range(MANY):
            yield (n,)

    for source in (((n,) for n in range(MANY)), asynchronous()):
        rows = await conn.fetchmany("SELECT $1::int", source)
        assert [row[0] for row in rows] == list(range(MANY))


async def test_record_class(conn: Connection) -> None:
    class Own(Record):
        pass

    sets = [(1,), (2,)]
    assert {type(row) for row in await conn.fetchmany("SELECT $1::int", sets, record_class=Own)} == {Own}
    assert {type(row) for row in await conn.fetchmany("SELECT $1::int", iter(sets), record_class=Own)} == {Own}
    statement = await conn.prepare("SELECT $1::int", record_class=Own)
    assert {type(row) for row in await statement.fetchmany(sets)} == {Own}
    with pytest.raises(exceptions.InterfaceError, match="record_class"):
        await conn.fetchmany("SELECT $1::int", sets, record_class=dict)  # type: ignore[arg-type]


async def test_error_undoes_everything(conn: Connection, table: str) -> None:
    insert = f"INSERT INTO {table} VALUES ($1, 'x') RETURNING id"
    with pytest.raises(exceptions.UniqueViolationError):
        await conn.fetchmany(insert, [(n,) for n in [*range(100), 5]])
    with pytest.raises(exceptions.DataError, match=r"in element #1 of fetchmany\(\) sequence"):
        await conn.fetchmany(insert, [(1,), ("x",)])
    with pytest.raises(exceptions.DataError, match=r"invalid input in fetchmany\(\) sequence element #1"):
        await conn.fetchmany(insert, [(1,), 2])  # type: ignore[list-item]
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_decoder_that_fails_is_the_error_and_leaves_the_session_usable(conn: Connection) -> None:
    def decode(text: str) -> int:
        seen.append(text)
        raise KeyError(text)

    seen: list[str] = []
    await conn.set_type_codec("int2", schema="pg_catalog", encoder=str, decoder=decode)
    with pytest.raises(KeyError, match="0"):
        await conn.fetchmany("SELECT $1::int2", [(n,) for n in range(100)])
    assert seen == ["0"]
    assert await conn.fetchval("SELECT 1") == 1


async def test_decoder_that_ends_the_session(single: Pool) -> None:
    connection = await single.acquire()

    def decode(text: str) -> str:
        if text == "50":
            connection.terminate()
        return text

    await connection.set_type_codec("int2", schema="pg_catalog", encoder=str, decoder=decode)
    with pytest.raises((exceptions.InterfaceError, exceptions.PostgresError, ConnectionError)):
        await connection.fetchmany("SELECT $1::int2", [(n,) for n in range(100)])
    await single.release(connection)
    assert await single.fetchval("SELECT 1") == 1


async def test_statement_that_the_server_has_lost_is_prepared_again(conn: Connection) -> None:
    for statement in (conn, await conn.prepare("SELECT $1::int")):
        arguments = ("SELECT $1::int",) if statement is conn else ()
        for _ in range(2):
            rows = await statement.fetchmany(*arguments, [(1,), (2,)])  # type: ignore[arg-type, call-arg]
            assert rows == [(1,), (2,)]
            await conn.execute("DEALLOCATE ALL")


async def test_timeout_leaves_the_session_usable(conn: Connection) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await conn.fetchmany("SELECT pg_sleep($1)", [(0.0,), (60.0,)], timeout=0.1)
    assert await conn.fetchval("SELECT 1") == 1


async def test_fetchmany_of_a_pool(pool: Pool) -> None:
    assert await pool.fetchmany("SELECT $1::int", [(1,), (2,)]) == [(1,), (2,)]
    assert await pool.fetchmany("SELECT $1::int", []) == []


async def test_released_connection_refuses(single: Pool) -> None:
    async with single.acquire() as connection:
        statement = await connection.prepare("SELECT $1::int")
    with pytest.raises(exceptions.InterfaceError, match=r"Connection\.fetchmany\(\): connection has been released"):
        await connection.fetchmany("SELECT $1::int", [(1,)])
    with pytest.raises(exceptions.InterfaceError, match=r"PreparedStatement\.fetchmany\(\): the underlying"):
        await statement.fetchmany([(1,)])
