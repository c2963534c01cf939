"""Operation: whatever asyncio does with a coroutine can be done with what an I/O method returns.

An operation is made pending by asking a pool for the one connection that somebody else holds.
"""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import gc
import inspect
import sys
import traceback
import warnings
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, exceptions

needs_3_11 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has it since 3.11")
needs_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has it since 3.12")


async def one_turn() -> None:
    """Let the loop run what is ready, once."""
    await asyncio.sleep(0)


# ---- what drives coroutines ----


async def test_await_gives_the_result(pool: Pool) -> None:
    assert await pool.fetchval("SELECT 1") == 1


async def test_gather_keeps_the_order_of_its_arguments(pool: Pool) -> None:
    assert await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(20))) == list(range(20))


async def test_gather_raises_the_first_error(pool: Pool) -> None:
    with pytest.raises(exceptions.DivisionByZeroError):
        await asyncio.gather(pool.fetchval("SELECT 1"), pool.fetchval("SELECT 1/0"))


async def test_gather_returns_exceptions_where_asked(pool: Pool) -> None:
    both = [pool.fetchval("SELECT 1/0"), pool.fetchval("SELECT 2")]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, exceptions.DivisionByZeroError)
    assert second == 2


async def test_wait_for_passes_the_result_on(pool: Pool) -> None:
    assert await asyncio.wait_for(pool.fetchval("SELECT 1"), 60) == 1


async def test_wait_for_without_a_limit_passes_the_result_on(pool: Pool) -> None:
    assert await asyncio.wait_for(pool.fetchval("SELECT 1"), None) == 1


async def test_wait_for_ends_a_wait_for_a_connection(single: Pool, held: Connection) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(single.acquire(timeout=None), 0.001)
    assert single._stats()["waiters"] == 0


@needs_3_11
async def test_timeout_context_ends_a_wait_for_a_connection(single: Pool, held: Connection) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):  # type: ignore[attr-defined]
            await single.fetchval("SELECT 1")
    assert single._stats()["waiters"] == 0


@needs_3_11
async def test_timeout_context_that_does_not_end_changes_nothing(pool: Pool) -> None:
    async with asyncio.timeout(60):  # type: ignore[attr-defined]
        assert await pool.fetchval("SELECT 1") == 1


async def test_shield_passes_the_result_on(pool: Pool) -> None:
    assert await asyncio.shield(pool.fetchval("SELECT 1")) == 1


async def test_shielded_operation_outlives_the_cancelled_waiter(single: Pool) -> None:
    connection = await single.acquire()
    inner = asyncio.ensure_future(single.fetchval("SELECT 1"))

    async def wait() -> Any:
        return await asyncio.shield(inner)

    waiter = asyncio.create_task(wait())
    await one_turn()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await single.release(connection)
    assert await inner == 1


async def test_create_task_runs_it(pool: Pool) -> None:
    assert await asyncio.create_task(pool.fetchval("SELECT 1")) == 1


async def test_create_task_takes_a_name(pool: Pool) -> None:
    task = asyncio.create_task(pool.fetchval("SELECT 1"), name="the query")
    assert "the query" in repr(task)
    assert await task == 1


@needs_3_11
async def test_create_task_takes_a_context(pool: Pool) -> None:
    task = asyncio.create_task(pool.fetchval("SELECT 1"), context=contextvars.copy_context())  # type: ignore[call-arg]
    assert await task == 1


@needs_3_11
async def test_task_group_runs_it(pool: Pool) -> None:
    async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
        tasks = [group.create_task(pool.fetchval("SELECT $1::int", i)) for i in range(5)]
    assert [task.result() for task in tasks] == list(range(5))


@needs_3_11
async def test_task_group_cancels_the_others_when_one_fails(single: Pool) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:  # type: ignore[name-defined]  # noqa: F821 - a built-in since 3.11
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
            group.create_task(single.fetchval("SELECT 1/0"))
            others = [group.create_task(single.fetchval("SELECT pg_sleep(600)")) for _ in range(3)]
    assert caught.group_contains(exceptions.DivisionByZeroError) if hasattr(caught, "group_contains") else True
    assert all(task.cancelled() for task in others)
    assert await single.fetchval("SELECT 1") == 1


