"""Tasks that are resumed at the end of the reader, in asyncio's own loops: nobody can tell it from call_soon().

Each test runs a loop of its own, and stops it where a step matters. "At hand" is an answer that the server has sent
before the loop looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from observing import PATIENCE_S, unique_name
from servers import PostgresServer

import holisticpool
from holisticpool import Pool

SESSIONS = 4
STATEMENT = "SELECT $1::int AS at_hand"


@pytest.fixture
def loop() -> Iterator[asyncio.SelectorEventLoop]:
    made = asyncio.SelectorEventLoop()
    yield made
    made.close()


class Asking:
    """Sessions of a pool, each with a task that waits for an answer that is at hand."""

    def __init__(self, loop: asyncio.SelectorEventLoop, server: PostgresServer) -> None:
        self.loop = loop
        self.server = server
        self.name = unique_name("at_hand")
        self.pool: Pool = loop.run_until_complete(self._open())
        self.order: list[Any] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.first: Callable[[], Any] | None = None  # what the task that is resumed first does then
        self.each: Callable[[], Any] | None = None  # ... and all of them

    async def _open(self) -> Pool:
        dsn = self.server.dsn()
        settings = {"application_name": self.name}
        return await holisticpool.create_pool(dsn, min_size=SESSIONS, max_size=SESSIONS, server_settings=settings)

    async def _one(self, connection: Any, i: int) -> Any:
        try:
            value = await connection.fetchval(STATEMENT, i)
            self.order.append(i)
            for then in (self.each, self.first if self.order[-1] == self.order[0] else None):
                if then is not None:
                    then()
            return value
        finally:
            await self.pool.release(connection)

    def ask(self) -> None:
        """Have them send, and wait until the server has answered all; the loop has not looked yet."""

        async def prepare() -> list[Any]:
            connections = [await self.pool.acquire() for _ in range(SESSIONS)]
            for connection in connections:
                await connection.fetchval(STATEMENT, -1)  # known from here on
                await connection.fetchval("SELECT 1")
            return connections

        connections = self.loop.run_until_complete(prepare())
        self.tasks = [self.loop.create_task(self._one(each, i)) for i, each in enumerate(connections)]
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()  # one turn, in which they send
        deadline = time.monotonic() + PATIENCE_S
        while self._answered() < SESSIONS:
            assert time.monotonic() < deadline, "the server does not answer"

    def _answered(self) -> int:
        found = self.server.psql(
            "SELECT count(*) FROM pg_stat_activity "
            f"WHERE application_name = '{self.name}' AND state = 'idle' AND wait_event = 'ClientRead' "
            f"AND query = '{STATEMENT}'"
        )
        return int(found)

    def outcomes(self) -> list[Any]:
        return self.loop.run_until_complete(self._gather())

    async def _gather(self) -> list[Any]:
        return list(await asyncio.gather(*self.tasks, return_exceptions=True))

    def close(self) -> None:
        self.loop.run_until_complete(self.pool.close())


@pytest.fixture
def asking(loop: asyncio.SelectorEventLoop, server: PostgresServer) -> Iterator[Asking]:
    made = Asking(loop, server)
    yield made
    made.close()


def test_no_turn_of_the_loop_passes_between_an_answer_and_its_waiter(loop: asyncio.SelectorEventLoop, dsn: str) -> None:
    """As many looks at the selector as answers: call_soon() would take two for each."""
    looks = 0
    select = loop._selector.select  # type: ignore[attr-defined]

    def counted(timeout: float | None = None) -> Any:
        nonlocal looks
        looks += 1
        return select(timeout)

    async def work() -> int:
        async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
            await pool.fetchval("SELECT 1")
            before = looks
            for _ in range(100):
                await pool.fetchval("SELECT 1")
            return looks - before

    loop._selector.select = counted  # type: ignore[attr-defined]
    assert 100 <= loop.run_until_complete(work()) < 150


def test_what_was_scheduled_before_the_answer_was_read_runs_before_its_waiter(asking: Asking) -> None:
    asking.ask()
    order, call_soon = asking.order, asking.loop.call_soon
    # The next turn calls the outer one and then the reader; the inner one was scheduled in between.
    call_soon(lambda: call_soon(order.append, "scheduled before"))
    assert asking.outcomes() == list(range(SESSIONS))
    assert order[0] == "scheduled before"


def test_what_a_resumed_task_schedules_runs_after_the_others_whose_answers_were_read_with_its_own(
    asking: Asking,
) -> None:
    asking.ask()
    asking.first = lambda: asking.loop.call_soon(asking.order.append, "scheduled by the first")
    assert asking.outcomes() == list(range(SESSIONS))
    assert asking.order[-1] == "scheduled by the first"


def test_loop_that_is_to_stop_resumes_nobody(asking: Asking) -> None:
    asking.ask()
    asking.loop.call_soon(asking.loop.stop)
    asking.loop.run_forever()
    assert asking.order == []
    assert asking.outcomes() == list(range(SESSIONS))


@pytest.mark.parametrize("exit_error", [KeyboardInterrupt, SystemExit])
def test_exit_in_a_resumed_task_ends_the_run_of_the_loop_and_the_others_are_resumed_later(
    asking: Asking, exit_error: type[BaseException]
) -> None:
    def leave() -> None:
        raise exit_error

    asking.ask()
    asking.first = leave
    with pytest.raises(exit_error):
        asking.loop.run_forever()
    left = asking.tasks.pop(asking.order[0])
    assert isinstance(left.exception(), exit_error)
    assert asking.outcomes() == [i for i in range(SESSIONS) if i != asking.order[0]]


def test_task_that_is_cancelled_by_another_one_before_its_turn_is_cancelled(asking: Asking) -> None:
    def cancel_all() -> None:
        for task in asking.tasks:
            if task is not asyncio.current_task(asking.loop):
                task.cancel()

    asking.ask()
    asking.first = cancel_all
    outcomes = asking.outcomes()
    assert outcomes.pop(asking.order[0]) == asking.order[0]
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * (SESSIONS - 1)
    assert asking.loop.run_until_complete(_one_more(asking.pool)) == 1


async def _one_more(pool: Pool) -> Any:
    return await pool.fetchval("SELECT 1")


def test_resumed_task_is_the_current_one_in_its_own_context(asking: Asking) -> None:
    seen: list[Any] = []
    asking.ask()
    asking.each = lambda: seen.append(asyncio.current_task(asking.loop))
    asking.outcomes()
    assert [asking.tasks[i] for i in asking.order] == seen
    assert asyncio.current_task(asking.loop) is None


def test_resumed_task_may_terminate_the_pool(asking: Asking) -> None:
    asking.ask()
    asking.first = asking.pool.terminate
    for outcome in asking.outcomes():
        assert isinstance(outcome, (int, holisticpool.InterfaceError, holisticpool.PostgresConnectionError))
    assert asking.pool.is_closing()


def test_resumed_task_may_start_statements_of_its_own_and_of_others(asking: Asking) -> None:
    later: list[asyncio.Task[Any]] = []

    def start() -> None:
        later.extend(asking.loop.create_task(_one_more(asking.pool)) for _ in range(8))

    asking.ask()
    asking.each = start
    assert asking.outcomes() == list(range(SESSIONS))
    asking.tasks = later
    assert asking.outcomes() == [1] * 8 * SESSIONS


def test_error_of_a_resumed_task_is_its_own(asking: Asking) -> None:
    def fail() -> None:
        raise ArithmeticError

    asking.ask()
    asking.first = fail
    outcomes = asking.outcomes()
    assert isinstance(outcomes.pop(asking.order[0]), ArithmeticError)
    assert outcomes == [i for i in range(SESSIONS) if i != asking.order[0]]


def test_no_task_is_resumed_twice_between_two_turns_of_another(loop: asyncio.SelectorEventLoop, dsn: str) -> None:
    answers = [0] * 20
    most = 0
    working = True

    async def ask(pool: Pool, i: int) -> None:
        for _ in range(50):
            await pool.fetchval("SELECT 1")
            answers[i] += 1

    async def look() -> None:
        nonlocal most
        while working:
            before = list(answers)
            await asyncio.sleep(0)
            most = max(most, *(now - then for now, then in zip(answers, before, strict=True)))

    async def work() -> None:
        nonlocal working
        async with holisticpool.create_pool(dsn, min_size=4, max_size=4) as pool:
            looking = loop.create_task(look())
            await asyncio.gather(*(ask(pool, i) for i in range(20)))
            working = False
            await looking

    loop.run_until_complete(work())
    assert answers == [50] * 20
    assert most == 1


def test_tasks_in_python_find_the_others_when_they_run_the_loop_from_inside(
    loop: asyncio.SelectorEventLoop, server: PostgresServer
) -> None:
    """What packages that let loops nest do."""
    python_task: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]
    loop.set_task_factory(lambda owner, coro, **options: python_task(coro, loop=owner, **options))
    asking = Asking(loop, server)

    def nest() -> None:
        current: Any = asyncio.current_task(loop)
        others = [task for task in asking.tasks if task is not current]
        asyncio.tasks._leave_task(loop, current)
        deadline = time.monotonic() + PATIENCE_S
        while not all(task.done() for task in others):
            assert time.monotonic() < deadline, "the others are not resumed"
            loop._run_once()  # type: ignore[attr-defined]
        asyncio.tasks._enter_task(loop, current)

    asking.ask()
    asking.first = nest
    assert asking.outcomes() == list(range(SESSIONS))
    asking.close()


def test_loop_with_a_scheduler_of_its_own_schedules_the_waiters_too(dsn: str) -> None:
    scheduled: list[Any] = []

    class Watching(asyncio.SelectorEventLoop):
        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
            scheduled.append(callback)
            return super().call_soon(callback, *args, context=context)

    async def work() -> int:
        async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
            await pool.fetchval("SELECT 1")
            before = len(scheduled)
            for _ in range(10):
                await pool.fetchval("SELECT 1")
            return len(scheduled) - before

    loop = Watching()
    try:
        assert loop.run_until_complete(work()) >= 10
    finally:
        loop.close()


class Waiting:
    """Tasks that wait for the leases that those with an answer at hand give back."""

    def __init__(self, asking: Asking) -> None:
        asking.ask()
        self.order = asking.order
        self.first: Callable[[], Any] | None = None  # what the one that is served first does then
        self.tasks = [asking.loop.create_task(self._one(asking.pool, i)) for i in range(SESSIONS)]
        asking.tasks += self.tasks

    async def _one(self, pool: Pool, i: int) -> int:
        async with pool.acquire():
            self.order.append(f"served {i}")
            if self.first is not None and i == 0:
                self.first()
        return i


def test_waiters_for_the_leases_of_resumed_tasks_are_served_in_their_order(asking: Asking) -> None:
    Waiting(asking)
    assert asking.outcomes() == [*range(SESSIONS)] * 2
    assert sorted(asking.order[:SESSIONS]) == [*range(SESSIONS)]
    assert asking.order[SESSIONS:] == [f"served {i}" for i in range(SESSIONS)]


def test_what_resumed_tasks_schedule_between_two_releases_runs_between_the_two_waiters(asking: Asking) -> None:
    Waiting(asking)
    asking.each = lambda: asking.loop.call_soon(asking.order.append, "scheduled")
    assert asking.outcomes() == [*range(SESSIONS)] * 2
    assert asking.order[SESSIONS:] == [event for i in range(SESSIONS) for event in ("scheduled", f"served {i}")]


def test_loop_that_a_resumed_task_stops_serves_no_waiter_before_it_runs_again(asking: Asking) -> None:
    Waiting(asking)
    asking.first = asking.loop.stop
    asking.loop.run_forever()
    assert sorted(asking.order) == [*range(SESSIONS)]
    assert asking.outcomes() == [*range(SESSIONS)] * 2


def test_waiter_that_is_cancelled_before_its_turn_gives_its_lease_back(asking: Asking) -> None:
    waiting = Waiting(asking)
    waiting.first = waiting.tasks[1].cancel
    assert [type(outcome) for outcome in asking.outcomes()[SESSIONS:]] == [int, asyncio.CancelledError, int, int]
    assert "served 1" not in asking.order
    assert asking.pool.get_idle_size() == SESSIONS


def test_exit_in_a_waiter_leaves_the_others_to_be_served(asking: Asking) -> None:
    def leave() -> None:
        raise KeyboardInterrupt

    waiting = Waiting(asking)
    waiting.first = leave
    with pytest.raises(KeyboardInterrupt):
        asking.loop.run_forever()
    left = asking.tasks.pop(SESSIONS)
    assert isinstance(left.exception(), KeyboardInterrupt)
    assert asking.outcomes() == [*range(SESSIONS), *range(1, SESSIONS)]
