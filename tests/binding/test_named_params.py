"""Arguments by name: fetch(query, params={...}) with :name and $name."""

from __future__ import annotations

import asyncio
import json
from collections import ChainMap, defaultdict
from types import MappingProxyType
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool


@pytest.mark.parametrize("query", ["SELECT :a::int + $b::int * :a", "SELECT $a::int + :b::int * $a"])
async def test_every_statement_method_takes_them(pool: Pool, query: str) -> None:
    params = {"a": 2, "b": 3, "unused": object()}
    assert await pool.fetchval(query, params=params) == 8
    assert await pool.fetchrow(query, params=params) == (8,)
    assert await pool.fetch(query, params=params) == [(8,)]
    assert await pool.execute(query, params=params) == "SELECT 1"
    async with pool.acquire() as connection:
        assert await connection.fetchval(query, params=params) == 8
        assert await connection.fetchrow(query, params=params) == (8,)
        assert await connection.fetch(query, params=params) == [(8,)]
        assert await connection.execute(query, params=params) == "SELECT 1"


async def test_same_text_is_one_statement(pool: Pool) -> None:
    async with pool.acquire() as connection:
        for n in range(5):
            assert await connection.fetchval("SELECT :n::int AS once", params={"n": n}) == n
        names = await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%AS once'")
        assert names == 1
        assert await connection.fetchval("SELECT $1::int AS once", 7) == 7
        texts = await connection.fetch("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%AS once'")
        assert [row["statement"] for row in texts] == ["SELECT $1::int AS once"]


@pytest.mark.parametrize(
    ("query", "params", "expected"),
    [
        ("SELECT (ARRAY[10,20,30])[1:2]", {}, [10, 20]),
        ("SELECT (ARRAY[10,20,30])[1:$n]", {"n": 2}, [10, 20]),
        ("SELECT (ARRAY[10,20,30])[:n]", {"n": 2}, 20),
        ("SELECT a[lo:hi] FROM (SELECT ARRAY[10,20,30] AS a, 2 AS lo, 3 AS hi) AS t", {}, [20, 30]),
        ("SELECT ':a' || $$:b$$ || $t$ $c $t$ /* :d */ || :e -- :f", {"e": "x"}, ":a:b $c x"),
        ("SELECT E'\\':a' || :b", {"b": "x"}, "':ax"),
        ("SELECT '2020-01-02'::date::text", {}, "2020-01-02"),
        ("SELECT :d::text::date::text", {"d": "2020-01-02"}, "2020-01-02"),
        ("SELECT (:j::jsonb -> :key) ->> $key", {"j": '{"k": {"k": 5}}', "key": "k"}, "5"),
        ("SELECT (:j::jsonb) ? :key", {"j": '{"k": 1}', "key": "k"}, True),
        ("SELECT make_date(year => :y, month := :m, day :=:d)::text", {"y": 2020, "m": 1, "d": 2}, "2020-01-02"),
        ("SELECT :größe::int", {"größe": 7}, 7),
        ("SELECT n FROM generate_series(1, 9) AS n ORDER BY n FETCH FIRST :n ROWS ONLY", {"n": 1}, 1),
        ("SELECT :n::int", {"n": None}, None),
    ],
)
async def test_only_names_are_replaced(pool: Pool, query: str, params: dict[str, Any], expected: Any) -> None:
    assert await pool.fetchval(query, params=params) == expected


async def test_value_never_becomes_text_of_the_statement(pool: Pool) -> None:
    hostile = "x'; DROP TABLE t; -- :other $1"
    assert await pool.fetchval("SELECT :value::text", params={"value": hostile}) == hostile
    assert await pool.fetchval("SELECT 5 -:n::int", params={"n": -1}) == 6


@pytest.mark.parametrize(
    "params",
    [MappingProxyType({"a": 1}), ChainMap({}, {"a": 1}), defaultdict(lambda: 1)],
    ids=lambda p: type(p).__name__,
)
async def test_any_mapping_will_do(pool: Pool, params: Any) -> None:
    assert await pool.fetchval("SELECT :a::int", params=params) == 1


async def test_codecs_and_dict_values_are_no_confusion(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, json="stdlib") as pool:
        assert await pool.fetchval("SELECT $1::jsonb", {"a": 1}) == {"a": 1}
        assert await pool.fetchval("SELECT :doc::jsonb", params={"doc": {"a": ":x"}}) == {"a": ":x"}


async def test_executemany_takes_mappings(conn: Connection, table: str) -> None:
    rows = [{"id": n, "name": f"name {n}"} for n in range(5)]
    await conn.executemany(f"INSERT INTO {table} (name, id) VALUES (:name, :id)", rows)
    assert await conn.fetch(f"SELECT id, name FROM {table} ORDER BY id", rows="dict") == rows
    await conn.executemany(
        f"UPDATE {table} SET name = upper(:name) WHERE id = $id", (MappingProxyType(r) for r in rows)
    )
    assert await conn.fetchval(f"SELECT name FROM {table} WHERE id = 4") == "NAME 4"
    await conn.executemany(f"INSERT INTO {table} VALUES (:id, :name)", [])


async def test_executemany_of_a_pool_takes_mappings(pool: Pool) -> None:
    await pool.execute("CREATE TABLE many_named (id int, name text)")
    try:
        await pool.executemany("INSERT INTO many_named VALUES (:id, :name)", [{"id": 1, "name": "x"}])
        assert await pool.fetch("SELECT * FROM many_named") == [(1, "x")]
    finally:
        await pool.execute("DROP TABLE many_named")


