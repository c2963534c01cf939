"""How often the catalogue is asked for types: once for what is new, for the whole pool, and never for built-in ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import Pool, Range, TypeCodec

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a positive, b mood);
CREATE TYPE nested AS (p pair, ps pair[], r int4range);
CREATE TYPE span AS RANGE (subtype = float8);
"""


class Counted:
    """A pool, and how many catalogue queries its server has logged since the last look."""

    def __init__(self, pool: Pool, server: PostgresServer) -> None:
        self.pool = pool
        self._server = server
        self._seen = 0

    def lookups(self) -> int:
        total = self._server.log_text().count("execute <unnamed>: WITH RECURSIVE need(oid)")
        new, self._seen = total - self._seen, total
        return new


@pytest.fixture
async def counted(own_server: Callable[..., PostgresServer]) -> AsyncIterator[Counted]:
    """Three connections to a server of their own, which logs statements, with the types above."""
    server = own_server(settings={"log_statement": "all"})
    codecs = [TypeCodec("mood", encoder=str.lower, decoder=str.upper)]
    async with holisticpool.create_pool(
        server.dsn(), min_size=3, max_size=3, json="stdlib", type_codecs=codecs
    ) as pool:
        await pool.execute(TYPES)
        yield Counted(pool, server)


async def on_every_connection(pool: Pool, query: str, value: object) -> None:
    leases = [await pool.acquire() for _ in range(3)]
    assert [await lease.fetchval(query, value) for lease in leases] == [value] * 3
    for lease in leases:
        await pool.release(lease)


async def test_one_query_for_each_family_that_is_new(counted: Counted) -> None:
    pool = counted.pool
    value: Any
    for query, value in (
        ("SELECT $1::jsonb", {"a": 1}),
        ("SELECT $1::jsonb[]", [{"a": 1}]),
        ("SELECT $1::int4range[]", [Range(1, 2)]),
        ("SELECT $1::text[]", ["x"]),
    ):
        await on_every_connection(pool, query, value)
    assert counted.lookups() == 0
    await on_every_connection(pool, "SELECT $1::nested", ((1, "OK"), [(2, "SAD")], Range(1, 2)))
    assert counted.lookups() == 1
    for query, value in (("SELECT $1::pair", (1, "OK")), ("SELECT $1::mood", "OK"), ("SELECT $1::positive", 5)):
        await on_every_connection(pool, query, value)
    assert counted.lookups() == 0  # they were in the first one
    await on_every_connection(pool, "SELECT $1::mood[]", ["OK"])
    await on_every_connection(pool, "SELECT $1::span", Range(1.5, 2.5))
    assert counted.lookups() == 2


async def test_several_new_types_of_one_statement_are_one_query(counted: Counted) -> None:
    row = await counted.pool.fetchrow("SELECT 'ok'::mood, '(1,sad)'::pair, '[1,2)'::span, ARRAY['ok'::mood]")
    assert row == ("OK", (1, "SAD"), Range(1.0, 2.0), ["OK"])
    assert counted.lookups() == 1


async def test_new_connection_asks_nothing(counted: Counted) -> None:
    pool = counted.pool
    assert await pool.fetchval("SELECT 'ok'::mood") == "OK"
    assert counted.lookups() == 1
    for _ in range(3):
        lease = await pool.acquire()
        lease.terminate()
        await pool.release(lease)
    answers = await asyncio.gather(*(pool.fetchval("SELECT 'ok'::mood") for _ in range(9)))
    assert answers == ["OK"] * 9
    assert counted.lookups() == 0


async def test_reload_schema_state_asks_once_again(counted: Counted) -> None:
    pool = counted.pool
    await on_every_connection(pool, "SELECT $1::mood", "OK")
    assert counted.lookups() == 1
    async with pool.acquire() as connection:
        await connection.reload_schema_state()
    await on_every_connection(pool, "SELECT $1::mood", "OK")
    await on_every_connection(pool, "SELECT $1::mood", "OK")
    assert counted.lookups() == 1
