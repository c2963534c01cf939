"""DatabasePool and db_pool: every promise of the documented interface, on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import DatabasePool, Record, db_pool, exceptions

INITIALIZED = "Database pool initialized: 2-8 connections"
CLOSED = "Database pool closed"

OwnServer = Callable[..., PostgresServer]


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "holisticpool" and r.levelno == level]


# ---- singleton ----


def test_every_call_of_the_class_returns_db_pool() -> None:
    assert DatabasePool() is DatabasePool()
    assert DatabasePool() is db_pool


# ---- initialize ----


async def test_initialize_opens_min_size_connections(database: DatabasePool, server: PostgresServer) -> None:
    await database.initialize(server.dsn(application_name="opens_min_size"))
    assert server.sessions("opens_min_size") == 2


async def test_initialize_takes_the_url_from_the_environment(
    database: DatabasePool, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.dsn(application_name="from_env"))
    await database.initialize()
    assert server.sessions("from_env") == 2


async def test_initialize_argument_wins_over_the_environment(
    database: DatabasePool, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.dsn(application_name="by_environment"))
    await database.initialize(server.dsn(application_name="by_argument"))
    assert (server.sessions("by_argument"), server.sessions("by_environment")) == (2, 0)


async def test_initialize_again_while_open_does_nothing(database: DatabasePool, server: PostgresServer) -> None:
    url = server.dsn(application_name="again")
    await database.initialize(url)
    before = server.backend_pids("again")
    await database.initialize(url)
    await database.initialize()
    assert server.backend_pids("again") == before


async def test_concurrent_first_calls_open_exactly_one_pool(
    database: DatabasePool, server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holisticpool")
    url = server.dsn(application_name="concurrent")
    await asyncio.gather(*(database.initialize(url) for _ in range(20)))
    assert server.sessions("concurrent") == 2
    assert messages(caplog, logging.INFO) == [INITIALIZED]


async def test_concurrent_first_uses_open_exactly_one_pool(
    database: DatabasePool, server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holisticpool")
    monkeypatch.setenv("DATABASE_URL", server.dsn())
    rows = await asyncio.gather(*(database.execute_one("SELECT $1::int AS n", n) for n in range(20)))
    assert [row["n"] for row in rows if row is not None] == list(range(20))
    assert messages(caplog, logging.INFO) == [INITIALIZED]


async def test_concurrent_first_calls_share_a_failure(database: DatabasePool, server: PostgresServer) -> None:
    url = server.dsn(dbname="no_such_database")
    results = await asyncio.gather(*(database.initialize(url) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    assert await database.get_pool_status() == {"status": "not_initialized"}


async def test_cancelled_caller_leaves_the_opening_to_the_others(database: DatabasePool, dsn: str) -> None:
    first = asyncio.create_task(database.initialize(dsn))
    second = asyncio.create_task(database.initialize(dsn))
    await asyncio.sleep(0)  # both have started to wait
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (await database.get_pool_status())["status"] == "healthy"


async def test_cancelled_first_call_leaves_the_object_as_if_never_called(
    database: DatabasePool, own_server: OwnServer, dsn: str
) -> None:
    hanging = own_server()
    hanging.pause()
    opening = asyncio.create_task(database.initialize(hanging.dsn()))
    await asyncio.sleep(0)  # it has started
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await database.get_pool_status() == {"status": "not_initialized"}
    await database.initialize(dsn)
    assert (await database.get_pool_status())["status"] == "healthy"


async def test_failed_first_call_can_be_tried_again(database: DatabasePool, own_server: OwnServer) -> None:
    server = own_server()
    server.stop()
    database.configure(timeout=5)
    with pytest.raises(Exception):  # noqa: B017 - which one is the connection tests' subject
        await database.initialize(server.dsn())
    assert await database.get_pool_status() == {"status": "not_initialized"}
    server.start()
    await database.initialize(server.dsn())
    assert await database.execute_command("SELECT 1") == "SELECT 1"


async def test_server_that_is_down_is_a_connection_error(database: DatabasePool, own_server: OwnServer) -> None:
    server = own_server()
    server.stop()
    with pytest.raises(ConnectionError):
        await database.initialize(server.dsn())


async def test_no_url_is_a_value_error_that_names_the_variable(database: DatabasePool) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL"):
        await database.initialize()
    assert await database.get_pool_status() == {"status": "not_initialized"}


async def test_empty_url_counts_as_none(database: DatabasePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    with pytest.raises(ValueError, match="DATABASE_URL"):
        await database.initialize()


async def test_opening_is_logged_at_info(database: DatabasePool, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "holisticpool")
    await database.initialize(dsn)
    assert messages(caplog, logging.INFO) == [INITIALIZED]


async def test_failure_is_logged_at_error_without_the_password(
    database: DatabasePool, server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "holisticpool")
    with pytest.raises(Exception) as caught:  # noqa: B017 - which one is the connection tests' subject
        await database.initialize(server.dsn(password="hunter22 wrong"))
    assert len(messages(caplog, logging.ERROR)) == 1
    everything = caplog.text + str(caught.value) + repr(caught.value)
    assert "hunter22" not in everything


# ---- configure ----


async def test_configure_wins_over_the_environment(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_POOL_MAX_SIZE", "7")
    monkeypatch.setenv("DATABASE_POOL_MIN_SIZE", "3")
    database.configure(max_size=5)
    await database.initialize(dsn)
    status = await database.get_pool_status()
    assert (status["min_size"], status["max_size"]) == (3, 5)


async def test_wrong_variable_fails_initialize_with_its_name(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_POOL_MAX_SIZE", "many")
    with pytest.raises(ValueError, match="DATABASE_POOL_MAX_SIZE.*'many'"):
        await database.initialize(dsn)


async def test_configure_refuses_a_wrong_value_at_once(database: DatabasePool) -> None:
    with pytest.raises(ValueError, match="max_size"):
        database.configure(max_size=0)


async def test_configure_refuses_an_open_pool(opened: DatabasePool) -> None:
    with pytest.raises(exceptions.InterfaceError, match="configure"):
        opened.configure(max_size=3)


@pytest.mark.parametrize(("setting", "value"), [("application_name", "holisticos_mvp"), ("timezone", "UTC")])
async def test_session_has_the_documented_setting(opened: DatabasePool, setting: str, value: str) -> None:
    row = await opened.execute_one("SELECT current_setting($1) AS value", setting)
    assert row is not None
    assert row["value"] == value


async def test_application_name_comes_from_its_variable(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_APPLICATION_NAME", "shop api")
    await database.initialize(dsn)
    row = await database.execute_one("SHOW application_name")
    assert row is not None
    assert row[0] == "shop api"


async def test_configured_server_settings_win_and_keep_the_others(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_APPLICATION_NAME", "by variable")
    database.configure(server_settings={"application_name": "by keyword", "work_mem": "5MB"})
    await database.initialize(dsn)
    row = await database.execute_one(
        "SELECT current_setting('application_name'), current_setting('timezone'), current_setting('work_mem')"
    )
    assert row is not None
    assert tuple(row) == ("by keyword", "UTC", "5MB")


# ---- get_connection ----


async def test_get_connection_by_async_with(opened: DatabasePool) -> None:
    async with opened.get_connection() as conn:
        assert isinstance(conn, holisticpool.Connection)
        assert await conn.fetchval("SELECT 1") == 1
        assert opened.get_metrics()["leased_connections"] == 1
    assert opened.get_metrics()["leased_connections"] == 0


async def test_get_connection_by_await_and_release(opened: DatabasePool) -> None:
    conn = await opened.get_connection()
    assert await conn.fetchval("SELECT 1") == 1
    assert opened.get_metrics()["leased_connections"] == 1
    await opened.release(conn)
    assert opened.get_metrics()["leased_connections"] == 0


async def test_get_connection_by_await_and_close(opened: DatabasePool) -> None:
    conn = await opened.get_connection()
    await conn.close()
    metrics = opened.get_metrics()
    assert metrics["leased_connections"] == 0
    assert metrics["pool_size"] == 2


async def test_get_connection_by_async_with_await(opened: DatabasePool) -> None:
    async with await opened.get_connection() as conn:
        assert await conn.fetchval("SELECT 1") == 1
        assert opened.get_metrics()["leased_connections"] == 1
    assert opened.get_metrics()["leased_connections"] == 0


@pytest.mark.parametrize("form", ["async with", "await", "async with await"])
async def test_get_connection_opens_the_pool_first(
    database: DatabasePool, dsn: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    if form == "async with":
        async with database.get_connection() as conn:
            assert await conn.fetchval("SELECT 1") == 1
    elif form == "await":
        conn = await database.get_connection()
        assert await conn.fetchval("SELECT 1") == 1
        await database.release(conn)
    else:
        async with await database.get_connection() as conn:
            assert await conn.fetchval("SELECT 1") == 1
    assert (await database.get_pool_status())["status"] == "healthy"
    assert database.get_metrics()["leased_connections"] == 0


async def test_get_connection_gives_it_back_when_the_block_raises(opened: DatabasePool) -> None:
    with pytest.raises(ZeroDivisionError):
        async with opened.get_connection():
            raise ZeroDivisionError
    assert opened.get_metrics()["leased_connections"] == 0


async def test_release_refuses_what_is_no_connection(opened: DatabasePool) -> None:
    with pytest.raises(exceptions.InterfaceError):
        await opened.release("connection")  # type: ignore[arg-type]


# ---- execute_* ----


async def test_execute_query_returns_a_list_of_records(opened: DatabasePool) -> None:
    rows = await opened.execute_query("SELECT n FROM generate_series(1, $1) AS n", 3)
    assert isinstance(rows, list)
    assert all(isinstance(row, Record) for row in rows)
    assert [row["n"] for row in rows] == [1, 2, 3]


async def test_execute_one_returns_a_record(opened: DatabasePool) -> None:
    row = await opened.execute_one("SELECT $1::text AS name", "Ada")
    assert isinstance(row, Record)
    assert row["name"] == "Ada"


async def test_execute_one_returns_none_without_a_row(opened: DatabasePool) -> None:
    assert await opened.execute_one("SELECT 1 WHERE false") is None


async def test_execute_command_returns_the_status_tag(opened: DatabasePool) -> None:
    async with opened.get_connection() as conn:
        await conn.execute("CREATE TABLE IF NOT EXISTS interface_command (id int)")
    try:
        assert await opened.execute_command("INSERT INTO interface_command VALUES ($1)", 1) == "INSERT 0 1"
        assert await opened.execute_command("DELETE FROM interface_command") == "DELETE 1"
    finally:
        await opened.execute_command("DROP TABLE interface_command")


async def test_server_error_is_raised_by_its_class(opened: DatabasePool) -> None:
    with pytest.raises(holisticpool.UndefinedTableError):
        await opened.execute_query("SELECT * FROM no_such_table")


# ---- close ----


async def test_close_waits_for_leased_connections(opened: DatabasePool) -> None:
    conn = await opened.get_connection()
    closing = asyncio.create_task(opened.close())
    assert await conn.fetchval("SELECT 1") == 1
    assert not closing.done()
    await opened.release(conn)
    await closing
    assert await opened.get_pool_status() == {"status": "not_initialized"}


async def test_close_closes_every_connection(database: DatabasePool, server: PostgresServer) -> None:
    await database.initialize(server.dsn(application_name="closes_all"))
    await database.close()
    # A session is gone from pg_stat_activity a moment after its socket is.
    assert server.kill_backends("closes_all") >= 0
    assert server.sessions("closes_all") == 0


async def test_close_twice_does_nothing(opened: DatabasePool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "holisticpool")
    await opened.close()
    await opened.close()
    assert messages(caplog, logging.INFO) == [CLOSED]


async def test_close_before_initialize_does_nothing(database: DatabasePool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "holisticpool")
    await database.close()
    assert messages(caplog, logging.INFO) == []


async def test_concurrent_closes_all_wait_for_the_end(opened: DatabasePool) -> None:
    conn = await opened.get_connection()
    closing = [asyncio.create_task(opened.close()) for _ in range(3)]
    await conn.fetchval("SELECT 1")
    assert not any(task.done() for task in closing)
    await conn.close()
    await asyncio.gather(*closing)


async def test_close_can_be_followed_by_initialize(opened: DatabasePool, dsn: str) -> None:
    await opened.close()
    await opened.initialize(dsn)
    assert await opened.execute_command("SELECT 1") == "SELECT 1"


async def test_initialize_during_close_opens_a_new_pool_after_it(opened: DatabasePool, dsn: str) -> None:
    conn = await opened.get_connection()
    closing = asyncio.create_task(opened.close())
    await conn.fetchval("SELECT 1")
    reopening = asyncio.create_task(opened.initialize(dsn))
    await conn.fetchval("SELECT 1")
    assert not reopening.done()
    await conn.close()
    await asyncio.gather(closing, reopening)
    assert (await opened.get_pool_status())["status"] == "healthy"


async def test_close_while_opening_closes_what_was_opened(database: DatabasePool, dsn: str) -> None:
    opening = asyncio.create_task(database.initialize(dsn))
    await asyncio.sleep(0)  # it has started
    await database.close()
    await opening
    assert await database.get_pool_status() == {"status": "not_initialized"}


async def test_close_again_after_a_cancelled_one_waits_for_its_end(opened: DatabasePool, dsn: str) -> None:
    conn = await opened.get_connection()
    closing = asyncio.create_task(opened.close())
    await conn.fetchval("SELECT 1")
    closing.cancel()
    await asyncio.sleep(0)  # the caller has left, the closing goes on to its end
    await opened.close()
    assert closing.cancelled()
    assert conn.is_closed()
    assert await opened.get_pool_status() == {"status": "not_initialized"}


async def test_initialize_again_after_a_cancelled_one_opens_a_pool_of_its_own(database: DatabasePool, dsn: str) -> None:
    opening = asyncio.create_task(database.initialize(dsn))
    await asyncio.sleep(0)  # it has started
    opening.cancel()
    await asyncio.sleep(0)  # the caller has left
    await database.initialize(dsn)
    assert opening.cancelled()
    assert (await database.get_pool_status())["status"] == "healthy"


async def test_status_while_closing_is_not_healthy(opened: DatabasePool) -> None:
    conn = await opened.get_connection()
    closing = asyncio.create_task(opened.close())
    await conn.fetchval("SELECT 1")
    assert (await opened.get_pool_status())["status"] == "unavailable"
    await conn.close()
    await closing


# ---- get_pool_status ----


async def test_status_before_initialize(database: DatabasePool) -> None:
    assert await database.get_pool_status() == {"status": "not_initialized"}


async def test_status_of_an_open_pool(opened: DatabasePool) -> None:
    assert await opened.get_pool_status() == {
        "size": 2,
        "idle_connections": 2,
        "max_size": 8,
        "min_size": 2,
        "status": "healthy",
    }


async def test_status_counts_leased_connections_as_not_idle(opened: DatabasePool) -> None:
    async with opened.get_connection():
        status = await opened.get_pool_status()
    assert (status["size"], status["idle_connections"]) == (2, 1)


async def test_status_is_unavailable_when_no_connection_can_be_opened(
    database: DatabasePool, own_server: OwnServer
) -> None:
    server = own_server()
    database.configure(acquire_timeout=0.5)
    await database.initialize(server.dsn())
    server.stop("immediate")
    # A statement that meets an open connection's end fails with that connection.
    with pytest.raises(exceptions.ServerUnavailableError):
        while True:
            with contextlib.suppress(exceptions.PostgresError):
                await database.execute_query("SELECT 1")
    status = await database.get_pool_status()
    assert status["status"] == "unavailable"
    assert status["size"] == 0
    assert status["last_error"]
    assert status["last_error_at"].endswith("+00:00")
    assert server.password not in str(status)


async def test_status_is_degraded_below_min_size_while_opening_fails(
    database: DatabasePool, own_server: OwnServer
) -> None:
    server = own_server(max_connections=6)
    others = [await holisticpool.connect(server.dsn()) for _ in range(3)]
    database.configure(min_size=5, max_size=5)
    await database.initialize(server.dsn())
    status = await database.get_pool_status()
    assert status["status"] == "degraded"
    assert 0 < status["size"] < 5
    assert status["last_error"]
    for other in others:
        await other.close()


async def test_status_is_healthy_again_when_the_server_is_back(database: DatabasePool, own_server: OwnServer) -> None:
    server = own_server()
    database.configure(acquire_timeout=20)
    await database.initialize(server.dsn())
    server.restart("immediate")
    while True:  # the sessions that the restart ended say so first
        try:
            await database.execute_query("SELECT 1")
            break
        except (ConnectionError, exceptions.PostgresError, exceptions.InterfaceError):
            continue
    assert (await database.get_pool_status())["status"] == "healthy"


async def test_status_does_not_wait_for_a_frozen_server(database: DatabasePool, server: PostgresServer) -> None:
    await database.initialize(server.dsn(application_name="frozen_status"))
    with server.freeze_backends("frozen_status"):
        status = database.get_pool_status()
        with pytest.raises(StopIteration):  # it ends without ever suspending
            status.send(None)


# ---- get_metrics ----


async def test_metrics_have_their_keys_before_initialize_too(database: DatabasePool, dsn: str) -> None:
    before = database.get_metrics()
    await database.initialize(dsn)
    after = database.get_metrics()
    assert before.keys() == after.keys()
    wanted = {"pool_size", "idle_connections", "connection_wait_time", "query_duration", "connection_errors"}
    assert wanted <= after.keys()
    for latency in ("connection_wait_time", "query_duration"):
        assert before[latency].keys() == after[latency].keys()
        assert {"mean", "p50", "p95", "p99", "max"} <= after[latency].keys()
    assert before["recycled"].keys() == after["recycled"].keys() == {"max_queries", "idle", "lifetime", "broken"}


async def test_metrics_before_initialize_are_a_copy(database: DatabasePool) -> None:
    database.get_metrics()["recycled"]["idle"] = 99
    assert database.get_metrics()["recycled"]["idle"] == 0


async def test_metrics_count_queries_and_their_time(opened: DatabasePool) -> None:
    before = opened.get_metrics()
    for _ in range(10):
        await opened.execute_query("SELECT pg_sleep(0.001)")
    after = opened.get_metrics()
    assert after["queries"] - before["queries"] == 10
    duration = after["query_duration"]
    assert duration["count"] >= 10
    assert 0.001 <= duration["mean"] <= duration["max"]
    assert 0.001 <= duration["p50"] <= duration["p95"] <= duration["p99"]


async def test_metrics_count_acquisitions_and_reuse(opened: DatabasePool) -> None:
    for _ in range(50):
        async with opened.get_connection() as conn:
            await conn.fetchval("SELECT 1")
    metrics = opened.get_metrics()
    assert metrics["acquisitions"] >= 50
    assert metrics["reuse_ratio"] > 0.9
    assert metrics["connection_wait_time"]["count"] >= 50


async def test_metrics_count_errors_by_class(opened: DatabasePool) -> None:
    with pytest.raises(holisticpool.UndefinedTableError):
        await opened.execute_query("SELECT * FROM no_such_table")
    assert opened.get_metrics()["errors_by_class"] == {"42": 1}


async def test_metrics_count_query_timeouts(database: DatabasePool, dsn: str) -> None:
    database.configure(command_timeout=0.05)
    await database.initialize(dsn)
    with pytest.raises(asyncio.TimeoutError):
        await database.execute_query("SELECT pg_sleep(60)")
    assert database.get_metrics()["query_timeouts"] == 1


async def test_metrics_count_failed_connection_attempts(database: DatabasePool, own_server: OwnServer) -> None:
    server = own_server(max_connections=6)
    others = [await holisticpool.connect(server.dsn()) for _ in range(3)]
    database.configure(min_size=5, max_size=5)
    await database.initialize(server.dsn())
    assert database.get_metrics()["connection_errors"] >= 1
    for other in others:
        await other.close()


async def test_metrics_count_waiters(database: DatabasePool, dsn: str) -> None:
    database.configure(min_size=1, max_size=1)
    await database.initialize(dsn)
    async with database.get_connection() as conn:
        waiting = asyncio.create_task(database.execute_query("SELECT 1"))
        await conn.fetchval("SELECT 1")
        assert database.get_metrics()["waiters"] == 1
    await waiting
    assert database.get_metrics()["waiters"] == 0


# ---- limits ----


async def test_never_more_than_max_size_connections(database: DatabasePool, server: PostgresServer) -> None:
    database.configure(max_size=3)
    await database.initialize(server.dsn(application_name="at_most_three"))

    async def count() -> Any:
        row = await database.execute_one(
            "SELECT count(*) AS n FROM pg_stat_activity, pg_sleep(0.002) WHERE application_name = 'at_most_three'"
        )
        return row and row["n"]

    assert max(await asyncio.gather(*(count() for _ in range(60)))) <= 3


async def test_hanging_query_ends_on_the_server_too(database: DatabasePool, server: PostgresServer) -> None:
    database.configure(command_timeout=0.1, max_size=1, min_size=1)
    await database.initialize(server.dsn(application_name="hanging"))
    with pytest.raises(asyncio.TimeoutError):
        await database.execute_query("SELECT pg_sleep(600)")
    assert await database.execute_command("SELECT 1") == "SELECT 1"  # the only connection is usable again
    running = server.psql(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hanging' AND state = 'active'"
    )
    assert running == "0"
