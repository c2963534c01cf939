"""Done-callbacks of operations that one run of the reactor resolves: asyncio's order, contexts and errors."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

import holisticpool
from holisticpool import Pool


async def leases_with_answers_at_hand(pool: Pool, n: int) -> list[asyncio.Task[Any]]:
    """Tasks whose statements the server has answered before the loop looks: one run resolves them all."""
    connections = [await pool.acquire() for _ in range(n)]

    async def one(connection: Any, i: int) -> Any:
        try:
            return await connection.fetchval("SELECT $1::int", i)
        finally:
            await pool.release(connection)

    tasks = [asyncio.create_task(one(connection, i)) for i, connection in enumerate(connections)]
    await asyncio.sleep(0)  # they have sent
    return tasks


@pytest.fixture
async def pool(dsn: str) -> Any:
    async with holisticpool.create_pool(dsn, min_size=8, max_size=8) as opened:
        yield opened


async def test_each_waiter_is_resumed_in_its_own_context(pool: Pool) -> None:
    name: contextvars.ContextVar[int] = contextvars.ContextVar("name")

    async def one(i: int) -> bool:
        name.set(i)
        answers = [await pool.fetchval("SELECT $1::int", i) for _ in range(20)]
        return answers == [i] * 20 and name.get() == i

    assert all(await asyncio.gather(*(one(i) for i in range(64))))
    with pytest.raises(LookupError):
        name.get()


async def test_waiters_of_one_connection_are_resumed_in_the_order_they_asked(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as single:
        order: list[int] = []

        async def one(i: int) -> None:
            await single.fetchval("SELECT 1")
            order.append(i)

        await asyncio.gather(*(one(i) for i in range(200)))
        assert order == list(range(200))


async def test_callback_that_raises_goes_to_the_exception_handler_and_harms_no_other(pool: Pool) -> None:
    loop = asyncio.get_running_loop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    try:
        operation = pool.fetchval("SELECT 1")
        operation.send(None)
        loop_done = loop.create_future()

        def fail(_: Any) -> None:
            raise ArithmeticError("in a callback")

        operation.add_done_callback(fail)
        operation.add_done_callback(loop_done.set_result)
        assert await loop_done is operation
        assert [type(context["exception"]) for context in reported] == [ArithmeticError]
        operation.close()
    finally:
        loop.set_exception_handler(None)


def test_keyboard_interrupt_in_a_resumed_task_leaves_the_others_to_be_resumed(dsn: str) -> None:
    loop = asyncio.new_event_loop()
    try:
        pool = loop.run_until_complete(_open(dsn))

        async def interrupted() -> None:
            await pool.fetchval("SELECT 1")
            raise KeyboardInterrupt

        async def others() -> list[int]:
            return list(await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(64))))

        rest = loop.create_task(others())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(interrupted())
        assert loop.run_until_complete(rest) == list(range(64))
        loop.run_until_complete(pool.close())
    finally:
        loop.close()


async def _open(dsn: str) -> Pool:
    return await holisticpool.create_pool(dsn, min_size=8, max_size=8)


async def test_waiter_cancelled_between_its_answer_and_its_resumption_is_cancelled(pool: Pool) -> None:
    tasks = await leases_with_answers_at_hand(pool, 4)
    tasks[2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answers[0], answers[1], answers[3]] == [0, 1, 3]
    assert isinstance(answers[2], asyncio.CancelledError)
    assert await pool.fetchval("SELECT 5") == 5
