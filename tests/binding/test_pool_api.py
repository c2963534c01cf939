"""create_pool() and Pool: signatures, checks and behaviour that asyncpg documents, and what is ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import Connection, Pool, Record, exceptions


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=2) as made:
        yield made


class MyConnection(Connection):
    async def one(self) -> Any:
        return await self.fetchval("SELECT 1")


class MyRecord(Record):
    def __getattr__(self, name: str) -> Any:
        return self[name]


# ---- opening ----


async def test_await_opens(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1)
    assert isinstance(pool, Pool)
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_async_with_opens_and_closes(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1) as pool:
        assert await pool.fetchval("SELECT 1") == 1
    with pytest.raises(exceptions.InterfaceError, match="pool is clos"):
        await pool.fetchval("SELECT 1")


async def test_await_again_gives_the_same_pool(pool: Pool) -> None:
    assert await pool is pool


async def test_concurrent_opening_is_refused(dsn: str) -> None:
    pool = holisticpool.create_pool(dsn, min_size=1)
    first = asyncio.ensure_future(pool.__aenter__())
    await asyncio.sleep(0)  # it has started
    with pytest.raises(exceptions.InterfaceError, match="being initialized in another task"):
        await pool
    await first
    await pool.close()


@pytest.mark.parametrize("method", ["fetch", "fetchrow", "fetchval", "execute"])
async def test_query_before_opening_is_refused(dsn: str, method: str) -> None:
    pool = holisticpool.create_pool(dsn)
    with pytest.raises(exceptions.InterfaceError, match="pool is not initialized"):
        await getattr(pool, method)("SELECT 1")


async def test_acquire_before_opening_is_refused(dsn: str) -> None:
    pool = holisticpool.create_pool(dsn)
    with pytest.raises(exceptions.InterfaceError, match="pool is not initialized"):
        await pool.acquire()
    with pytest.raises(exceptions.InterfaceError, match="pool is not initialized"):
        await pool.close()


def test_pool_may_be_made_without_a_running_loop(dsn: str) -> None:
    pool = holisticpool.create_pool(dsn, min_size=1)

    async def use() -> Any:
        async with pool:
            return await pool.fetchval("SELECT 1")

    assert asyncio.run(use()) == 1


async def test_pool_of_min_size_zero_opens_nothing(server: PostgresServer) -> None:
    url = server.dsn(application_name="opens_nothing")
    async with holisticpool.create_pool(url, min_size=0) as pool:
        assert (pool.get_size(), server.sessions("opens_nothing")) == (0, 0)
        assert await pool.fetchval("SELECT 1") == 1


async def test_failed_opening_raises_and_leaves_no_session(server: PostgresServer) -> None:
    async def fail(_: Connection) -> None:
        raise ZeroDivisionError

    url = server.dsn(application_name="init_fails")
    pool = holisticpool.create_pool(url, min_size=2, init=fail)
    with pytest.raises(Exception):  # noqa: B017 - which one is not documented
        await pool
    server.kill_backends("init_fails")  # waits for those that are on their way out
    assert server.sessions("init_fails") == 0
    with pytest.raises(exceptions.InterfaceError, match="pool is closed"):
        await pool


async def test_loop_that_is_not_running_is_refused(dsn: str) -> None:
    other = asyncio.new_event_loop()
    with pytest.raises(exceptions.InterfaceError, match="loop"):
        await holisticpool.create_pool(dsn, loop=other)
    other.close()


async def test_running_loop_may_be_passed(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, loop=asyncio.get_running_loop()) as pool:
        assert await pool.fetchval("SELECT 1") == 1


# ---- arguments ----


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_size": 0}, "max_size is expected to be greater than zero"),
        ({"min_size": -1}, "min_size is expected to be greater or equal to zero"),
        ({"min_size": 3, "max_size": 2}, "min_size is greater than max_size"),
        ({"max_queries": 0}, "max_queries is expected to be greater than zero"),
        (
            {"max_inactive_connection_lifetime": -1},
            "max_inactive_connection_lifetime is expected to be greater or equal to zero",
        ),
        ({"command_timeout": 0}, "invalid command_timeout value"),
        ({"statement_cache_size": -1}, "statement_cache_size is expected to be greater or equal to 0|zero"),
    ],
)
def test_wrong_argument_is_a_value_error(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        holisticpool.create_pool("postgresql://h/d", **arguments)


@pytest.mark.parametrize("argument", ["connection_class", "record_class"])
@pytest.mark.parametrize("value", [int, object(), "Connection"])
def test_wrong_class_is_a_type_error(argument: str, value: Any) -> None:
    with pytest.raises(TypeError, match=argument):
        holisticpool.create_pool("postgresql://h/d", **{argument: value})


@pytest.mark.parametrize("argument", ["setup", "init", "reset"])
def test_hook_that_cannot_be_called_is_a_type_error(argument: str) -> None:
    with pytest.raises(TypeError, match=argument):
        holisticpool.create_pool("postgresql://h/d", **{argument: 3})  # type: ignore[arg-type]


async def test_connection_class_is_what_acquire_gives(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, connection_class=MyConnection) as pool:
        async with pool.acquire() as conn:
            assert isinstance(conn, MyConnection)
            assert await conn.one() == 1


async def test_record_class_is_what_queries_give(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, record_class=MyRecord) as pool:
        row = await pool.fetchrow("SELECT 7 AS seven")
        assert isinstance(row, MyRecord)
        assert row.seven == 7


async def test_record_class_of_one_call_wins(pool: Pool) -> None:
    (row,) = await pool.fetch("SELECT 7 AS seven", record_class=MyRecord)
    assert isinstance(row, MyRecord)


async def test_server_settings_reach_the_session(dsn: str) -> None:
    settings = {"search_path": '"a b", "\\c"', "application_name": "it's me", "work_mem": "5MB"}
    async with holisticpool.create_pool(dsn, min_size=1, server_settings=settings) as pool:
        for name, value in settings.items():
            assert await pool.fetchval("SELECT current_setting($1)", name) == value


async def test_setting_in_the_dsn_reaches_the_session(server: PostgresServer) -> None:
    async with holisticpool.create_pool(server.dsn(work_mem="6MB"), min_size=1) as pool:
        assert await pool.fetchval("SHOW work_mem") == "6MB"


async def test_pool_has_the_documented_default_settings(pool: Pool) -> None:
    assert await pool.fetchval("SHOW application_name") == "holisticos_mvp"
    assert await pool.fetchval("SHOW timezone") == "UTC"


async def test_keywords_without_dsn_connect(server: PostgresServer) -> None:
    async with holisticpool.create_pool(
        host=server.host,
        port=server.port,
        user=server.superuser,
        password=server.password,
        database="postgres",
        min_size=1,
    ) as pool:
        assert await pool.fetchval("SELECT current_database()") == "postgres"


async def test_second_host_is_tried_when_the_first_is_down(server: PostgresServer) -> None:
    async with holisticpool.create_pool(
        host=["127.0.0.1", server.host],
        port=[1, server.port],
        user=server.superuser,
        password=server.password,
        database="postgres",
        min_size=1,
    ) as pool:
        assert await pool.fetchval("SELECT 1") == 1


# ---- queries ----


async def test_queries_of_the_pool(pool: Pool) -> None:
    assert [row["n"] for row in await pool.fetch("SELECT n FROM generate_series(1, $1) AS n", 2)] == [1, 2]
    row = await pool.fetchrow("SELECT $1::text AS t", "x")
    assert row is not None
    assert row["t"] == "x"
    assert await pool.fetchval("SELECT 1, 2", column=1) == 2
    assert await pool.execute("SELECT 1") == "SELECT 1"


async def test_executemany_of_the_pool(pool: Pool) -> None:
    await pool.execute("CREATE TABLE pool_many (n int)")
    try:
        await pool.executemany("INSERT INTO pool_many VALUES ($1)", ((n,) for n in range(5)))
        assert await pool.fetchval("SELECT sum(n) FROM pool_many") == 10
    finally:
        await pool.execute("DROP TABLE pool_many")


async def test_timeout_of_one_query_is_a_timeout_error(pool: Pool) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await pool.fetch("SELECT pg_sleep(600)", timeout=0.05)
    assert await pool.fetchval("SELECT 1") == 1


# ---- acquire and release ----


async def test_acquire_by_await(pool: Pool) -> None:
    conn = await pool.acquire()
    assert isinstance(conn, Connection)
    assert await conn.fetchval("SELECT 1") == 1
    await pool.release(conn)


async def test_acquire_waits_no_longer_than_its_timeout(pool: Pool) -> None:
    async with pool.acquire(), pool.acquire():
        with pytest.raises(asyncio.TimeoutError):
            await pool.acquire(timeout=0.01)


async def test_acquire_timeout_of_the_pool_is_the_default(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, acquire_timeout=0.01) as pool:
        async with pool.acquire():
            with pytest.raises(exceptions.PoolExhaustedError):
                await pool.acquire()


async def test_exhausted_pool_says_what_holds_it(pool: Pool) -> None:
    async with pool.acquire(), pool.acquire():
        with pytest.raises(exceptions.PoolExhaustedError) as caught:
            await pool.acquire(timeout=0.01)
    assert caught.value.leased == 2
    assert isinstance(caught.value, exceptions.InterfaceError)
    assert isinstance(caught.value, asyncio.TimeoutError)


async def test_max_waiters_refuses_the_next(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, max_waiters=1) as pool:
        async with pool.acquire() as conn:
            first = asyncio.create_task(pool.fetchval("SELECT 1"))
            await conn.fetchval("SELECT 1")
            with pytest.raises(exceptions.PoolExhaustedError):
                await pool.fetchval("SELECT 2")
        assert await first == 1


async def test_release_of_a_foreign_connection_is_refused(pool: Pool, dsn: str) -> None:
    conn = await holisticpool.connect(dsn)
    with pytest.raises(exceptions.InterfaceError, match="not a member of this pool"):
        await pool.release(conn)
    await conn.close()


async def test_release_takes_its_connection_by_position_or_by_name(pool: Pool) -> None:
    await pool.release(connection=await pool.acquire())
    await pool.release(timeout=None, connection=await pool.acquire())
    await pool.release(await pool.acquire(), timeout=1.0)
    assert pool.get_idle_size() == pool.get_size()


async def test_release_with_other_arguments_is_refused_and_changes_nothing(pool: Pool) -> None:
    async with pool.acquire() as conn:
        release: Any = pool.release
        for args, keywords in (
            ((), {}),
            ((), {"timeout": 1}),
            ((conn, conn), {}),
            ((conn,), {"connection": conn}),
            ((conn,), {"other": 1}),
        ):
            with pytest.raises(TypeError, match="release"):
                release(*args, **keywords)
        assert await conn.fetchval("SELECT 1") == 1


async def test_second_release_does_nothing(pool: Pool) -> None:
    conn = await pool.acquire()
    await pool.release(conn)
    await pool.release(conn)
    assert pool.get_idle_size() == pool.get_size()


@pytest.mark.parametrize("method", ["fetch", "fetchrow", "fetchval", "execute"])
async def test_released_connection_cannot_be_used(pool: Pool, method: str) -> None:
    conn = await pool.acquire()
    await pool.release(conn)
    with pytest.raises(exceptions.InterfaceError, match="released back to the pool"):
        await getattr(conn, method)("SELECT 1")


async def test_executemany_on_a_released_connection_is_refused(pool: Pool) -> None:
    conn = await pool.acquire()
    await pool.release(conn)
    with pytest.raises(exceptions.InterfaceError, match="released back to the pool"):
        await conn.executemany("SELECT $1::int", [(1,)])


async def test_release_leaves_a_later_lease_of_the_session_alone(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        first = await pool.acquire()
        await pool.release(first)
        second = await pool.acquire()
        await pool.release(first)
        assert await second.fetchval("SELECT 1") == 1
        assert pool.get_idle_size() == 0
        await pool.release(second)


# ---- sizes and the end ----


async def test_sizes(pool: Pool) -> None:
    assert (pool.get_min_size(), pool.get_max_size()) == (1, 2)
    assert (pool.get_size(), pool.get_idle_size()) == (1, 1)
    async with pool.acquire(), pool.acquire():
        assert (pool.get_size(), pool.get_idle_size()) == (2, 0)


def test_sizes_before_opening(dsn: str) -> None:
    pool = holisticpool.create_pool(dsn, min_size=1, max_size=2)
    assert (pool.get_min_size(), pool.get_max_size(), pool.get_size(), pool.get_idle_size()) == (1, 2, 0, 0)
    assert not pool.is_closing()


async def test_close_waits_for_leases(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1)
    conn = await pool.acquire()
    closing = asyncio.create_task(pool.close())
    assert await conn.fetchval("SELECT 1") == 1
    assert pool.is_closing()
    assert not closing.done()
    await pool.release(conn)
    await closing


async def test_closing_pool_gives_no_lease(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1)
    conn = await pool.acquire()
    closing = asyncio.create_task(pool.close())
    await conn.fetchval("SELECT 1")
    with pytest.raises(exceptions.InterfaceError, match="pool is closing"):
        await pool.acquire()
    await pool.release(conn)
    await closing


async def test_concurrent_closes_wait_for_the_same_end(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1)
    conn = await pool.acquire()
    closing = [asyncio.create_task(pool.close()) for _ in range(3)]
    await conn.fetchval("SELECT 1")
    assert not any(task.done() for task in closing)
    await pool.release(conn)
    await asyncio.gather(*closing)
    assert pool.is_closing()


async def test_second_close_does_nothing(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1)
    await pool.close()
    await pool.close()
    pool.terminate()
    assert pool.is_closing()


async def test_cancelled_close_terminates(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1)
    conn = await pool.acquire()
    closing = asyncio.create_task(pool.close())
    await conn.fetchval("SELECT 1")
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert conn.is_closed()
    with pytest.raises(exceptions.InterfaceError, match="pool is closed"):
        await pool.acquire()


async def test_terminate_ends_leases(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1)
    conn = await pool.acquire()
    pool.terminate()
    assert conn.is_closed()
    with pytest.raises((exceptions.InterfaceError, exceptions.PostgresError)):
        await conn.fetchval("SELECT 1")


async def test_long_close_warns_and_goes_on(
    dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holisticpool.pool.LONG_CLOSE_S", 0)
    pool = await holisticpool.create_pool(dsn, min_size=1)
    conn = await pool.acquire()
    closing = asyncio.create_task(pool.close())
    await conn.fetchval("SELECT 1")
    await conn.fetchval("SELECT 1")
    assert "Pool.close() is taking over 60 seconds" in caplog.text
    await pool.release(conn)
    await closing


async def test_close_logs_nothing_when_it_is_quick(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    pool = await holisticpool.create_pool(dsn, min_size=1)
    await pool.close()
    assert caplog.records == []


# ---- init, setup, reset ----


async def test_init_runs_once_for_each_new_connection(dsn: str) -> None:
    seen: list[int] = []

    async def init(conn: Connection) -> None:
        assert isinstance(conn, Connection)
        seen.append(await conn.fetchval("SELECT pg_backend_pid()"))

    async with holisticpool.create_pool(dsn, min_size=2, max_size=2, init=init) as pool:
        async with pool.acquire() as one, pool.acquire() as other:
            pids = [one.get_server_pid(), other.get_server_pid()]
        async with pool.acquire():
            pass
    assert sorted(seen) == sorted(pids)


async def test_setup_runs_at_every_acquire(dsn: str) -> None:
    seen: list[Connection] = []

    async def setup(conn: Connection) -> None:
        await conn.execute("SET work_mem = '7MB'")
        seen.append(conn)

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, setup=setup) as pool:
        for _ in range(2):
            async with pool.acquire() as conn:
                assert conn is seen[-1]
                assert await conn.fetchval("SHOW work_mem") == "7MB"
        assert await pool.fetchval("SHOW work_mem") == "7MB"
        conn = await pool.acquire()
        await pool.release(conn)
    assert len(seen) == 4


async def test_failing_setup_raises_and_replaces_the_connection(dsn: str) -> None:
    fail = True

    async def setup(conn: Connection) -> None:
        if fail:
            raise ZeroDivisionError

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, setup=setup) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.acquire()
        fail = False
        assert await pool.fetchval("SELECT 1") == 1


async def test_slow_setup_counts_against_the_acquire_timeout(dsn: str) -> None:
    slow = True

    async def setup(conn: Connection) -> None:
        if slow:
            await conn.execute("SELECT pg_sleep(600)")

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, setup=setup) as pool:
        with pytest.raises(asyncio.TimeoutError):
            await pool.acquire(timeout=0.1)
        slow = False
        assert await pool.fetchval("SELECT 1") == 1


async def test_queries_of_a_pool_with_hooks(dsn: str) -> None:
    async def hook(conn: Connection) -> None:
        pass

    async with holisticpool.create_pool(dsn, min_size=1, setup=hook, reset=hook) as pool:
        assert [tuple(row) for row in await pool.fetch("SELECT $1::int", 1)] == [(1,)]
        row = await pool.fetchrow("SELECT 7 AS seven", record_class=MyRecord)
        assert isinstance(row, MyRecord)
        assert await pool.fetchval("SELECT 1, 2", column=1) == 2
        assert await pool.execute("SELECT 1") == "SELECT 1"
        await pool.executemany("SELECT $1::int", [(1,), (2,)])


async def test_acquire_of_a_pool_with_hooks_gives_one_lease(dsn: str) -> None:
    async def setup(conn: Connection) -> None:
        pass

    async with holisticpool.create_pool(dsn, min_size=1, setup=setup) as pool:
        acquiring = pool.acquire()
        async with acquiring:
            with pytest.raises(exceptions.InterfaceError, match="already acquired"):
                await acquiring


@pytest.mark.parametrize("way", ["async with", "release", "close", "query"])
async def test_reset_hook_runs_at_every_release(dsn: str, way: str) -> None:
    seen: list[bool] = []

    async def reset(conn: Connection) -> None:
        seen.append(conn.is_in_transaction())
        await conn.execute("RESET ALL")

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, reset=reset) as pool:
        if way == "async with":
            async with pool.acquire() as conn:
                await conn.execute("BEGIN")
        elif way == "query":
            await pool.execute("SELECT 1")
        else:
            conn = await pool.acquire()
            await conn.execute("BEGIN")
            await (conn.close() if way == "close" else pool.release(conn))
        assert seen == [False]
        assert await pool.fetchval("SELECT 1") == 1


async def test_reset_hook_is_the_whole_reset(dsn: str) -> None:
    async def init(conn: Connection) -> None:
        await conn.execute("SET work_mem = '8MB'")

    async def reset(conn: Connection) -> None:
        pass

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, init=init, reset=reset) as pool:
        for _ in range(2):
            async with pool.acquire() as conn:
                assert await conn.fetchval("SHOW work_mem") == "8MB"


async def test_failing_reset_hook_raises_and_replaces_the_connection(dsn: str) -> None:
    fail = True

    async def reset(conn: Connection) -> None:
        if fail:
            raise ZeroDivisionError

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, reset=reset) as pool:
        conn = await pool.acquire()
        with pytest.raises(ZeroDivisionError):
            await pool.release(conn)
        fail = False
        assert await pool.fetchval("SELECT 1") == 1


async def test_reset_hook_outlives_the_cancelled_task_that_released(dsn: str) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def reset(conn: Connection) -> None:
        started.set()
        await go_on.wait()

    async def use(pool: Pool) -> None:
        async with pool.acquire():
            pass

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, reset=reset) as pool:
        task = asyncio.create_task(use(pool))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert await pool.fetchval("SELECT 1") == 1


async def test_reset_mode_always_is_taken(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, reset="always") as pool:
        async with pool.acquire() as conn:
            await conn.execute("SET work_mem = '9MB'")
        assert await pool.fetchval("SHOW work_mem") != "9MB"


async def test_session_state_does_not_reach_the_next_lease(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as conn:
            await conn.execute("SET work_mem = '9MB'")
            await conn.execute("CREATE TEMP TABLE mine (n int)")
        assert await pool.fetchval("SHOW work_mem") != "9MB"
        assert await pool.fetchval("SELECT to_regclass('mine')") is None
