"""Fixtures of the binding's tests: pools, leases, sessions and a table on the shared server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import holisticpool
from holisticpool import Connection, Pool


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    """An open pool of up to two connections."""
    async with holisticpool.create_pool(dsn, min_size=1, max_size=2) as made:
        yield made


@pytest.fixture
async def single(dsn: str) -> AsyncIterator[Pool]:
    """An open pool of one connection: whoever holds it makes everybody else wait."""
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as made:
        yield made


@pytest.fixture
async def held(single: Pool) -> AsyncIterator[Connection]:
    """The only connection of `single`, leased."""
    connection = await single.acquire()
    yield connection
    await single.release(connection)


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Connection]:
    """A session of its own."""
    made = await holisticpool.connect(dsn)
    yield made
    await made.close()


@pytest.fixture
async def table(conn: Connection) -> AsyncIterator[str]:
    """A table of the session: (id int PRIMARY KEY, name text)."""
    await conn.execute("CREATE TEMP TABLE binding_t (id int PRIMARY KEY, name text)")
    yield "binding_t"
    await conn.execute("DROP TABLE binding_t")