async def test_ensure_future_makes_a_task_of_it(pool: Pool) -> None:
    future = asyncio.ensure_future(pool.fetchval("SELECT 1"))
    assert isinstance(future, asyncio.Task)
    assert await future == 1


def test_run_until_complete_runs_it(dsn: str) -> None:
    loop = asyncio.new_event_loop()
    try:

        async def opened() -> Pool:
            return await holisticpool.create_pool(dsn, min_size=1, max_size=1)

        pool = loop.run_until_complete(opened())
        assert loop.run_until_complete(pool.fetchval("SELECT 1")) == 1
        loop.run_until_complete(pool.close())
    finally:
        loop.close()


async def test_wait_takes_tasks_of_it(pool: Pool) -> None:
    tasks = {asyncio.create_task(pool.fetchval("SELECT $1::int", i)) for i in range(3)}
    done, pending = await asyncio.wait(tasks)
    assert not pending
    assert {task.result() for task in done} == {0, 1, 2}


async def test_as_completed_takes_it(pool: Pool) -> None:
    operations = [pool.fetchval("SELECT $1::int", i) for i in range(3)]
    assert {await each for each in asyncio.as_completed(operations)} == {0, 1, 2}


@needs_3_12
async def test_eager_tasks_run_it(pool: Pool) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    try:
        assert await asyncio.create_task(pool.fetchval("SELECT 1")) == 1
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
            tasks = [group.create_task(pool.fetchval("SELECT $1::int", i)) for i in range(5)]
        assert [task.result() for task in tasks] == list(range(5))
        connection = await asyncio.create_task(pool.acquire())
        await asyncio.create_task(connection.close())
        with pytest.raises(exceptions.DivisionByZeroError):
            await asyncio.gather(pool.fetchval("SELECT 1/0"), pool.fetchval("SELECT 1"))
    finally:
        loop.set_task_factory(None)
        gc.collect()


def test_works_in_asyncio_debug_mode(dsn: str) -> None:
    async def work() -> None:
        async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
            assert await pool.fetchval("SELECT 1") == 1
            assert await asyncio.gather(pool.fetchval("SELECT 1"), asyncio.create_task(pool.fetchval("SELECT 2")))
            waiting = asyncio.create_task(pool.fetchval("SELECT pg_sleep(600)"))
            await one_turn()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(work(), debug=True)


def test_works_on_uvloop(dsn: str) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def work() -> None:
        async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
            assert await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(5))) == list(range(5))
            async with pool.acquire() as connection:
                waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
                await one_turn()
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert await asyncio.wait_for(connection.fetchval("SELECT 2"), 60) == 2

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(work())
    finally:
        loop.close()


async def test_is_awaited_through_yield_from(pool: Pool) -> None:
    class Wrapped:
        def __await__(self) -> Any:
            return (yield from pool.fetchval("SELECT 1").__await__())

    assert await Wrapped() == 1


async def test_generator_based_driver_gets_the_result_as_stop_iteration(pool: Pool) -> None:
    def steps() -> Any:
        return (yield from pool.fetchval("SELECT 5"))  # type: ignore[misc]

    class Wrapped:
        def __await__(self) -> Any:
            return steps()

    assert await Wrapped() == 5


# ---- before it is started ----


