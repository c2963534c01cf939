"""Fixtures of the interface tests: db_pool as a process that has just started has it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from holisticpool import DatabasePool, db_pool
from holisticpool.config import UNSET

_CONFIGURABLE = (
    "acquire_timeout",
    "command_timeout",
    "dsn",
    "init",
    "max_inactive_connection_lifetime",
    "max_queries",
    "max_size",
    "min_size",
    "server_settings",
    "timeout",
)


@pytest.fixture
async def database() -> AsyncIterator[DatabasePool]:
    """db_pool, not initialized; closed and without configuration afterwards."""
    yield db_pool
    await db_pool.close()
    db_pool.configure(**dict.fromkeys(_CONFIGURABLE, UNSET))


@pytest.fixture
async def opened(database: DatabasePool, dsn: str) -> DatabasePool:
    """db_pool, open on the shared server."""
    await database.initialize(dsn)
    return database
