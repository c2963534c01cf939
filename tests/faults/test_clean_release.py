"""Whatever a lease or a statement leaves in its session, the next one does not see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from observing import Observer, settled, unique_name
from servers import PostgresServer

import holisticpool
from holisticpool import exceptions

# What is done, and a query that shows it in the session.
TRACES = {
    "set": ("SET work_mem = '77MB'", "SELECT current_setting('work_mem') = '77MB'"),
    "set after a comment": ("/* SELECT */ set -- x\n work_mem = '78MB'", "SELECT current_setting('work_mem') = '78MB'"),
    "set_config": (
        "SELECT set_config('work_mem', '79MB', false)",
        "SELECT current_setting('work_mem') = '79MB'",
    ),
    "set_config in a subquery": (
        "SELECT 1 WHERE (SELECT pg_catalog.set_config('work_mem', '81MB', false)) IS NOT NULL",
        "SELECT current_setting('work_mem') = '81MB'",
    ),
    "set_config in a function": ("SELECT quietly_set()", "SELECT current_setting('work_mem') = '80MB'"),
    "set_config in a DO block": (
        "DO $$ BEGIN PERFORM set_config('work_mem', '82MB', false); END $$",
        "SELECT current_setting('work_mem') = '82MB'",
    ),
    "custom setting": ("SET my.tenant = '42'", "SELECT coalesce(current_setting('my.tenant', true), '') <> ''"),
    "search_path": ("SET search_path TO pg_catalog", "SELECT current_setting('search_path') = 'pg_catalog'"),
    "time zone": ("SET TIME ZONE 'Asia/Tokyo'", "SELECT current_setting('TimeZone') = 'Asia/Tokyo'"),
    "role": ("SET ROLE pg_monitor", "SELECT current_user = 'pg_monitor'"),
    "session authorization": (
        "SET SESSION AUTHORIZATION pg_monitor",
        "SELECT session_user = 'pg_monitor'",
    ),
    "listen": ("LISTEN somebody", "SELECT EXISTS (SELECT FROM pg_listening_channels())"),
    "advisory lock": (
        "SELECT pg_advisory_lock(4711)",
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
    ),
    "temporary table": (
        "CREATE TEMP TABLE mine AS SELECT 1 AS one",
        "SELECT to_regclass('pg_temp.mine') IS NOT NULL",
    ),
    "temporary table by select into": (
        "SELECT 1 AS one INTO TEMP mine_too",
        "SELECT to_regclass('pg_temp.mine_too') IS NOT NULL",
    ),
    "cursor with hold": (
        "DECLARE held CURSOR WITH HOLD FOR SELECT 1",
        "SELECT EXISTS (SELECT FROM pg_cursors WHERE name = 'held')",
    ),
    "prepared statement": (
        "PREPARE theirs AS SELECT 1",
        "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'theirs')",
    ),
    "characteristics": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SELECT current_setting('default_transaction_read_only') = 'on'",
    ),
    "explain analyze": (
        "EXPLAIN ANALYZE SELECT set_config('work_mem', '83MB', false)",
        "SELECT current_setting('work_mem') = '83MB'",
    ),
}

_HELPERS = """
CREATE OR REPLACE FUNCTION quietly_set() RETURNS text LANGUAGE sql AS $$
    SELECT set_config('work_mem', '80MB', false) $$;
