"""Codecs of pools and sessions, arguments by name, rows as dicts and vectors leave nothing behind."""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from growth import SOON_FULL, growth

import holisticpool
from holisticpool import Pool, SparseVector, TypeCodec, _core

Work = Callable[[Pool], Awaitable[Any]]

WORK: dict[str, Work] = {}

FAILURES = (holisticpool.DataError, holisticpool.InterfaceError, OverflowError, ValueError, TypeError)


def work(function: Work) -> Work:
    WORK[function.__name__] = function
    return function


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    """A pool of one connection with every option, and a type of its own."""
    codecs = [
        TypeCodec("interval", "pg_catalog", encoder=lambda parts: parts, decoder=lambda parts: parts, format="tuple"),
        TypeCodec("leak_mood", encoder=str.lower, decoder=str.upper),
    ]
    options = {"json": "stdlib", "numeric": "float", "vector": "list", "type_codecs": codecs}
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, statement_cache_size=SOON_FULL, **options) as made:
        await made.execute("CREATE TYPE leak_mood AS ENUM ('sad', 'ok'); CREATE EXTENSION IF NOT EXISTS hstore")
        yield made
        await made.execute("DROP TYPE leak_mood; DROP EXTENSION hstore")


@work
async def values_of_chosen_types(pool: Pool) -> None:
    await pool.fetch(
        "SELECT $1::jsonb, $2::numeric, $3::interval, $4::leak_mood[], ROW($1::jsonb), ARRAY[$2::numeric]",
        {"a": [1000, "x"]},
        1.25,
        (1000, 2000, 3000),
        ["OK", None],
    )
    await pool.fetch("SELECT $1::jsonb, 'pg_class'::regclass, '1000.5'::numeric, '1 day'::interval", {"a": 1000.5})


@work
async def refused_values_of_chosen_types(pool: Pool) -> None:
    for query, value in (("$1::jsonb", {1, 2}), ("$1::numeric", "x"), ("$1::interval", (1, 2)), ("$1::leak_mood", 5)):
        with contextlib.suppress(*FAILURES):
            await pool.fetchval("SELECT " + query, value)
    with contextlib.suppress(*FAILURES):
        await pool.fetchval("SELECT '1e400'::numeric")


@work
async def arguments_by_name(pool: Pool) -> None:
    await pool.fetch("SELECT :a::int AS a, $b::text AS b", params={"a": 12345, "b": "x" * 50}, rows="dict")
    await pool.fetchrow("SELECT 54321 AS a, 'x' || 1 AS b", rows="dict")
    async with pool.acquire() as connection:
        await connection.executemany("SELECT :a::int", [{"a": 1000}, {"a": 2000}])


@work
async def refused_arguments_by_name(pool: Pool) -> None:
    for query, args, params in (
        ("SELECT :a::int", (), {"b": 1000}),
        ("SELECT :a::int, $1::int", (), {"a": 1000}),
        ("SELECT :a::int", (1000,), {"a": 1000}),
        ("SELECT :a::int", (), [1000]),
        ("SELECT :a::int", (), {"a": "x"}),
    ):
        with contextlib.suppress(*FAILURES):
            await pool.fetch(query, *args, params=params)  # type: ignore[call-overload]
    async with pool.acquire() as connection:
        with contextlib.suppress(*FAILURES):
            await connection.executemany("SELECT :a::int", [{"a": 1000}, (2000,)])  # type: ignore[list-item]
    with contextlib.suppress(ValueError):
        await pool.fetch("SELECT 1", rows="tuple")  # type: ignore[call-overload]


@work
async def codecs_of_a_session(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.set_type_codec("leak_mood", encoder=str.upper, decoder=str.lower)
        await connection.fetchval("SELECT 'ok'::leak_mood")
        await connection.reset_type_codec("leak_mood")
        await connection.set_builtin_type_codec("hstore", codec_name="pg_contrib.hstore")
        await connection.fetchval("SELECT $1::hstore", {"a": "1000", "b": None})
        with contextlib.suppress(*FAILURES):
            await connection.fetchval("SELECT $1::hstore", {"a": 1000})
        await connection.reset_type_codec("hstore")
        await connection.reload_schema_state()


@pytest.mark.parametrize("name", WORK)
async def test_leaves_nothing_behind(name: str, pool: Pool) -> None:
    assert await growth(lambda: WORK[name](pool), 20) == {}


class Codec:
    """The functions of a codec, which can be watched."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, value: Any) -> Any:
        return self.function(value)


async def let_go() -> None:
    """The loop holds what it ran last until its next turn."""
    await asyncio.sleep(0)
    gc.collect()


async def test_functions_of_a_pool_go_with_it(dsn: str) -> None:
    encoder, decoder = Codec(str), Codec(int)
    gone = [weakref.ref(encoder), weakref.ref(decoder)]
    codecs = [TypeCodec("int4", "pg_catalog", encoder=encoder, decoder=decoder)]
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, type_codecs=codecs) as pool:
        assert await pool.fetchval("SELECT ARRAY[$1::int4]", 5) == [5]
    del codecs, encoder, decoder, pool
    await let_go()
    assert [reference() for reference in gone] == [None, None]


async def test_pool_that_its_codec_refers_to_is_collected(dsn: str) -> None:
    codec = Codec(int)
    codecs = [TypeCodec("int4", "pg_catalog", encoder=str, decoder=codec)]
    pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1, type_codecs=codecs)
    assert await pool.fetchval("SELECT 5") == 5
    await pool.close()
    codec.function = pool.fetchval  # a cycle
    gone = weakref.ref(codec)
    del codecs, codec, pool
    await let_go()
    assert gone() is None


ROWS = [("90000", "vector", "b", None, ",", "vector_send"), ("90001", "sparsevec", "b", None, ",", "sparsevec_send")]


def test_vectors_leave_nothing() -> None:
    def round_trip() -> None:
        for source in ([1.5, 2.5], array.array("f", [1.5]), "[1000.5,2]", ["x"], memoryview(b"ab"), "[1", 5):
            with contextlib.suppress(*FAILURES):
                _core.decode(90000, _core.encode(90000, source, ROWS) or b"", ROWS)
        for other in ([0, 1.5], SparseVector(5000, (1000,), (1.5,)), "{1:2}/3", "{1", SparseVector(3, (1,), ())):
            with contextlib.suppress(*FAILURES):
                _core.decode(90001, _core.encode(90001, other, ROWS) or b"", ROWS)
        for data in (b"", b"\0\2\0\0", b"[1000.5", b"{1:1000.5}/5000"):
            for decode in (_core.decode, _core.decode_text):
                for oid in (90000, 90001):
                    with contextlib.suppress(ValueError):
                        decode(oid, data, ROWS)

    def grown() -> int:
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(100):
            round_trip()
        gc.collect()
        return sys.getallocatedblocks() - before

    assert min(grown() for _ in range(3)) < 50


def test_whole_numbers_leave_nothing() -> None:
    def grown() -> int:
        before = sys.getallocatedblocks()
        for _ in range(200):
            for value in (1000.0, Decimal("2000"), 1.5, float("nan"), Decimal("NaN")):
                with contextlib.suppress(TypeError):
                    _core.encode(23, value)
        gc.collect()
        return sys.getallocatedblocks() - before

    assert min(grown() for _ in range(3)) < 100
