"""Connections are replaced after so many statements, so much idleness, so much life: no caller notices, and the server
never sees one session more than max_size."""

from __future__ import annotations

import asyncio

from observing import Observer, limited_role, settled, unique_name, until, usable
from servers import PostgresServer

import holisticpool


async def test_replacement_after_max_queries_under_load_is_unnoticed_and_never_exceeds_max_size(
    server: PostgresServer, observer: Observer
) -> None:
    with limited_role(server, 3) as role:
        dsn = server.dsn(user=role, password="limited")
        async with holisticpool.create_pool(dsn, min_size=3, max_size=3, max_queries=10) as pool:

            async def work(i: int) -> None:
                assert await pool.fetchval("SELECT $1::int", i) == i
                async with pool.acquire() as connection, connection.transaction():
                    assert await connection.fetchval("SELECT $1::int", -i) == -i

            async with observer.sampling(role) as most:
                for _ in range(5):
                    await asyncio.gather(*(work(i) for i in range(100)))
            stats = await settled(pool)
        assert 1 <= most[0] <= 3
        assert stats["connection_errors"] == 0  # a fourth session would have been refused
        assert stats["recycled"]["max_queries"] >= 50
        assert stats["recycled"]["broken"] == 0


async def test_connection_is_replaced_after_exactly_max_queries(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, max_queries=5) as pool:
        pids = [await pool.fetchval("SELECT pg_backend_pid()") for _ in range(15)]
        assert [len(set(pids[i : i + 5])) for i in (0, 5, 10)] == [1, 1, 1]
        assert len(set(pids)) == 3


async def test_lease_is_not_taken_away_for_its_number_of_queries(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, max_queries=3) as pool:
        async with pool.acquire() as connection:
            pids = {await connection.fetchval("SELECT pg_backend_pid()") for _ in range(20)}
            assert len(pids) == 1
        assert await pool.fetchval("SELECT pg_backend_pid()") not in pids


async def test_zero_means_no_limit(dsn: str) -> None:
    async with holisticpool.create_pool(
        dsn, min_size=1, max_size=1, max_inactive_connection_lifetime=0, max_lifetime=0
    ) as pool:
        pids = {await pool.fetchval("SELECT pg_backend_pid()") for _ in range(50)}
        assert len(pids) == 1
        assert set((await settled(pool))["recycled"].values()) == {0}


async def test_idle_connections_above_min_size_are_closed_and_not_below(
    server: PostgresServer, observer: Observer
) -> None:
    application = unique_name("shrinking")
    async with holisticpool.create_pool(
        server.dsn(application_name=application), min_size=2, max_size=6, max_inactive_connection_lifetime=0.1
    ) as pool:
        for _ in range(2):
            await usable(pool)  # all six are open now
            await until(lambda: pool.get_size() == 2, "four of them are closed")
            await observer.until(
                f"(SELECT count(*) FROM pg_stat_activity WHERE application_name = '{application}') = 2"
            )
        stats = await settled(pool)
        assert stats["recycled"]["idle"] == 8
        assert stats["recycled"]["broken"] == 0


async def test_connection_in_use_does_not_count_as_idle(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=0, max_size=1, max_inactive_connection_lifetime=0.05) as pool:
        async with pool.acquire() as connection:
            pid = connection.get_server_pid()
            await connection.fetchval("SELECT 1 FROM pg_sleep(0.2)")
            assert await connection.fetchval("SELECT pg_backend_pid()") == pid
        await until(lambda: pool.get_size() == 0, "unused now, it is closed")
        assert await pool.fetchval("SELECT 1") == 1


async def test_connections_are_replaced_at_the_end_of_their_life_without_exceeding_max_size(
    server: PostgresServer, observer: Observer
) -> None:
    with limited_role(server, 3) as role:
        dsn = server.dsn(user=role, password="limited")
        async with holisticpool.create_pool(dsn, min_size=3, max_size=3, max_lifetime=0.15) as pool:
            async with observer.sampling(role) as most:
                # idle ones first, then under load
                await until(lambda: pool._stats()["recycled"]["lifetime"] >= 6, "all were replaced twice")
                i = 0
                while pool._stats()["recycled"]["lifetime"] < 15:
                    answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", i + n) for n in range(20)))
                    assert answers == list(range(i, i + 20))
                    i += 20
            stats = await settled(pool)
        assert 1 <= most[0] <= 3
        assert stats["connection_errors"] == 0
        assert stats["recycled"]["broken"] == 0


async def test_lives_do_not_all_end_at_once(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=8, max_size=8, max_lifetime=2) as pool:
        seen = set()

        def sample() -> bool:
            seen.add(pool._stats()["recycled"]["lifetime"])
            return bool(pool._stats()["recycled"]["lifetime"] >= 8)

        await until(sample, "all were replaced once")
        assert len(seen - {0}) > 1


async def test_waiter_is_served_while_its_connection_is_being_replaced(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, max_queries=1) as pool:
        answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(30)))
        assert answers == list(range(30))
        assert (await settled(pool))["recycled"]["max_queries"] >= 29