@pytest.mark.parametrize(
    ("second", "error", "message"),
    [
        ((2, "x"), holisticpool.DataError, "element #1: a mapping is expected"),
        ({"id": 2}, holisticpool.InterfaceError, "'name'"),
    ],
)
async def test_executemany_with_a_wrong_set_runs_none(
    conn: Connection, table: str, second: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await conn.executemany(f"INSERT INTO {table} VALUES (:id, :name)", [{"id": 1, "name": "x"}, second])
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize(
    ("query", "args", "params", "error", "message"),
    [
        ("SELECT :a::int, :b::int", (), {"a": 1}, holisticpool.InterfaceError, "parameter 'b', which params= does not"),
        ("SELECT :a::int, $1::int", (), {"a": 1}, holisticpool.InterfaceError, "by number"),
        ("SELECT :a::int", (1,), {"a": 1}, TypeError, "not both"),
        ("SELECT :a::int", (), [1], TypeError, "a mapping, got list"),
        ("SELECT :a::int", (), "a", TypeError, "a mapping, got str"),
        ("SELECT :a::int", (), {"a": "x"}, holisticpool.DataError, r"\$1"),
        (5, (), {"a": "x"}, TypeError, "must be a str"),
    ],
)
async def test_wrong_use_is_an_error_that_says_what(
    single: Pool, query: Any, args: tuple[Any, ...], params: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await single.fetchval(query, *args, params=params)
    assert await single.fetchval("SELECT 1") == 1


async def test_params_none_is_as_without(pool: Pool) -> None:
    assert await pool.fetchval("SELECT $1::int", 5, params=None) == 5
    assert await pool.execute("SELECT 1; SELECT 2", params=None) == "SELECT 1"
    with pytest.raises(holisticpool.PostgresSyntaxError):
        await pool.execute("SELECT 1; SELECT 2", params={})


async def test_more_texts_than_a_pool_remembers(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, statement_cache_size=5) as pool:
        for n in [*range(300), 0, 299]:
            assert await pool.fetchval(f"SELECT :v::int + {n}", params={"v": 1}) == n + 1


async def test_mapping_that_ends_its_connection_while_it_is_read(single: Pool) -> None:
    connection = await single.acquire()

    class Ending(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            connection.terminate()
            return 1

    with pytest.raises(holisticpool.InterfaceError):
        await connection.fetchval("SELECT :a::int", params=Ending())
    await single.release(connection)
    assert await single.fetchval("SELECT 1") == 1


async def test_mapping_that_fails_passes_its_error(single: Pool) -> None:
    class Failing(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise ZeroDivisionError(key)

    with pytest.raises(ZeroDivisionError, match="a"):
        await single.fetchval("SELECT :a::int", params=Failing())
    assert await single.fetchval("SELECT 1") == 1


async def test_pool_with_hooks_takes_params_and_rows(dsn: str) -> None:
    async def setup(connection: Any) -> None:
        await connection.execute("SET work_mem = '11MB'")

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, setup=setup) as pool:
        assert await pool.fetch("SELECT :a::int AS a", params={"a": 1}, rows="dict") == [{"a": 1}]
        assert await pool.fetchrow("SELECT :a::int AS a", params={"a": 1}, rows="dict") == {"a": 1}
        assert await pool.fetchval("SELECT :a::int", params={"a": 1}) == 1
        assert await pool.execute("SELECT :a::int", params={"a": 1}) == "SELECT 1"
        with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
            await pool.fetch("SELECT 1", nonsense=1)  # type: ignore[call-overload]


async def test_many_tasks_with_names(pool: Pool) -> None:
    answers = await asyncio.gather(
        *(pool.fetchval("SELECT :a::int + :b::int", params={"a": n, "b": 1}) for n in range(50))
    )
    assert answers == [n + 1 for n in range(50)]


# ---- rows="dict" ----


async def test_rows_are_plain_dicts(pool: Pool) -> None:
    query = "SELECT n AS id, 'x' || n AS name, NULL AS nothing FROM generate_series(1, 3) AS n"
    rows = await pool.fetch(query, rows="dict")
    assert rows == [dict(row) for row in await pool.fetch(query)]
    assert [type(row) for row in rows] == [dict] * 3
    assert json.dumps(await pool.fetchrow(query, rows="dict")) == '{"id": 1, "name": "x1", "nothing": null}'
    assert await pool.fetchrow(query + " WHERE false", rows="dict") is None
    assert await pool.fetch("SELECT 1 WHERE false", rows="dict") == []
    async with pool.acquire() as connection:
        assert await connection.fetchrow("SELECT 1 AS a, 2 AS a", rows="dict") == {"a": 2}
        assert await connection.fetch("SELECT", rows="dict") == [{}]
        statement = await connection.prepare("SELECT $1::int AS a")
        assert await statement.fetch(5, rows="dict") == [{"a": 5}]


async def test_rows_record_is_the_default(pool: Pool) -> None:
    for option in (None, "record"):
        row = await pool.fetchrow("SELECT 1 AS a", rows=option)
        assert type(row) is holisticpool.Record


@pytest.mark.parametrize("option", ["list", dict, 5, ""])
async def test_other_rows_are_refused(pool: Pool, option: Any) -> None:
    with pytest.raises(ValueError, match="rows is expected to be 'record' or 'dict'"):
        await pool.fetch("SELECT 1", rows=option)
    with pytest.raises(TypeError, match="unexpected keyword argument 'rows'"):
        await pool.fetchval("SELECT 1", rows="dict")  # type: ignore[call-arg]


async def test_value_that_cannot_be_read_fails_rows_of_dicts(single: Pool) -> None:
    with pytest.raises(OverflowError):
        await single.fetch("SELECT 1 AS a, '20000-01-01'::date AS b", rows="dict")
    assert await single.fetch("SELECT 1 AS a", rows="dict") == [{"a": 1}]
