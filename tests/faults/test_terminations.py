"""Termination listeners: called once for each session that ends, whatever ends it and whoever has it then."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from observing import Observer, unique_name, until, usable
from servers import PostgresServer

import holisticpool
from bench.proxy import DelayProxy
from holisticpool import Connection, Pool, exceptions


class Ended:
    """A listener that keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> None:
        self.calls.append((*args, args[0].is_closed()))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as made:
        yield made


async def turn() -> None:
    """One turn of the loop: what is scheduled has been called."""
    await asyncio.sleep(0)


# ---- a session of one's own ----


@pytest.mark.parametrize("end", ["close", "terminate"])
async def test_listener_is_called_once_when_the_session_is_closed(dsn: str, end: str) -> None:
    conn = await holisticpool.connect(dsn)
    ended = Ended()
    conn.add_termination_listener(ended)
    outcome = getattr(conn, end)()
    if outcome is not None:
        await outcome
    await turn()
    assert ended.calls == [(conn, True)]
    conn.terminate()
    await conn.close()
    await turn()
    assert len(ended.calls) == 1


async def test_listeners_have_begun_when_the_statement_that_was_running_reports_the_loss(
    proxy: DelayProxy, proxy_dsn: str, observer: Observer
) -> None:
    conn = await holisticpool.connect(proxy_dsn)
    calls: list[Any] = []

    async def listener(connection: Connection) -> None:
        calls.append(connection)

    ended = Ended()
    conn.add_termination_listener(ended)
    conn.add_termination_listener(listener)
    running = asyncio.create_task(conn.fetchval("SELECT pg_sleep(600), 'listeners begin'"))
    await observer.until_running("listeners begin")
    await asyncio.to_thread(proxy.close_connections)
    with pytest.raises(exceptions.ConnectionDoesNotExistError):
        await running
    assert ended.calls == [(conn, True)]
    assert calls == [conn]


@pytest.mark.parametrize("how", ["close_connections", "reset_connections"])
async def test_listener_is_called_while_nothing_is_awaited(proxy: DelayProxy, proxy_dsn: str, how: str) -> None:
    conn = await holisticpool.connect(proxy_dsn)
    ended = Ended()
    conn.add_termination_listener(ended)
    await asyncio.to_thread(getattr(proxy, how))
    await until(lambda: ended.calls != [], "the listener is called")
    conn.terminate()
    await turn()
    assert ended.calls == [(conn, True)]


async def test_removed_listener_is_not_called(dsn: str) -> None:
    conn = await holisticpool.connect(dsn)
    ended = Ended()
    conn.remove_termination_listener(ended)
    conn.add_termination_listener(ended)
    conn.remove_termination_listener(ended)
    await conn.close()
    await turn()
    assert ended.calls == []


async def test_listener_is_called_for_a_session_that_the_garbage_collector_closed(dsn: str) -> None:
    ended: list[str] = []
    conn = await holisticpool.connect(dsn)
    conn.add_termination_listener(lambda connection: ended.append(repr(connection)))
    with pytest.warns(ResourceWarning, match="unclosed connection"):
        del conn
        await turn()  # the loop lets go of what woke this task up
        gc.collect()
    await turn()
    assert len(ended) == 1 and "closed" in ended[0]


async def test_listener_is_called_in_the_loops_thread(dsn: str) -> None:
    """... also when the last reference to the connection goes in another one."""
    threads: list[int] = []
    box = [await holisticpool.connect(dsn)]
    box[0].add_termination_listener(lambda _: threads.append(threading.get_ident()))
    await turn()

    def drop() -> None:
        with pytest.warns(ResourceWarning):
            box.clear()

    await asyncio.to_thread(drop)
    await until(lambda: threads != [], "the listener is called")
    assert threads == [threading.get_ident()]


# ---- leases ----


async def test_listener_of_a_lease_is_called_when_the_server_ends_it(server: PostgresServer) -> None:
    application = unique_name("ended")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=1, max_size=1) as pool:
        ended = Ended()
        async with pool.acquire() as lease:
            lease.add_termination_listener(ended)
            await asyncio.to_thread(server.kill_backends, application)
            await until(lambda: ended.calls != [], "the listener is called")
            assert ended.calls == [(lease, True)]
        await usable(pool)
        await turn()
        assert len(ended.calls) == 1


async def test_listener_is_called_when_the_server_restarts(own_server: Callable[..., PostgresServer]) -> None:
    server = own_server()
    async with holisticpool.create_pool(server.dsn(), min_size=2, max_size=2) as pool:
        leased, idle = Ended(), Ended()
        lease, other = await pool.acquire(), await pool.acquire()
        lease.add_termination_listener(leased)
        other.add_termination_listener(idle)
        await pool.release(other)
        await asyncio.to_thread(server.restart)
        await until(lambda: len(leased.calls) == len(idle.calls) == 1, "both are called")
        assert leased.calls == [(lease, True)]
        [(connection, closed)] = idle.calls
        assert closed and isinstance(connection, Connection)
        with pytest.raises(exceptions.InterfaceError, match="connection is closed"):
            await connection.fetchval("SELECT 1")
        await pool.release(lease)
        await usable(pool)
        assert (len(leased.calls), len(idle.calls)) == (1, 1)


