"""A pool belongs to one event loop: another one is refused clearly, and what a dead loop leaves behind does no harm."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
import weakref
from typing import Any

import pytest
from observing import Observer, unique_name
from servers import PostgresServer

import holisticpool
from holisticpool import exceptions


async def opened(dsn: str, size: int = 2) -> holisticpool.Pool:
    return await holisticpool.create_pool(dsn, min_size=size, max_size=size)


def test_pool_used_from_another_loop_is_refused(dsn: str) -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        pool = first.run_until_complete(opened(dsn))
        lease = first.run_until_complete(_acquire(pool))
        for make in (
            lambda: pool.fetchval("SELECT 1"),
            lambda: pool.execute("SELECT 1"),
            lambda: pool.acquire(),
            lambda: lease.fetchval("SELECT 1"),
        ):
            with pytest.raises(exceptions.InterfaceError, match="another event loop"):
                second.run_until_complete(_await(make()))
        # It goes on where it belongs.
        assert first.run_until_complete(_await(lease.fetchval("SELECT 2"))) == 2
        first.run_until_complete(_await(pool.release(lease)))
        assert first.run_until_complete(_await(pool.fetchval("SELECT 3"))) == 3
        first.run_until_complete(pool.close())
    finally:
        first.close()
        second.close()


def test_each_run_of_a_loop_decides_anew_whose_pool_may_be_used(dsn: str) -> None:
    """What told the runs of the one from those of the other may lie at the same address."""
    loops = [asyncio.new_event_loop() for _ in range(2)]
    pools = [loop.run_until_complete(opened(dsn, size=1)) for loop in loops]

    async def use(own: holisticpool.Pool, other: holisticpool.Pool) -> None:
        for _ in range(3):
            await own.release(await own.acquire())
            with pytest.raises(exceptions.InterfaceError, match="another event loop"):
                await other.acquire()

    for _ in range(50):
        loops[0].run_until_complete(use(pools[0], pools[1]))
        loops[1].run_until_complete(use(pools[1], pools[0]))
    for loop, pool in zip(loops, pools, strict=True):
        loop.run_until_complete(pool.close())
        loop.close()


def test_pool_is_refused_in_the_thread_that_its_loop_has_left_for_another(dsn: str) -> None:
    loop, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    pool = loop.run_until_complete(opened(dsn, size=1))
    loop.run_until_complete(_give_back(pool))
    entered, leave = threading.Event(), asyncio.Event()

    async def use() -> None:
        await _give_back(pool)
        entered.set()
        await leave.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(use(),))
    thread.start()
    entered.wait()
    with pytest.raises(exceptions.InterfaceError, match="another event loop"):
        other.run_until_complete(_acquire(pool))
    with pytest.raises((exceptions.InterfaceError, RuntimeError)):
        pool.acquire().send(None)
    loop.call_soon_threadsafe(leave.set)
    thread.join()
    loop.run_until_complete(pool.close())
    loop.close()
    other.close()


@pytest.mark.parametrize("closed", [True, False], ids=["pool closed", "pool dropped"])
def test_loop_that_is_closed_is_not_kept(dsn: str, closed: bool) -> None:
    loop = asyncio.new_event_loop()
    pool: holisticpool.Pool | None = loop.run_until_complete(opened(dsn, size=1))
    assert pool is not None
    loop.run_until_complete(_give_back(pool))
    if closed:
        loop.run_until_complete(pool.close())
        with pytest.raises(exceptions.InterfaceError):
            loop.run_until_complete(_acquire(pool))
    else:
        pool._abandon()
    pool = None
    loop.close()
    alive = weakref.ref(loop)
    del loop
    gc.collect()
    assert alive() is None


def test_pool_used_from_a_loop_in_another_thread_is_refused(dsn: str) -> None:
    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(opened(dsn))
    outcomes: list[BaseException | None] = []

    def run() -> None:
        try:
            asyncio.run(_await(pool.fetchval("SELECT 1")))
            outcomes.append(None)
        except BaseException as error:
            outcomes.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert isinstance(outcomes[0], exceptions.InterfaceError)
    assert loop.run_until_complete(_await(pool.fetchval("SELECT 3"))) == 3
    loop.run_until_complete(pool.close())
    loop.close()


def test_pool_awaited_without_a_loop_is_refused(dsn: str) -> None:
    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(opened(dsn))
    with pytest.raises((exceptions.InterfaceError, RuntimeError)):
        pool.fetchval("SELECT 1").send(None)
    loop.run_until_complete(pool.close())
    loop.close()


@pytest.mark.parametrize("left", ["idle", "lease", "busy", "waiter", "timeout"])
def test_pool_of_a_loop_that_is_gone_is_dropped_without_noise(
    server: PostgresServer, left: str, recwarn: pytest.WarningsRecorder
) -> None:
    application = unique_name("gone_loop")
    dsn = server.dsn(application_name=application)
    kept: list[Any] = []

    async def leave() -> None:
        pool = await opened(dsn, size=1)
        kept.append(pool)
        if left in ("lease", "waiter"):
            kept.append(await pool.acquire())
            await kept[-1].execute("BEGIN")
        if left in ("busy", "waiter"):
            asyncio.ensure_future(pool.fetchval("SELECT pg_sleep(600)"))
            await asyncio.sleep(0)
        if left == "timeout":
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await pool.fetchval("SELECT pg_sleep(600)", timeout=0.01)  # its cancel is still under way

    asyncio.run(leave())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept[0]._abandon()
        kept.clear()
        gc.collect()
    asyncio.run(_gone(Observer(server), application))


def test_pool_of_a_loop_that_is_gone_can_be_forgotten(server: PostgresServer) -> None:
    application = unique_name("forgotten")

    async def leave() -> None:
        pool = await opened(server.dsn(application_name=application))
        assert await pool.fetchval("SELECT 1") == 1

    asyncio.run(leave())
    gc.collect()
    asyncio.run(_gone(Observer(server), application))


def test_db_pool_in_many_loops_one_after_another(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    application = unique_name("many_loops")
    monkeypatch.setenv("DATABASE_URL", server.dsn(application_name=application))

    async def ask(i: int) -> None:
        rows = await asyncio.gather(
            *(holisticpool.db_pool.execute_one("SELECT $1::int AS n", i + n) for n in range(10))
        )
        assert [row["n"] for row in rows if row is not None] == list(range(i, i + 10))

    for i in range(5):
        asyncio.run(ask(i))

    async def end() -> None:
        await ask(100)
        # At most the sessions of the pool that is open: those of the dead loops are gone.
        await Observer(server).until(
            f"(SELECT count(*) FROM pg_stat_activity WHERE application_name = '{application}') <= 8"
        )
        await holisticpool.db_pool.close()

    asyncio.run(end())


async def _await(awaitable: Any) -> Any:
    return await awaitable


async def _acquire(pool: holisticpool.Pool) -> holisticpool.Connection:
    return await pool.acquire()


async def _give_back(pool: holisticpool.Pool) -> None:
    await pool.release(await pool.acquire())


async def _gone(observer: Observer, application: str) -> None:
    await observer.until(
        f"NOT EXISTS (SELECT FROM pg_stat_activity WHERE state <> 'active' AND application_name = '{application}')"
    )
    await observer.ask(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{application}'"
    )
