"""db_pool in one event loop after another, and in a forked child."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Iterator

import pytest
from servers import PostgresServer

from holisticpool import db_pool, exceptions


@pytest.fixture(autouse=True)
def url(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    value = server.dsn()
    monkeypatch.setenv("DATABASE_URL", value)
    yield value
    asyncio.run(db_pool.close())


async def ask() -> int:
    row = await db_pool.execute_one("SELECT 40 + 2 AS n")
    assert row is not None
    return int(row["n"])


def test_each_run_of_asyncio_gets_a_working_pool(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert asyncio.run(ask()) == 42
    assert [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")] == []


def test_lease_left_in_a_loop_that_is_gone_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    left = []

    async def lease() -> None:
        left.append(await db_pool.get_connection())
        await left[0].execute("BEGIN")

    asyncio.run(lease())
    assert asyncio.run(ask()) == 42
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        left.clear()
    assert [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")] == []


def test_opening_left_in_a_loop_that_is_gone_does_no_harm() -> None:
    async def start() -> None:
        opening = asyncio.create_task(db_pool.initialize())
        await asyncio.sleep(0)  # it has started
        del opening

    asyncio.run(start())
    assert asyncio.run(ask()) == 42


def test_loop_that_is_not_closed_but_left_is_replaced_too() -> None:
    left = asyncio.new_event_loop()
    try:
        assert left.run_until_complete(ask()) == 42
        assert asyncio.run(ask()) == 42
        assert left.run_until_complete(ask()) == 42
    finally:
        asyncio.run(db_pool.close())
        left.close()


def test_pool_stays_between_two_runs_of_one_loop(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", server.dsn(application_name="one_loop"))
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(ask())
        before = server.backend_pids("one_loop")
        loop.run_until_complete(ask())
        assert server.backend_pids("one_loop") == before
        loop.run_until_complete(db_pool.close())
    finally:
        loop.close()


def test_status_in_a_new_loop_is_not_initialized() -> None:
    asyncio.run(ask())
    assert asyncio.run(db_pool.get_pool_status()) == {"status": "not_initialized"}


def test_second_loop_that_runs_at_the_same_time_is_refused() -> None:
    opened, done = threading.Event(), threading.Event()

    async def hold() -> None:
        await ask()
        opened.set()
        await asyncio.to_thread(done.wait)
        await db_pool.close()

    thread = threading.Thread(target=asyncio.run, args=(hold(),))
    thread.start()
    try:
        assert opened.wait(30)
        with pytest.raises(exceptions.InterfaceError, match="another running event loop"):
            asyncio.run(ask())
    finally:
        done.set()
        thread.join()


def test_forked_child_opens_its_own_pool(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", server.dsn(application_name="forking"))
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(ask())
        before = server.backend_pids("forking")
        child = os.fork()
        if child == 0:
            try:
                answer = asyncio.run(_ask_pids())
                os._exit(0 if answer and not answer & set(before) else 3)
            except BaseException:
                os._exit(4)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        # The parent's sessions lived through it, on the same sockets.
        assert loop.run_until_complete(ask()) == 42
        assert set(before) <= set(server.backend_pids("forking"))
        loop.run_until_complete(db_pool.close())
    finally:
        loop.close()


async def _ask_pids() -> set[int]:
    async with db_pool.get_connection() as conn:
        first = conn.get_server_pid()
        async with db_pool.get_connection() as second:
            return {first, second.get_server_pid()}
