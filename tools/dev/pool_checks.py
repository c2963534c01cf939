"""What must hold of the pool itself, checked against a real server: pool_checks.py DSN

Prints one JSON object: for each check its measurements, or {"error": ...}. Run by demo.py in a process of its own,
so that even a pool that hangs gives an answer. Only the public interface is used.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import holisticpool

NAME = "holisticpool-checks"
_SETTLE_TIMEOUT = 10.0  # s, for what happens in the background

Measured = dict[str, Any]


def make_pool(dsn: str, **options: Any) -> Any:
    return holisticpool.create_pool(dsn, server_settings={"application_name": NAME}, **options)


async def acquire_idle(dsn: str) -> Measured:
    """How long a lease takes while a connection is idle, and whether the server notices anything of it."""
    async with make_pool(dsn, min_size=2, max_size=8) as pool:
        watcher = await holisticpool.connect(dsn)
        try:
            # state_change is when the server last began or ended a statement of a session: a round trip moves it.
            last_heard = "SELECT max(state_change)::text FROM pg_stat_activity WHERE application_name = $1"
            before = await watcher.fetchval(last_heard, NAME)
            times = []
            for _ in range(2000):
                began = time.perf_counter()
                connection = await pool.acquire()
                times.append(time.perf_counter() - began)
                await pool.release(connection)
            after = await watcher.fetchval(last_heard, NAME)
        finally:
            await watcher.close()
    times.sort()
    return {"p50": times[1000], "p99": times[1980], "round_trip": before != after}


async def hanging_query(dsn: str) -> Measured:
    """A statement that would take a minute under a command_timeout of one second."""
    watcher = await holisticpool.connect(dsn)
    try:
        async with make_pool(dsn, min_size=1, max_size=1, command_timeout=1.0) as pool:
            began = time.perf_counter()
            try:
                await pool.fetchval("SELECT pg_sleep(60)")
                timed_out = False
            except asyncio.TimeoutError:
                timed_out = True
            seconds = time.perf_counter() - began
            running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND query ~ 'pg_sleep'"
            ended = await settles(watcher, running + " AND state = 'active'", 0)
            usable = await pool.fetchval("SELECT 41 + 1") == 42
    finally:
        await watcher.close()
    return {"timed_out": timed_out, "seconds": seconds, "ended_on_server": ended, "usable_after": usable}


async def settles(watcher: Any, count_query: str, wanted: int) -> bool:
    """Whether the count over sessions of ours reaches what is wanted."""
    deadline = time.monotonic() + _SETTLE_TIMEOUT
    while await watcher.fetchval(count_query, NAME) != wanted:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def replaced_after_queries(dsn: str) -> Measured:
    """Callers on connections that are replaced every 50 queries."""
    max_queries = 50
    pids = set()
    errors = 0
    async with make_pool(dsn, min_size=1, max_size=2, max_queries=max_queries) as pool:

        async def caller() -> None:
            nonlocal errors
            for _ in range(100):
                try:
                    pids.add(await pool.fetchval("SELECT pg_backend_pid()"))
                except Exception:
                    errors += 1

        await asyncio.gather(*(caller() for _ in range(4)))
    return {"queries": 400, "max_queries": max_queries, "connections": len(pids), "errors": errors}


async def replaced_after_idling(dsn: str) -> Measured:
    """A caller who goes on while three connections that a rush had opened idle for longer than they may."""
    errors = 0
    async with make_pool(dsn, min_size=1, max_size=4, max_inactive_connection_lifetime=1.0) as pool:
        await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.2)") for _ in range(4)))
        grown = pool.get_size()
        deadline = time.monotonic() + _SETTLE_TIMEOUT
        while pool.get_size() > 1 and time.monotonic() < deadline:
            try:
                await pool.fetchval("SELECT 1")
            except Exception:
                errors += 1
            await asyncio.sleep(0.05)
        return {"grown_to": grown, "shrunk_to": pool.get_size(), "errors": errors}


CHECKS: tuple[Callable[[str], Awaitable[Measured]], ...] = (
    acquire_idle,
    hanging_query,
    replaced_after_queries,
    replaced_after_idling,
)


async def main(dsn: str) -> dict[str, Measured]:
    measured: dict[str, Measured] = {}
    for check in CHECKS:
        try:
            measured[check.__name__] = await asyncio.wait_for(check(dsn), 30)
        except Exception as error:
            measured[check.__name__] = {"error": f"{type(error).__name__}: {error}"}
    return measured


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))
