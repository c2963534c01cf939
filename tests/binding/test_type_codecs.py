"""Connection.set_type_codec(): the user's functions for single types of a session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import holisticpool


async def json_everywhere(connection: holisticpool.Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def test_init_hook_sets_a_codec_for_every_connection_of_the_pool(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=2, max_size=4, init=json_everywhere) as pool:
        values = [{"n": n, "text": "h\u00e9"} for n in range(50)]
        assert await asyncio.gather(*(pool.fetchval("SELECT $1::jsonb", value) for value in values)) == values


async def test_codec_applies_to_arrays_and_leaves_other_columns_alone(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, init=json_everywhere) as pool:
        row = await pool.fetchrow("SELECT $1::jsonb[] AS a, 1.50::numeric AS n, now() AS t", [{"a": 1}, None, 2])
        assert row is not None
        assert row["a"] == [{"a": 1}, None, 2]
        assert row["n"] == Decimal("1.50")
        assert row["t"].tzinfo is not None


async def test_text_codec_of_a_binary_type_gets_its_text(dsn: str) -> None:
    connection = await holisticpool.connect(dsn)
    try:
        await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=float)
        row = await connection.fetchrow("SELECT $1::numeric AS n, ARRAY[1.5, 2.5]::numeric[] AS a, 7 AS i", 0.25)
        assert row == (0.25, [1.5, 2.5], 7)
    finally:
        await connection.close()


async def test_binary_codec_gets_and_gives_bytes(dsn: str) -> None:
    connection = await holisticpool.connect(dsn)
    try:
        await connection.set_type_codec(
            "int4",
            schema="pg_catalog",
            encoder=lambda value: value.to_bytes(4, "big", signed=True),
            decoder=lambda data: -int.from_bytes(data, "big", signed=True),
            format="binary",
        )
        assert await connection.fetchval("SELECT $1::int4", 5) == -5
    finally:
        await connection.close()


async def test_codec_of_an_enum_and_of_a_domain(dsn: str) -> None:
    connection = await holisticpool.connect(dsn)
    try:
        await connection.execute(
            "CREATE SCHEMA codecs; CREATE TYPE codecs.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN codecs.name AS text"
        )
        for name in ("mood", "name"):
            await connection.set_type_codec(name, schema="codecs", encoder=str.lower, decoder=str.upper)
        # The server describes a column of a domain as its base type, so that only arguments meet the domain's codec.
        assert await connection.fetchrow("SELECT $1::codecs.mood, $2::codecs.name", "SAD", "ANNE") == ("SAD", "anne")
    finally:
        await connection.execute("DROP SCHEMA codecs CASCADE")
        await connection.close()


async def test_reset_type_codec_brings_the_built_in_one_back(dsn: str) -> None:
    connection = await holisticpool.connect(dsn)
    try:
        await json_everywhere(connection)
        assert await connection.fetchval("SELECT '[1]'::json") == [1]
        await connection.reset_type_codec("json", schema="pg_catalog")
        assert await connection.fetchval("SELECT '[1]'::json") == "[1]"
        assert await connection.fetchval("SELECT '[1]'::jsonb") == [1]
    finally:
        await connection.close()


async def test_sessions_with_different_codecs_in_one_pool_each_use_their_own(dsn: str) -> None:
    decoders = iter([lambda text: ("first", text), lambda text: ("second", text)])

    async def init(connection: holisticpool.Connection) -> None:
        await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=next(decoders))

    async with holisticpool.create_pool(dsn, min_size=2, max_size=2, init=init) as pool:
        async with pool.acquire() as one, pool.acquire() as two:
            answers = [await lease.fetchval("SELECT $1::json", "1") for lease in (one, two, one, two)]
        assert answers[0] == answers[2] != answers[1] == answers[3]
        assert {answers[0][0], answers[1][0]} == {"first", "second"}
        gathered = await asyncio.gather(*(pool.fetchval("SELECT $1::json", str(n)) for n in range(20)))
        assert [text for _, text in gathered] == [str(n) for n in range(20)]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"typename": "no_such_type"}, ValueError),
        ({"typename": "json", "schema": "pg_catalog", "format": "morse"}, ValueError),
        ({"typename": "json", "schema": "pg_catalog", "format": "tuple"}, holisticpool.InterfaceError),
        ({"typename": "_json", "schema": "pg_catalog"}, holisticpool.InterfaceError),
        ({"typename": "pg_class", "schema": "pg_catalog"}, holisticpool.UnsupportedClientFeatureError),
    ],
)
async def test_wrong_type_or_format_is_refused(dsn: str, arguments: dict[str, Any], error: type[Exception]) -> None:
    connection = await holisticpool.connect(dsn)
    try:
        with pytest.raises(error):
            await connection.set_type_codec(encoder=str, decoder=str, **arguments)
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


async def test_encoder_that_fails_names_the_argument_and_sends_nothing(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, init=json_everywhere) as pool:
        assert await pool.fetchval("SELECT $1::jsonb", 1) == 1
        queries = pool._stats()["queries"]
        with pytest.raises(holisticpool.DataError, match=r"\$1"):
            await pool.fetchval("SELECT $1::jsonb", {1, 2})
        assert pool._stats()["queries"] == queries


async def test_decoder_that_fails_reaches_the_caller_and_keeps_the_connection(dsn: str) -> None:
    connection = await holisticpool.connect(dsn)
    try:
        await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=lambda text: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await connection.fetchval("SELECT '1'::json")
        assert await connection.fetchval("SELECT 2") == 2
    finally:
        await connection.close()


class _Codec:
    """A codec of the user, whose end has effects."""

    def __init__(self, at_end: Callable[[], Any]) -> None:
        self.at_end = at_end

    def __call__(self, value: Any) -> str:
        return str(value)

    def __del__(self) -> None:
        self.at_end()


_INT4 = 23


@pytest.mark.parametrize("end", ["release", "terminate", "terminate the pool"])
async def test_end_of_a_codec_may_end_its_session_while_that_is_being_closed(dsn: str, end: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=2, max_size=2)
    connection, other = await pool.acquire(), await pool.acquire()
    await connection.execute("SET application_name = 'touched'")
    ended = []

    def at_end() -> None:
        ended.append(end)
        if end == "release":
            pool.release(connection)
        elif end == "terminate":
            connection.terminate()
        else:
            pool.terminate()

    # without a statement in between, whose plan would keep the codec
    connection._set_codec(_INT4, "text", str, _Codec(at_end))
    other._set_codec(_INT4, "text", str, int)
    connection.terminate()
    assert ended == [end]
    await pool.release(connection)
    await pool.release(other)
    if end != "terminate the pool":
        assert await asyncio.gather(*(pool.fetchval("SELECT $1::int4", n) for n in range(4))) == list(range(4))
        assert pool.get_size() <= 2
        await pool.close()


async def test_end_of_a_codec_may_release_the_session_that_gets_another(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        connection = await pool.acquire()
        connection._set_codec(_INT4, "text", str, _Codec(lambda: pool.release(connection)))
        connection._set_codec(_INT4, "text", str, int)
        assert connection._released
        assert await pool.fetchval("SELECT $1::int4", 7) == 7


@pytest.mark.parametrize("end", ["release", "terminate", "terminate the pool"])
@pytest.mark.parametrize("leased", [True, False])
async def test_end_of_a_codec_may_end_its_session_in_the_middle_of_a_send(dsn: str, end: str, leased: bool) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=2, max_size=2, statement_cache_size=1)
    connection, other = await pool.acquire(), await pool.acquire()
    ended = []

    def at_end() -> None:
        ended.append(end)
        if end == "release":
            pool.release(connection)
        elif end == "terminate":
            connection.terminate()
        else:
            pool.terminate()

    connection._set_codec(_INT4, "text", str, _Codec(at_end))
    assert await connection.fetchval("SELECT 1") == "1"
    connection._set_codec(_INT4, "text", str, int)
    await connection.reload_schema_state()
    other._set_codec(_INT4, "text", str, int)
    for n in (2, 3):
        assert await other.fetchval(f"SELECT {n}") == n
    # Now the codec is kept by the first statement alone, and that by the session, which has it prepared. The next
    # one takes its place there, and with the one after that it is closed.
    assert await connection.fetchval("SELECT 2") == 2
    assert ended == []
    if leased:
        caller: Any = connection
    else:
        caller = pool
        await pool.release(connection)
    failures = (holisticpool.InterfaceError, OSError, holisticpool.PostgresError)
    outcome: list[Any] = await asyncio.gather(*[caller.fetchval("SELECT 3")], return_exceptions=True)
    assert ended == [end]
    assert outcome == [3] or isinstance(outcome[0], failures)
    await pool.release(other)
    await pool.release(connection)
    if end != "terminate the pool":
        assert await asyncio.gather(*(pool.fetchval("SELECT 3") for _ in range(4))) == [3] * 4
        await pool.close()


async def test_reload_schema_state_reads_an_altered_type_without_an_error_first(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2) as pool:
        await pool.execute("CREATE TYPE reloaded AS (a int)")
        try:
            async with pool.acquire() as one, pool.acquire() as two:
                for lease in (one, two):
                    assert await lease.fetchval("SELECT ROW(1)::reloaded") == (1,)
                await one.execute("ALTER TYPE reloaded ADD ATTRIBUTE b text")
                assert await one.reload_schema_state() is None  # type: ignore[func-returns-value]
                for lease in (one, two):
                    assert await lease.fetchval("SELECT ROW(1, 'x')::reloaded") == (1, "x")
                    assert await lease.fetchval("SELECT $1::reloaded", {"b": "y"}) == (None, "y")
        finally:
            await pool.execute("DROP TYPE reloaded")


async def test_reload_schema_state_of_a_released_connection_is_refused(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        connection = await pool.acquire()
        await pool.release(connection)
        with pytest.raises(holisticpool.InterfaceError, match="released"):
            await connection.reload_schema_state()


@pytest.mark.parametrize(
    "name",
    ["smallint", "int", "integer", "bigint", "decimal", "real", "double precision", "timestamp with timezone", "bool"]
    + ["time with time zone", "timestamp without time zone", "char", "character", "CHARACTER VARYING", "bit varying"],
)
async def test_built_in_type_by_each_of_its_names_costs_no_query(dsn: str, name: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        before = pool._stats()["queries"]
        await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=str)
        await connection.set_builtin_type_codec(name, schema="pg_catalog", codec_name="text")
        await connection.reset_type_codec(name, schema="pg_catalog")
        assert pool._stats()["queries"] == before


async def test_type_of_another_schema_is_no_built_in_one(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        with pytest.raises(ValueError, match="unknown type: public.json"):
            await connection.set_type_codec("json", encoder=str, decoder=str)


async def test_codecs_are_set_whatever_codecs_are_set(dsn: str) -> None:
    async with (
        holisticpool.create_pool(dsn, min_size=1, max_size=1, json="stdlib") as pool,
        pool.acquire() as connection,
    ):
        await connection.execute("CREATE TYPE pg_temp.mood AS ENUM ('ok')")
        schema = await connection.fetchval("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()")
        for name in ("text", "bool", "varchar", "int4"):
            await connection.set_type_codec(name, schema="pg_catalog", encoder=lambda _: "?", decoder=lambda _: None)
        await connection.set_type_codec("mood", schema=schema, encoder=str.lower, decoder=str.upper)
        assert await connection.fetchval("SELECT $1::pg_temp.mood", "OK") == "OK"
