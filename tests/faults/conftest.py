"""Fixtures of the fault tests: an observer on the shared server, and a proxy in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from observing import Observer
from servers import PostgresServer

from bench.proxy import DelayProxy


@pytest.fixture
def observer(server: PostgresServer) -> Observer:
    """Looks at the shared server past the pool under test."""
    return Observer(server)


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[DelayProxy]:
    """A proxy to the shared server that can swallow, refuse and break connections."""
    with DelayProxy((server.host, server.port)) as started:
        yield started


@pytest.fixture
def proxy_dsn(server: PostgresServer, proxy: DelayProxy) -> str:
    """The shared server by that proxy; append "&application_name=..." to it."""
    return server.dsn().replace(f":{server.port}/", f":{proxy.address[1]}/") + "?connect_timeout=30"
