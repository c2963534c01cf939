"""Fixtures of the tests with other libraries: SQLAlchemy's engine on the shared server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# What the entry point says; the tests run on a build that is not installed.
registry.register("postgresql.holisticpool", "holisticpool.sqlalchemy", "HolisticpoolDialect")


@pytest.fixture
def url(dsn: str) -> URL:
    """The shared server, as SQLAlchemy names it."""
    return make_url(dsn).set(drivername="postgresql+holisticpool")


@pytest.fixture
async def make_engine(url: URL) -> AsyncIterator[Callable[..., AsyncEngine]]:
    """A factory of engines: make_engine(pool_size=1). They are disposed of after the test."""
    made: list[AsyncEngine] = []

    def make(**arguments: Any) -> AsyncEngine:
        made.append(create_async_engine(arguments.pop("url", url), **arguments))
        return made[-1]

    yield make
    for engine in made:
        await engine.dispose()


@pytest.fixture
def engine(make_engine: Callable[..., AsyncEngine]) -> AsyncEngine:
    """An engine with SQLAlchemy's defaults."""
    return make_engine()
