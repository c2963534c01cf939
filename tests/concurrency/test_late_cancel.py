"""A cancel that comes late never hits the next statement: timeouts as long as the statement takes, many times over."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from observing import Observer, settled, unique_name
from servers import PostgresServer
from startup_proxy import StartupProxy

import holisticpool

ROUNDS = 500


async def test_timeouts_around_the_duration_of_a_statement_on_one_lease(dsn: str) -> None:
    chance = random.Random(3)
    timeouts = 0
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            pid = connection.get_server_pid()
            for i in range(ROUNDS):
                try:
                    value = await connection.fetchval(
                        "SELECT $1::int FROM pg_sleep(0.002)", i, timeout=0.001 + chance.random() * 0.003
                    )
                    assert value == i
                except (TimeoutError, asyncio.TimeoutError):
                    timeouts += 1
                # A stray cancel would end this one with 57014.
                assert await connection.fetchval("SELECT $1::int FROM pg_sleep(0.0005)", -i) == -i
            assert connection.get_server_pid() == pid
        await settled(pool)
    assert 0 < timeouts < ROUNDS


async def test_timeouts_around_the_duration_of_statements_of_a_pool(dsn: str) -> None:
    chance = random.Random(4)
    async with holisticpool.create_pool(dsn, min_size=3, max_size=3) as pool:

        async def impatient(i: int) -> int:
            try:
                pause = 0.001 + chance.random() * 0.003
                assert await pool.fetchval("SELECT $1::int FROM pg_sleep(0.002)", i, timeout=pause) == i
            except (TimeoutError, asyncio.TimeoutError):
                return 1
            return 0

        async def patient(i: int) -> int:
            assert await pool.fetchval("SELECT $1::int FROM pg_sleep(0.0005)", -i) == -i
            return 0

        for start in range(0, ROUNDS, 10):
            work = [make(i) for i in range(start, start + 10) for make in (impatient, patient)]
            await asyncio.gather(*work)
        stats = await settled(pool)
        assert stats["query_timeouts"] > 0
        assert stats["recycled"]["broken"] == 0


async def test_cancellations_around_the_duration_of_a_statement(dsn: str) -> None:
    chance = random.Random(6)
    loop = asyncio.get_running_loop()
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2) as pool:
        for i in range(ROUNDS):
            task = asyncio.create_task(pool.fetchval("SELECT $1::int FROM pg_sleep(0.002)", i))
            loop.call_later(0.001 + chance.random() * 0.003, task.cancel)
            bystander = asyncio.create_task(pool.fetchval("SELECT $1::int FROM pg_sleep(0.001)", -i))
            with contextlib.suppress(asyncio.CancelledError):
                assert await task == i
            assert await bystander == -i
            assert await pool.fetchval("SELECT $1::text", str(i)) == str(i)
        stats = await settled(pool)
        assert stats["cancellations"] > 0
        assert stats["recycled"]["broken"] == 0


async def test_statement_that_the_cancel_came_too_late_for_keeps_its_effect_and_the_connection(dsn: str) -> None:
    chance = random.Random(8)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            await connection.execute("CREATE TEMP TABLE late (i int PRIMARY KEY)")
            done = set()
            for i in range(ROUNDS):
                async with connection.transaction():
                    pause = 0.0005 + chance.random() * 0.002
                    try:
                        async with connection.transaction():
                            text = "INSERT INTO late SELECT $1::int FROM pg_sleep(0.001)"
                            await connection.execute(text, i, timeout=pause)
                            done.add(i)
                    except (TimeoutError, asyncio.TimeoutError):
                        pass
            assert {row[0] for row in await connection.fetch("SELECT i FROM late")} == done
            assert 0 < len(done) < ROUNDS
        await settled(pool)


FIRST = "SELECT pg_sleep(600) /* cancelled twice */"


class SlowPooler(StartupProxy):
    """Says that a cancel request is done and hands it on only later, as poolers do: the first one when the second has
    come, the second while the server is at what the session sent after that."""

    def __init__(self, server: PostgresServer, observer: Observer, application_name: str) -> None:
        super().__init__(server)
        self.observer = observer
        self.application_name = application_name
        self.held: list[bytes] = []
        self.late = 0

    async def cancel(self, packet: bytes) -> None:
        self.held.append(packet)
        if len(self.held) == 2:
            await self.deliver(self.held[0])

    async def client_sent(self) -> None:
        if len(self.held) >= 2 and self.late == 0:
            self.late += 1
            await self.observer.until(
                "EXISTS (SELECT FROM pg_stat_activity"
                f" WHERE application_name = '{self.application_name}' AND query <> '{FIRST}')"
            )
            await self.deliver(self.held[1])


async def test_second_cancel_that_a_pooler_holds_back_does_not_hit_the_next_statement(
    server: PostgresServer, observer: Observer
) -> None:
    application = unique_name("held")
    async with SlowPooler(server, observer, application) as pooler:
        dsn = server.dsn(application_name=application, sslmode="disable", gssencmode="disable")
        dsn = dsn.replace(f":{server.port}/", f":{pooler.port}/")
        async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await connection.execute(FIRST, timeout=0.05)
            assert await connection.execute("SELECT pg_sleep(1) /* the next one */") == "SELECT 1"
        assert pooler.late == 1
