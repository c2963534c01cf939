"""rows="dict" and params= beyond fetch(): cursors, streams, fetchmany() and prepared statements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool

READS = "SELECT n AS a, n + :more::int AS b FROM generate_series(1, :last::int) AS n ORDER BY n"
RETURNS = "INSERT INTO binding_t SELECT n, :name::text FROM generate_series(1, :last::int) AS n RETURNING id"
PARAMS = {"last": 3, "more": 10, "unused": object()}
ROWS = [{"a": 1, "b": 11}, {"a": 2, "b": 12}, {"a": 3, "b": 13}]

Reader = Callable[[Connection, str, dict[str, Any]], AsyncIterator[Any]]


async def by_iteration(conn: Connection, query: str, options: dict[str, Any]) -> AsyncIterator[Any]:
    async with conn.transaction():
        async for row in conn.cursor(query, prefetch=2, **options):
            yield row


async def by_hand(conn: Connection, query: str, options: dict[str, Any]) -> AsyncIterator[Any]:
    async with conn.transaction():
        cursor = await conn.cursor(query, **options)
        yield await cursor.fetchrow()
        for row in await cursor.fetch(10):
            yield row


async def by_stream(conn: Connection, query: str, options: dict[str, Any]) -> AsyncIterator[Any]:
    async with aclosing(conn.stream(query, prefetch=2, **options)) as rows:
        async for row in rows:
            yield row


async def by_prepared_cursor(conn: Connection, query: str, options: dict[str, Any]) -> AsyncIterator[Any]:
    statement = await conn.prepare(query, params=True)
    async with conn.transaction():
        async for row in statement.cursor(prefetch=2, **options):
            yield row


async def by_prepared_hand(conn: Connection, query: str, options: dict[str, Any]) -> AsyncIterator[Any]:
    statement = await conn.prepare(query, params=True)
    async with conn.transaction():
        cursor = await statement.cursor(**options)
        for row in await cursor.fetch(10):
            yield row


READERS = [by_iteration, by_hand, by_stream, by_prepared_cursor, by_prepared_hand]


async def collected(rows: AsyncIterator[Any]) -> list[Any]:
    return [row async for row in rows]


@pytest.mark.parametrize("read", READERS)
async def test_rows_come_as_dicts_of_a_query_with_names(conn: Connection, read: Reader) -> None:
    rows = await collected(read(conn, READS, {"params": PARAMS, "rows": "dict"}))
    assert rows == ROWS
    assert {type(row) for row in rows} == {dict}


@pytest.mark.parametrize("read", READERS)
async def test_rows_of_what_cannot_be_declared_come_as_dicts_too(conn: Connection, table: str, read: Reader) -> None:
    rows = await collected(read(conn, RETURNS, {"params": {"last": 3, "name": "x"}, "rows": "dict"}))
    assert rows == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert await conn.fetchval(f"SELECT count(*) FROM {table} WHERE name = 'x'") == 3


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("form", ["record", None])
async def test_other_forms_are_records(conn: Connection, read: Reader, form: str | None) -> None:
    rows = await collected(read(conn, READS, {"params": PARAMS, "rows": form}))
    assert {type(row) for row in rows} == {holisticpool.Record}
    assert [dict(row) for row in rows] == ROWS


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rows": "tuple"}, ValueError, "'record' or 'dict', got 'tuple'"),
        ({"params": {"last": 3}}, holisticpool.InterfaceError, "parameter 'more', which params= does not"),
        ({"params": [1, 2]}, TypeError, "a mapping, got list"),
        ({"params": {"last": "x", "more": 1}}, holisticpool.DataError, "str"),
    ],
)
async def test_wrong_options_are_refused_and_leave_the_connection_usable(
    conn: Connection, read: Reader, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await collected(read(conn, READS, {"params": PARAMS, **options}))
    assert await conn.fetchval("SELECT 1") == 1


async def test_stream_of_a_pool(pool: Pool) -> None:
    async with aclosing(pool.stream(READS, prefetch=2, rows="dict", params=PARAMS)) as rows:
        assert await collected(rows) == ROWS
    async with aclosing(pool.stream(READS, params={})) as rows:
        with pytest.raises(holisticpool.InterfaceError, match="which params= does not have"):
            await collected(rows)
    with pytest.raises(ValueError, match="'record' or 'dict'"):
        pool.stream(READS, rows="list", params=PARAMS)  # type: ignore[arg-type]
    assert pool.get_size() == pool.get_idle_size()


async def test_dicts_and_a_record_class_are_not_both_to_be_had(conn: Connection) -> None:
    both: dict[str, Any] = {"rows": "dict", "record_class": holisticpool.Record}
    calls: list[Callable[[], Any]] = [
        lambda: conn.fetch("SELECT 1", **both),
        lambda: conn.fetchrow("SELECT 1", **dict(reversed(both.items()))),
        lambda: conn.cursor("SELECT 1", **both),
        lambda: conn.stream("SELECT 1", **both),
        lambda: conn.fetchmany("SELECT $1::int", [(1,)], **both),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="not both"):
            await call()
    assert await conn.fetch("SELECT 1 AS a", rows="dict", record_class=None) == [{"a": 1}]


async def test_arguments_by_position_and_by_name_are_not_both_to_be_had(conn: Connection) -> None:
    with pytest.raises(TypeError, match="not both"):
        conn.cursor("SELECT $1::int", 1, params={})
    async with aclosing(conn.stream("SELECT $1::int", 1, params={})) as rows:
        with pytest.raises(TypeError, match="not both"):
            await collected(rows)


async def test_fetchmany_gives_dicts(pool: Pool) -> None:
    sets = [{"n": 1}, {"n": 2}]
    query = "SELECT :n::int AS n"
    assert await pool.fetchmany(query, sets, rows="dict") == sets
    async with pool.acquire() as connection:
        assert await connection.fetchmany(query, iter(sets), rows="dict") == sets
        assert await connection.fetchmany(query, sets, rows="record") == [(1,), (2,)]
        statement = await connection.prepare(query, params=True)
        assert await statement.fetchmany(sets, rows="dict") == sets
        assert await statement.fetchmany(iter(sets)) == [(1,), (2,)]


@pytest.mark.parametrize("query", ["SELECT :a::int + :b::int * :a", "SELECT $a::int + $b::int * $a"])
async def test_prepared_statement_takes_a_mapping(conn: Connection, query: str) -> None:
    statement = await conn.prepare(query, params=True)
    params = {"b": 3, "a": 2}
    for _ in range(2):
        assert await statement.fetchval(params=params) == 8
        assert await statement.fetchrow(params=params) == (8,)
        assert await statement.fetch(params=params) == [(8,)]
    assert statement.get_query() == "SELECT $1::int + $2::int * $1"
    assert [parameter.name for parameter in statement.get_parameters()] == ["int4", "int4"]
    assert (await statement.explain(params=params))[0]["Plan"]["Node Type"] == "Result"


async def test_prepared_statement_gives_dicts(conn: Connection) -> None:
    statement = await conn.prepare("SELECT $1::int AS a")
    assert await statement.fetch(1, rows="dict") == [{"a": 1}]
    assert await statement.fetchrow(1, rows="dict") == {"a": 1}
    assert await statement.fetch(1) == [(1,)]
    async with conn.transaction():
        assert [row async for row in statement.cursor(1, rows="dict")] == [{"a": 1}]


async def test_prepared_executemany_takes_mappings(conn: Connection, table: str) -> None:
    statement = await conn.prepare(f"INSERT INTO {table} VALUES (:id, :name)", params=True)
    sets = [{"name": str(n), "id": n} for n in range(3)]
    await statement.executemany(sets)
    await statement.executemany({"name": str(n), "id": n} for n in range(3, 1000))
    assert await conn.fetchval(f"SELECT count(*) FROM {table} WHERE name = id::text") == 1000
    with pytest.raises(holisticpool.DataError, match="element #0: a mapping is expected, since the statement"):
        await statement.executemany([(1001, "x")])
    with pytest.raises(holisticpool.InterfaceError, match="'name'"):
        await statement.executemany([{"id": 1001, "name": "x"}, {"id": 1002}])
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 1000


async def test_prepared_statement_takes_arguments_as_it_was_prepared_for(conn: Connection) -> None:
    numbered: Any = await conn.prepare("SELECT $1::int")
    named: Any = await conn.prepare("SELECT :a::int", params=True)
    for call in (numbered.fetchval, numbered.fetch, numbered.cursor, numbered.explain):
        with pytest.raises(TypeError, match="prepared without params=True takes its arguments by position"):
            await call(params={"a": 1})
    for call in (named.fetchval, named.fetch, named.cursor, named.explain):
        for args in ((1,), ()):
            with pytest.raises(TypeError, match="prepared with params=True takes its arguments by params="):
                await call(*args)
        with pytest.raises(holisticpool.InterfaceError, match="'a'"):
            await call(params={})
    assert await numbered.fetchval(1) == 1
    assert await named.fetchval(params={"a": 1}) == 1


async def test_prepared_with_params_but_no_names(conn: Connection) -> None:
    statement = await conn.prepare("SELECT 1", params=True)
    assert await statement.fetchval() == 1
    assert await statement.fetchval(params={"a": 1}) == 1
    with pytest.raises(holisticpool.InterfaceError, match="by number"):
        await conn.prepare("SELECT $1::int, :a::int", params=True)


async def test_names_hold_when_a_prepared_statement_is_prepared_again(conn: Connection) -> None:
    statement = await conn.prepare("SELECT :a::int AS a", params=True)
    await conn.execute("DEALLOCATE ALL")
    assert await statement.fetch(params={"a": 5}, rows="dict") == [{"a": 5}]
