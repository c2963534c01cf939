"""SupabaseAsyncPGAdapter: db_pool behind the calls that services make, with one exception class.

Every adapter shares db_pool and holds nothing but a flag: making one costs
nothing, and closing one closes no connection. Errors are logged without the
text of the error, since the server and the argument checks quote values in it;
the DatabaseException that is raised has it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

from holisticpool._core import Record
from holisticpool.database import DatabasePool
from holisticpool.exceptions import PostgresError
from holisticpool.redact import describe, redact

__all__ = ("DatabaseException", "SupabaseAsyncPGAdapter")

logger = logging.getLogger("holisticpool")

_LOGGED_QUERY_CHARACTERS = 100


class DatabaseException(Exception):
    """Any failure of an adapter's call; ``__cause__`` is the error it stands for.

    ``sqlstate`` is the server's five-character code, None where no server said one.
    """

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class SupabaseAsyncPGAdapter:
    """A service's handle on the shared pool. No I/O before the first call."""

    health_check_timeout: ClassVar[float] = 5.0
    """Seconds after which health_check() answers, whatever the server does."""

    def __init__(self) -> None:
        self._database = DatabasePool()
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether connect() succeeded and close() has not followed."""
        return self._connected

    async def connect(self) -> None:
        """Open the shared pool where it is not open. Raises DatabaseException."""
        try:
            await self._database.initialize()
        except Exception as error:
            raise _failure("Failed to connect to database", error) from error
        self._connected = True

    async def close(self) -> None:
        """Mark the adapter as disconnected; the pool, which others use too, stays open."""
        self._connected = False

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        """Run *query* and return its rows. Raises DatabaseException.

        An argument that does not fit its type counts as a failed query, since
        DataError is a PostgresError, as in asyncpg.
        """
        try:
            return await self._database.execute_query(query, *args)
        except PostgresError as error:
            raise _failure("Database query failed", error, query) from error
        except Exception as error:
            raise _failure("Unexpected database error", error, query) from error

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        """Run *query* and return its first row, or None. Raises DatabaseException."""
        try:
            return await self._database.execute_one(query, *args)
        except Exception as error:
            raise _failure("Database fetchrow failed", error, query) from error

    async def execute(self, command: str, *args: Any) -> str:
        """Run *command* and return its status tag. Raises DatabaseException."""
        try:
            return await self._database.execute_command(command, *args)
        except Exception as error:
            raise _failure("Database execute failed", error, command) from error

    async def health_check(self) -> dict[str, Any]:
        """Ask the database for one row and say how that went, within health_check_timeout.

        ``{"database": "connected", "pool_status": ..., "query_test": "passed"}``,
        query_test "failed" where no row came, or ``{"database": "error",
        "error": ..., "pool_status": ...}``. Raises nothing but CancelledError.
        """
        try:
            probe = self._database.execute_one("SELECT 1 AS health_check")
            row = await asyncio.wait_for(probe, self.health_check_timeout)
        except Exception as error:
            return await self._unhealthy(error)
        return {
            "database": "connected",
            "pool_status": await self._database.get_pool_status(),
            "query_test": "failed" if row is None else "passed",
        }

    async def _unhealthy(self, error: Exception) -> dict[str, Any]:
        logger.error("Database health check failed")
        try:
            pool_status = await self._database.get_pool_status()
        except Exception as status_error:
            pool_status = {"status": "unavailable", "last_error": describe(status_error), "last_error_at": None}
        said = describe(error)
        if isinstance(error, asyncio.TimeoutError) and not str(error):
            # Our own bound, which knows nothing of the reason; the pool may.
            said = f"no answer within {self.health_check_timeout:g} s"
            if pool_status.get("last_error"):
                said += f": {pool_status['last_error']}"
        return {"database": "error", "error": said, "pool_status": pool_status}


def _failure(what: str, error: Exception, query: str | None = None) -> DatabaseException:
    """Log *error* and return the exception to raise for it."""
    sqlstate = getattr(error, "sqlstate", None)
    kind = type(error).__name__ if sqlstate is None else f"{type(error).__name__} (SQLSTATE {sqlstate})"
    if query is None:
        logger.error("%s: %s", what, kind)
    else:
        logger.error("%s: %s, query: %s", what, kind, redact(str(query)[:_LOGGED_QUERY_CHARACTERS]))
    return DatabaseException(f"{what}: {describe(error)}", sqlstate)