"""


@pytest.fixture
async def pool(server: PostgresServer, observer: Observer) -> AsyncIterator[holisticpool.Pool]:
    """One connection, so that the next user gets the same session; its application_name is its own."""
    await observer.ask(_HELPERS)
    dsn = server.dsn(application_name=unique_name("clean"))
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        yield pool


@pytest.mark.parametrize("trace", TRACES)
async def test_next_lease_does_not_see_what_a_lease_left(pool: holisticpool.Pool, trace: str) -> None:
    leave, look = TRACES[trace]
    for run in ("execute", "fetch"):
        async with pool.acquire() as connection:
            pid = connection.get_server_pid()
            await getattr(connection, run)(leave)
            assert await connection.fetchval(look) is True  # else this test would show nothing
        async with pool.acquire() as connection:
            assert connection.get_server_pid() == pid
            assert await connection.fetchval(look) is False


@pytest.mark.parametrize("trace", TRACES)
async def test_next_user_does_not_see_what_a_statement_of_the_pool_left(pool: holisticpool.Pool, trace: str) -> None:
    leave, look = TRACES[trace]
    for run in ("execute", "fetch"):
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        await getattr(pool, run)(leave)
        assert await pool.fetchval(look) is False
        assert await pool.fetchval("SELECT pg_backend_pid()") == pid


async def test_settings_of_the_dsn_survive_a_reset(server: PostgresServer) -> None:
    dsn = server.dsn(options="-c work_mem=66MB", application_name="survivor")
    settings = {"statement_timeout": "55s", "timezone": "Asia/Tokyo"}
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, server_settings=settings) as pool:
        await pool.execute("SET work_mem = '1MB'; SET timezone = 'UTC'; SET statement_timeout = 1")
        await pool.execute("SET application_name = 'somebody else'")
        shown = "current_setting('work_mem'), current_setting('statement_timeout'), current_setting('timezone')"
        row = await pool.fetchrow(f"SELECT {shown}, current_setting('application_name')")
        assert row == ("66MB", "55s", "Asia/Tokyo", "survivor")


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT 1; BEGIN"])
async def test_open_transaction_is_rolled_back(pool: holisticpool.Pool, begin: str, failed: bool) -> None:
    async with pool.acquire() as connection:
        await connection.execute(begin)
        await connection.execute("CREATE TABLE never_there (i int)")
        if failed:
            with pytest.raises(exceptions.DivisionByZeroError):
                await connection.fetchval("SELECT 1 / 0")
    async with pool.acquire() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT to_regclass('never_there') IS NULL") is True
        assert await connection.fetchval("SHOW transaction_isolation") == "read committed"


async def test_transaction_opened_by_a_statement_of_the_pool_is_rolled_back(
    pool: holisticpool.Pool, observer: Observer
) -> None:
    for text in ("BEGIN", "BEGIN; CREATE TABLE never_there (i int)", "BEGIN; SELECT 1; SAVEPOINT a"):
        await pool.execute(text)
        assert await pool.fetchval("SELECT to_regclass('never_there') IS NULL") is True
        await settled(pool)
        await observer.until("NOT EXISTS (SELECT FROM pg_stat_activity WHERE state LIKE 'idle in transaction%')")


async def test_settings_of_a_transaction_that_is_rolled_back_go_with_it(pool: holisticpool.Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("BEGIN; SET LOCAL work_mem = '65MB'; SET statement_timeout = '54s'")
    assert await pool.fetchrow("SELECT current_setting('work_mem'), current_setting('statement_timeout')") == (
        "4MB",
        "0",
    )


async def test_lease_that_cannot_have_touched_the_session_costs_no_reset(pool: holisticpool.Pool) -> None:
    before = pool._stats()["resets"]
    for _ in range(5):
        async with pool.acquire() as connection:
            await connection.fetch("SELECT g, now(), upper('x') FROM generate_series(1, 3) g ORDER BY g")
            async with connection.transaction():
                await connection.execute("SELECT count(*) FROM pg_class WHERE relname LIKE $1", "pg%")
        await pool.fetchval("SELECT $1::text || 'x'", "y")
    stats = await settled(pool)
    assert stats["resets"] == before


async def test_reset_is_off_the_path_of_the_one_who_releases(pool: holisticpool.Pool) -> None:
    connection = await pool.acquire()
    await connection.execute("SET work_mem = '75MB'")
    await pool.release(connection)  # nothing was awaited on the wire: the reset is still to come
    assert pool._stats()["resetting"] == 1
    await settled(pool)


async def test_own_prepared_statements_survive_where_they_can(pool: holisticpool.Pool) -> None:
    for leave in ("SET work_mem = '74MB'", "PREPARE theirs AS SELECT 1", "DEALLOCATE ALL", "DISCARD ALL"):
        for i in range(3):
            assert await pool.fetchval("SELECT $1::int + 1000", i) == i + 1000
            await pool.execute(leave)
            async with pool.acquire() as connection, connection.transaction():
                # In a transaction nothing could be tried again.
                assert await connection.fetchval("SELECT $1::int + 1000", i) == i + 1000


async def test_always_resets_even_what_the_text_does_not_show(server: PostgresServer, observer: Observer) -> None:
    await observer.ask("CREATE TABLE IF NOT EXISTS watched (i int)")
    await observer.ask("""
        CREATE OR REPLACE FUNCTION sneak() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM set_config('work_mem', '73MB', false); RETURN NEW; END $$;
        CREATE OR REPLACE TRIGGER sneak BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION sneak()""")
    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=1, reset="always") as pool:
        await pool.execute("INSERT INTO watched VALUES (1)")
        assert await pool.fetchval("SELECT current_setting('work_mem')") == "4MB"
        async with pool.acquire() as connection:
            await connection.execute("INSERT INTO watched VALUES (2)")
            assert await connection.fetchval("SELECT current_setting('work_mem')") == "73MB"
        assert await pool.fetchval("SELECT current_setting('work_mem')") == "4MB"
    await observer.ask("DROP TABLE watched")


async def test_reset_that_fails_costs_the_session_and_nobody_else(server: PostgresServer, observer: Observer) -> None:
    name = unique_name("no_unlocking")
    await observer.ask(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    await observer.ask(f"CREATE DATABASE {name} OWNER {name}")
    forbid = "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all() FROM PUBLIC"
    await asyncio.to_thread(server.psql, forbid, dbname=name)
    dsn = server.dsn(user=name, password="x", dbname=name)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        for lost in range(1, 4):
            async with pool.acquire() as connection:
                pid = connection.get_server_pid()
                await connection.execute("SET work_mem = '72MB'")
            row = await pool.fetchrow("SELECT pg_backend_pid() <> $1, current_setting('work_mem')", pid)
            assert row == (True, "4MB")
            assert pool._stats()["recycled"]["broken"] == lost
    await observer.ask(f"DROP DATABASE {name} WITH (FORCE)")
    await observer.ask(f"DROP ROLE {name}")


async def test_timeouts_that_a_lease_has_set_do_not_stop_its_reset(pool: holisticpool.Pool) -> None:
    async with pool.acquire() as connection:
        pid = connection.get_server_pid()
        await connection.execute("".join(f"CREATE TEMP TABLE t{i} (i int PRIMARY KEY);" for i in range(300)))
        await connection.execute("SET lock_timeout = 1; SET statement_timeout = 1")
    row = await pool.fetchrow("SELECT pg_backend_pid() = $1, current_setting('statement_timeout')", pid)
    assert row == (True, "0")


async def test_queued_statements_never_run_before_the_reset(pool: holisticpool.Pool) -> None:
    for _ in range(20):
        connection = await pool.acquire()
        waiting = [asyncio.create_task(pool.fetchval("SELECT current_setting('work_mem')")) for _ in range(5)]
        await asyncio.sleep(0)
        await connection.execute("SET work_mem = '71MB'")
        await pool.release(connection)
        assert await asyncio.gather(*waiting) == ["4MB"] * 5


@pytest.mark.parametrize("finish", ["commit", "rollback"])
async def test_setting_that_is_local_to_a_transaction_costs_no_reset_and_goes_with_it(
    pool: holisticpool.Pool, finish: str
) -> None:
    look = "SELECT current_setting('app.user', true)"
    before = pool._stats()["resets"]
    for user in ("ann", "bob"):
        async with pool.acquire() as connection:
            pid = connection.get_server_pid()
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("SELECT set_config('app.user', $1, true)", user)
            assert await connection.fetchval(look) == user
            await getattr(transaction, finish)()
        async with pool.acquire() as connection:
            assert connection.get_server_pid() == pid
            assert not await connection.fetchval(look)
    stats = await settled(pool)
    assert stats["resets"] == before


async def test_local_setting_outside_of_a_transaction_ends_with_its_statement(pool: holisticpool.Pool) -> None:
    before = pool._stats()["resets"]
    texts = ("SELECT set_config('work_mem', '70MB', true)", "SELECT 1; SELECT set_config('role', 'pg_monitor', true)")
    for text in texts:
        await pool.execute(text)
        async with pool.acquire() as connection:
            await connection.execute(text)
            row = await connection.fetchrow("SELECT current_setting('work_mem'), current_user = session_user")
            assert row == ("4MB", True)
    stats = await settled(pool)
    assert stats["resets"] == before
