"""Statements that take too long: the caller is told in time, the server stops, the connection is usable or replaced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from observing import Observer, settled, unique_name
from servers import PostgresServer

import holisticpool
from bench.proxy import DelayProxy
from holisticpool import exceptions


async def test_timeout_cancels_on_the_server_and_keeps_the_connection(dsn: str, observer: Observer) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(TimeoutError) as caught:
            await pool.fetchval("SELECT pg_sleep(600), 'kept by timeout'", timeout=0.05)
        assert isinstance(caught.value, asyncio.TimeoutError)
        assert isinstance(caught.value, exceptions.QueryTimeoutError)
        await observer.until_not_running("kept by timeout")
        assert await pool.fetchrow("SELECT pg_backend_pid(), 17") == (pid, 17)
        assert pool._stats()["query_timeouts"] == 1


async def test_command_timeout_holds_for_every_way_to_run_a_statement(dsn: str, observer: Observer) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, command_timeout=0.05) as pool:
        async with pool.acquire() as connection:
            await connection.execute("CREATE TEMP TABLE slow (pause float)")
        for run in (
            lambda: pool.fetch("SELECT pg_sleep(600), 'command timeout'"),
            lambda: pool.fetchrow("SELECT pg_sleep($1), 'command timeout'", 600.0),
            lambda: pool.fetchval("SELECT pg_sleep(600), 'command timeout'"),
            lambda: pool.execute("SELECT 1; SELECT pg_sleep(600), 'command timeout'"),
            lambda: pool.execute("SELECT pg_sleep($1), 'command timeout'", 600.0),
            lambda: pool.executemany("SELECT pg_sleep($1), 'command timeout'", [(0.0,), (600.0,), (0.0,)]),
        ):
            with pytest.raises(asyncio.TimeoutError):
                await run()
            await observer.until_not_running("command timeout")
            assert await pool.fetchval("SELECT 1") == 1
        await settled(pool)


async def test_timeout_of_the_call_wins_over_command_timeout(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, command_timeout=0.02) as pool:
        assert await pool.fetchval("SELECT 1 FROM pg_sleep(0.06)", timeout=30) == 1
        with pytest.raises(asyncio.TimeoutError):
            await pool.fetchval("SELECT pg_sleep(600)")


async def test_timeout_of_the_call_counts_the_waiting_too(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire():
            with pytest.raises(exceptions.PoolExhaustedError):
                await pool.fetchval("SELECT 1", timeout=0.02)
        await settled(pool)


async def test_lease_goes_on_after_a_timeout(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        pid = connection.get_server_pid()
        for i in range(20):
            with pytest.raises(asyncio.TimeoutError):
                await connection.fetchval("SELECT pg_sleep(600)", timeout=0.01)
            # The very next statement, while the cancel is still under way.
            assert await connection.fetchrow("SELECT pg_backend_pid(), $1::int", i) == (pid, i)


async def test_timeout_in_a_transaction_fails_that_transaction_and_no_more(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        with pytest.raises(asyncio.TimeoutError):
            async with connection.transaction():
                await connection.execute("CREATE TEMP TABLE gone (i int)")
                await connection.fetchval("SELECT pg_sleep(600)", timeout=0.01)
        assert not connection.is_in_transaction()
        with pytest.raises(exceptions.UndefinedTableError):
            await connection.fetch("SELECT * FROM gone")


async def test_zero_timeout_is_a_timeout_and_sends_nothing(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        await pool.execute("CREATE SEQUENCE never_sent")
        with pytest.raises(asyncio.TimeoutError):
            await pool.fetchval("SELECT nextval('never_sent')", timeout=0)
        assert await pool.fetchval("SELECT is_called FROM never_sent") is False
        await pool.execute("DROP SEQUENCE never_sent")


async def test_statement_that_ignores_the_cancel_costs_the_connection_not_the_caller(
    server: PostgresServer, observer: Observer
) -> None:
    application = unique_name("deaf")
    async with holisticpool.create_pool(server.dsn(application_name=application), min_size=1, max_size=1) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        task = asyncio.create_task(pool.fetchval("SELECT pg_sleep(600), 'deaf'", timeout=0.5))
        await observer.until_running("deaf")
        with server.freeze_backends(application):  # SIGSTOP: it can do nothing about any cancel
            with pytest.raises(asyncio.TimeoutError):
                await task
            # Not before the bound for cancels, but without any help from outside.
            assert await pool.fetchval("SELECT pg_backend_pid()", timeout=60) != pid
        stats = await settled(pool)
        assert stats["recycled"]["broken"] == 1
        await observer.until_not_running("deaf")


async def test_timeouts_in_a_black_hole_cost_the_connection_not_the_caller(proxy: DelayProxy, proxy_dsn: str) -> None:
    async with holisticpool.create_pool(proxy_dsn, min_size=2, max_size=2, timeout=1) as pool:
        await pool.fetchval("SELECT 1")
        proxy.black_hole()
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await pool.fetchval("SELECT 1", timeout=0.1)
        proxy.forward()
        assert await pool.fetchval("SELECT 2", timeout=60) == 2
        await settled(pool)


@pytest.mark.parametrize("bad", ["soon", True, float("nan")])
async def test_timeout_that_is_none_is_refused_before_anything_is_sent(dsn: str, bad: Any) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        with pytest.raises(ValueError, match="timeout"):
            await pool.fetchval("SELECT 1", timeout=bad)
        assert await pool.fetchval("SELECT 1") == 1
