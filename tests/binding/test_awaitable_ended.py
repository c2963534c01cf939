"""Operation: ended from outside while it is under way, by close(), throw(), being dropped or a cancelled task.

Whatever was taken for it goes back. An operation is made pending by asking a pool for the one connection that somebody
else holds.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool

# ---- close() and throw() once it is started ----


async def test_close_while_pending_leaves_the_queue(single: Pool, held: Connection) -> None:
    operation = single.acquire()
    assert operation.send(None) is operation
    assert single._stats()["waiters"] == 1
    operation.close()
    assert single._stats()["waiters"] == 0
    with pytest.raises(RuntimeError):
        operation.send(None)


async def test_throw_while_pending_raises_and_leaves_the_queue(single: Pool, held: Connection) -> None:
    operation = single.fetchval("SELECT 1")
    operation.send(None)
    with pytest.raises(ZeroDivisionError):
        operation.throw(ZeroDivisionError)
    assert single._stats()["waiters"] == 0


async def test_throw_takes_the_old_three_arguments(pool: Pool) -> None:
    try:
        raise KeyError("for its traceback")
    except KeyError as error:
        trace = error.__traceback__
    operation = pool.fetchval("SELECT 1")
    with pytest.raises(ValueError, match="text") as caught:
        operation.throw(ValueError, ValueError("text"), trace)
    assert caught.value.__traceback__ is not None


@pytest.mark.parametrize("arguments", [(), (1,), ("text",), (KeyError("a"), "b"), (KeyError, "a", "b"), (1, 2, 3, 4)])
async def test_throw_of_what_is_no_exception_is_a_type_error(pool: Pool, arguments: tuple[Any, ...]) -> None:
    operation = pool.fetchval("SELECT 1")
    with pytest.raises(TypeError):
        operation.throw(*arguments)
    operation.close()


async def test_close_while_a_statement_runs_frees_the_connection(single: Pool) -> None:
    operation = single.fetchval("SELECT pg_sleep(600)")
    operation.send(None)
    operation.close()
    assert await single.fetchval("SELECT 1") == 1


async def test_close_of_an_undelivered_lease_gives_it_back(single: Pool) -> None:
    connection = await single.acquire()
    operation = single.acquire()
    operation.send(None)
    await single.release(connection)
    assert single._stats()["leased"] == 1
    operation.close()
    assert single._stats()["leased"] == 0


async def test_undelivered_lease_that_is_dropped_gives_itself_back(single: Pool) -> None:
    connection = await single.acquire()
    operation = single.acquire()
    operation.send(None)
    await single.release(connection)
    del operation
    gc.collect()
    assert single._stats()["leased"] == 0


async def test_pending_operation_that_is_dropped_still_frees_its_connection(single: Pool) -> None:
    single.fetchval("SELECT 1").send(None)
    gc.collect()
    assert await single.fetchval("SELECT 2") == 2


async def test_dropped_opening_of_a_pool_is_forgotten(dsn: str) -> None:
    made = holisticpool.create_pool(dsn, min_size=1, max_size=1)
    targets = made._config.connection.targets()
    opened = asyncio.get_running_loop().create_future()

    async def init(connection: Connection) -> None:
        opened.set_result(None)

    core = holisticpool._core.Pool(
        asyncio.get_running_loop(),
        init_size=1,
        min_size=1,
        max_size=1,
        max_queries=0,
        max_inactive_connection_lifetime=0.0,
        max_lifetime=0.0,
        acquire_timeout=None,
        command_timeout=None,
        connect_timeout=60.0,
        max_waiters=0,
        statement_cache_size=10,
        max_cached_statement_lifetime=0.0,
        max_cacheable_statement_size=0,
        reset="touched",
        record_class=holisticpool.Record,
        connection_class=Connection,
        dedicated=False,
        pipeline=0,
    )
    core._set_targets(targets)
    core._set_on_connect(init)
    core._open().send(None)
    # what lies in the operation's memory next must not be taken for it
    others = [core.fetchval("SELECT 1") for _ in range(10)]
    await opened
    assert await core.fetchval("SELECT 1") == 1
    for each in others:
        assert repr(each) == "<holisticpool operation Pool.fetchval new>"
        each.close()
    await core._close()


# ---- cancellation ----


async def test_cancel_message_passes_through(single: Pool, held: Connection) -> None:
    async def wait() -> None:
        await single.fetchval("SELECT 1")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel("not needed any more")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    messages = [getattr(error, "args", ()) for error in (caught.value, caught.value.__context__)]
    assert ("not needed any more",) in messages


async def test_cancelled_error_reaches_the_task_with_its_message(single: Pool, held: Connection) -> None:
    seen: list[tuple[Any, ...]] = []

    async def wait() -> None:
        try:
            await single.fetchval("SELECT 1")
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [("enough",)]


async def test_task_may_swallow_a_cancellation_and_go_on(single: Pool) -> None:
    connection = await single.acquire()

    async def wait() -> Any:
        try:
            await single.fetchval("SELECT 1")
        except asyncio.CancelledError:
            pass
        return await single.fetchval("SELECT 2")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    await single.release(connection)
    assert await task == 2


async def test_cancel_before_the_first_await_reaches_the_operation(single: Pool) -> None:
    """A task that is cancelled while it runs is cancelled at its next await, which is ours."""

    async def work() -> None:
        asyncio.current_task().cancel("self")  # type: ignore[union-attr]
        await single.acquire(timeout=None)

    connection = await single.acquire()
    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert single._stats()["waiters"] == 0
    await single.release(connection)
    assert single._stats()["leased"] == 0


async def test_cancel_between_resolution_and_wake_up_does_not_leak_the_lease(single: Pool) -> None:
    connection = await single.acquire()

    async def work() -> Any:
        return await single.acquire()

    for waiting in (work, single.acquire):
        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        await single.release(connection)
        assert single._stats()["leased"] == 1  # handed over, the task does not know yet
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert single._stats()["leased"] == 0
        connection = await single.acquire()
    await single.release(connection)


async def test_cancel_between_resolution_and_wake_up_hands_the_lease_to_the_next(single: Pool) -> None:
    connection = await single.acquire()
    first = asyncio.create_task(single.acquire())
    second = asyncio.create_task(single.acquire())
    await asyncio.sleep(0)
    await single.release(connection)
    first.cancel()
    got = await second
    assert first.cancelled()
    await single.release(got)


async def test_cancel_of_async_with_acquire_between_resolution_and_wake_up_frees_it(single: Pool) -> None:
    connection = await single.acquire()

    async def work() -> None:
        async with single.acquire():
            raise AssertionError("it was cancelled before it entered")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await single.release(connection)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert single._stats()["leased"] == 0


async def test_task_cancelled_again_and_again_still_returns_its_lease(single: Pool) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with single.acquire() as connection:
            entered.set()
            await connection.fetchval("SELECT pg_sleep(600)")

    task = asyncio.create_task(work())
    await entered.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert single._stats()["leased"] == 0
    assert await single.fetchval("SELECT 1") == 1


async def test_result_that_came_with_the_cancellation_is_dropped(single: Pool) -> None:
    """What a cancelled statement answers must not reach the next user of its connection."""

    async def work() -> Any:
        return await single.fetchval("SELECT 'cancelled'")

    for turns in range(8):
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        results = await asyncio.gather(task, single.fetchval("SELECT 'mine'"), return_exceptions=True)
        assert results[1] == "mine"
        assert results[0] == "cancelled" or isinstance(results[0], asyncio.CancelledError)
