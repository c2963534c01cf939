"""The other side of the comparison: the adapter's interface over a connection that each request opens and closes.

Kept as good as that approach gets: no pool, nothing else left out. Only what the service uses is here.
"""

from __future__ import annotations

import os
from typing import Any

import asyncpg

CONNECT_TIMEOUT = 30.0  # s
COMMAND_TIMEOUT = 30.0  # s, as the pool's default


class DatabaseException(Exception):
    """As holisticpool's: the database failed, and this says at what."""

    sqlstate: str | None = None


class ConnectionCounter:
    """Stands where the pool stands and only counts what it would have saved."""

    def __init__(self) -> None:
        self.url = ""
        self.opened = 0
        self.errors = 0
        self.open_now = 0

    async def initialize(self, database_url: str | None = None) -> None:
        self.url = database_url or os.environ["DATABASE_URL"]

    async def close(self) -> None:
        self.url = ""

    async def get_pool_status(self) -> dict[str, Any]:
        return {"status": "no_pool", "size": self.open_now}

    def get_metrics(self) -> dict[str, Any]:
        return {"connections_opened": self.opened, "connection_errors": self.errors, "pool_size": self.open_now}


db_pool = ConnectionCounter()


class SupabaseAsyncPGAdapter:
    """One connection from connect() to close()."""

    def __init__(self) -> None:
        self._connection: asyncpg.Connection | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def connect(self) -> None:
        try:
            self._connection = await asyncpg.connect(
                db_pool.url,
                timeout=CONNECT_TIMEOUT,
                command_timeout=COMMAND_TIMEOUT,
                server_settings={"application_name": "holisticos_mvp", "timezone": "UTC"},
            )
        except (asyncpg.PostgresError, OSError) as error:
            db_pool.errors += 1
            raise DatabaseException(f"Failed to connect to database: {error}") from error
        db_pool.opened += 1
        db_pool.open_now += 1

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        return list(await self._run("fetch", query, *args))

    async def fetchrow(self, query: str, *args: Any) -> Any:
        return await self._run("fetchrow", query, *args)

    async def execute(self, command: str, *args: Any) -> str:
        return str(await self._run("execute", command, *args))

    async def _run(self, method: str, query: str, *args: Any) -> Any:
        if self._connection is None:
            raise DatabaseException(f"Database {method} failed: not connected")
        try:
            return await getattr(self._connection, method)(query, *args)
        except asyncpg.PostgresError as error:
            failure = DatabaseException(f"Database {method} failed: {error}")
            failure.sqlstate = error.sqlstate
            raise failure from error

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            db_pool.open_now -= 1
            await connection.close()
