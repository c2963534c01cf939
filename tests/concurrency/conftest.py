"""Fixtures of the concurrency tests: an observer on the shared server, and pools that name themselves."""

from __future__ import annotations

import pytest
from observing import Observer
from servers import PostgresServer


@pytest.fixture
def observer(server: PostgresServer) -> Observer:
    """Looks at the shared server past the pool under test."""
    return Observer(server)
