"""Fixtures that every test may use: real servers and the ways to reach them.

Each pytest-xdist worker has a server of its own, so that tests need not know of each other. Settings:
    HOLISTICPOOL_TEST_PG_BIN   a directory of PostgreSQL binaries (see servers.default_bindir)
    HOLISTICPOOL_TEST_LOOP     "uvloop" to run the asyncio tests on it
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import PostgresServer

# The checkout comes last on the path: bench/ is imported from it, but its holisticpool has no extension and
# must not hide the one that was built.
_ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _ROOT] + [str(_ROOT)]

# What the person who runs the tests has set for other programs must not reach them.
for _name in [name for name in os.environ if name.startswith(("PG", "DATABASE_"))]:
    del os.environ[_name]

if os.environ.get("HOLISTICPOOL_TEST_LOOP") == "uvloop":
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

_NO_TLS = "these PostgreSQL binaries were built without TLS"


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A running server that the tests of this process share. Do not stop it, and clean up what you create."""
    with PostgresServer() as started:
        yield started


@pytest.fixture(scope="session")
def dsn(server: PostgresServer) -> str:
    """Where the shared server is: TCP with a SCRAM password."""
    return server.dsn()


@pytest.fixture(scope="session")
def unix_dsn(server: PostgresServer) -> str:
    """The shared server by its Unix socket."""
    return server.dsn(host="unix")


@pytest.fixture(scope="session")
def libpq_with_tls() -> None:
    """For tests that need a libpq which was built with TLS; skips where it was not."""
    from holisticpool import _core
    from holisticpool.exceptions import ClientConfigurationError

    try:
        _core.resolve_conninfo("host=localhost sslmode=require", {})
    except ClientConfigurationError:
        pytest.skip("this libpq was built without TLS")


@pytest.fixture(scope="session")
def tls_dsn(server: PostgresServer, libpq_with_tls: None) -> str:
    """The shared server by TLS, verify-full; skips where the server or libpq have none."""
    if not server.tls:
        pytest.skip(_NO_TLS)
    return server.tls_dsn()


@pytest.fixture
def own_server() -> Iterator[Callable[..., PostgresServer]]:
    """A factory of started servers for one test to stop, restart or exhaust: own_server(max_connections=20).

    Takes PostgresServer's arguments. Whatever was made is removed after the test.
    """
    made: list[PostgresServer] = []

    def make(**arguments: Any) -> PostgresServer:
        made.append(PostgresServer(**arguments))
        return made[-1].start()

    yield make
    for each in made:
        each.close()
