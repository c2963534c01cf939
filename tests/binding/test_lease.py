"""Leases: acquire() as awaitable and as context manager, release, and what happens to those that go astray."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, exceptions

GUARD_S = 20  # far beyond what is under test
RELEASED = "connection has been released back to the pool"


# ---- async with ----


async def test_async_with_releases_at_the_end(single: Pool) -> None:
    async with single.acquire() as connection:
        assert isinstance(connection, Connection)
        assert await connection.fetchval("SELECT 1") == 1
        assert single.get_idle_size() == 0
    assert single.get_idle_size() == 1


async def test_async_with_releases_after_an_error(single: Pool) -> None:
    with pytest.raises(exceptions.DivisionByZeroError):
        async with single.acquire() as connection:
            await connection.fetchval("SELECT 1/0")
    assert single.get_idle_size() == 1


async def test_async_with_releases_after_an_error_of_the_user(single: Pool) -> None:
    with pytest.raises(KeyError):
        async with single.acquire():
            raise KeyError("user's")
    assert single.get_idle_size() == 1


async def test_async_with_nested_takes_two_connections(pool: Pool) -> None:
    async with pool.acquire() as outer, pool.acquire() as inner:
        assert outer.get_server_pid() != inner.get_server_pid()
        assert list(await asyncio.gather(outer.fetchval("SELECT 1"), inner.fetchval("SELECT 2"))) == [1, 2]
    assert pool._stats()["leased"] == 0


async def test_async_with_keeps_a_connection_that_was_released_inside(single: Pool) -> None:
    async with single.acquire() as connection:
        await single.release(connection)
        async with single.acquire() as other:
            assert await other.fetchval("SELECT 1") == 1
    assert single.get_idle_size() == 1


async def test_leaving_async_with_does_not_take_the_next_ones_lease(single: Pool) -> None:
    context = single.acquire()
    connection = await context.__aenter__()
    await single.release(connection)
    other = await single.acquire()
    await context.__aexit__(None, None, None)
    assert await other.fetchval("SELECT 1") == 1
    await single.release(other)


async def test_async_with_of_an_acquired_one_is_an_error(single: Pool) -> None:
    context = single.acquire()
    async with context:
        with pytest.raises(exceptions.InterfaceError, match="a connection is already acquired"):
            async with context:
                pass
    with pytest.raises((exceptions.InterfaceError, RuntimeError)):
        async with context:
            pass
    assert single.get_idle_size() == 1


async def test_async_with_of_an_awaited_one_is_an_error(single: Pool) -> None:
    context = single.acquire()
    connection = await context
    with pytest.raises(exceptions.InterfaceError, match="a connection is already acquired"):
        async with context:
            pass
    await single.release(connection)


async def test_async_with_await_closes_the_lease(single: Pool) -> None:
    async with await single.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert single.get_idle_size() == 1


async def test_async_with_of_a_query_is_a_type_error(single: Pool) -> None:
    query = single.fetchval("SELECT 1")
    with pytest.raises(TypeError):
        async with query:
            pass
    query.close()


async def test_async_with_exit_without_enter_does_nothing(single: Pool) -> None:
    context = single.acquire()
    await context.__aexit__(None, None, None)
    context.close()
    assert single.get_idle_size() == 1


async def test_acquire_takes_timeout_only(single: Pool) -> None:
    with pytest.raises(TypeError):
        single.acquire(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        single.acquire(wait=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        single.acquire(timeout=1, wait=1)  # type: ignore[call-arg]


async def test_acquire_timeout_says_who_holds_what(single: Pool) -> None:
    async with single.acquire():
        with pytest.raises(exceptions.PoolExhaustedError) as caught:
            await single.acquire(timeout=0.001)
    assert isinstance(caught.value, asyncio.TimeoutError)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.leased == 1
    assert caught.value.max_size == 1
    assert caught.value.longest_lease > 0


@pytest.mark.parametrize("timeout", [True, "soon", "", b"1", [], {}, float("nan"), object()])
async def test_timeout_that_is_no_number_is_a_value_error_for_who_waits(single: Pool, timeout: Any) -> None:
    async with single.acquire():
        with pytest.raises(ValueError, match="invalid timeout value"):
            await single.acquire(timeout=timeout)
    assert single.get_idle_size() == 1


@pytest.mark.parametrize("timeout", [0, -1, -1e300, float("-inf"), 1e-9])
async def test_timeout_that_is_over_ends_at_once(single: Pool, timeout: float) -> None:
    async with single.acquire():
        with pytest.raises(exceptions.PoolExhaustedError):
            await single.acquire(timeout=timeout)
    assert single._stats()["waiters"] == 0


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e300, 10**9])
async def test_timeout_that_never_ends_is_taken(single: Pool, timeout: float | None) -> None:
    connection = await single.acquire()
    task = asyncio.create_task(single.acquire(timeout=timeout))
    await asyncio.sleep(0)
    await single.release(connection)
    await single.release(await task)


# ---- release ----


async def test_release_twice_does_nothing(single: Pool) -> None:
    connection = await single.acquire()
    await single.release(connection)
    await single.release(connection)
    assert single.get_idle_size() == 1


async def test_second_release_does_not_take_the_next_ones_lease(single: Pool) -> None:
    first = await single.acquire()
    await single.release(first)
    second = await single.acquire()
    await single.release(first)
    assert single.get_idle_size() == 0
    assert await second.fetchval("SELECT 1") == 1
    await single.release(second)


async def test_release_to_another_pool_is_refused_and_changes_nothing(single: Pool, pool: Pool) -> None:
    connection = await single.acquire()
    with pytest.raises(exceptions.InterfaceError, match="is not a member of this pool"):
        await pool.release(connection)
    assert await connection.fetchval("SELECT 1") == 1
    await single.release(connection)


@pytest.mark.parametrize("what", [None, 1, "connection", object()])
async def test_release_of_what_is_no_connection_is_refused(single: Pool, what: Any) -> None:
    with pytest.raises(exceptions.InterfaceError, match="is not a member of this pool"):
        await single.release(what)


async def test_release_of_a_dedicated_session_is_refused(single: Pool, conn: Connection) -> None:
    with pytest.raises(exceptions.InterfaceError, match="is not a member of this pool"):
        await single.release(conn)
    assert await conn.fetchval("SELECT 1") == 1


async def test_release_during_a_statement_ends_it_and_frees_the_connection(single: Pool) -> None:
    connection = await single.acquire()
    statement = asyncio.create_task(connection.fetchval("SELECT pg_sleep(600)"))
    await asyncio.sleep(0)
    await single.release(connection)
    assert await single.fetchval("SELECT 1") == 1
    with pytest.raises(exceptions.InterfaceError, match="was released while the operation was in progress"):
        await statement


async def test_release_rolls_back(single: Pool) -> None:
    async with single.acquire() as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS rolled_back (n int); TRUNCATE rolled_back")
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO rolled_back VALUES (1)")
        assert connection.is_in_transaction()
    async with single.acquire() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT count(*) FROM rolled_back") == 0
        await connection.execute("DROP TABLE rolled_back")


# ---- a released connection ----


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("fetch", ("SELECT 1",)),
        ("fetchrow", ("SELECT 1",)),
        ("fetchval", ("SELECT 1",)),
        ("execute", ("SELECT 1",)),
        ("executemany", ("SELECT $1::int", [(1,)])),
    ],
)
async def test_released_connection_refuses_to(single: Pool, method: str, arguments: tuple[Any, ...]) -> None:
    connection = await single.acquire()
    await single.release(connection)
    with pytest.raises(exceptions.InterfaceError, match=rf"cannot call Connection\.{method}\(\): {RELEASED}"):
        await getattr(connection, method)(*arguments)


@pytest.mark.parametrize("method", ["is_in_transaction", "get_server_pid", "is_closed", "transaction", "get_settings"])
async def test_released_connection_does_not_answer(single: Pool, method: str) -> None:
    connection = await single.acquire()
    await single.release(connection)
    with pytest.raises(exceptions.InterfaceError, match=RELEASED):
        getattr(connection, method)()


async def test_released_connection_can_be_closed_and_terminated_without_effect(single: Pool) -> None:
    connection = await single.acquire()
    await single.release(connection)
    await connection.close()
    connection.terminate()
    assert await single.fetchval("SELECT 1") == 1
    assert "released" in repr(connection)


async def test_operation_made_before_the_release_is_refused_after_it(single: Pool) -> None:
    connection = await single.acquire()
    operation = connection.fetchval("SELECT 1")
    await single.release(connection)
    with pytest.raises(exceptions.InterfaceError, match=RELEASED):
        await operation


async def test_release_by_an_argument_while_it_is_encoded_is_refused_cleanly(single: Pool) -> None:
    connection = await single.acquire()

    class Releases(int):
        def __index__(self) -> int:
            single.release(connection)
            return 1

    class ReleasesText:
        def __str__(self) -> str:
            single.release(connection)
            return "1"

        __repr__ = __str__

    class ReleasesList(list[int]):
        def __iter__(self) -> Any:
            single.release(connection)
            return iter([1])

        def __len__(self) -> int:
            single.release(connection)
            return 1

        def __getitem__(self, index: Any) -> Any:
            single.release(connection)
            return 1

    for sql, argument in (
        ("SELECT $1::int", Releases(1)),
        ("SELECT $1::numeric", ReleasesText()),
        ("SELECT $1::text", ReleasesText()),
        ("SELECT $1::int[]", ReleasesList([1])),
        ("SELECT $1::int[]", [Releases(1)]),
    ):
        for again in range(2):  # new to the pool, then known to it
            if connection._released:
                connection = await single.acquire()
            try:
                await connection.fetchval(sql, argument)
            except (exceptions.InterfaceError, exceptions.DataError):
                pass
            assert await single.fetchval("SELECT $1::int", again) == again if connection._released else True
    if not connection._released:
        await single.release(connection)
    assert await single.fetchval("SELECT 1") == 1


# ---- two at once ----


async def test_second_operation_on_a_busy_lease_is_refused_and_both_survive(single: Pool) -> None:
    async with single.acquire() as connection:
        both = [connection.fetchval("SELECT 1"), connection.fetchval("SELECT 2")]
        first, second = await asyncio.gather(*both, return_exceptions=True)
        assert first == 1
        assert isinstance(second, exceptions.InterfaceError)
        assert str(second) == "cannot perform operation: another operation is in progress"
        assert await connection.fetchval("SELECT 3") == 3
    assert single.get_idle_size() == 1


async def test_operation_after_a_cancelled_one_waits_for_its_end(single: Pool) -> None:
    async with single.acquire() as connection:
        task = asyncio.create_task(connection.fetchval("SELECT pg_sleep(600)"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pid = connection.get_server_pid()
        assert await connection.fetchval("SELECT pg_backend_pid()") == pid


# ---- leases that nobody releases ----


async def test_dropped_lease_gives_itself_back_and_warns(single: Pool) -> None:
    connection = await single.acquire()
    assert single.get_idle_size() == 0
    with pytest.warns(ResourceWarning, match="was never released"):
        del connection
        gc.collect()
    assert single.get_idle_size() == 1
    assert await single.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("debug", [False, True])
async def test_lease_dropped_in_another_thread_goes_to_who_waits(single: Pool, debug: bool) -> None:
    held = [await single.acquire()]
    waiting = asyncio.ensure_future(single.acquire())
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.set_debug(debug)  # then call_soon() refuses to be called in another thread
    with pytest.warns(ResourceWarning, match="was never released"):
        dropping = threading.Thread(target=held.clear)
        dropping.start()
        connection = await asyncio.wait_for(waiting, GUARD_S)
        dropping.join()
    loop.set_debug(False)
    assert await connection.fetchval("SELECT 1") == 1
    await single.release(connection)


async def test_dropped_lease_serves_who_waits(single: Pool) -> None:
    connection = await single.acquire()
    waiter = asyncio.create_task(single.fetchval("SELECT 1"))
    await asyncio.sleep(0)
    with pytest.warns(ResourceWarning):
        del connection
        gc.collect()
    assert await waiter == 1


async def test_dropped_lease_in_a_cycle_gives_itself_back(single: Pool) -> None:
    class Holder:
        me: Any
        connection: Any

    holder = Holder()
    holder.me = holder
    holder.connection = await single.acquire()
    with pytest.warns(ResourceWarning):
        del holder
        gc.collect()
    assert single.get_idle_size() == 1


async def test_leases_that_garbage_collection_drops_in_the_middle_of_answers_disturb_nobody(dsn: str) -> None:
    """A collection may run at any allocation, so also while rows are made of an answer."""

    class Holder:
        pass

    async with holisticpool.create_pool(dsn, min_size=4, max_size=4) as pool:

        async def lose() -> None:
            holder = Holder()
            holder.me = holder  # type: ignore[attr-defined]
            holder.connection = await pool.acquire()  # type: ignore[attr-defined]

        async def read(n: int) -> None:
            rows = await pool.fetch("SELECT i, i::text AS t, array[i, $1::int] AS a FROM generate_series(1, 200) i", n)
            assert [row["a"] for row in rows] == [[i, n] for i in range(1, 201)]

        threshold = gc.get_threshold()
        gc.set_threshold(30, 2, 2)
        try:
            with pytest.warns(ResourceWarning):
                work = asyncio.gather(*(read(n) if n % 3 else lose() for n in range(60)))
                while not work.done():
                    await asyncio.sleep(0)
                    gc.collect()
                await work
                gc.collect()
        finally:
            gc.set_threshold(*threshold)
        assert pool._stats()["leased"] == 0
        assert await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(8))) == list(range(8))


async def test_dropped_dedicated_session_is_closed_and_warns(dsn: str, pool: Pool) -> None:
    connection = await holisticpool.connect(dsn)
    pid = connection.get_server_pid()
    with pytest.warns(ResourceWarning, match="unclosed connection"):
        del connection
        gc.collect()
    while await pool.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid):
        pass


async def test_lease_of_a_terminated_pool_is_closed_and_can_be_dropped(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        connection = await pool.acquire()
        pool.terminate()
        assert connection.is_closed()
        with pytest.raises(exceptions.InterfaceError):
            await connection.fetchval("SELECT 1")
        await pool.release(connection)
        other = connection
        del connection, other
        gc.collect()


async def test_terminated_lease_is_replaced_after_its_release(single: Pool) -> None:
    connection = await single.acquire()
    connection.terminate()
    assert connection.is_closed()
    with pytest.raises(exceptions.InterfaceError, match="connection is closed"):
        await connection.fetchval("SELECT 1")
    await single.release(connection)
    assert await single.fetchval("SELECT 1") == 1


# ---- the object ----


async def test_connection_cannot_be_made_by_hand(single: Pool) -> None:
    with pytest.raises(TypeError):
        Connection()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Connection.__new__(Connection)
    async with single.acquire() as connection:
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                attempt(connection)


async def test_lease_is_of_the_pools_connection_class(dsn: str) -> None:
    class Mine(Connection):
        async def one(self) -> Any:
            return await self.fetchval("SELECT 1")

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Mine) as pool:
        async with pool.acquire() as connection:
            assert isinstance(connection, Mine)
            assert await connection.one() == 1


async def test_every_lease_is_an_object_of_its_own(single: Pool) -> None:
    async with single.acquire() as first:
        pid = first.get_server_pid()
    async with single.acquire() as second:
        assert second is not first
        assert second.get_server_pid() == pid


async def test_repr_says_open_closed_or_released(single: Pool) -> None:
    connection = await single.acquire()
    assert "open" in repr(connection)
    connection.terminate()
    assert "closed" in repr(connection)
    await single.release(connection)
    assert "released" in repr(connection)
