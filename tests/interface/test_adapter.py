"""SupabaseAsyncPGAdapter and DatabaseException: every promise of the documented interface."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable

import pytest
from observing import until
from servers import PostgresServer

import holisticpool
from holisticpool import DatabaseException, DatabasePool, Record, SupabaseAsyncPGAdapter

OwnServer = Callable[..., PostgresServer]


@pytest.fixture
async def adapter(opened: DatabasePool) -> SupabaseAsyncPGAdapter:
    made = SupabaseAsyncPGAdapter()
    await made.connect()
    return made


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "holisticpool" and r.levelno == logging.ERROR]


# ---- connected, connect, close ----


async def test_connected_says_connect_and_close(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    adapter = SupabaseAsyncPGAdapter()
    assert adapter.connected is False
    await adapter.connect()
    assert adapter.connected is True
    await adapter.close()
    assert adapter.connected is False


async def test_connect_initializes_db_pool(database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    await SupabaseAsyncPGAdapter().connect()
    assert (await database.get_pool_status())["status"] == "healthy"


async def test_making_an_adapter_opens_nothing(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    SupabaseAsyncPGAdapter()
    assert await database.get_pool_status() == {"status": "not_initialized"}


async def test_failing_connect_is_a_database_exception(
    database: DatabasePool, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.dsn(dbname="no_such_database"))
    adapter = SupabaseAsyncPGAdapter()
    with pytest.raises(DatabaseException, match="^Failed to connect to database: .") as caught:
        await adapter.connect()
    assert isinstance(caught.value.__cause__, Exception)
    assert adapter.connected is False


async def test_connect_without_url_is_a_database_exception(database: DatabasePool) -> None:
    with pytest.raises(DatabaseException, match="^Failed to connect to database: .*DATABASE_URL") as caught:
        await SupabaseAsyncPGAdapter().connect()
    assert isinstance(caught.value.__cause__, ValueError)


async def test_failing_connect_shows_no_password(
    database: DatabasePool, server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DATABASE_URL", server.dsn(password="hunter22 wrong"))
    with pytest.raises(DatabaseException) as caught:
        await SupabaseAsyncPGAdapter().connect()
    assert "hunter22" not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__) + caplog.text


async def test_close_leaves_the_shared_pool_open(adapter: SupabaseAsyncPGAdapter, opened: DatabasePool) -> None:
    other = SupabaseAsyncPGAdapter()
    await other.connect()
    await adapter.close()
    assert other.connected is True
    assert await other.execute("SELECT 1") == "SELECT 1"
    assert (await opened.get_pool_status())["status"] == "healthy"


# ---- fetch, fetchrow, execute ----


async def test_fetch_returns_a_list_of_records(adapter: SupabaseAsyncPGAdapter) -> None:
    rows = await adapter.fetch("SELECT n FROM generate_series(1, $1) AS n", 2)
    assert isinstance(rows, list)
    assert all(isinstance(row, Record) for row in rows)
    assert [row["n"] for row in rows] == [1, 2]


async def test_fetchrow_returns_a_record(adapter: SupabaseAsyncPGAdapter) -> None:
    row = await adapter.fetchrow("SELECT $1::int AS n", 5)
    assert isinstance(row, Record)
    assert row["n"] == 5


async def test_fetchrow_returns_none_without_a_row(adapter: SupabaseAsyncPGAdapter) -> None:
    assert await adapter.fetchrow("SELECT 1 WHERE false") is None


async def test_execute_returns_the_status_tag(adapter: SupabaseAsyncPGAdapter) -> None:
    assert await adapter.execute("SELECT 1") == "SELECT 1"


async def test_adapter_works_before_connect(database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    adapter = SupabaseAsyncPGAdapter()
    assert await adapter.execute("SELECT 1") == "SELECT 1"
    assert adapter.connected is False


@pytest.mark.parametrize(
    ("method", "prefix"),
    [
        ("fetch", "Database query failed: "),
        ("fetchrow", "Database fetchrow failed: "),
        ("execute", "Database execute failed: "),
    ],
)
async def test_server_error_keeps_prefix_cause_and_sqlstate(
    adapter: SupabaseAsyncPGAdapter, method: str, prefix: str
) -> None:
    with pytest.raises(DatabaseException) as caught:
        await getattr(adapter, method)("SELECT * FROM no_such_table")
    assert str(caught.value).startswith(prefix)
    assert "no_such_table" in str(caught.value)
    assert caught.value.sqlstate == "42P01"
    assert isinstance(caught.value.__cause__, holisticpool.UndefinedTableError)


@pytest.mark.parametrize(
    ("method", "prefix"),
    [
        ("fetch", "Unexpected database error: "),
        ("fetchrow", "Database fetchrow failed: "),
        ("execute", "Database execute failed: "),
    ],
)
async def test_other_error_keeps_prefix_and_cause(adapter: SupabaseAsyncPGAdapter, method: str, prefix: str) -> None:
    with pytest.raises(DatabaseException) as caught:
        await getattr(adapter, method)("SELECT 1", "an argument too many")
    assert str(caught.value).startswith(prefix)
    assert isinstance(caught.value.__cause__, holisticpool.InterfaceError)


async def test_argument_of_the_wrong_type_is_a_failed_query(adapter: SupabaseAsyncPGAdapter) -> None:
    with pytest.raises(DatabaseException, match=r"^Database query failed: invalid input for query argument") as caught:
        await adapter.fetch("SELECT $1::int", "one")
    assert isinstance(caught.value.__cause__, holisticpool.DataError)


async def test_timeout_is_an_unexpected_database_error(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.configure(command_timeout=0.05)
    await database.initialize(dsn)
    with pytest.raises(DatabaseException, match="^Unexpected database error: .") as caught:
        await SupabaseAsyncPGAdapter().fetch("SELECT pg_sleep(60)")
    assert isinstance(caught.value.__cause__, asyncio.TimeoutError)
    assert caught.value.sqlstate is None


@pytest.mark.parametrize("method", ["fetch", "fetchrow", "execute"])
async def test_cancellation_passes_through(adapter: SupabaseAsyncPGAdapter, method: str) -> None:
    task = asyncio.create_task(getattr(adapter, method)("SELECT pg_sleep(60)"))
    await asyncio.sleep(0)  # it has started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_of_connect_passes_through(
    database: DatabasePool, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_server()
    server.pause()
    monkeypatch.setenv("DATABASE_URL", server.dsn())
    task = asyncio.create_task(SupabaseAsyncPGAdapter().connect())
    await asyncio.sleep(0)  # it has started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_error_log_has_the_first_hundred_characters_of_the_query(
    adapter: SupabaseAsyncPGAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    query = "SELECT * FROM no_such_table /* " + "x" * 100 + " END */"
    with pytest.raises(DatabaseException):
        await adapter.fetch(query)
    (line,) = errors(caplog)
    assert query[:100] in line
    assert query[:101] not in line


@pytest.mark.parametrize("method", ["fetch", "fetchrow", "execute"])
@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ("SELECT $1::int", "private-value"),  # refused before sending
        ("SELECT $1::text::int", "private-value"),  # the server quotes it in its message
    ],
)
async def test_error_log_has_no_argument(
    adapter: SupabaseAsyncPGAdapter, caplog: pytest.LogCaptureFixture, method: str, query: str, argument: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DatabaseException):
        await getattr(adapter, method)(query, argument)
    assert len(errors(caplog)) == 1
    assert "private-value" not in caplog.text


async def test_error_log_of_a_unique_violation_has_no_argument(
    adapter: SupabaseAsyncPGAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await adapter.execute("CREATE TABLE IF NOT EXISTS adapter_unique (email text PRIMARY KEY)")
    try:
        await adapter.execute("INSERT INTO adapter_unique VALUES ($1)", "private-value")
        with pytest.raises(DatabaseException) as caught:
            await adapter.execute("INSERT INTO adapter_unique VALUES ($1)", "private-value")
        assert caught.value.sqlstate == "23505"
        assert "private-value" not in caplog.text
    finally:
        await adapter.execute("DROP TABLE adapter_unique")


async def test_password_in_a_query_is_not_logged(
    adapter: SupabaseAsyncPGAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DatabaseException):
        await adapter.execute("ALTER ROLE no_such_role PASSWORD 'hunter22'")
    assert "hunter22" not in caplog.text


def test_database_exception_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(DatabaseException("Database query failed: x", "42P01")))
    assert (str(copy), copy.sqlstate) == ("Database query failed: x", "42P01")


# ---- health_check ----


async def test_health_check_of_a_working_database(adapter: SupabaseAsyncPGAdapter) -> None:
    health = await adapter.health_check()
    assert health["database"] == "connected"
    assert health["query_test"] == "passed"
    assert health["pool_status"]["status"] == "healthy"
    assert health.keys() == {"database", "pool_status", "query_test"}


async def test_health_check_without_url_is_an_error_report(database: DatabasePool) -> None:
    health = await SupabaseAsyncPGAdapter().health_check()
    assert health["database"] == "error"
    assert "DATABASE_URL" in health["error"]
    assert health["pool_status"] == {"status": "not_initialized"}
    assert health.keys() == {"database", "error", "pool_status"}


async def test_health_check_of_a_stopped_server_is_an_error_report(
    database: DatabasePool, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_server()
    server.stop()
    monkeypatch.setenv("DATABASE_URL", server.dsn())
    health = await SupabaseAsyncPGAdapter().health_check()
    assert health["database"] == "error"
    assert health["error"]
    assert server.password not in str(health)


async def test_health_check_says_why_nobody_answered(
    database: DatabasePool, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SupabaseAsyncPGAdapter, "health_check_timeout", 0.2)
    server = own_server()
    await database.initialize(server.dsn())
    server.stop()

    async def is_explained() -> bool:
        health = await SupabaseAsyncPGAdapter().health_check()
        reason = health["pool_status"].get("last_error")
        return reason is not None and health["error"] == f"no answer within 0.2 s: {reason}"

    await until(is_explained, "the health check says why it got no answer")


async def test_health_check_answers_while_open_sessions_hang(
    database: DatabasePool, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SupabaseAsyncPGAdapter, "health_check_timeout", 0.2)
    await database.initialize(server.dsn(application_name="hangs"))
    with server.freeze_backends("hangs"):
        health = await SupabaseAsyncPGAdapter().health_check()
        assert health["database"] == "error"
        assert health["error"]
        assert health["pool_status"]["max_size"] == 8


async def test_health_check_answers_while_the_server_takes_no_sessions(
    database: DatabasePool, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SupabaseAsyncPGAdapter, "health_check_timeout", 0.2)
    server = own_server()
    server.pause()
    monkeypatch.setenv("DATABASE_URL", server.dsn())
    health = await SupabaseAsyncPGAdapter().health_check()
    assert health["database"] == "error"
    assert health["error"]


async def test_health_check_answers_while_every_connection_is_leased(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SupabaseAsyncPGAdapter, "health_check_timeout", 0.2)
    database.configure(min_size=1, max_size=1)
    await database.initialize(dsn)
    async with database.get_connection():
        health = await SupabaseAsyncPGAdapter().health_check()
    assert health["database"] == "error"
    assert health["pool_status"]["idle_connections"] == 0


async def test_health_check_lets_cancellation_through(database: DatabasePool, dsn: str) -> None:
    database.configure(min_size=1, max_size=1)
    await database.initialize(dsn)
    async with database.get_connection() as conn:
        task = asyncio.create_task(SupabaseAsyncPGAdapter().health_check())
        await conn.fetchval("SELECT 1")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_health_check_bound_is_five_seconds() -> None:
    assert SupabaseAsyncPGAdapter.health_check_timeout == 5.0
