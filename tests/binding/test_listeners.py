"""add_listener() and remove_listener(): notifications, when they come, and what becomes of them with the lease."""

from __future__ import annotations

import asyncio
import functools
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, exceptions

GUARD_S = 20  # far beyond what is under test


class Heard:
    """A listener that keeps what it was called with."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def __call__(self, *args: Any) -> None:
        self.queue.put_nowait(args)

    async def next(self) -> tuple[Any, ...]:
        return await asyncio.wait_for(self.queue.get(), GUARD_S)

    async def next_payload(self) -> str:
        payload: str = (await self.next())[3]
        return payload


async def until_called(conn: Connection) -> None:
    """A round trip: what the server sent before, and what that scheduled, is through."""
    await conn.fetchval("SELECT 1")
    await asyncio.sleep(0)


@pytest.fixture
async def sender(dsn: str) -> AsyncIterator[Connection]:
    """Another session."""
    async with await holisticpool.connect(dsn) as made:
        yield made


@pytest.fixture
def reported() -> list[dict[str, Any]]:
    """What goes to the exception handler of the running loop; set by `handler`."""
    return []


@pytest.fixture
async def handler(reported: list[dict[str, Any]]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    yield
    loop.set_exception_handler(None)


# ---- being called ----


async def test_listener_gets_connection_pid_channel_and_payload(conn: Connection, sender: Connection) -> None:
    heard = Heard()
    await conn.add_listener("news", heard)
    await sender.execute("NOTIFY news, 'hello'")
    assert await heard.next() == (conn, sender.get_server_pid(), "news", "hello")


async def test_notification_comes_while_nothing_is_awaited_of_the_lease(pool: Pool, sender: Connection) -> None:
    heard = Heard()
    async with pool.acquire() as lease:
        await lease.add_listener("news", heard)
        for payload in ("one", "two", "three"):
            await sender.execute("SELECT pg_notify('news', $1)", payload)
            assert await heard.next() == (lease, sender.get_server_pid(), "news", payload)
        await lease.remove_listener("news", heard)


async def test_own_notification_was_delivered_when_its_statement_returns(conn: Connection) -> None:
    heard = Heard()
    await conn.add_listener("news", heard)
    for i in range(3):
        await conn.fetchval("SELECT pg_notify('news', $1)", str(i))
        assert heard.queue.get_nowait() == (conn, conn.get_server_pid(), "news", str(i))
    await conn.execute("NOTIFY news")
    assert heard.queue.get_nowait() == (conn, conn.get_server_pid(), "news", "")


async def test_notification_during_a_transaction_comes_at_its_end(conn: Connection) -> None:
    heard = Heard()
    await conn.add_listener("news", heard)
    async with conn.transaction():
        await conn.execute("NOTIFY news, 'inside'")
        await until_called(conn)
        assert heard.queue.empty()
    assert heard.queue.get_nowait()[3] == "inside"


async def test_coroutine_function_is_run_as_a_task(conn: Connection) -> None:
    calls: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    async def listener(*args: Any) -> None:
        await asyncio.sleep(0)
        calls.put_nowait((asyncio.current_task() is not None, *args))

    await conn.add_listener("news", listener)
    await conn.execute("NOTIFY news, 'x'")
    assert await asyncio.wait_for(calls.get(), GUARD_S) == (True, conn, conn.get_server_pid(), "news", "x")


async def test_coroutine_function_does_not_run_inside_the_engine_with_eager_tasks(conn: Connection) -> None:
    """A task factory that runs the first step at once must not run it in the reader."""
    order: list[str] = []

    async def listener(*_: Any) -> None:
        order.append("listener")

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        order.append("factory")
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop = asyncio.get_running_loop()
    await conn.add_listener("news", listener)
    loop.set_task_factory(factory)
    try:
        loop.call_soon(order.append, "before")
        await conn.execute("NOTIFY news")
        await until_called(conn)
    finally:
        loop.set_task_factory(None)
    assert order == ["before", "factory", "listener"]


async def test_listeners_of_a_channel_are_called_in_the_order_they_were_added(conn: Connection) -> None:
    order: list[int] = []
    for i in range(5):
        await conn.add_listener("news", lambda *_, i=i: order.append(i))
    await conn.execute("NOTIFY news")
    assert order == [0, 1, 2, 3, 4]


async def test_listener_that_was_added_twice_is_called_once(conn: Connection) -> None:
    class Bound:
        calls = 0

        def listen(self, *_: Any) -> None:
            self.calls += 1

    bound = Bound()
    await conn.add_listener("news", bound.listen)
    await conn.add_listener("news", bound.listen)
    await conn.execute("NOTIFY news")
    assert bound.calls == 1
    await conn.remove_listener("news", bound.listen)
    await conn.execute("NOTIFY news")
    await until_called(conn)
    assert bound.calls == 1


@pytest.mark.parametrize("channel", ['12+"34', "Ünïcode", "UPPER lower", "select", "n" * 63, "n" * 100, "ä" * 40])
async def test_any_name_is_a_channel(conn: Connection, sender: Connection, channel: str) -> None:
    heard = Heard()
    await conn.add_listener(channel, heard)
    quoted = channel.replace('"', '""')
    await sender.execute(f"NOTIFY \"{quoted}\", 'x'")
    assert await heard.next_payload() == "x"
    await conn.remove_listener(channel, heard)
    assert await conn.fetch("SELECT pg_listening_channels()") == []


async def test_large_and_unicode_payloads_come_whole(conn: Connection, sender: Connection) -> None:
    heard = Heard()
    await conn.add_listener("news", heard)
    for payload in ("ä" * 3999, "'; DROP TABLE x; --", "\n\t\\"):
        await sender.execute("SELECT pg_notify('news', $1)", payload)
        assert await heard.next_payload() == payload


async def test_many_notifications_come_in_order_among_answers(conn: Connection, sender: Connection) -> None:
    heard = Heard()
    await conn.add_listener("news", heard)
    count = 2000
    sending = asyncio.create_task(sender.executemany("SELECT pg_notify('news', $1)", [(str(i),) for i in range(count)]))
    while not sending.done():
        assert await conn.fetchval("SELECT 7") == 7
    await sending
    assert [await heard.next_payload() for _ in range(count)] == [str(i) for i in range(count)]


async def test_exception_of_a_listener_goes_to_the_loop_and_harms_nobody(
    conn: Connection, handler: None, reported: list[dict[str, Any]]
) -> None:
    heard = Heard()

    def failing(*_: Any) -> None:
        raise KeyError("listener's")

    await conn.add_listener("news", failing)
    await conn.add_listener("news", heard)
    assert await conn.execute("NOTIFY news") == "NOTIFY"
    await heard.next()
    assert [str(context["exception"]) for context in reported] == ['"listener\'s"']
    assert await conn.fetchval("SELECT 1") == 1


# ---- removing ----


async def test_removed_listener_hears_nothing_and_the_server_is_told(conn: Connection) -> None:
    first, second = Heard(), Heard()
    await conn.add_listener("news", first)
    await conn.add_listener("news", second)
    await conn.remove_listener("news", first)
    await conn.execute("NOTIFY news")
    assert second.queue.qsize() == 1
    assert await conn.fetchval("SELECT array_agg(c) FROM pg_listening_channels() c") == ["news"]
    await conn.remove_listener("news", second)
    assert await conn.fetchval("SELECT array_agg(c) FROM pg_listening_channels() c") is None
    await conn.execute("NOTIFY news")
    await until_called(conn)
    assert (first.queue.qsize(), second.queue.qsize()) == (0, 1)


async def test_removing_what_was_never_added_does_nothing(conn: Connection) -> None:
    await conn.remove_listener("news", print)
    await conn.add_listener("news", print)
    await conn.remove_listener("news", repr)
    await conn.remove_listener("other", print)
    assert await conn.fetchval("SELECT array_agg(c) FROM pg_listening_channels() c") == ["news"]


async def test_channel_whose_listen_failed_is_not_listened_to(conn: Connection) -> None:
    heard = Heard()
    await conn.execute("BEGIN")
    with pytest.raises(exceptions.DivisionByZeroError):
        await conn.execute("SELECT 1/0")
    with pytest.raises(exceptions.InFailedSQLTransactionError):
        await conn.add_listener("news", heard)
    await conn.execute("ROLLBACK")
    await conn.add_listener("news", heard)
    await conn.execute("NOTIFY news")
    assert heard.queue.qsize() == 1


async def test_cancelled_add_listener_adds_none(conn: Connection) -> None:
    heard = Heard()
    adding = asyncio.create_task(conn.add_listener("news", heard))
    await asyncio.sleep(0)  # it has started
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    await conn.execute("LISTEN news; NOTIFY news")
    await until_called(conn)
    assert heard.queue.empty()


async def test_wrong_arguments_are_refused_before_anything_is_sent(conn: Connection) -> None:
    with pytest.raises(exceptions.InterfaceError, match="callable"):
        await conn.add_listener("news", "no function")  # type: ignore[arg-type]
    with pytest.raises(exceptions.InterfaceError, match="channel"):
        await conn.add_listener(b"news", print)  # type: ignore[arg-type]
    assert await conn.fetch("SELECT pg_listening_channels()") == []


async def test_closed_connection_takes_no_listener(dsn: str) -> None:
    conn = await holisticpool.connect(dsn)
    await conn.add_listener("news", print)
    await conn.close()
    with pytest.raises(exceptions.InterfaceError, match="connection is closed"):
        await conn.add_listener("news", print)
    await conn.remove_listener("news", print)


# ---- reset and release ----


async def test_reset_forgets_the_listeners(conn: Connection) -> None:
    heard = Heard()
    await conn.add_listener("news", heard)
    await conn.reset()
    assert await conn.fetch("SELECT pg_listening_channels()") == []
    await conn.execute("LISTEN news; NOTIFY news")
    await until_called(conn)
    assert heard.queue.empty()
    await conn.remove_listener("news", heard)
    await conn.add_listener("news", heard)
    await conn.execute("NOTIFY news")
    assert heard.queue.qsize() == 1


@pytest.mark.parametrize(("count", "words"), [(1, "1 active notification listener$"), (3, "3 active .* listeners$")])
async def test_release_with_listeners_warns_and_forgets_them(single: Pool, count: int, words: str) -> None:
    heard = [Heard() for _ in range(count)]
    with pytest.warns(exceptions.InterfaceWarning, match=f".*Connection.*is being released to the pool.*{words}"):
        async with single.acquire() as lease:
            for each in heard:
                await lease.add_listener("news", each)
    async with single.acquire() as lease:
        assert await lease.fetch("SELECT pg_listening_channels()") == []
        await lease.execute("LISTEN news; NOTIFY news")
        await until_called(lease)
        await lease.execute("UNLISTEN news")
    assert all(each.queue.empty() for each in heard)


async def test_release_without_listeners_does_not_warn(single: Pool) -> None:
    heard = Heard()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with single.acquire() as lease:
            await lease.add_listener("news", heard)
            await lease.remove_listener("news", heard)


async def test_warning_names_the_line_that_released(single: Pool) -> None:
    lease = await single.acquire()
    await lease.add_listener("news", print)
    with pytest.warns(exceptions.InterfaceWarning) as caught:
        await single.release(lease)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("reset", ["touched", "always", "hook"])
async def test_listen_on_the_server_does_not_outlive_the_lease(dsn: str, reset: str) -> None:
    async def hook(_: Connection) -> None:
        pass

    arguments: dict[str, Any] = {"reset": hook if reset == "hook" else reset}
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, **arguments) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        with pytest.warns(exceptions.InterfaceWarning, match="1 active notification listener"):
            async with pool.acquire() as lease:
                await lease.add_listener("news", print)
        assert await pool.fetch("SELECT pg_listening_channels()") == []
        assert await pool.fetchval("SELECT pg_backend_pid()") == pid


async def release_by_with(pool: Pool) -> None:
    async with pool.acquire() as lease:
        lease.add_log_listener(print)


async def release_by_call(pool: Pool) -> None:
    lease = await pool.acquire()
    lease.add_log_listener(print)
    await pool.release(lease)


async def release_by_close(pool: Pool) -> None:
    lease = await pool.acquire()
    lease.add_log_listener(print)
    await lease.close()


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("release", [release_by_with, release_by_call, release_by_close])
async def test_lease_comes_back_where_the_warning_is_an_error(
    dsn: str, hooked: bool, release: Callable[[Pool], Any]
) -> None:
    async def hook(_: Connection) -> None:
        pass

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, reset=hook if hooked else None) as pool:
        with warnings.catch_warnings():
            warnings.simplefilter("error", exceptions.InterfaceWarning)
            with pytest.raises(exceptions.InterfaceWarning, match="log listener"):
                await release(pool)
        async with pool.acquire(timeout=GUARD_S) as again:
            assert await again.fetchval("SELECT 1") == 1


async def test_reset_hook_finds_no_listeners_any_more(dsn: str) -> None:
    heard = Heard()

    async def hook(conn: Connection) -> None:
        await conn.execute("LISTEN news; NOTIFY news")
        await until_called(conn)
        await conn.execute("UNLISTEN news")

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, reset=hook) as pool:
        lease = await pool.acquire()
        await lease.add_listener("news", heard)
        lease.add_log_listener(heard)
        with pytest.warns(exceptions.InterfaceWarning) as caught:
            await pool.release(lease)
        assert len(caught) == 2
        assert [each.filename for each in caught] == [__file__] * 2
    assert heard.queue.empty()


async def test_released_lease_hears_nothing_of_its_successor(single: Pool, sender: Connection) -> None:
    old, new = Heard(), Heard()
    with pytest.warns(exceptions.InterfaceWarning):
        async with single.acquire() as lease:
            await lease.add_listener("news", old)
    async with single.acquire() as lease:
        await lease.add_listener("news", new)
        await sender.execute("NOTIFY news, 'x'")
        assert await new.next() == (lease, sender.get_server_pid(), "news", "x")
        await lease.remove_listener("news", new)
    assert old.queue.empty()


@pytest.mark.parametrize(
    "method",
    ["add_listener", "remove_listener", "add_log_listener", "remove_log_listener", "add_termination_listener"]
    + ["remove_termination_listener", "add_query_logger", "remove_query_logger"],
)
async def test_released_lease_refuses_listeners(single: Pool, method: str) -> None:
    async with single.acquire() as lease:
        pass
    arguments = ("news", print) if method.endswith("d_listener") or method == "remove_listener" else (print,)
    with pytest.raises(exceptions.InterfaceError, match="released back to the pool"):
        outcome = getattr(lease, method)(*arguments)
        if outcome is not None:
            await outcome


# ---- what a listener may do ----


async def run_in_listener(lease: Connection, sender: Connection, action: Callable[[Connection], Any]) -> None:
    done = asyncio.Event()

    async def listener(connection: Connection, *_: Any) -> None:
        try:
            outcome = action(connection)
            if outcome is not None:
                await outcome
        finally:
            done.set()

    await lease.add_listener("news", listener)
    await sender.execute("NOTIFY news")
    await asyncio.wait_for(done.wait(), GUARD_S)


ACTIONS: dict[str, Callable[[Pool, Connection], Any]] = {
    "terminate": lambda pool, connection: connection.terminate(),
    "close": lambda pool, connection: connection.close(),
    "release": lambda pool, connection: pool.release(connection),
    "terminate_pool": lambda pool, connection: pool.terminate(),
    "query": lambda pool, connection: connection.fetchval("SELECT 1"),
    "reset": lambda pool, connection: connection.reset(),
}


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.filterwarnings("ignore::holisticpool.exceptions.InterfaceWarning")
async def test_listener_may_end_its_connection(pool: Pool, sender: Connection, name: str) -> None:
    lease = await pool.acquire()
    await run_in_listener(lease, sender, functools.partial(ACTIONS[name], pool))
    await pool.release(lease)
    if name != "terminate_pool":
        assert await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(8))) == list(range(8))


@pytest.mark.parametrize("name", ["terminate", "close", "release", "terminate_pool"])
@pytest.mark.filterwarnings("ignore::holisticpool.exceptions.InterfaceWarning")
async def test_listener_may_end_its_connection_while_a_statement_runs_on_it(pool: Pool, name: str) -> None:
    lease = await pool.acquire()
    running = asyncio.create_task(lease.fetchval("SELECT pg_sleep(600)"))

    def listener(connection: Connection, *_: Any) -> None:
        outcome = ACTIONS[name](pool, connection)
        if outcome is not None:
            asyncio.ensure_future(outcome)

    lease.add_log_listener(listener)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises((exceptions.InterfaceError, exceptions.ConnectionDoesNotExistError)):
        await lease.execute("DO $$ BEGIN RAISE NOTICE 'now'; PERFORM pg_sleep(600); END $$")
    await pool.release(lease)
    if name != "terminate_pool":
        assert await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(8))) == list(range(8))


# ---- beside asyncpg ----


@pytest.mark.parametrize("name", ["asyncpg", "holisticpool"])
async def test_what_a_listener_sees_is_asyncpgs(name: str, dsn: str) -> None:
    driver: Any = pytest.importorskip(name, reason="asyncpg is what is compared with")
    calls: list[Any] = []
    pool = await driver.create_pool(dsn, min_size=1, max_size=1)
    async with pool, pool.acquire() as lease:

        def listener(*args: Any) -> None:
            calls.append((args[0] is lease, args[1] == lease.get_server_pid(), *args[2:]))

        async def co_listener(*args: Any) -> None:
            calls.append(("async", *args[2:]))

        await lease.add_listener("A b", listener)
        await lease.add_listener("A b", co_listener)
        await lease.add_listener("A b", listener)
        await lease.execute("NOTIFY \"A b\", 'one'")
        await asyncio.sleep(0)
        calls.sort(key=str)
        await lease.remove_listener("A b", listener)
        await lease.execute("NOTIFY \"A b\", 'two'")
        await asyncio.sleep(0)
        await lease.reset()
        await lease.execute("NOTIFY \"A b\", 'three'")
        await asyncio.sleep(0)
        assert await lease.remove_listener("A b", co_listener) is None
    assert calls == [("async", "A b", "one"), (True, True, "A b", "one"), ("async", "A b", "two")]
