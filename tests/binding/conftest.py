"""Fixtures of the binding's tests: pools of the shared server, and one whose only connection is leased."""

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
async def conn(dsn: str) -> AsyncIterator[Connection]:
    """A session of its own."""
    made = await holisticpool.connect(dsn)
    yield made
    await made.close()