@pytest.mark.parametrize("name", ["_asyncio_future_blocking", "get_loop", "add_done_callback"])
async def test_what_a_task_looks_up_is_found_by_any_string(pool: Pool, name: str) -> None:
    operation: Any = pool.fetchval("SELECT 1")
    spelled = "".join(list(name))
    assert spelled is not sys.intern(name)
    waits = operation.send(None)
    interned, other = getattr(waits, sys.intern(name)), getattr(waits, spelled)
    assert (interned, type(interned)) == (other, type(other)) or interned() is other() is asyncio.get_running_loop()
    setattr(waits, "".join(["_asyncio_future_", "blocking"]), False)
    assert waits._asyncio_future_blocking is False
    setattr(waits, sys.intern("_asyncio_future_blocking"), True)
    assert waits._asyncio_future_blocking is True
    operation.close()


async def test_done_callbacks_of_a_task_that_do_not_wake_it_get_the_operation(pool: Pool) -> None:
    """A method of a task's in C, as what wakes tasks up is."""

    async def until_cancelled() -> tuple[Any, ...]:
        with pytest.raises(asyncio.CancelledError) as caught:
            await asyncio.Event().wait()
        return caught.value.args

    other = asyncio.create_task(until_cancelled())
    await one_turn()
    operation: Any = pool.fetchval("SELECT 1")
    waits = operation.send(None)
    waits.add_done_callback(other.cancel)
    assert await other == (waits,)
    with pytest.raises(StopIteration) as stop:
        operation.send(None)
    assert stop.value.value == 1


async def test_new_operation_is_a_coroutine_and_no_future(pool: Pool) -> None:
    operation = pool.fetchval("SELECT 1")
    assert asyncio.iscoroutine(operation)
    assert inspect.isawaitable(operation)
    assert isinstance(operation, collections.abc.Coroutine)
    assert not asyncio.isfuture(operation)
    assert await operation == 1


async def test_never_awaited_operation_warns_and_sends_nothing(pool: Pool) -> None:
    await pool.execute("CREATE TABLE IF NOT EXISTS never_awaited (n int); TRUNCATE never_awaited")
    before = pool._stats()["queries"]
    with pytest.warns(RuntimeWarning, match=r"coroutine 'Pool\.execute' was never awaited"):
        pool.execute("INSERT INTO never_awaited VALUES (1)")
        gc.collect()
    assert pool._stats()["queries"] == before
    assert await pool.fetchval("SELECT count(*) FROM never_awaited") == 0
    await pool.execute("DROP TABLE never_awaited")


async def test_never_awaited_acquire_takes_no_connection(pool: Pool) -> None:
    with pytest.warns(RuntimeWarning, match=r"coroutine 'Pool\.acquire' was never awaited"):
        pool.acquire()
        gc.collect()
    assert pool._stats()["leased"] == 0


