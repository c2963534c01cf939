"""Connections that end from the other side, idle, leased or at work: one error for the one it concerns, if any."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from observing import Observer, settled, unique_name, until, usable
from servers import PostgresServer

import holisticpool
from bench.proxy import DelayProxy
from holisticpool import exceptions


async def test_terminated_idle_connections_are_replaced_unnoticed(server: PostgresServer, observer: Observer) -> None:
    application = unique_name("idle_end")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=3, max_size=3) as pool:
        for _ in range(3):
            connects = pool._stats()["connects"]
            assert await asyncio.to_thread(server.kill_backends, application) == 3
            await until(lambda connects=connects: pool._stats()["connects"] >= connects + 3, "new ones")  # type: ignore[misc]
            await usable(pool)
        assert pool._stats()["recycled"]["broken"] == 9


async def test_terminated_busy_connection_tells_its_caller_why(server: PostgresServer, observer: Observer) -> None:
    application = unique_name("busy_end")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=2, max_size=2) as pool:
        for run in (pool.fetch, pool.fetchval, pool.execute):
            task: asyncio.Task[Any] = asyncio.ensure_future(run(f"SELECT pg_sleep(600), '{application}'"))
            await observer.until_running(f"'{application}'".replace("'", "''"))
            await asyncio.to_thread(server.kill_backends, application)
            with pytest.raises(exceptions.AdminShutdownError):
                await task
            await usable(pool)


async def test_terminated_lease_is_closed_and_its_slot_comes_back(server: PostgresServer, observer: Observer) -> None:
    application = unique_name("lease_end")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            await connection.execute("BEGIN")
            await asyncio.to_thread(server.kill_backends, application)
            with pytest.raises((exceptions.InterfaceError, exceptions.PostgresError)):
                await connection.fetchval("SELECT 1")
            assert connection.is_closed()
        await usable(pool)
        with pytest.raises((exceptions.InterfaceError, exceptions.PostgresError)):
            async with pool.acquire() as connection, connection.transaction():
                await asyncio.to_thread(server.kill_backends, application)
                await connection.fetchval("SELECT 1")
        await usable(pool)
        await settled(pool)


async def test_lease_terminated_in_executemany_comes_back(server: PostgresServer, observer: Observer) -> None:
    application = unique_name("batch_end")
    text = f"SELECT pg_sleep($1), '{application}'"
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=1, max_size=1) as pool:
        task = asyncio.create_task(pool.executemany(text, [(0.0,), (600.0,), (0.0,)]))
        await observer.until_running(f"'{application}'".replace("'", "''"))
        await asyncio.to_thread(server.kill_backends, application)
        with pytest.raises(exceptions.AdminShutdownError):
            await task
        await usable(pool)


async def test_connection_terminated_by_its_own_statement(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=2) as pool:
        for _ in range(5):
            with pytest.raises((exceptions.PostgresError, exceptions.ConnectionDoesNotExistError)):
                await pool.fetchval("SELECT pg_terminate_backend(pg_backend_pid()) FROM pg_sleep(0)")
            assert await pool.fetchval("SELECT 3") == 3
        await settled(pool)
        await usable(pool)


@pytest.mark.parametrize("how", ["close_connections", "reset_connections"])
async def test_network_that_ends_connections_costs_those_under_way_only(
    proxy: DelayProxy, proxy_dsn: str, how: str
) -> None:
    async with holisticpool.create_pool(proxy_dsn, min_size=3, max_size=3) as pool:
        busy = asyncio.create_task(pool.fetchval("SELECT pg_sleep(600)"))
        leased = await pool.acquire()
        await until(lambda: pool._stats()["busy"] == 1, "the statement is sent")
        await asyncio.to_thread(getattr(proxy, how))
        with pytest.raises(exceptions.ConnectionDoesNotExistError):
            await busy
        await until(leased.is_closed, "the lease is found to be lost")
        await pool.release(leased)
        await usable(pool)
        assert (await settled(pool))["recycled"]["broken"] == 3


async def test_storm_of_terminations_under_load_loses_no_slot_and_gives_no_wrong_answer(
    server: PostgresServer, observer: Observer
) -> None:
    application = unique_name("storm")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=2, max_size=6) as pool:
        over = asyncio.Event()
        answers = failures = 0

        async def work(i: int) -> None:
            nonlocal answers, failures
            while not over.is_set():
                try:
                    if i % 2:
                        assert await pool.fetchval("SELECT $1::int * 7 FROM pg_sleep(0.003)", i) == i * 7
                    else:
                        async with pool.acquire() as connection, connection.transaction():
                            assert await connection.fetchval("SELECT $1::int * 5 FROM pg_sleep(0.002)", i) == i * 5
                    answers += 1
                except (exceptions.PostgresError, exceptions.InterfaceError):
                    failures += 1
                except exceptions.ConnectionDoesNotExistError:
                    failures += 1

        workers = [asyncio.create_task(work(i)) for i in range(12)]
        for _ in range(5):
            await asyncio.to_thread(server.kill_backends, application)
        over.set()
        await asyncio.gather(*workers)
        assert answers > failures > 0
        await settled(pool)
        await usable(pool)


async def test_connect_is_told_when_its_session_ends(server: PostgresServer, observer: Observer) -> None:
    application = unique_name("single_end")
    connection = await holisticpool.connect(server.dsn(application_name=application))
    task = asyncio.create_task(connection.fetchval(f"SELECT pg_sleep(600), '{application}'"))
    await observer.until_running(f"'{application}'".replace("'", "''"))
    await asyncio.to_thread(server.kill_backends, application)
    with pytest.raises(exceptions.AdminShutdownError):
        await task
    assert connection.is_closed()
    await connection.close()