async def test_listener_outlives_the_lease_and_not_the_session(pool: Pool) -> None:
    ended = Ended()
    async with pool.acquire() as lease:
        lease.add_termination_listener(ended)
    async with pool.acquire() as lease:
        await lease.execute("SET work_mem = '9MB'")
    await pool.fetchval("SELECT 1")
    assert ended.calls == []
    async with pool.acquire() as lease:
        lease.terminate()
        await turn()
        assert ended.calls == [(lease, True)]
    await usable(pool)
    await pool.close()
    await turn()
    assert len(ended.calls) == 1


async def test_later_lease_can_remove_it(pool: Pool) -> None:
    ended = Ended()
    async with pool.acquire() as lease:
        lease.add_termination_listener(ended)
    async with pool.acquire() as lease:
        lease.remove_termination_listener(ended)
        lease.terminate()
    await turn()
    assert ended.calls == []


@pytest.mark.parametrize("end", ["close", "terminate"])
async def test_listener_was_called_when_the_end_of_the_pool_returns(dsn: str, end: str) -> None:
    ended = Ended()

    async def init(conn: Connection) -> None:
        conn.add_termination_listener(ended)

    pool = await holisticpool.create_pool(dsn, min_size=3, max_size=3, init=init)
    outcome = getattr(pool, end)()
    if outcome is None:
        await turn()
    else:
        await outcome
    assert [closed for _, closed in ended.calls] == [True] * 3


async def test_listener_is_called_when_the_pool_replaces_a_connection(dsn: str) -> None:
    ended = Ended()

    async def init(conn: Connection) -> None:
        conn.add_termination_listener(ended)

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, max_queries=3, init=init) as pool:
        for _ in range(10):
            await pool.fetchval("SELECT 1")
        await until(lambda: len(ended.calls) >= 3, "each replaced connection is told of")


async def test_listener_is_called_when_the_init_hook_fails(dsn: str) -> None:
    ended = Ended()

    async def init(conn: Connection) -> None:
        conn.add_termination_listener(ended)
        raise KeyError("hook's")

    with pytest.raises(KeyError):
        await holisticpool.create_pool(dsn, min_size=1, max_size=1, init=init)
    await turn()
    assert len(ended.calls) == 1


async def test_listener_is_not_called_for_a_lease_that_goes_on(pool: Pool) -> None:
    ended = Ended()
    lease = await pool.acquire()
    pid = lease.get_server_pid()
    lease.add_termination_listener(ended)
    with pytest.raises(asyncio.TimeoutError):
        await lease.fetchval("SELECT pg_sleep(600)", timeout=0.01)
    with pytest.raises(exceptions.DivisionByZeroError):
        await lease.fetchval("SELECT 1/0")
    await lease.close()
    async with pool.acquire() as again:
        assert again.get_server_pid() == pid
    await turn()
    assert ended.calls == []


# ---- what a listener may do ----


@pytest.mark.parametrize("action", ["terminate", "release", "terminate_pool", "fail"])
async def test_listener_may_do_anything(dsn: str, action: str) -> None:
    reported: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    pool = await holisticpool.create_pool(dsn, min_size=2, max_size=2)
    first, second = await pool.acquire(), await pool.acquire()

    def listener(connection: Connection) -> None:
        if action == "terminate":
            second.terminate()
        elif action == "release":
            pool.release(connection)
            pool.release(second)
        elif action == "terminate_pool":
            pool.terminate()
        else:
            raise KeyError("listener's")

    first.add_termination_listener(listener)
    second.add_termination_listener(listener)
    first.terminate()
    await turn()
    await turn()
    await pool.release(first)
    await pool.release(second)
    if action != "terminate_pool":
        await usable(pool)
        await pool.close()
    loop.set_exception_handler(None)
    assert [type(each) for each in reported] == ([KeyError] if action == "fail" else []) * 2 or action == "fail"


async def test_closed_loop_calls_nobody(dsn: str) -> None:
    """A connection that is terminated when its loop is gone ends all the same."""
    ended = Ended()

    def run() -> Connection:
        loop = asyncio.new_event_loop()
        conn = loop.run_until_complete(holisticpool.connect(dsn))
        conn.add_termination_listener(ended)
        loop.close()
        return conn

    conn = await asyncio.to_thread(run)
    conn.terminate()
    assert conn.is_closed()
    assert ended.calls == []