async def test_never_awaited_warning_turned_into_an_error_is_reported_not_raised(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool.fetchval("SELECT 1")
        gc.collect()
    assert [type(each.exc_value) for each in reported] == [RuntimeWarning]


async def test_closed_before_it_started_does_not_warn(pool: Pool) -> None:
    operation = pool.fetchval("SELECT 1")
    operation.close()
    operation.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await operation


async def test_throw_before_it_started_raises_that_and_ends_it(pool: Pool) -> None:
    operation = pool.fetchval("SELECT 1")
    error = KeyError("thrown")
    with pytest.raises(KeyError) as caught:
        operation.throw(error)
    assert caught.value is error
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await operation


async def test_cancelled_task_that_never_ran_sends_nothing(pool: Pool) -> None:
    before = pool._stats()["queries"]
    task = asyncio.create_task(pool.fetchval("SELECT 1"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool._stats()["queries"] == before


# ---- awaited once ----


async def test_awaiting_it_again_is_an_error(pool: Pool) -> None:
    operation = pool.fetchval("SELECT 1")
    await operation
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await operation


async def test_awaiting_it_again_after_an_error_is_an_error(pool: Pool) -> None:
    operation = pool.fetchval("SELECT 1/0")
    with pytest.raises(exceptions.DivisionByZeroError):
        await operation
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await operation


async def test_second_task_awaiting_the_same_operation_fails_and_the_first_succeeds(single: Pool) -> None:
    operation = single.fetchval("SELECT pg_backend_pid()")
    connection = await single.acquire()

    async def wait() -> Any:
        return await operation

    first = asyncio.create_task(wait())
    second = asyncio.create_task(wait())
    with pytest.raises(RuntimeError, match="already being awaited"):
        await second
    pid = connection.get_server_pid()
    await single.release(connection)
    assert await first == pid


async def test_send_after_the_end_is_an_error(pool: Pool) -> None:
    operation = pool.fetchval("SELECT 1")
    await operation
    with pytest.raises(RuntimeError):
        operation.send(None)
    with pytest.raises(RuntimeError):
        next(iter(operation))  # type: ignore[call-overload]


# ---- surroundings ----


async def test_context_variables_are_the_tasks_right_after_the_await(pool: Pool) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def work(n: int) -> list[int]:
        variable.set(n)
        seen = []
        for _ in range(3):
            await pool.fetchval("SELECT 1")
            seen.append(variable.get())
        async with pool.acquire() as connection:
            seen.append(variable.get())
            await connection.fetchval("SELECT 1")
        seen.append(variable.get())
        return seen

    assert await asyncio.gather(*(work(n) for n in range(1, 11))) == [[n] * 5 for n in range(1, 11)]


async def test_current_task_is_the_awaiting_one_right_after_the_await(pool: Pool) -> None:
    async def work() -> bool:
        me = asyncio.current_task()
        await pool.fetchval("SELECT 1")
        return asyncio.current_task() is me

    assert list(await asyncio.gather(work(), work(), work())) == [True, True, True]


async def test_traceback_names_the_awaiting_line_and_the_method(pool: Pool) -> None:
    try:
        await pool.fetch("SELECT 1/0")  # the awaiting line
    except exceptions.DivisionByZeroError as error:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "# the awaiting line" in text
    assert "in Pool.fetch\n" in text


async def test_traceback_of_bad_input_names_the_awaiting_line_and_the_method(pool: Pool) -> None:
    await pool.fetchval("SELECT $1::int", 1)
    async with pool.acquire() as connection:
        try:
            await connection.fetchval("SELECT $1::int", "one")  # the awaiting line
        except exceptions.DataError as error:
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "# the awaiting line" in text
    assert "in Connection.fetchval\n" in text


async def test_traceback_through_a_task_names_the_method(pool: Pool) -> None:
    task = asyncio.create_task(pool.fetchrow("SELECT 1/0"))
    with pytest.raises(exceptions.DivisionByZeroError) as caught:
        await task
    assert "in Pool.fetchrow\n" in "".join(traceback.format_exception(caught.type, caught.value, caught.tb))


async def test_bad_input_carries_its_cause(pool: Pool) -> None:
    with pytest.raises(exceptions.DataError) as caught:
        await pool.fetchval("SELECT $1::int", "one")
    assert isinstance(caught.value.__cause__, (TypeError, ValueError))


async def test_error_inside_an_except_block_has_it_as_context(pool: Pool) -> None:
    with pytest.raises(exceptions.DivisionByZeroError) as caught:
        try:
            raise KeyError("first")
        except KeyError:
            await pool.fetchval("SELECT 1/0")
    assert isinstance(caught.value.__context__, KeyError)


async def test_error_is_released_with_its_last_reference(pool: Pool) -> None:
    """Nothing of ours keeps the exception, whose traceback keeps the caller's frame."""

    class Marker:
        pass

    import weakref

    async def work() -> weakref.ref[Marker]:
        marker = Marker()
        try:
            await pool.fetchval("SELECT 1/0")
        except exceptions.DivisionByZeroError:
            pass
        return weakref.ref(marker)

    assert (await work())() is None


# ---- values that coroutines have trouble with ----


async def test_rows_are_returned_whole_through_stop_iteration(pool: Pool) -> None:
    operation = pool.fetchrow("SELECT 1 AS a, 2 AS b")

    def drive() -> Any:
        return (yield from operation)  # type: ignore[misc]

    class Wrapped:
        def __await__(self) -> Any:
            return drive()

    row = await Wrapped()
    assert tuple(row) == (1, 2)


async def test_list_result_by_send_arrives_in_stop_iteration(single: Pool) -> None:
    async with single.acquire() as connection:
        operation = single.acquire()
        operation.send(None)
    with pytest.raises(StopIteration) as stop:
        operation.send(None)
    assert isinstance(stop.value.value, Connection)
    await single.release(stop.value.value)
    assert connection is not stop.value.value


async def test_null_is_none_by_every_way(pool: Pool) -> None:
    assert await pool.fetchval("SELECT NULL::int") is None
    assert await asyncio.create_task(pool.fetchval("SELECT NULL::int")) is None

    class Wrapped:
        def __await__(self) -> Any:
            return (yield from pool.fetchval("SELECT NULL::int"))  # type: ignore[misc]

    assert await Wrapped() is None


# ---- how it shows ----


async def test_repr_names_method_and_state(single: Pool, held: Connection) -> None:
    operation = single.fetchval("SELECT 1")
    assert repr(operation) == "<holisticpool operation Pool.fetchval new>"
    operation.send(None)
    assert repr(operation) == "<holisticpool operation Pool.fetchval pending>"
    operation.close()
    assert repr(operation) == "<holisticpool operation Pool.fetchval closed>"


async def test_repr_of_a_task_names_the_method(single: Pool, held: Connection) -> None:
    task = asyncio.create_task(single.fetchval("SELECT 1"))
    assert "Pool.fetchval" in repr(task)
    await one_turn()
    assert "Pool.fetchval" in repr(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "Pool.fetchval" in repr(task)


async def test_names_are_those_of_the_method(pool: Pool) -> None:
    operation = pool.fetchval("SELECT 1")
    assert (operation.__name__, operation.__qualname__) == ("fetchval", "Pool.fetchval")  # type: ignore[attr-defined]
    operation.close()


async def test_task_stack_can_be_printed(single: Pool, held: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    async def wait() -> None:
        await single.fetchval("SELECT 1")

    task = asyncio.create_task(wait())
    direct = asyncio.create_task(single.fetchval("SELECT 1"))
    await one_turn()
    task.print_stack()
    direct.print_stack()
    for each in (task, direct):
        each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each


# ---- where it runs ----


def test_other_event_loop_is_refused(dsn: str) -> None:
    loop = asyncio.new_event_loop()
    try:

        async def opened() -> Pool:
            return await holisticpool.create_pool(dsn, min_size=1, max_size=1)

        pool = loop.run_until_complete(opened())

        async def elsewhere() -> None:
            for operation in (pool.fetchval("SELECT 1"), pool.acquire()):
                with pytest.raises(exceptions.InterfaceError, match="another event loop"):
                    await operation

        asyncio.run(elsewhere())
        assert loop.run_until_complete(pool.fetchval("SELECT 1")) == 1
        loop.run_until_complete(pool.close())
    finally:
        loop.close()


async def test_without_a_running_loop_it_is_refused(pool: Pool) -> None:
    result: list[BaseException] = []

    def outside() -> None:
        try:
            pool.fetchval("SELECT 1").send(None)
        except BaseException as error:
            result.append(error)

    await asyncio.get_running_loop().run_in_executor(None, outside)
    assert [type(error) for error in result] == [exceptions.InterfaceError]


async def test_anyio_style_cancel_scope_survives_in_the_next_await(pool: Pool) -> None:
    """Cancelled at each of its awaits until it ends, as anyio's cancel scopes do it."""

    async def work() -> None:
        try:
            await pool.fetchval("SELECT pg_sleep(600)")
        finally:
            try:
                await pool.fetchval("SELECT 1")
            finally:
                await pool.fetchval("SELECT 2")

    task = asyncio.create_task(work())
    while not task.done():
        await one_turn()
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await pool.fetchval("SELECT 3") == 3
