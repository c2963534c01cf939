"""A forked child never uses the parent's sockets, whatever it does, and the parent never notices it.

Each child ends with os._exit(): its status is what the test asserts. It runs no pytest code and no loop of the parent.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from observing import settled, usable

import holisticpool
from holisticpool import exceptions

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

OK, WRONG_OUTCOME, UNEXPECTED = 0, 3, 4


def in_child(what: Callable[[], bool]) -> int:
    """Fork, run `what` in the child, and return the child's exit status: OK if it was true."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = UNEXPECTED
        try:
            status = OK if what() else WRONG_OUTCOME
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class Opened:
    """A pool with an idle, a leased and a busy connection, in a loop that is not running while the test forks."""

    def __init__(self, dsn: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.pool = self.loop.run_until_complete(self._open(dsn))
        self.lease = self.loop.run_until_complete(self._lease())
        self.pids = self.loop.run_until_complete(self._pids())
        self.busy = self.loop.create_task(self._busy())
        self.loop.run_until_complete(asyncio.sleep(0))

    async def _open(self, dsn: str) -> holisticpool.Pool:
        return await holisticpool.create_pool(dsn, min_size=3, max_size=3)

    async def _lease(self) -> holisticpool.Connection:
        connection = await self.pool.acquire()
        await connection.execute("BEGIN")
        await connection.execute("CREATE TEMP TABLE of_the_parent AS SELECT 42 AS answer")
        return connection

    async def _pids(self) -> set[int]:
        first, second = await self.pool.acquire(), await self.pool.acquire()
        pids = {each.get_server_pid() for each in (first, second, self.lease)}
        await self.pool.release(first)
        await self.pool.release(second)
        return pids

    async def _busy(self) -> int:
        return int(await self.pool.fetchval("SELECT 17 FROM pg_sleep(0.2)"))

    def check(self) -> None:
        """Everything of the parent goes on where it was, on the same sessions."""

        async def check() -> None:
            assert await self.busy == 17
            assert await self.lease.fetchval("SELECT answer FROM of_the_parent") == 42
            assert self.lease.is_in_transaction()
            await self.lease.execute("COMMIT")
            answers = await asyncio.gather(*(self.pool.fetchval("SELECT $1::int", i) for i in range(50)))
            assert answers == list(range(50))
            await self.pool.release(self.lease)
            await settled(self.pool)
            await usable(self.pool)
            after = set()
            for _ in range(3):
                after.add(await self.pool.fetchval("SELECT pg_backend_pid()"))
            assert after <= self.pids
            assert self.pool._stats()["recycled"]["broken"] == 0
            await self.pool.close()

        self.loop.run_until_complete(check())
        self.loop.close()


@pytest.fixture(params=["tcp", "unix", "tls"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """By each kind of socket: with TLS a single byte of the child's would end the session."""
    name = {"tcp": "dsn", "unix": "unix_dsn", "tls": "tls_dsn"}[request.param]
    return Opened(request.getfixturevalue(name))


def test_child_that_exits_at_once(opened: Opened) -> None:
    for _ in range(3):
        assert in_child(lambda: True) == OK
    opened.check()


def test_child_that_drops_everything_and_collects_garbage(opened: Opened) -> None:
    def drop() -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opened.__dict__.clear()
            gc.collect()
            gc.collect()
        return True

    assert in_child(drop) == OK
    opened.check()


def refused(awaitable: Any) -> bool:
    async def run() -> bool:
        try:
            await awaitable
        except exceptions.InterfaceError as error:
            return "fork" in str(error)
        return False

    return asyncio.run(run())


def test_child_that_uses_the_pool_is_refused(opened: Opened) -> None:
    def use() -> bool:
        pool = opened.pool
        return all(
            refused(make())
            for make in (
                lambda: pool.fetchval("SELECT 1"),
                lambda: pool.execute("SELECT 1"),
                lambda: pool.acquire(),
                lambda: pool.executemany("SELECT $1::int", [(1,)]),
            )
        )

    assert in_child(use) == OK
    opened.check()


def test_child_that_uses_a_lease_is_refused(opened: Opened) -> None:
    def use() -> bool:
        lease = opened.lease
        return refused(lease.fetchval("SELECT 1")) and refused(lease.execute("ROLLBACK"))

    assert in_child(use) == OK
    opened.check()


def threads() -> int:
    """How many threads this process has, those that Python knows nothing of included."""
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1


@pytest.mark.parametrize("end", ["terminate", "abandon", "close", "release", "terminate lease", "cancel", "collect"])
def test_child_that_ends_things_ends_nothing_of_the_parents(opened: Opened, end: str) -> None:
    def finish() -> bool:
        pool, lease = opened.pool, opened.lease
        try:
            if end == "terminate":
                pool.terminate()
            elif end == "abandon":
                pool._abandon()
            elif end == "close":
                refused(pool.close())
            elif end == "release":
                refused(pool.release(lease))
            elif end == "terminate lease":
                lease.terminate()
            elif end == "cancel":
                opened.busy.cancel()
            else:
                opened.busy.get_coro().close()  # as when the task is garbage
        except exceptions.InterfaceError:
            pass
        gc.collect()
        return threads() == 1  # none that sends a cancel request

    assert in_child(finish) == OK
    opened.check()


def test_child_that_opens_its_own_pool_with_the_parents_one_in_memory(opened: Opened, dsn: str) -> None:
    async def own() -> bool:
        async with holisticpool.create_pool(dsn, min_size=2, max_size=2) as pool:
            answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(20)))
            pids = {await pool.fetchval("SELECT pg_backend_pid()")}
            return answers == list(range(20)) and not pids & opened.pids

    assert in_child(lambda: asyncio.run(own())) == OK
    opened.check()


def test_children_of_children_and_many_at_once(dsn: str) -> None:
    opened = Opened(dsn)

    async def own() -> bool:
        connection = await holisticpool.connect(dsn)
        try:
            return bool(await connection.fetchval("SELECT 5") == 5)
        finally:
            await connection.close()

    def child() -> bool:
        return in_child(lambda: asyncio.run(own())) == OK and asyncio.run(own())

    for _ in range(3):
        assert in_child(child) == OK
    opened.check()


async def test_fork_while_the_loop_runs_leaves_the_running_pool_alone(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2) as pool:
        busy = asyncio.create_task(pool.fetchval("SELECT 6 FROM pg_sleep(0.05)"))
        async with pool.acquire() as connection:
            await connection.execute("BEGIN")
            assert in_child(lambda: gc.collect() >= 0) == OK
            assert await connection.fetchval("SELECT 7") == 7
        assert await busy == 6
        await settled(pool)
        await usable(pool)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_program_started_by_the_parent_inherits_no_socket(dsn: str) -> None:
    loop = asyncio.new_event_loop()

    async def opened() -> holisticpool.Pool:
        return await holisticpool.create_pool(dsn, min_size=2, max_size=2)

    pool = loop.run_until_complete(opened())
    listing = "import os; print([os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')])"
    command = [sys.executable, "-c", listing]
    theirs = subprocess.run(command, close_fds=False, capture_output=True, text=True, check=True).stdout
    ours = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
    sockets = [path.rpartition("/")[2] for path in ours if "socket:" in path]
    assert len(sockets) >= 2
    assert not [each for each in sockets if each in theirs]
    loop.run_until_complete(pool.close())
    loop.close()
