"""Codecs of a whole pool: json=, numeric= and type_codecs= of create_pool() and connect()."""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

import holisticpool
from holisticpool import Range, TypeCodec

VALUE = {"n": [1, None, 2.5], "text": "hé\u2603", "nested": {"a": True}}


@pytest.fixture
async def schema(dsn: str) -> AsyncIterator[str]:
    """A schema with types of its own: an enum, a domain, a composite type and a range."""
    name = f"codecs_{uuid.uuid4().hex}"
    connection = await holisticpool.connect(dsn)
    await connection.execute(
        f"CREATE SCHEMA {name}; CREATE TYPE {name}.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN {name}.price AS numeric;"
        f"CREATE TYPE {name}.item AS (id int, body jsonb, price numeric);"
        f"CREATE TYPE {name}.moods AS RANGE (subtype = {name}.mood)"
    )
    yield name
    await connection.execute(f"DROP SCHEMA {name} CASCADE")
    await connection.close()


# ---- json ----


@pytest.mark.parametrize("option", ["stdlib", "orjson", (json.dumps, json.loads)], ids=["stdlib", "orjson", "pair"])
@pytest.mark.parametrize("name", ["json", "jsonb"])
async def test_json_values_go_both_ways(dsn: str, option: Any, name: str) -> None:
    if option == "orjson":
        pytest.importorskip("orjson")
    async with holisticpool.create_pool(dsn, min_size=1, max_size=2, json=option) as pool:
        for value in (VALUE, [VALUE], "text", 5, True, []):
            assert await pool.fetchval(f"SELECT $1::{name}", value) == value
            assert await pool.fetchval(f"SELECT $1::{name}, 'pg_class'::regclass", value) == value
        assert await pool.fetchval(f"SELECT $1::{name}[]", [VALUE, None, 1]) == [VALUE, None, 1]
        assert await pool.fetchval(f"SELECT ROW($1::{name}, 1)", VALUE) == (VALUE, 1)
        assert await pool.fetchval(f"SELECT $1::{name}", None) is None
        assert await pool.fetchval(f"SELECT 'null'::{name}") is None


async def test_json_needs_nothing_sent_for_a_new_connection(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=0, max_size=3, json="stdlib") as pool:
        values = await asyncio.gather(*(pool.fetchval("SELECT $1::jsonb FROM pg_sleep(0.01)", n) for n in range(9)))
        assert values == list(range(9))
        assert pool._stats()["queries"] == 9


async def test_json_is_used_inside_of_composite_types(dsn: str, schema: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, json="stdlib", numeric="float") as pool:
        for suffix in ("", ", 'pg_class'::regclass"):
            item = await pool.fetchval(f"SELECT $1::{schema}.item{suffix}", (1, VALUE, 0.1))
            assert item == (1, VALUE, 0.1)


async def test_json_is_used_by_prepared_statements_cursors_streams_and_copy(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, json="stdlib", numeric="float") as pool:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("CREATE TABLE copied_json (a jsonb, n numeric)")
            rows = [(VALUE, 1.1), (None, None)]
            assert await connection.copy_records_to_table("copied_json", records=rows) == "COPY 2"
            assert await connection.fetch("SELECT * FROM copied_json") == rows
            assert [tuple(row) async for row in connection.cursor("SELECT * FROM copied_json")] == rows
            statement = await connection.prepare("SELECT $1::jsonb")
            assert await statement.fetchval(VALUE) == VALUE
            await connection.execute("DROP TABLE copied_json")
        assert [row["a"] async for row in pool.stream("SELECT $1::jsonb AS a", VALUE)] == [VALUE]


async def test_json_by_connect(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, json="stdlib")
    assert await connection.fetchval("SELECT $1::jsonb", VALUE) == VALUE
    await connection.close()


async def test_json_value_that_cannot_be_encoded_names_the_argument(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, json="stdlib") as pool:
        with pytest.raises(holisticpool.DataError, match=r"\$1.*not JSON serializable"):
            await pool.fetchval("SELECT $1::jsonb", {1, 2})
        assert await pool.fetchval("SELECT $1::jsonb", 1) == 1


@pytest.mark.parametrize(
    ("encoded", "reason"), [(5, "must return str or bytes"), (b"a\0b", "NUL"), ("a\0b", "NUL"), (None, "str or bytes")]
)
async def test_json_encoder_that_gives_no_text_is_refused(dsn: str, encoded: Any, reason: str) -> None:
    option = (lambda value: encoded, json.loads)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, json=option) as pool:
        for name in ("json", "jsonb"):
            with pytest.raises(holisticpool.DataError, match=reason):
                await pool.fetchval(f"SELECT $1::{name}", 1)
        assert await pool.fetchval("SELECT 1") == 1


