"""Looking at sessions from the server's side, past the code under test.

An Observer asks through psql, so that it shares nothing with the pool it watches. Conditions are polled, bounded, and
never slept for. Each test names its pool by an application_name of its own: unique_name().
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from servers import PostgresServer

from holisticpool import Pool

PATIENCE_S = 30.0  # for a condition that must come: only a failing test waits so long
_POLL_S = 0.01

_names = itertools.count()

_SAMPLER = """
CREATE TABLE IF NOT EXISTS public.sampling_over (name text);
CREATE OR REPLACE FUNCTION public.most_sessions(who text, kind text) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now_open int;
    most int := 0;
BEGIN
    LOOP
        PERFORM pg_stat_clear_snapshot();
        SELECT count(*) INTO now_open FROM pg_stat_activity
            WHERE backend_type = 'client backend'
            AND who = CASE kind WHEN 'role' THEN usename ELSE application_name END;
        most := greatest(most, now_open);
        EXIT WHEN EXISTS (SELECT FROM public.sampling_over WHERE name = who);
        PERFORM pg_sleep(0.002);
    END LOOP;
    RETURN most;
END $$;
"""


def unique_name(stem: str) -> str:
    """A name that no other test uses: an application, a role, a table."""
    return f"{stem}_{os.getpid()}_{next(_names)}"


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Poll `condition` until it holds; fails the test with `what` if it does not in PATIENCE_S."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while True:
        outcome = condition()
        if not isinstance(outcome, bool):
            outcome = await outcome
        if outcome:
            return
        if loop.time() > deadline:
            pytest.fail(f"never came true: {what}")
        await asyncio.sleep(_POLL_S)


async def settled(pool: Pool) -> dict[str, Any]:
    """Wait until nothing is under way in the pool: no lease, statement, reset, attempt or waiter; its statistics.

    A slot that was lost on the way makes this fail, and so does a session that is neither idle nor gone.
    """

    def is_quiet() -> bool:
        stats = pool._stats()
        busy = sum(stats[key] for key in ("leased", "busy", "resetting", "connecting", "waiters"))
        return busy == 0 and stats["idle"] == stats["size"] == pool.get_size() == pool.get_idle_size()

    try:
        await until(is_quiet, "the pool comes to rest")
    except BaseException:
        print(pool._stats())
        raise
    return dict(pool._stats())


async def usable(pool: Pool) -> None:
    """Check that every connection the pool may have can be leased at once and answers rightly."""
    async with contextlib.AsyncExitStack() as stack:
        leases = [await stack.enter_async_context(pool.acquire()) for _ in range(pool.get_max_size())]
        answers = await asyncio.gather(*(lease.fetchval("SELECT $1::int", i) for i, lease in enumerate(leases)))
        assert answers == list(range(pool.get_max_size()))
        assert len({lease.get_server_pid() for lease in leases}) == pool.get_max_size()


class Observer:
    """A server's view of its sessions."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server

    async def ask(self, sql: str) -> str:
        """What psql prints for `sql`."""
        return await asyncio.to_thread(self.server.psql, sql)

    async def holds(self, sql: str) -> bool:
        """The boolean that `sql` yields."""
        return await self.ask(sql) == "t"

    async def until(self, sql: str) -> None:
        """Wait until the boolean expression `sql` holds on the server."""
        await until(lambda: self.holds(f"SELECT {sql}"), sql)

    async def until_running(self, marker: str, count: int = 1) -> None:
        """Wait until `count` sessions run a statement with `marker` in its text."""
        await self.until(f"{self._running(marker)} = {count}")

    async def until_not_running(self, marker: str) -> None:
        """Wait until no session runs a statement with `marker` in its text."""
        await self.until(f"{self._running(marker)} = 0")

    async def until_clean(self, application: str) -> None:
        """Wait until every session of `application` is plainly idle: nothing active, no transaction left open."""
        await self.until(
            "NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' "
            f"AND application_name = '{application}' AND state <> 'idle')"
        )

    @contextlib.asynccontextmanager
    async def sampling(self, who: str, kind: str = "role") -> AsyncIterator[list[int]]:
        """Count the sessions of a role (or `kind` "application") every few milliseconds while the block runs.

        The list that is yielded holds the largest count once the block has ended.
        """
        await self.ask(_SAMPLER)
        most: list[int] = []
        call = f"SELECT public.most_sessions('{who}', '{kind}')"
        sampler = asyncio.create_task(self.ask(call))
        await self.until_running(call.replace("'", "''"))
        try:
            yield most
        finally:
            await self.ask(f"INSERT INTO public.sampling_over VALUES ('{who}')")
            most.append(int(await sampler))

    @staticmethod
    def _running(marker: str) -> str:
        return (
            "(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
            f"AND query LIKE '%{marker}%')"
        )


@contextlib.contextmanager
def limited_role(server: PostgresServer, sessions: int) -> Iterator[str]:
    """A role that may have so many sessions and no more: the server itself refuses one too many."""
    name = unique_name("limited")
    server.psql(f"CREATE ROLE {name} LOGIN PASSWORD 'limited' CONNECTION LIMIT {sessions}")
    server.psql(f"GRANT ALL ON SCHEMA public TO {name}")
    yield name
    server.psql(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{name}'")
    server.psql(f"DROP OWNED BY {name}")
    server.psql(f"DROP ROLE {name}")
