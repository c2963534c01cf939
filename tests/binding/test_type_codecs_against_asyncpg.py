"""set_type_codec(format="tuple") and set_builtin_type_codec(): what asyncpg gives and takes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

import holisticpool

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")

TUPLE_TYPES = ("date", "time", "timetz", "timestamp", "timestamptz", "interval")


@pytest.fixture
async def both(dsn: str) -> AsyncIterator[tuple[Any, Any, str]]:
    """A connection of each driver, and a schema of their own: composite `pair`, domain `price`, enum `mood`."""
    schema = f"alike_{uuid.uuid4().hex}"
    theirs, ours = await asyncpg.connect(dsn), await holisticpool.connect(dsn)
    await theirs.execute(
        f"CREATE SCHEMA {schema}; CREATE TYPE {schema}.pair AS (a int, b text);"
        f"CREATE DOMAIN {schema}.price AS numeric;"
        f"CREATE TYPE {schema}.mood AS ENUM ('sad', 'ok')"
    )
    for connection in (theirs, ours):
        await connection.execute(f"SET search_path = {schema}, public; SET timezone = UTC")
    yield theirs, ours, schema
    await theirs.execute(f"DROP SCHEMA {schema} CASCADE")
    await theirs.close()
    await ours.close()


def same(value: Any) -> Any:
    return value


async def exchange_tuples(connection: Any) -> None:
    for name in TUPLE_TYPES:
        await connection.set_type_codec(name, schema="pg_catalog", format="tuple", encoder=same, decoder=same)


@pytest.mark.parametrize(
    ("name", "literal"),
    [("date", text) for text in ("2001-01-01", "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31")]
    + [("time", text) for text in ("00:00", "23:59:59.999999", "24:00")]
    + [("timetz", text) for text in ("12:00:01+02", "00:00-15:59:59", "24:00+00")]
    + [
        (name, text)
        for name in ("timestamp", "timestamptz")
        for text in ("2001-01-01 01:02:03.000004", "infinity", "-infinity", "4713-01-01 00:00 BC", "294276-12-31 23:59")
    ]
    + [("interval", text) for text in ("1 year -3 days 2s", "-178000000 years", "0", "1 mon -1 day 00:00:00.000001")],
)
async def test_tuples_are_asyncpgs(both: tuple[Any, Any, str], name: str, literal: str) -> None:
    theirs, ours, _ = both
    for connection in (theirs, ours):
        await exchange_tuples(connection)
    value = await theirs.fetchval(f"SELECT '{literal}'::{name}")
    for suffix in ("", ", 'pg_class'::regclass"):
        assert await ours.fetchval(f"SELECT '{literal}'::{name}{suffix}") == value
    assert await ours.fetchval(f"SELECT ARRAY['{literal}'::{name}]") == [value]
    assert await ours.fetchval(f"SELECT $1::{name}::text", value) == await theirs.fetchval(
        f"SELECT $1::{name}::text", value
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("date", 5), ("date", (5, 6)), ("date", ("x",)), ("date", ()), ("date", (2**40,)), ("timetz", (1,))]
    + [("interval", (1, 2)), ("timestamp", (2**70,)), ("interval", (2**31, 0, 0)), ("time", None)],
)
async def test_tuple_that_asyncpg_refuses_is_refused(both: tuple[Any, Any, str], name: str, value: Any) -> None:
    theirs, ours, _ = both
    for connection, module in ((theirs, asyncpg), (ours, holisticpool)):
        await connection.set_type_codec(
            name, schema="pg_catalog", format="tuple", encoder=lambda _: value, decoder=same
        )
        with pytest.raises(module.DataError):
            await connection.fetchval(f"SELECT $1::{name}", 1)
        assert await connection.fetchval("SELECT 1") == 1


async def test_tuple_codec_of_a_composite_type(both: tuple[Any, Any, str]) -> None:
    got = []
    for connection in both[:2]:
        seen: list[Any] = []

        def decoder(row: Any, seen: list[Any] = seen) -> Any:
            seen.append((type(row).__name__, list(row.items())))
            return tuple(row)[::-1]

        await connection.set_type_codec(
            "pair", schema=both[2], format="tuple", encoder=lambda value: value[::-1], decoder=decoder
        )
        got.append(
            [
                await connection.fetchval("SELECT $1::pair", ("x", 1)),
                await connection.fetchval("SELECT $1::pair::text", ("x", 1)),
                await connection.fetchval("SELECT ARRAY[$1::pair, NULL]", ("y", 2)),
                await connection.fetch("SELECT '(5,)'::pair AS p"),
                seen,
            ]
        )
        await connection.reset_type_codec("pair", schema=both[2])
        got[-1].append(dict(await connection.fetchval("SELECT '(5,)'::pair")))
    assert repr(got[1]) == repr(got[0])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"typename": "int4", "schema": "pg_catalog", "format": "tuple"}, "InterfaceError"),
        ({"typename": "mood", "format": "tuple"}, "InterfaceError"),
        ({"typename": "pair"}, "UnsupportedClientFeatureError"),
        ({"typename": "pair", "format": "binary"}, "UnsupportedClientFeatureError"),
        ({"typename": "_pair", "format": "tuple"}, "InterfaceError"),
        ({"typename": "int4range", "schema": "pg_catalog"}, "InterfaceError"),
    ],
)
async def test_codec_that_asyncpg_refuses_is_refused(
    both: tuple[Any, Any, str], arguments: dict[str, Any], name: str
) -> None:
    for connection, module in zip(both[:2], (asyncpg, holisticpool), strict=True):
        with pytest.raises(getattr(module, name)):
            await connection.set_type_codec(encoder=same, decoder=same, **{"schema": both[2], **arguments})
        assert await connection.fetchval("SELECT 1") == 1


HSTORES: list[Any] = [
    {},
    {"ham": "spam", "nada": None},
    [("foo", "2"), ("bar", "3")],
    (("foo", None),),
    {'a"b\\c': "x=>y, \u2603", "": ""},
]


async def test_hstore_is_a_dict_as_in_asyncpg(both: tuple[Any, Any, str]) -> None:
    theirs, ours, schema = both
    await theirs.execute(f"CREATE EXTENSION hstore SCHEMA {schema}")
    for connection in (theirs, ours):
        await connection.set_builtin_type_codec("hstore", schema=schema, codec_name="pg_contrib.hstore")
    for value in HSTORES:
        expected = await theirs.fetchval("SELECT $1::hstore", value)
        for suffix in ("", ", 'pg_class'::regclass"):
            assert await ours.fetchval(f"SELECT $1::hstore{suffix}", value) == expected
        assert await ours.fetchval("SELECT ARRAY[$1::hstore, NULL]", value) == [expected, None]
        assert await ours.fetchval("SELECT ROW($1::hstore)", value) == (expected,)
    for value in ({"a": 1}, {None: "1"}, {1: "a"}, "x", 5, [("a",)], ["ab"], {"a": b"b"}):
        for connection, module in zip(both[:2], (asyncpg, holisticpool), strict=True):
            if connection is theirs and value == ["ab"]:
                continue  # a str of two characters is a pair for it
            with pytest.raises(module.DataError):
                await connection.fetchval("SELECT $1::hstore", value)
    await ours.reset_type_codec("hstore", schema=schema)
    assert await ours.fetchval("SELECT 'a=>1'::hstore") == '"a"=>"1"'


async def test_domain_like_a_built_in_type_inside_of_a_composite_type(both: tuple[Any, Any, str]) -> None:
    theirs, ours, schema = both
    await theirs.execute(f"CREATE EXTENSION hstore SCHEMA {schema}; CREATE TYPE rec AS (i price, h hstore)")
    for connection in (theirs, ours):
        await connection.set_builtin_type_codec("hstore", schema=schema, codec_name="pg_contrib.hstore")
        await connection.set_builtin_type_codec("price", schema=schema, codec_name="decimal")
        row = await connection.fetchval("SELECT ($1::price, 'a=>1'::hstore)::rec", 44)
        assert tuple(row) == (44, {"a": "1"})


@pytest.mark.parametrize("codec_name", ["int", "bigint", "int4", "text", "character varying", "timestamptz", "jsonb"])
async def test_builtin_codec_by_each_kind_of_name(both: tuple[Any, Any, str], codec_name: str) -> None:
    for connection in both[:2]:
        assert await connection.set_builtin_type_codec("price", schema=both[2], codec_name=codec_name) is None


async def test_builtin_codec_that_asyncpg_refuses_is_refused(both: tuple[Any, Any, str]) -> None:
    for connection, module in zip(both[:2], (asyncpg, holisticpool), strict=True):
        for typename, codec_name, error in (
            ("price", "nope", module.InterfaceError),
            ("price", "hstore", module.InterfaceError),
            ("_price", "int", module.InterfaceError),
            ("pair", "int", module.InterfaceError),
            ("no_such_type", "int", ValueError),
        ):
            with pytest.raises(error):
                await connection.set_builtin_type_codec(typename, schema=both[2], codec_name=codec_name)
        assert await connection.fetchval("SELECT 1") == 1


async def test_statement_that_is_known_is_looked_at_again_after_a_codec_is_set(both: tuple[Any, Any, str]) -> None:
    theirs, ours, schema = both
    await theirs.execute(f"CREATE TABLE {schema}.one (v date)")
    for connection in (theirs, ours):
        await connection.set_type_codec("date", schema="pg_catalog", format="tuple", encoder=same, decoder=same)
        await connection.execute("INSERT INTO one VALUES ($1)", (3,))
    await theirs.execute(f"DROP TABLE {schema}.one; CREATE TABLE {schema}.one (v interval)")
    for connection in (theirs, ours):
        await connection.reset_type_codec("date", schema="pg_catalog")
        await connection.set_type_codec("interval", schema="pg_catalog", format="tuple", encoder=same, decoder=same)
        await connection.execute("INSERT INTO one VALUES ($1)", (2, 3, 1))
        assert await connection.fetchval("SELECT v FROM one LIMIT 1") == (2, 3, 1)


async def test_format_that_there_is_not(both: tuple[Any, Any, str]) -> None:
    theirs, ours, schema = both
    for connection, driver in ((theirs, asyncpg), (ours, holisticpool)):
        with pytest.raises(driver.InterfaceError, match="expected 'text', 'binary' or 'tuple', got 'json'"):
            await connection.set_type_codec("mood", schema=schema, format="json", encoder=str, decoder=str)
        with pytest.raises(driver.InterfaceError, match="expected 'text' or 'binary', got 'tuple'"):
            await connection.set_builtin_type_codec("mood", schema=schema, codec_name="text", format="tuple")
    with pytest.raises(ValueError, match="json"):
        await ours.set_type_codec("mood", schema=schema, format="json", encoder=str, decoder=str)