async def test_json_decoder_that_fails_reaches_the_caller(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, json=(json.dumps, lambda text: 1 // 0)) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.fetchval("SELECT '1'::jsonb")
        assert await pool.fetchval("SELECT 1") == 1


async def test_codec_of_a_session_wins_and_reset_brings_the_pools_back(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, json="stdlib")
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str.upper)
    assert await connection.fetchval("SELECT $1::jsonb", '{"a": 1}') == '{"A": 1}'
    await connection.reset_type_codec("jsonb", schema="pg_catalog")
    assert await connection.fetchval("SELECT $1::jsonb", {"a": 1}) == {"a": 1}
    await connection.close()


async def test_codecs_stay_after_reload_schema_state(dsn: str, schema: str) -> None:
    codecs = [TypeCodec("mood", schema=schema, encoder=str.lower, decoder=str.upper)]
    async with holisticpool.create_pool(
        dsn, min_size=1, max_size=1, json="stdlib", numeric="float", type_codecs=codecs
    ) as pool:
        for _ in range(2):
            assert await pool.fetchval("SELECT $1::jsonb[]", [VALUE]) == [VALUE]
            assert await pool.fetchval("SELECT '[1.5,2)'::numrange") == Range(1.5, 2.0)
            assert await pool.fetchval(f"SELECT $1::{schema}.mood", "OK") == "OK"
            async with pool.acquire() as connection:
                await connection.reload_schema_state()


# ---- numeric ----


@pytest.mark.parametrize(
    "text",
    ["0", "1", "-1.5", "1.1", "0.1", "1e-30", "123456789.123456789", "9007199254740993", "1e300", "-1e22", "1e23"]
    + ["0.000012345", "10000", "100000000000000000000", "9007199254740991.5", "1e-400", "4.35", "2675.0000", "1e16"],
)
async def test_numeric_as_float_is_the_nearest_float(dsn: str, text: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, numeric="float") as pool:
        value = await pool.fetchval(f"SELECT '{text}'::numeric")
        assert type(value) is float
        assert value == float(text)
        assert await pool.fetchval(f"SELECT '{text}'::numeric, 'pg_class'::regclass") == float(text)


async def test_numeric_as_float_has_nan_and_refuses_what_float_cannot_hold(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, numeric="float")
    assert math.isnan(await connection.fetchval("SELECT 'NaN'::numeric"))
    if connection.get_server_version() >= (14,):
        assert await connection.fetchval("SELECT ARRAY['Infinity', '-Infinity']::numeric[]") == [math.inf, -math.inf]
    for suffix in ("", ", 'pg_class'::regclass"):
        with pytest.raises(OverflowError, match="float"):
            await connection.fetchval(f"SELECT '1e400'::numeric{suffix}")
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_float_for_a_numeric_parameter_is_sent_as_it_prints(dsn: str) -> None:
    connection = await holisticpool.connect(dsn, numeric="float")
    assert await connection.fetchval("SELECT $1::numeric::text", 1.1) == "1.1"
    assert await connection.fetchval("SELECT $1::numeric::text", Decimal("1.10")) == "1.10"
    assert await connection.fetchval("SELECT $1::numeric::text", 7) == "7"
    assert await connection.fetchval("SELECT $1::numeric::text", 1e22) == "10000000000000000000000"
    assert await connection.fetchval("SELECT $1::numrange::text", (0.1, 0.2)) == "[0.1,0.2]"
    await connection.close()


# ---- type_codecs ----


async def test_type_codec_of_a_type_that_is_looked_up(dsn: str, schema: str) -> None:
    codecs = [TypeCodec("mood", schema=schema, encoder=str.lower, decoder=str.upper)]
    async with holisticpool.create_pool(dsn, min_size=1, max_size=2, type_codecs=codecs) as pool:
        assert await pool.fetchval(f"SELECT $1::{schema}.mood", "OK") == "OK"
        assert await pool.fetchval(f"SELECT $1::{schema}.mood[]", ["OK", None]) == ["OK", None]
        assert await pool.fetchval(f"SELECT $1::{schema}.moods", Range("SAD", "OK")) == Range("SAD", "OK")
        assert await pool.fetchval("SELECT 'x'::text") == "x"


async def test_type_codec_of_another_schema_is_not_used(dsn: str, schema: str) -> None:
    codecs = [TypeCodec("mood", encoder=str.lower, decoder=str.upper)]
    connection = await holisticpool.connect(dsn, type_codecs=codecs)
    assert await connection.fetchval(f"SELECT 'ok'::{schema}.mood") == "ok"
    await connection.close()
    anywhere = [TypeCodec("mood", schema=None, encoder=str.lower, decoder=str.upper)]
    connection = await holisticpool.connect(dsn, type_codecs=anywhere)
    assert await connection.fetchval(f"SELECT 'ok'::{schema}.mood") == "OK"
    await connection.close()


async def test_type_codec_of_a_built_in_type_in_each_format(dsn: str) -> None:
    codecs = [
        TypeCodec(
            "timestamptz", "pg_catalog", encoder=lambda us: (us,), decoder=lambda parts: parts[0], format="tuple"
        ),
        TypeCodec("uuid", "pg_catalog", encoder=str, decoder=str),
        TypeCodec("int2", "pg_catalog", encoder=bytes.fromhex, decoder=bytes.hex, format="binary"),
    ]
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, type_codecs=codecs) as pool:
        assert await pool.fetchval("SELECT $1::timestamptz", 5) == 5
        assert await pool.fetchval("SELECT $1::tstzrange", Range(5, 6)) == Range(5, 6)
        value = str(uuid.uuid4())
        assert await pool.fetchval("SELECT ARRAY[$1::uuid]", value) == [value]
        assert await pool.fetchval("SELECT $1::int2", "0102") == "0102"
        assert await pool.fetchval("SELECT $1::int2::text", "0102") == "258"


