"""terminate(): at once, and what the server runs at that moment is cancelled as far as that goes without waiting."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest
from observing import Observer
from servers import PostgresServer
from startup_proxy import StartupProxy

import holisticpool
from holisticpool import _core, exceptions

LIBPQ_WITH_TLS_CANCEL = 170000


@pytest.fixture
def clear_dsn(server: PostgresServer) -> str:
    return server.dsn(sslmode="disable", gssencmode="disable")


@pytest.fixture
def lasting_tls_dsn(tls_dsn: str) -> str:
    """By TLS, where a last cancel request can be sent by TLS."""
    if _core.libpq_version() >= LIBPQ_WITH_TLS_CANCEL:
        pytest.skip("this libpq would have to block")
    return tls_dsn


@pytest.fixture(params=["clear_dsn", "lasting_tls_dsn"])
def any_dsn(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


async def test_terminated_pool_leaves_no_statement_running(any_dsn: str, observer: Observer) -> None:
    pool = await holisticpool.create_pool(any_dsn, min_size=3, max_size=3)
    tasks = [asyncio.create_task(pool.execute("SELECT pg_sleep(600) /* of the pool */")) for _ in range(3)]
    await observer.until_running("of the pool", 3)
    pool.terminate()
    for task in tasks:
        with pytest.raises(exceptions.ConnectionDoesNotExistError, match="terminated"):
            await task
    await observer.until_not_running("of the pool")


async def test_terminated_lease_leaves_no_statement_running(any_dsn: str, observer: Observer) -> None:
    async with holisticpool.create_pool(any_dsn, min_size=1, max_size=1) as pool:
        connection = await pool.acquire()
        task = asyncio.create_task(connection.execute("SELECT pg_sleep(600) /* of the lease */"))
        await observer.until_running("of the lease")
        connection.terminate()
        with pytest.raises(exceptions.ConnectionDoesNotExistError, match="terminated"):
            await task
        await observer.until_not_running("of the lease")
        await pool.release(connection)
        assert await pool.fetchval("SELECT 1") == 1


async def test_terminated_connection_leaves_no_statement_running(any_dsn: str, observer: Observer) -> None:
    connection = await holisticpool.connect(any_dsn)
    task = asyncio.create_task(connection.execute("SELECT pg_sleep(600) /* of the connection */"))
    await observer.until_running("of the connection")
    connection.terminate()
    with pytest.raises(exceptions.ConnectionDoesNotExistError, match="terminated"):
        await task
    await observer.until_not_running("of the connection")


async def test_terminating_what_is_idle_sends_no_cancel_request(server: PostgresServer, clear_dsn: str) -> None:
    async with StartupProxy(server) as proxy:
        dsn = clear_dsn.replace(f":{server.port}/", f":{proxy.port}/")
        pool = await holisticpool.create_pool(dsn, min_size=2, max_size=2)
        connection = await pool.acquire()
        assert await connection.fetchval("SELECT $1::int", 1) == 1
        connection.terminate()
        pool.terminate()
        # What comes after it would have come by now.
        async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as other:
            assert await other.fetchval("SELECT 1") == 1
        assert set(proxy.kinds) == {"session"}


def test_terminating_while_the_loop_does_not_run_makes_no_noise(tls_dsn: str) -> None:
    """In a program of its own, that shows what it says at its end."""
    program = """
        import asyncio, sys, holisticpool

        async def start():
            pool = await holisticpool.create_pool(sys.argv[1], min_size=1, max_size=1)
            task = asyncio.ensure_future(pool.execute("SELECT pg_sleep(600)"))
            await asyncio.sleep(0)
            return pool, task

        loop = asyncio.new_event_loop()
        pool, task = loop.run_until_complete(start())
        pool.terminate()
        try:
            loop.run_until_complete(task)
        except holisticpool.ConnectionDoesNotExistError:
            print("terminated")
        loop.close()
    """
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", textwrap.dedent(program), tls_dsn],
        capture_output=True,
        text=True,
        cwd="/",  # not the checkout, whose holisticpool has no extension
    )
    assert (done.stdout, done.stderr, done.returncode) == ("terminated\n", "", 0)
