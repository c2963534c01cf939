"""Results of many rows, which are decoded a block of rows at a time and column by column."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Record

COUNTS = [0, 1, 2, 3, 4, 63, 64, 65, 128, 200]
COLUMNS = {
    "a_bool": "i % 2 = 0",
    "an_int2": "i::int2",
    "an_int4": "i * 1000003",
    "an_int8": "i * -10000000019::int8",
    "a_float8": "i * 0.1::float8",
    "a_float4": "i * 0.5::float4",
    "an_oid": "i::oid",
    "a_text": "repeat('é', i % 3) || i",
    "another_text": "repeat('plain', i % 7)",
    "a_moment": "timestamptz '2024-02-28 23:59:59.5+00' + i * interval '1 hour'",
    "a_timestamp": "timestamp '1999-12-31' - i * interval '7 days'",
    "a_date": "date '2000-02-27' + i",
    "an_interval": "i * interval '1 second'",
    "a_time": "time '00:00' + i * interval '3 minutes'",
    "a_numeric": "i / 7.0",
    "a_bytea": "decode(md5(i::text), 'hex')",
    "a_uuid": "md5(i::text)::uuid",
    "an_array": "ARRAY[i, NULL, i + 1]",
    "a_jsonb": "json_build_object('i', i)::jsonb",
}


def values_of(rows: list[Any]) -> list[list[tuple[str, str, Any]]]:
    """With the names of the types: asyncpg has a UUID of its own."""
    return [[(name, type(value).__name__, value) for name, value in row.items()] for row in rows]


@pytest.mark.parametrize("null", ["false", "i % 3 = 0", "true"])
async def test_rows_of_any_number_are_as_asyncpg_reads_them(dsn: str, conn: Connection, null: str) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")
    # A column that is NULL in some of the rows, in all of them, or in none.
    columns = ", ".join(f"CASE WHEN NOT ({null}) THEN {value} END AS {name}" for name, value in COLUMNS.items())
    sql = f"SELECT {columns} FROM generate_series(1, $1::int) AS i ORDER BY i"
    peer = await asyncpg.connect(dsn)
    try:
        for count in COUNTS:
            expected = await peer.fetch(sql, count)
            assert len(expected) == count
            assert values_of(await conn.fetch(sql, count)) == values_of(expected)
    finally:
        await peer.close()


async def test_decoders_of_the_user_see_the_rows_one_after_another(conn: Connection) -> None:
    seen: list[str] = []

    def note(text: str) -> str:
        seen.append(text)
        return text

    await conn.set_type_codec("varchar", schema="pg_catalog", encoder=str, decoder=note)
    await conn.set_type_codec("bpchar", schema="pg_catalog", encoder=str, decoder=note)
    rows = await conn.fetch(
        "SELECT ('a' || i)::varchar AS a, i, ('b' || i)::bpchar AS b FROM generate_series(1, 100) AS i ORDER BY i"
    )
    assert seen == [f"{column}{i}" for i in range(1, 101) for column in "ab"]
    assert [tuple(row) for row in rows] == [(f"a{i}", i, f"b{i}") for i in range(1, 101)]


@pytest.mark.parametrize("bad", [1, 2, 64, 65, 130])
async def test_a_value_that_python_cannot_hold_costs_its_query_only(conn: Connection, bad: int) -> None:
    sql = """SELECT i, 'row ' || i AS name, CASE WHEN i = $1 THEN date '20000-01-01' ELSE date '2000-01-01' END AS day
             FROM generate_series(1, $2::int) AS i"""
    with pytest.raises(OverflowError, match="date out of the range"):
        await conn.fetch(sql, bad, 130)
    assert len(await conn.fetch(sql, 0, 130)) == 130


async def test_an_exception_of_a_decoder_in_the_middle_is_what_the_caller_gets(conn: Connection) -> None:
    def refuse(text: str) -> str:
        if text == "70":
            raise LookupError("not this one")
        return text

    await conn.set_type_codec("varchar", schema="pg_catalog", encoder=str, decoder=refuse)
    with pytest.raises(LookupError, match="not this one"):
        await conn.fetch("SELECT i, i::varchar AS text FROM generate_series(1, 100) AS i")
    assert await conn.fetchval("SELECT 7") == 7


async def test_only_rows_that_may_be_part_of_a_cycle_are_tracked(conn: Connection) -> None:
    sql = "SELECT i, 'x' || i AS name, {} AS extra FROM generate_series(1, 10) AS i"
    assert not any(gc.is_tracked(row) for row in await conn.fetch(sql.format("now()")))
    assert all(gc.is_tracked(row) for row in await conn.fetch(sql.format("ARRAY[i]")))


async def test_rows_of_a_class_of_the_users_are_whole(conn: Connection) -> None:
    class Row(holisticpool.Record):
        def __getattr__(self, name: str) -> Any:
            return self[name]

    rows = await conn.fetch("SELECT i, 'x' || i AS name FROM generate_series(1, 70) AS i", record_class=Row)
    assert [(row.i, row.name) for row in rows] == [(i, f"x{i}") for i in range(1, 71)]
    assert all(type(row) is Row and gc.is_tracked(row) for row in rows)


async def test_memory_of_rows_of_other_lengths_is_used_again(conn: Connection) -> None:
    """Large results of changing shapes, so that kept rows of one make room for those of the next."""
    for _ in range(3):
        for width in (1, 2, 7, 23, 24, 30):
            columns = ", ".join(f"i + {k} AS c{k}" for k in range(width))
            rows: list[Record] = await conn.fetch(f"SELECT {columns} FROM generate_series(1, 4000) AS i")
            assert [tuple(row) for row in rows[-2:]] == [tuple(i + k for k in range(width)) for i in (3999, 4000)]
