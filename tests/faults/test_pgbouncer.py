"""A transaction pooler in between: PgBouncer from the system's packages, in front of the shared server.

Debian's is of before 1.20: it refuses the start-up parameter `options` and does
not know prepared statements, as many hosted poolers still do.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import PostgresServer, WatchedDirectory, as_server_user, free_port, give_to_server_user

import holisticpool
from holisticpool import exceptions

_PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(_PROGRAM is None, reason="no pgbouncer on this machine")

_CONFIGURATION = """
[databases]
postgres = host={host} port={port} dbname=postgres user={user} password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 100
logfile = {directory}/log
pidfile = {directory}/pid
"""


@pytest.fixture(scope="module")
def pooler_dsn(server: PostgresServer) -> Iterator[str]:
    assert _PROGRAM is not None
    with WatchedDirectory("pgbouncer-") as directory:
        port = free_port()
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(
                host=server.host,
                port=server.port,
                user=server.superuser,
                password=server.password,
                listen=port,
                directory=directory,
            )
        )
        for path in (directory, configuration):
            give_to_server_user(path)
        process = subprocess.Popen(
            [_PROGRAM, "-q", str(configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **as_server_user(),
        )
        try:
            _wait_for(process, port, directory)
            yield f"postgresql://{server.superuser}@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.communicate()


def _wait_for(process: subprocess.Popen[bytes], port: int, directory: Path) -> None:
    """Until it takes connections; a try is refused at once, and an end is an error."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    assert process.stderr is not None
    raise RuntimeError(f"pgbouncer ended: {process.stderr.read().decode()}")


async def test_pool_with_its_default_settings_opens_though_options_are_refused(pooler_dsn: str) -> None:
    async with holisticpool.create_pool(pooler_dsn, statement_cache_size=0) as pool:
        assert await pool.fetchval("SELECT current_setting('TimeZone')") == "UTC"
        assert await pool.fetchval("SELECT current_setting('application_name')") == "holisticos_mvp"


async def test_settings_given_as_server_settings_hold_also_after_a_reset(pooler_dsn: str) -> None:
    settings = {"timezone": "Asia/Tokyo", "application_name": "it's"}
    async with holisticpool.create_pool(
        pooler_dsn, statement_cache_size=0, min_size=1, max_size=1, server_settings=settings
    ) as pool:
        async with pool.acquire() as connection:
            await connection.execute("SET timezone TO 'Europe/Rome'")
        assert pool._stats()["resets"] == 1
        assert await pool.fetchval("SELECT current_setting('TimeZone')") == "Asia/Tokyo"
        assert await pool.fetchval("SELECT current_setting('application_name')") == "it's"


async def test_options_of_the_user_are_not_dropped_silently(pooler_dsn: str) -> None:
    with pytest.raises(exceptions.PostgresError, match="unsupported startup parameter"):
        await holisticpool.connect(pooler_dsn + "?options=-c%20geqo%3Doff")


async def test_many_tasks_on_few_server_sessions_get_their_own_answers(pooler_dsn: str) -> None:
    async with holisticpool.create_pool(pooler_dsn, statement_cache_size=0, min_size=8, max_size=8) as pool:
        answers = await asyncio.gather(
            *(pool.fetchval("SELECT $1::int + length($2::text)", n, "x" * (n % 7)) for n in range(500))
        )
        assert answers == [n + n % 7 for n in range(500)]


async def test_transactions_batches_and_types_of_the_user_work(pooler_dsn: str) -> None:
    async with holisticpool.create_pool(pooler_dsn, statement_cache_size=0, max_size=4) as pool:
        await pool.execute("CREATE TYPE pooled AS ENUM ('a', 'b'); CREATE TABLE pooled_rows (n int, kind pooled)")
        try:
            async with pool.acquire() as connection, connection.transaction():
                await connection.executemany(
                    "INSERT INTO pooled_rows VALUES ($1, $2)", [(n, "ab"[n % 2]) for n in range(200)]
                )
                assert await connection.fetchval("SELECT count(*) FROM pooled_rows WHERE kind = $1", "b") == 100
        finally:
            await pool.execute("DROP TABLE pooled_rows; DROP TYPE pooled")


async def test_timeout_cancels_through_the_pooler_and_the_pool_goes_on(pooler_dsn: str, server: PostgresServer) -> None:
    async with holisticpool.create_pool(pooler_dsn, statement_cache_size=0, min_size=1, max_size=2) as pool:
        with pytest.raises(TimeoutError):
            await pool.fetch("SELECT pg_sleep(100) /* through the pooler */", timeout=0.2)
        assert await pool.fetchval("SELECT 1") == 1
        assert "'active'" not in server.psql(
            "SELECT quote_literal(state) FROM pg_stat_activity"
            " WHERE query LIKE '%through the pooler%' AND pid <> pg_backend_pid()"
        )
