"""Many tasks on few connections: the bound holds, answers reach those who asked, and everybody's turn comes."""

from __future__ import annotations

import asyncio
import random

import pytest
from observing import Observer, limited_role, settled
from servers import PostgresServer

import holisticpool


@pytest.mark.parametrize("way", ["statements", "leases", "mixed"])
async def test_thousand_tasks_on_eight_connections_never_exceed_eight_sessions(
    server: PostgresServer, observer: Observer, way: str
) -> None:
    with limited_role(server, 8) as role:
        dsn = server.dsn(user=role, password="limited")
        async with holisticpool.create_pool(dsn, min_size=2, max_size=8, max_queries=100) as pool:

            async def ask(i: int) -> int:
                if way == "statements" or (way == "mixed" and i % 2):
                    return int(await pool.fetchval("SELECT $1::int * 3", i))
                async with pool.acquire() as connection:
                    return int(await connection.fetchval("SELECT $1::int * 3", i))

            async with observer.sampling(role) as most:
                for _ in range(3):
                    answers = await asyncio.gather(*(ask(i) for i in range(1000)))
                    assert answers == [3 * i for i in range(1000)]
            stats = await settled(pool)
        assert 1 <= most[0] <= 8
        assert stats["connection_errors"] == 0  # the server never had to refuse a ninth
        # where a busy machine keeps the first of a line from being answered, those behind it are sent elsewhere
        assert stats["acquisitions"] - stats["resent"] == 3000


async def test_connections_are_given_in_the_order_of_the_requests(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2) as pool:
        held = [await pool.acquire(), await pool.acquire()]
        served: list[int] = []

        async def use(i: int) -> None:
            async with pool.acquire() as connection:
                served.append(i)
                await connection.fetchval("SELECT 1")

        tasks = [asyncio.create_task(use(i)) for i in range(200)]
        await asyncio.sleep(0)  # all have asked
        assert pool._stats()["waiters"] == 200
        for connection in held:
            await pool.release(connection)
        await asyncio.gather(*tasks)
        assert served == list(range(200))


async def test_statements_and_leases_wait_in_one_line(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        await pool.execute("CREATE SEQUENCE IF NOT EXISTS one_line")
        async with pool.acquire() as held:
            await held.fetchval("SELECT setval('one_line', 1, false)")

            async def take(i: int) -> int:
                if i % 3 == 0:
                    async with pool.acquire() as connection:
                        return int(await connection.fetchval("SELECT nextval('one_line')"))
                return int(await pool.fetchval("SELECT nextval('one_line')"))

            tasks = [asyncio.create_task(take(i)) for i in range(100)]
            await asyncio.sleep(0)  # all have asked
        assert await asyncio.gather(*tasks) == list(range(1, 101))
        await pool.execute("DROP SEQUENCE one_line")


async def test_waiters_that_leave_do_not_disturb_the_order(dsn: str) -> None:
    chance = random.Random(5)
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2) as pool:
        held = [await pool.acquire(), await pool.acquire()]
        served: list[int] = []

        async def use(i: int) -> None:
            async with pool.acquire() as connection:
                served.append(i)
                await connection.fetchval("SELECT 1")

        tasks = [asyncio.create_task(use(i)) for i in range(200)]
        await asyncio.sleep(0)  # all have asked
        leaving = set(chance.sample(range(200), 80))
        for i in leaving:
            tasks[i].cancel()
        for connection in held:
            await pool.release(connection)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert served == [i for i in range(200) if i not in leaving]
        await settled(pool)


async def test_nobody_starves_beside_greedy_tasks(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=4, max_size=4) as pool:
        turns = 0
        over = asyncio.Event()

        async def greedy() -> None:
            nonlocal turns
            while not over.is_set():
                async with pool.acquire() as connection:
                    turns += 1
                    await connection.fetchval("SELECT 1")

        tasks = [asyncio.create_task(greedy()) for _ in range(50)]
        for _ in range(40):
            # Those in front of us are those who wait at this moment, and each has one turn.
            ahead = pool._stats()["waiters"]
            before = turns
            async with pool.acquire() as connection:
                assert turns - before <= ahead + pool.get_max_size()
                await connection.fetchval("SELECT 1")
        over.set()
        await asyncio.gather(*tasks)
        await settled(pool)


async def test_many_statements_of_many_texts_get_their_own_answers(dsn: str) -> None:
    chance = random.Random(7)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=4, statement_cache_size=5) as pool:

        async def ask(i: int) -> None:
            kind = chance.randrange(40)
            assert await pool.fetchval(f"SELECT {kind} * 1000000 + $1::int", i) == kind * 1000000 + i

        for _ in range(5):
            await asyncio.gather(*(ask(i) for i in range(200)))
        await settled(pool)


async def test_evicted_statements_come_back_inside_a_transaction(dsn: str) -> None:
    chance = random.Random(11)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, statement_cache_size=3) as pool:
        async with pool.acquire() as connection:
            for _ in range(30):
                async with connection.transaction():
                    for i in range(20):
                        kind = chance.randrange(8)
                        assert await connection.fetchval(f"SELECT {kind} + $1::int", i) == kind + i
                for i in range(5):
                    kind = chance.randrange(8)
                    assert await connection.fetchval(f"SELECT {kind} + $1::int", i) == kind + i
            prepared = await connection.fetchval("SELECT count(*) FROM pg_prepared_statements")
            assert prepared < 8