async def test_type_codec_of_a_built_in_type_by_its_standard_name(dsn: str) -> None:
    codecs = [TypeCodec("Double Precision", "pg_catalog", encoder=str, decoder=str)]
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, type_codecs=codecs) as pool:
        assert await pool.fetchval("SELECT ARRAY[$1::float8]", 1.5) == ["1.5"]


async def test_type_codec_that_does_not_fit_its_type_is_said_when_the_type_is_met(dsn: str, schema: str) -> None:
    codecs = [TypeCodec("item", schema=schema, encoder=str, decoder=str)]
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, type_codecs=codecs) as pool:
        with pytest.raises(holisticpool.InterfaceError, match="item: composite types take codecs of format 'tuple'"):
            await pool.fetchval(f"SELECT NULL::{schema}.item")
        assert await pool.fetchval("SELECT 1") == 1


async def test_type_codec_of_a_composite_type_gets_its_values(dsn: str, schema: str) -> None:
    codecs = [TypeCodec("item", schema=schema, encoder=lambda item: item["it"], decoder=list, format="tuple")]
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, type_codecs=codecs, json="stdlib") as pool:
        sent = {"it": (1, VALUE, Decimal("1.5"))}
        for suffix in ("", ", 'pg_class'::regclass"):
            assert await pool.fetchval(f"SELECT $1::{schema}.item{suffix}", sent) == [1, VALUE, Decimal("1.5")]
        assert await pool.fetchval(f"SELECT $1::{schema}.item[]", [sent]) == [[1, VALUE, Decimal("1.5")]]


async def test_type_codec_by_name(dsn: str, schema: str) -> None:
    codecs = [TypeCodec("price", schema=schema, codec_name="text"), TypeCodec("hstore", codec_name="pg_contrib.hstore")]
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, type_codecs=codecs) as pool:
        await pool.execute("CREATE EXTENSION hstore")
        try:
            value = {"a": "1", "b": None, 'q"\\': "=>,"}
            for suffix in ("", ", 'pg_class'::regclass"):
                assert await pool.fetchval(f"SELECT $1::hstore{suffix}", value) == value
                assert await pool.fetchval(f"SELECT ARRAY[$1::hstore, NULL]{suffix}", value) == [value, None]
        finally:
            await pool.execute("DROP EXTENSION hstore")


# ---- wrong options ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"json": "ujson"}, "json is expected to be"),
        ({"json": (1, 2)}, "json is expected to be"),
        ({"json": json}, "json is expected to be"),
        ({"numeric": "int"}, "numeric is expected to be"),
        ({"type_codecs": ["json"]}, "list of TypeCodec"),
        ({"type_codecs": 5}, "list of TypeCodec"),
    ],
)
async def test_wrong_option_is_refused_at_the_call(dsn: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(holisticpool.ClientConfigurationError, match=message):
        holisticpool.create_pool(dsn, **options)
    with pytest.raises(holisticpool.ClientConfigurationError, match=message):
        await holisticpool.connect(dsn, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected encoder and decoder"),
        ({"encoder": str}, "expected encoder and decoder"),
        ({"encoder": str, "decoder": str, "format": "morse"}, "format is expected"),
        ({"encoder": str, "decoder": str, "codec_name": "int"}, "either functions or codec_name"),
        ({"codec_name": "nonsense"}, "no codec named 'nonsense'"),
        ({"encoder": str, "decoder": str, "schema": 5}, "schema"),
    ],
)
def test_type_codec_checks_what_it_is_given(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(holisticpool.ClientConfigurationError, match=message):
        TypeCodec("t", **arguments)


def test_orjson_that_is_missing_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(holisticpool.ClientConfigurationError, match=r"pip install 'holisticpool\[orjson\]'"):
        holisticpool.create_pool("postgresql://nowhere", json="orjson")
