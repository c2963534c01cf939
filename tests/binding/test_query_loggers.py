"""add_query_logger() and query_logger(): each statement once, with its time and its end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import Connection, Pool, exceptions
from holisticpool.connection import LoggedQuery

CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "fetch": ("SELECT $1::int", (1,)),
    "fetchrow": ("SELECT $1::int, $2::text", (1, "x")),
    "fetchval": ("SELECT 1", ()),
    "execute": ("SELECT 1; SELECT 2", ()),
}


@pytest.mark.parametrize("method", CALLS)
async def test_each_call_is_logged_once(conn: Connection, method: str) -> None:
    log: list[LoggedQuery] = []
    query, args = CALLS[method]
    conn.add_query_logger(log.append)
    before = time.monotonic()
    await getattr(conn, method)(query, *args, timeout=30)
    most = time.monotonic() - before
    [record] = log
    assert isinstance(record, LoggedQuery)
    assert (record.query, record.args, record.timeout, record.exception) == (query, args, 30, None)
    assert 0 < record.elapsed <= most


async def test_second_run_of_a_known_statement_is_logged_too(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    for i in range(3):
        await conn.fetchval("SELECT $1::int", i)
    assert [record.args for record in log] == [(0,), (1,), (2,)]


async def test_executemany_is_logged_once(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    await conn.executemany("SELECT $1::int", [(1,), (2,), (3,)])
    await conn.executemany("SELECT $1::int", [])
    await asyncio.sleep(0)  # nothing was sent, and so nothing waited for
    assert [(record.query, record.args) for record in log] == [
        ("SELECT $1::int", [(1,), (2,), (3,)]),
        ("SELECT $1::int", []),
    ]


async def test_batch_of_an_iterator_is_logged_once(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    await conn.executemany("SELECT $1::int", ((i,) for i in range(1000)))
    assert [(record.query, record.args, record.exception) for record in log] == [("SELECT $1::int", None, None)]


async def test_fetchmany_is_logged(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    assert len(await conn.fetchmany("SELECT $1::int", [(1,), (2,)])) == 2
    assert [(record.query, record.args) for record in log] == [("SELECT $1::int", [(1,), (2,)])]


async def test_cursor_is_logged_with_its_query(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    async with conn.transaction():
        with conn.query_logger(log.append):
            cursor = await conn.cursor("SELECT generate_series(1, $1::int)", 5)
            assert len(await cursor.fetch(3)) == 3
    assert {record.query for record in log} == {"SELECT generate_series(1, $1::int)"}
    assert log[0].args == (5,)


async def test_execution_of_a_prepared_statement_is_logged_and_its_preparing_is_not(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    prepared = await conn.prepare("SELECT $1::int")
    assert "SELECT $1::int" not in [record.query for record in log]
    log.clear()
    assert await prepared.fetchval(1, timeout=20) == 1
    await prepared.executemany([(2,), (3,)])
    assert [record[:3] for record in log] == [
        ("SELECT $1::int", (1,), 20),
        ("SELECT $1::int", [(2,), (3,)], None),
    ]


async def test_transaction_is_logged(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    async with conn.transaction():
        await conn.execute("SELECT 1")
    assert [record.query for record in log] == ["BEGIN", "SELECT 1", "COMMIT"]


async def test_record_names_the_session_and_never_the_password(conn: Connection, server: PostgresServer) -> None:
    log: list[LoggedQuery] = []
    with conn.query_logger(log.append):
        await conn.fetch("SELECT 1")
    [record] = log
    assert record.conn_addr == (server.host, server.port)
    assert (record.conn_params.user, record.conn_params.database) == (server.superuser, "postgres")
    assert server.password not in repr(record)
    assert not hasattr(record.conn_params, "password")


async def test_record_names_the_unix_socket(unix_dsn: str, server: PostgresServer) -> None:
    log: list[LoggedQuery] = []
    async with await holisticpool.connect(unix_dsn) as conn:
        with conn.query_logger(log.append):
            await conn.fetch("SELECT 1")
    assert log[0].conn_addr == f"{server.socket_dir}/.s.PGSQL.{server.port}"


# ---- ends ----


async def test_error_of_the_server_is_logged(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    with pytest.raises(exceptions.DivisionByZeroError) as caught:
        await conn.fetchval("SELECT 1/0")
    with pytest.raises(exceptions.UndefinedColumnError):
        await conn.execute("SELECT nothing")
    assert [type(record.exception) for record in log] == [
        exceptions.DivisionByZeroError,
        exceptions.UndefinedColumnError,
    ]
    assert log[0].exception is caught.value


@pytest.mark.parametrize("times", [1, 2])
async def test_wrong_argument_is_logged(conn: Connection, times: int) -> None:
    """... whether it is found when the statement is described or before anything is sent."""
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    for _ in range(times):
        with pytest.raises(exceptions.DataError):
            await conn.fetchval("SELECT $1::int", "no number")
        await asyncio.sleep(0)  # the second time nothing is sent, and so nothing waited for
    assert [(type(record.exception), record.args) for record in log] == [
        (exceptions.ClientDataError, ("no number",))
    ] * times


async def test_timeout_is_logged(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    with pytest.raises(asyncio.TimeoutError):
        await conn.fetchval("SELECT pg_sleep(600)", timeout=0.02)
    [record] = log
    assert isinstance(record.exception, TimeoutError)
    assert record.timeout == 0.02
    assert record.elapsed >= 0.02


async def test_cancellation_is_logged(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(conn.fetchval("SELECT pg_sleep(600)"), 0.02)
    [record] = log
    assert isinstance(record.exception, asyncio.CancelledError)
    assert record.elapsed > 0
    assert await conn.fetchval("SELECT 1") == 1
    assert [each.query for each in log] == ["SELECT pg_sleep(600)", "SELECT 1"]


async def test_statement_that_ended_with_its_session_is_logged(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    conn.add_query_logger(log.append)
    with pytest.raises((exceptions.PostgresError, exceptions.ConnectionDoesNotExistError)) as caught:
        await conn.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")
    assert [record.exception for record in log] == [caught.value]


async def test_call_that_the_connection_refused_is_no_statement(dsn: str) -> None:
    log: list[LoggedQuery] = []
    conn = await holisticpool.connect(dsn)
    conn.add_query_logger(log.append)
    running = asyncio.create_task(conn.fetchval("SELECT pg_sleep(600)"))
    await asyncio.sleep(0)
    with pytest.raises(exceptions.InterfaceError, match="another operation is in progress"):
        await conn.fetchval("SELECT 2")
    conn.terminate()
    with pytest.raises(exceptions.ConnectionDoesNotExistError):
        await running
    with pytest.raises(exceptions.InterfaceError):
        await conn.fetchval("SELECT 3")
    await asyncio.sleep(0)
    assert [record.query for record in log] == ["SELECT pg_sleep(600)"]


async def test_command_timeout_is_the_timeout_of_the_record(dsn: str) -> None:
    log: list[LoggedQuery] = []
    async with await holisticpool.connect(dsn, command_timeout=25) as conn:
        conn.add_query_logger(log.append)
        await conn.fetch("SELECT 1")
        await conn.fetch("SELECT 1", timeout=5)
    assert [record.timeout for record in log] == [25, 5]


# ---- loggers ----


async def test_context_manager_logs_what_is_inside(conn: Connection) -> None:
    outer: list[LoggedQuery] = []
    inner: list[LoggedQuery] = []
    await conn.execute("SELECT 0")
    with conn.query_logger(outer.append):
        await conn.execute("SELECT 1")
        with conn.query_logger(inner.append):
            await conn.execute("SELECT 2")
    await conn.execute("SELECT 3")
    assert [record.query for record in outer] == ["SELECT 1", "SELECT 2"]
    assert [record.query for record in inner] == ["SELECT 2"]


async def test_context_manager_ends_with_an_error_inside(conn: Connection) -> None:
    log: list[LoggedQuery] = []
    with pytest.raises(KeyError), conn.query_logger(log.append):
        raise KeyError
    await conn.execute("SELECT 1")
    assert log == []


async def test_context_manager_ends_when_the_lease_was_released_inside(single: Pool) -> None:
    log: list[LoggedQuery] = []
    lease = await single.acquire()
    with lease.query_logger(log.append):
        await lease.execute("SELECT 1")
        await single.release(lease)
    await single.execute("SELECT 2")
    assert [record.query for record in log] == ["SELECT 1"]


async def test_coroutine_function_is_run(conn: Connection) -> None:
    log: asyncio.Queue[LoggedQuery] = asyncio.Queue()

    async def logger(record: LoggedQuery) -> None:
        log.put_nowait(record)

    conn.add_query_logger(logger)
    await conn.execute("SELECT 1")
    assert (await asyncio.wait_for(log.get(), 20)).query == "SELECT 1"


async def test_removed_logger_hears_nothing(conn: Connection) -> None:
    log: list[LoggedQuery] = []

    def logger(record: LoggedQuery) -> None:
        log.append(record)

    conn.remove_query_logger(logger)
    conn.add_query_logger(logger)
    conn.remove_query_logger(logger)
    await conn.execute("SELECT 1")
    assert log == []


async def test_nothing_is_called_without_a_logger(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def logger(record: LoggedQuery) -> None:
        raise AssertionError

    conn.add_query_logger(logger)
    conn.remove_query_logger(logger)
    conn.add_termination_listener(print)
    monkeypatch.setattr("holisticpool.listeners.Callbacks.logged", None)
    assert await conn.fetchval("SELECT 1") == 1
    conn.remove_termination_listener(print)


async def test_init_hook_can_have_every_statement_of_a_pool_logged(dsn: str) -> None:
    log: list[LoggedQuery] = []

    async def init(conn: Connection) -> None:
        await conn.execute("SELECT 'not logged'")
        conn.add_query_logger(log.append)

    async with holisticpool.create_pool(dsn, min_size=2, max_size=2, init=init) as pool:
        await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(10)))
        async with pool.acquire() as lease:
            await lease.execute("SELECT 'leased'")
        async with pool.acquire() as lease:
            await lease.execute("SET work_mem = '9MB'")
        with pytest.raises(exceptions.DivisionByZeroError):
            await pool.execute("SELECT 1/0")
    assert sorted(record.args[0] for record in log[:10]) == list(range(10))
    assert [record.query for record in log[10:]] == ["SELECT 'leased'", "SET work_mem = '9MB'", "SELECT 1/0"]


async def test_time_in_the_queue_of_the_pool_does_not_count(single: Pool) -> None:
    log: list[LoggedQuery] = []
    lease = await single.acquire()
    lease.add_query_logger(log.append)
    waiting = asyncio.create_task(single.fetchval("SELECT 1"))
    begun = time.monotonic()
    await lease.execute("SELECT pg_sleep(0.3)")
    await single.release(lease)
    await waiting
    assert [record.query for record in log] == ["SELECT pg_sleep(0.3)", "SELECT 1"]
    assert log[0].elapsed + log[1].elapsed <= time.monotonic() - begun


async def test_waiter_that_never_got_a_connection_is_not_logged(single: Pool) -> None:
    log: list[LoggedQuery] = []
    async with single.acquire() as lease:
        lease.add_query_logger(log.append)
        with pytest.raises(exceptions.PoolExhaustedError):
            await single.fetchval("SELECT 1", timeout=0.01)
        lease.remove_query_logger(log.append)
    assert log == []


async def test_exception_of_a_logger_goes_to_the_loop(conn: Connection) -> None:
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))

    def failing(record: LoggedQuery) -> None:
        raise KeyError("logger's")

    with conn.query_logger(failing):
        assert await conn.fetchval("SELECT 1") == 1
    loop.set_exception_handler(None)
    assert [str(context["exception"]) for context in reported] == ['"logger\'s"']


async def test_wrong_callback_is_refused(conn: Connection) -> None:
    with pytest.raises(exceptions.InterfaceError, match="callable"):
        conn.add_query_logger("logger")  # type: ignore[arg-type]
    with pytest.raises(exceptions.InterfaceError, match="callable"):
        conn.add_termination_listener("listener")  # type: ignore[arg-type]


# ---- beside asyncpg ----


@pytest.mark.parametrize("call", ["fetch", "execute", "executemany", "error", "argument"])
async def test_record_is_asyncpgs(dsn: str, call: str) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")
    seen: list[object] = []
    for driver in (asyncpg, holisticpool):
        conn = await driver.connect(dsn, command_timeout=30)
        log: list[Any] = []
        with conn.query_logger(log.append):
            try:
                if call == "fetch":
                    await conn.fetch("SELECT $1::int", 1, timeout=10)
                elif call == "execute":
                    await conn.execute("SELECT 1", timeout=10)
                elif call == "executemany":
                    await conn.executemany("SELECT $1::int", [(1,), (2,)])
                elif call == "error":
                    await conn.fetch("SELECT 1/0")
                else:
                    await conn.fetch("SELECT $1::int", "x")
            except (driver.PostgresError, driver.InterfaceError):
                pass
            await asyncio.sleep(0)
        [record] = log
        kinds = [kind.__name__ for kind in type(record.exception).__mro__]
        seen.append(
            (record._fields, record[:3], record.conn_addr, record.conn_params.user, record.conn_params.database)
        )
        seen.append(kinds[0] if call != "argument" else "DataError" in kinds)
        await conn.close()
    assert seen[:2] == seen[2:]
