"""connect() and Connection: signatures, checks and behaviour that asyncpg documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import Connection, Record, ServerVersion, exceptions
from holisticpool.types import parse_server_version


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Connection]:
    connection = await holisticpool.connect(dsn)
    yield connection
    connection.terminate()


# ---- connect ----


async def test_connect_and_close(server: PostgresServer) -> None:
    conn = await holisticpool.connect(server.dsn(application_name="one_session"))
    assert server.sessions("one_session") == 1
    assert not conn.is_closed()
    await conn.close()
    assert conn.is_closed()


async def test_connect_by_unix_socket(unix_dsn: str) -> None:
    async with await holisticpool.connect(unix_dsn) as conn:
        assert await conn.fetchval("SELECT inet_server_addr()") is None


async def test_connect_by_verified_tls(tls_dsn: str) -> None:
    async with await holisticpool.connect(tls_dsn) as conn:
        assert await conn.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True


async def test_connect_by_keywords(server: PostgresServer) -> None:
    conn = await holisticpool.connect(
        host=server.host, port=server.port, user=server.superuser, password=server.password, database="postgres"
    )
    assert await conn.fetchval("SELECT current_user") == server.superuser
    await conn.close()


async def test_connect_has_no_pool_defaults(conn: Connection) -> None:
    assert await conn.fetchval("SHOW application_name") != "holisticos_mvp"


async def test_connect_refuses_a_wrong_password(server: PostgresServer) -> None:
    with pytest.raises(Exception, match="password") as caught:
        await holisticpool.connect(server.dsn(password="hunter22 wrong"))
    assert "hunter22" not in str(caught.value)


async def test_connect_to_a_stopped_server_is_a_connection_error(own_server: Callable[..., PostgresServer]) -> None:
    server = own_server()
    server.stop()
    with pytest.raises(ConnectionError):
        await holisticpool.connect(server.dsn())


async def test_connect_timeout_is_a_timeout_error(own_server: Callable[..., PostgresServer]) -> None:
    server = own_server()
    server.pause()
    with pytest.raises(asyncio.TimeoutError):
        await holisticpool.connect(server.dsn(), timeout=0.1)


async def test_cancelled_connect_leaves_no_session(server: PostgresServer) -> None:
    connecting = asyncio.create_task(holisticpool.connect(server.dsn(application_name="given_up")))
    await asyncio.sleep(0)  # it has started
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    server.kill_backends("given_up")  # waits for one that is on its way out
    assert server.sessions("given_up") == 0


@pytest.mark.parametrize("argument", ["connection_class", "record_class"])
async def test_wrong_class_is_an_interface_error(dsn: str, argument: str) -> None:
    with pytest.raises(exceptions.InterfaceError, match=argument):
        await holisticpool.connect(dsn, **{argument: int})  # type: ignore[arg-type]


async def test_record_class_must_not_redefine_new(dsn: str) -> None:
    class Wrong(Record):
        def __new__(cls) -> Wrong:
            raise AssertionError

    with pytest.raises(exceptions.InterfaceError, match="must not redefine __new__ or __init__"):
        await holisticpool.connect(dsn, record_class=Wrong)


async def test_command_timeout_holds_for_every_statement(dsn: str) -> None:
    async with await holisticpool.connect(dsn, command_timeout=0.5) as conn:
        with pytest.raises(asyncio.TimeoutError):
            await conn.fetch("SELECT pg_sleep(600)")
        assert await conn.fetchval("SELECT 1", timeout=60) == 1  # the cancel request may take its time


async def test_timeout_of_one_call_wins(dsn: str) -> None:
    async with await holisticpool.connect(dsn, command_timeout=0.01) as conn:
        assert await conn.fetchval("SELECT 1 FROM pg_sleep(0.1)", timeout=60) == 1


# ---- queries ----


async def test_fetchval_takes_a_column(conn: Connection) -> None:
    assert await conn.fetchval("SELECT 1, 2, 3", column=2) == 3


async def test_fetchval_without_a_row_is_none(conn: Connection) -> None:
    assert await conn.fetchval("SELECT 1 WHERE false") is None


async def test_execute_takes_several_statements(conn: Connection) -> None:
    assert await conn.execute("CREATE TEMP TABLE t (n int); INSERT INTO t VALUES (1), (2)") == "INSERT 0 2"


async def test_executemany_runs_for_each(conn: Connection) -> None:
    await conn.execute("CREATE TEMP TABLE t (n int, s text)")
    assert await conn.executemany("INSERT INTO t VALUES ($1, $2)", [(1, "a"), (2, "b")]) is None  # type: ignore[func-returns-value]
    assert [tuple(row) for row in await conn.fetch("SELECT n, s FROM t ORDER BY n")] == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("kind", [list, tuple, iter])
async def test_executemany_takes_any_iterable(conn: Connection, kind: Callable[[Any], Any]) -> None:
    await conn.execute("CREATE TEMP TABLE t (n int)")
    await conn.executemany("INSERT INTO t VALUES ($1)", kind([(1,), [2], (3,)]))
    assert await conn.fetchval("SELECT sum(n) FROM t") == 6


async def test_executemany_of_nothing_does_nothing(conn: Connection) -> None:
    await conn.execute("CREATE TEMP TABLE t (n int)")
    await conn.executemany("INSERT INTO t VALUES ($1)", [])
    assert await conn.fetchval("SELECT count(*) FROM t") == 0


async def test_executemany_is_all_or_nothing(conn: Connection) -> None:
    await conn.execute("CREATE TEMP TABLE t (n int UNIQUE)")
    with pytest.raises(holisticpool.UniqueViolationError):
        await conn.executemany("INSERT INTO t VALUES ($1)", [(1,), (2,), (1,)])
    assert await conn.fetchval("SELECT count(*) FROM t") == 0
    assert not conn.is_in_transaction()


async def test_executemany_with_a_wrong_argument_runs_nothing(conn: Connection) -> None:
    await conn.execute("CREATE TEMP TABLE t (n int)")
    with pytest.raises(exceptions.DataError):
        await conn.executemany("INSERT INTO t VALUES ($1)", [(1,), ("two",)])
    assert await conn.fetchval("SELECT count(*) FROM t") == 0


async def test_executemany_within_a_transaction_belongs_to_it(conn: Connection) -> None:
    await conn.execute("CREATE TEMP TABLE t (n int)")
    transaction = conn.transaction()
    await transaction.start()
    await conn.executemany("INSERT INTO t VALUES ($1)", [(1,), (2,)])
    assert conn.is_in_transaction()
    await transaction.rollback()
    assert await conn.fetchval("SELECT count(*) FROM t") == 0


async def test_second_operation_at_the_same_time_is_refused_or_queued(conn: Connection) -> None:
    results = await asyncio.gather(
        conn.fetchval("SELECT 1 FROM pg_sleep(0.05)"), conn.fetchval("SELECT 2"), return_exceptions=True
    )
    assert results[0] == 1
    assert results[1] == 2 or isinstance(results[1], exceptions.InterfaceError)


# ---- state ----


async def test_is_in_transaction(conn: Connection) -> None:
    assert conn.is_in_transaction() is False
    await conn.execute("BEGIN")
    assert conn.is_in_transaction() is True
    await conn.execute("ROLLBACK")
    assert conn.is_in_transaction() is False


async def test_server_pid(conn: Connection) -> None:
    assert conn.get_server_pid() == await conn.fetchval("SELECT pg_backend_pid()")


async def test_server_version(conn: Connection, server: PostgresServer) -> None:
    version = conn.get_server_version()
    assert isinstance(version, ServerVersion)
    assert version.major == server.version
    assert version >= (10, 0)
    number = int(await conn.fetchval("SHOW server_version_num"))
    assert number == version.major * 10000 + version.micro


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("15.4 (Debian 15.4-1.pgdg120+1)", (15, 0, 4, "final", 0)),
        ("18.0", (18, 0, 0, "final", 0)),
        ("9.6.24", (9, 6, 24, "final", 0)),
        ("16beta1", (16, 0, 0, "beta", 1)),
        ("17rc2", (17, 0, 0, "rc", 2)),
        ("14devel", (14, 0, 0, "devel", 0)),
        ("PostgreSQL 12.3", (12, 0, 3, "final", 0)),
    ],
)
def test_server_version_text(text: str, version: tuple[Any, ...]) -> None:
    assert parse_server_version(text) == version


async def test_settings_are_the_reported_ones(conn: Connection) -> None:
    settings = conn.get_settings()
    assert settings.server_encoding == "UTF8"
    await conn.execute("SET TimeZone = 'Asia/Tokyo'")
    assert settings.TimeZone == "Asia/Tokyo"
    with pytest.raises(AttributeError):
        _ = settings.work_mem


async def test_reset_brings_the_session_back(conn: Connection) -> None:
    await conn.execute("SET work_mem = '9MB'")
    await conn.execute("SELECT pg_advisory_lock(42)")
    await conn.execute("BEGIN")
    await conn.reset()
    assert not conn.is_in_transaction()
    assert await conn.fetchval("SHOW work_mem") != "9MB"
    assert (
        await conn.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == 0
    )


DRIVERS = ["holisticpool", "asyncpg"]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_reset_tells_of_a_transaction_that_nobody_ends(driver: str, dsn: str) -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    connection = await pytest.importorskip(driver).connect(dsn)
    try:
        await connection.reset()
        async with connection.transaction():
            await connection.reset()
        assert told == []
        await connection.transaction().start()
        await connection.reset()
        await connection.execute("BEGIN")
        await connection.reset()
        assert told == [f"Resetting connection with an active transaction {connection!r}"] * 2
    finally:
        loop.set_exception_handler(None)
        await connection.close()


async def test_reset_within_a_failed_transaction(conn: Connection) -> None:
    await conn.execute("BEGIN")
    with pytest.raises(holisticpool.DivisionByZeroError):
        await conn.execute("SELECT 1/0")
    await conn.reset()
    assert await conn.fetchval("SELECT 1") == 1


async def test_reset_query_may_be_overridden(dsn: str) -> None:
    class Mine(Connection):
        def get_reset_query(self) -> str:
            return "SET work_mem = '11MB'"

    async with await holisticpool.connect(dsn, connection_class=Mine) as conn:
        await conn.reset()
        assert await conn.fetchval("SHOW work_mem") == "11MB"


# ---- the end ----


@pytest.mark.parametrize("end", ["close", "terminate"])
@pytest.mark.parametrize("method", ["fetch", "fetchrow", "fetchval", "execute"])
async def test_closed_connection_cannot_be_used(dsn: str, end: str, method: str) -> None:
    conn = await holisticpool.connect(dsn)
    if end == "close":
        await conn.close()
    else:
        conn.terminate()
    assert conn.is_closed()
    with pytest.raises(exceptions.InterfaceError, match="connection is closed"):
        await getattr(conn, method)("SELECT 1")


@pytest.mark.parametrize("method", ["get_server_version", "get_settings", "transaction"])
async def test_closed_connection_answers_no_question(dsn: str, method: str) -> None:
    conn = await holisticpool.connect(dsn)
    await conn.close()
    with pytest.raises(exceptions.InterfaceError, match="connection is closed"):
        getattr(conn, method)()


async def test_second_close_does_nothing(dsn: str) -> None:
    conn = await holisticpool.connect(dsn)
    await conn.close()
    await conn.close()
    conn.terminate()


async def test_close_during_a_transaction_rolls_back(server: PostgresServer) -> None:
    conn = await holisticpool.connect(server.dsn())
    await conn.execute("BEGIN; CREATE TABLE never_committed (n int)")
    await conn.close()
    assert server.psql("SELECT to_regclass('never_committed') IS NULL") == "t"


async def test_connection_that_the_server_ended_is_closed(dsn: str) -> None:
    conn = await holisticpool.connect(dsn)
    with pytest.raises((exceptions.PostgresError, exceptions.InterfaceError, ConnectionError)):
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        await conn.fetchval("SELECT 1")
    assert conn.is_closed()


async def test_instrumentations_find_host_user_and_database(server: PostgresServer, conn: Connection) -> None:
    assert conn._addr == (server.host, server.port)
    assert conn._params == ("postgres", "postgres")


async def test_instrumentations_find_the_path_of_a_unix_socket(server: PostgresServer, unix_dsn: str) -> None:
    async with await holisticpool.connect(unix_dsn) as conn:
        assert isinstance(conn._addr, str)
        assert conn._addr.endswith(f"/.s.PGSQL.{server.port}")


async def test_terminating_a_running_statement_is_a_lost_connection(conn: Connection) -> None:
    task = asyncio.ensure_future(conn.execute("SELECT pg_sleep(60)"))
    await asyncio.sleep(0)  # it has started
    conn.terminate()
    with pytest.raises(exceptions.ConnectionDoesNotExistError, match="closed in the middle of the operation"):
        await task
    assert conn.is_closed()


async def test_session_that_the_server_ends_in_a_statement_is_a_lost_connection(conn: Connection) -> None:
    with pytest.raises(exceptions.ConnectionDoesNotExistError) as caught:
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert isinstance(caught.value, exceptions.AdminShutdownError)
    assert caught.value.sqlstate == "57P01"
