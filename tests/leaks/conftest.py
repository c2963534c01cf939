"""Fixtures of the leak tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from growth import SOON_FULL

import holisticpool
from holisticpool import Pool


@pytest.fixture
async def single(dsn: str) -> AsyncIterator[Pool]:
    """An open pool of one connection: whoever holds it makes everybody else wait."""
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, statement_cache_size=SOON_FULL) as made:
        yield made
