"""Where asyncpg has a proxy around a leased connection: what programs see of it, and released leases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, exceptions
from holisticpool.pool import PoolConnectionHolder, PoolConnectionProxy


async def test_a_lease_is_a_proxy_and_a_connection_and_stays_one(pool: Pool, conn: Connection) -> None:
    lease = await pool.acquire()
    for _ in range(2):
        assert isinstance(lease, PoolConnectionProxy)
        assert isinstance(lease, Connection)
        await pool.release(lease)
    assert not isinstance(conn, PoolConnectionProxy)
    assert not isinstance("conn", PoolConnectionProxy)


async def test_lease_of_a_pool_with_hooks_is_a_proxy(dsn: str) -> None:
    async def setup(conn: Connection) -> None:
        pass

    async with holisticpool.create_pool(dsn, min_size=1, setup=setup) as pool, pool.acquire() as lease:
        assert isinstance(lease, PoolConnectionProxy)


async def test_connection_behind_the_proxy_is_gone_with_the_lease(pool: Pool, conn: Connection) -> None:
    lease = await pool.acquire()
    assert lease._con is lease
    assert isinstance(lease._holder, PoolConnectionHolder)
    assert lease._holder._pool is pool and lease._holder._con is lease
    assert lease._loop is asyncio.get_running_loop()
    await pool.release(lease)
    assert lease._con is None
    assert conn._con is conn


async def test_outermost_transaction_is_to_be_seen(conn: Connection) -> None:
    assert conn._top_xact is None
    outer = conn.transaction()
    async with outer, conn.transaction():
        assert conn._top_xact is outer
    assert conn._top_xact is None


CALLS: dict[str, Any] = {
    "fetch": lambda conn: conn.fetch("SELECT 1"),
    "fetchrow": lambda conn: conn.fetchrow("SELECT 1"),
    "fetchval": lambda conn: conn.fetchval("SELECT 1"),
    "execute": lambda conn: conn.execute("SELECT 1"),
    "executemany": lambda conn: conn.executemany("SELECT $1::int", [(1,)]),
    "fetchmany": lambda conn: conn.fetchmany("SELECT $1::int", [(1,)]),
    "prepare": lambda conn: conn.prepare("SELECT 1"),
    "transaction": lambda conn: conn.transaction(),
    "is_closed": lambda conn: conn.is_closed(),
    "is_in_transaction": lambda conn: conn.is_in_transaction(),
    "get_server_pid": lambda conn: conn.get_server_pid(),
    "get_server_version": lambda conn: conn.get_server_version(),
    "get_settings": lambda conn: conn.get_settings(),
    "reset": lambda conn: conn.reset(),
    "add_listener": lambda conn: conn.add_listener("c", lambda *_: None),
    "set_type_codec": lambda conn: conn.set_type_codec("int4", schema="pg_catalog", encoder=str, decoder=str),
    "reload_schema_state": lambda conn: conn.reload_schema_state(),
}


@pytest.mark.parametrize("method", sorted(CALLS))
async def test_released_lease_refuses_as_asyncpgs_does(pool: Pool, dsn: str, method: str) -> None:
    asyncpg = pytest.importorskip("asyncpg")

    async def outcome(conn: Any) -> tuple[str, str]:
        try:
            result = CALLS[method](conn)
            if hasattr(result, "__await__"):
                await result
        except Exception as error:
            return type(error).__name__, str(error)
        return "none", ""

    lease = await pool.acquire()
    await pool.release(lease)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as theirs:
        proxy = await theirs.acquire()
        await theirs.release(proxy)
        assert await outcome(lease) == await outcome(proxy)


async def test_release_of_what_is_not_leased_is_refused_and_twice_is_nothing(
    pool: Pool, conn: Connection, dsn: str
) -> None:
    async with holisticpool.create_pool(dsn, min_size=1) as other, other.acquire() as foreign:
        for wrong in (conn, foreign, None, "conn"):
            with pytest.raises(exceptions.InterfaceError, match="is not a member of this pool"):
                await pool.release(wrong)
        assert await foreign.fetchval("SELECT 1") == 1
    lease = await pool.acquire()
    await pool.release(lease)
    await pool.release(lease)
