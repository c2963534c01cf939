"""A server that is there but refuses: no connection to spare, credentials that are wrong now, a database that went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from observing import Observer, limited_role, settled, unique_name, until, usable
from servers import PostgresServer

import holisticpool
from holisticpool import exceptions


async def test_callers_are_served_by_the_connections_there_are_when_no_more_are_to_be_had(
    own_server: Callable[..., PostgresServer],
) -> None:
    server = own_server(max_connections=6)  # three of them for superusers
    await Observer(server).ask("CREATE ROLE app LOGIN PASSWORD 'app'")
    dsn = server.dsn(user="app", password="app")
    async with holisticpool.create_pool(dsn, min_size=2, max_size=8) as pool:
        for _ in range(3):
            answers = await asyncio.gather(
                *(pool.fetchval("SELECT $1::int FROM pg_sleep(0.002)", i) for i in range(100))
            )
            assert answers == list(range(100))
        stats = await settled(pool)
        assert 2 <= stats["size"] <= 3
        assert stats["connection_errors"] > 0 and "too many" in stats["last_error"] or "reserved" in stats["last_error"]
        assert stats["acquire_timeouts"] == 0 and stats["recycled"]["broken"] == 0


async def test_pool_grows_when_the_server_has_room_again(server: PostgresServer, observer: Observer) -> None:
    with limited_role(server, 2) as role:
        dsn = server.dsn(user=role, password="limited")
        async with holisticpool.create_pool(dsn, min_size=2, max_size=4) as pool:
            first, second = await pool.acquire(), await pool.acquire()
            waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
            await until(lambda: pool._stats()["connection_errors"] > 0, "the server has refused a third")
            await observer.ask(f"ALTER ROLE {role} CONNECTION LIMIT 4")
            for connection in (first, second, *await asyncio.gather(*waiting)):
                await pool.release(connection)
            await usable(pool)


async def test_first_connection_refused_for_want_of_room_is_the_servers_own_error(
    server: PostgresServer, observer: Observer
) -> None:
    with limited_role(server, 0) as role:
        dsn = server.dsn(user=role, password="limited")
        with pytest.raises(exceptions.TooManyConnectionsError) as caught:
            await holisticpool.create_pool(dsn, min_size=1, max_size=4)
        assert caught.value.sqlstate == "53300"
        await observer.ask(f"ALTER ROLE {role} CONNECTION LIMIT 1")
        # One of two is enough to begin with. Where both come at once both may be refused; one is tried alone then.
        async with holisticpool.create_pool(dsn, min_size=2, max_size=4) as pool:
            assert await pool.fetchval("SELECT 1") == 1
            assert not pool._stats()["last_connect_ok"] or pool._stats()["connection_errors"] > 0


async def test_one_connection_is_tried_alone_where_all_that_came_at_once_are_refused(server: PostgresServer) -> None:
    with limited_role(server, 0) as role:
        pool = holisticpool.create_pool(server.dsn(user=role, password="limited"), min_size=3, max_size=4)
        with pytest.raises(exceptions.TooManyConnectionsError):
            await pool
        assert pool._stats()["connection_errors"] == 3 + 1


async def test_password_that_is_wrong_from_the_start(server: PostgresServer) -> None:
    for password in ("wrong", "s3cret"):
        with pytest.raises(exceptions.InvalidPasswordError) as caught:
            await holisticpool.create_pool(server.dsn(password=password), min_size=2, max_size=2)
        assert caught.value.sqlstate == "28P01"
        assert password not in str(caught.value)


async def test_password_that_is_wrong_later_fails_those_who_wait_at_once(
    server: PostgresServer, observer: Observer
) -> None:
    with limited_role(server, 10) as role:
        dsn = server.dsn(user=role, password="limited")
        async with holisticpool.create_pool(dsn, min_size=0, max_size=2, acquire_timeout=None) as pool:
            assert await pool.fetchval("SELECT 1") == 1
            await observer.ask(f"ALTER ROLE {role} PASSWORD 'changed'")
            await observer.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
            await until(lambda: pool.get_size() == 0, "the connection is lost")
            waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(3)]
            # No time limit: they end because waiting would not help.
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, exceptions.ServerUnavailableError)
                assert isinstance(outcome.last_error, exceptions.InvalidPasswordError)
            await observer.ask(f"ALTER ROLE {role} PASSWORD 'limited'")

            async def works() -> bool:
                try:
                    return bool(await pool.fetchval("SELECT 1") == 1)
                except exceptions.ServerUnavailableError:
                    return False

            await until(works, "the old password is right again")


async def test_connections_that_are_open_go_on_when_the_password_changes(
    server: PostgresServer, observer: Observer
) -> None:
    with limited_role(server, 10) as role:
        dsn = server.dsn(user=role, password="limited")
        async with holisticpool.create_pool(dsn, min_size=1, max_size=3) as pool:
            await observer.ask(f"ALTER ROLE {role} PASSWORD 'changed'")
            answers = await asyncio.gather(
                *(pool.fetchval("SELECT $1::int FROM pg_sleep(0.002)", i) for i in range(60))
            )
            assert answers == list(range(60))


async def test_database_that_does_not_exist_is_the_servers_own_error(server: PostgresServer) -> None:
    with pytest.raises(exceptions.InvalidCatalogNameError):
        await holisticpool.create_pool(server.dsn(dbname="nowhere"), min_size=1, max_size=1)


async def test_database_dropped_under_the_pool(server: PostgresServer, observer: Observer) -> None:
    name = unique_name("dropped")
    await observer.ask(f"CREATE DATABASE {name}")
    async with holisticpool.create_pool(server.dsn(dbname=name), min_size=1, max_size=2, acquire_timeout=10) as pool:
        assert await pool.fetchval("SELECT 1") == 1
        await observer.ask(f"DROP DATABASE {name} WITH (FORCE)")
        await until(lambda: pool.get_size() == 0, "the connection is lost")
        with pytest.raises(exceptions.ServerUnavailableError) as caught:
            await pool.fetchval("SELECT 1")
        assert isinstance(caught.value.last_error, exceptions.InvalidCatalogNameError)
        await observer.ask(f"CREATE DATABASE {name}")

        async def works() -> bool:
            try:
                return bool(await pool.fetchval("SELECT 1") == 1)
            except exceptions.ServerUnavailableError:
                return False

        await until(works, "the database is there again")
    await observer.ask(f"DROP DATABASE {name} WITH (FORCE)")
