"""A codec that the user set for a type is used wherever that type is inside of another."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

import holisticpool
from holisticpool import Range

TYPES = (
    "CREATE TYPE doc AS (id int4, body jsonb)",
    "CREATE TYPE folder AS (name text, docs doc[], top doc)",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE moods AS RANGE (subtype = mood)",
    "CREATE TYPE feeling AS (m mood, r moods)",
    "CREATE DOMAIN ddoc AS doc",
)


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Any]:
    """A connection with the types above, codecs for jsonb (Python values) and mood (upper case)."""
    connection = await holisticpool.connect(dsn)
    name = f"inside_{uuid.uuid4().hex}"
    await connection.execute(f"CREATE SCHEMA {name}")
    await connection.execute(f"SET search_path = {name}, public")
    for statement in TYPES:
        await connection.execute(statement)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    await connection.set_type_codec("mood", schema=name, encoder=str.lower, decoder=str.upper)
    yield connection
    await connection.execute(f"DROP SCHEMA {name} CASCADE")
    await connection.close()


DOC = (1, {"a": [1, None]})
FOLDER = ("f", [DOC, None, (2, None)], (3, "x"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("doc", DOC),
        ("doc[]", [DOC, None]),
        ("ddoc", DOC),
        ("folder", FOLDER),
        ("folder[]", [FOLDER]),
        ("moods", Range("SAD", "OK")),
        ("moods[]", [Range("SAD"), None]),
        ("feeling", ("OK", Range(None, "OK"))),
    ],
)
async def test_codec_is_used_inside(conn: Any, name: str, value: Any) -> None:
    for suffix in ("", ", 'pg_class'::regclass"):
        assert await conn.fetchval(f"SELECT $1::{name}{suffix}", value) == value


async def test_codec_is_used_inside_of_anonymous_records(conn: Any) -> None:
    assert await conn.fetchval("SELECT ROW(1, '{\"a\": 1}'::jsonb, ARRAY['[2]'::jsonb])") == (1, {"a": 1}, [[2]])
    assert await conn.fetchval("SELECT ARRAY[ROW('null'::jsonb), NULL]") == [(None,), None]


async def test_type_without_it_inside_stays_as_it_is(conn: Any) -> None:
    await conn.execute("CREATE TYPE pg_temp.plain AS (a int4, b text)")
    assert await conn.fetchval("SELECT $1::pg_temp.plain", (1, "x")) == (1, "x")


async def test_reset_brings_the_built_in_one_back_inside(conn: Any) -> None:
    assert await conn.fetchval("SELECT $1::doc", DOC) == DOC
    await conn.reset_type_codec("jsonb", schema="pg_catalog")
    assert await conn.fetchval("SELECT $1::doc", (1, '{"a": 1}')) == (1, '{"a": 1}')


async def test_text_codec_of_a_binary_type_makes_the_types_around_it_text(conn: Any) -> None:
    await conn.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=lambda text: Decimal(text) + 1)
    await conn.execute("CREATE TYPE pg_temp.priced AS (id int4, price numeric, note text)")
    assert await conn.fetchval("SELECT $1::pg_temp.priced", (5, Decimal("1.5"), 'a "b"')) == (
        5,
        Decimal("2.5"),
        'a "b"',
    )
    assert await conn.fetchval("SELECT $1::numrange", Range(Decimal(1), Decimal(2))) == Range(Decimal(2), Decimal(3))


async def test_codecs_are_used_in_types_that_go_as_text(conn: Any) -> None:
    await conn.execute("CREATE TYPE pg_temp.mixed AS (mac macaddr, body jsonb, m mood, id int4)")
    await conn.set_type_codec(
        "int4",
        schema="pg_catalog",
        encoder=lambda value: (-value).to_bytes(4, "big", signed=True),
        decoder=lambda data: -int.from_bytes(data, "big", signed=True),
        format="binary",
    )
    value = ("08:00:2b:01:02:03", {"a": "b c"}, "OK", 5)
    assert await conn.fetchval("SELECT $1::pg_temp.mixed", value) == value
    assert await conn.fetchval("SELECT ($1::pg_temp.mixed).id::text", value) == "-5"


async def test_binary_codec_is_used_inside(conn: Any) -> None:
    await conn.set_type_codec(
        "int4",
        schema="pg_catalog",
        encoder=lambda value: (-value).to_bytes(4, "big", signed=True),
        decoder=lambda data: int.from_bytes(data, "big", signed=True),
        format="binary",
    )
    assert await conn.fetchval("SELECT $1::doc", (5, None)) == (-5, None)
    assert await conn.fetchval("SELECT $1::int4range", Range(-1, -5)) == Range(1, 5)
    assert await conn.fetchval("SELECT ROW(5)") == (5,)
