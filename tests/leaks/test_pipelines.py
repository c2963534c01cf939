"""Pipelines, again and again, leave nothing behind: read, left or failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from growth import growth_on_a_pool

from holisticpool import Pool, exceptions

Work = Callable[[Pool], Awaitable[Any]]

ROUNDS = 30


async def results_that_are_awaited_or_not(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.pipeline() as pipe:
        results = [pipe.fetch("SELECT $1::int AS n", n) for n in range(10)]
        assert await results[5] == [(5,)]


async def transaction(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.pipeline() as pipe, pipe.transaction():
        for n in range(10):
            pipe.fetchval("SELECT $1::int", n)


async def errors(pool: Pool) -> None:
    async with pool.acquire() as connection:
        for query in ("SELECT 1/0", "SELECT nonsense", "COPY pg_class TO STDOUT"):
            with contextlib.suppress(exceptions.PostgresError, exceptions.InterfaceError):
                async with connection.pipeline() as pipe, pipe.transaction():
                    pipe.fetchval(query)
                    pipe.fetchval("SELECT $1::int", "not a number")


async def statements_that_are_left(pool: Pool) -> None:
    async with pool.acquire() as connection:
        with contextlib.suppress(KeyError):
            async with connection.pipeline() as pipe:
                pipe.execute("SELECT pg_sleep(600)")
                waiting = asyncio.ensure_future(pipe.fetchval("SELECT 1"))
                await asyncio.sleep(0)
                waiting.cancel()
                raise KeyError
        assert await connection.fetchval("SELECT 2") == 2
        await asyncio.wait([waiting])


WORK: list[Work] = [results_that_are_awaited_or_not, transaction, errors, statements_that_are_left]


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_nothing_is_left_behind(dsn: str, work: Work) -> None:
    assert await growth_on_a_pool(dsn, work, ROUNDS) == {}
