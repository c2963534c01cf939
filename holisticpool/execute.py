"""_execute() and _executemany(): where asyncpg's Connection runs its queries, for programs that override or wrap them.

Nobody calls them as long as they are as they are here: fetch() and its like are
in C. Where a subclass or an instrumentation has put something in their place,
csrc/binding/override.c sees it and calls _overridden(), so that each query with
arguments or with a result goes through it, as in asyncpg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from holisticpool import _core
from holisticpool.awaitables import awaited

if TYPE_CHECKING:
    from holisticpool.portions import Sets

__all__ = ("ExecutingConnection",)


class ExecutingConnection(_core.Connection):
    """Connection's part that is about these two."""

    async def _execute(
        self,
        query: str,
        args: tuple[Any, ...],
        limit: int,
        timeout: float | None,
        *,
        return_status: bool = False,
        ignore_custom_codec: bool = False,
        record_class: type[_core.Record] | None = None,
    ) -> Any:
        """The rows of a query, at most *limit* of them unless it is 0.

        With *return_status* no rows but a tuple as asyncpg has it: rows, status
        tag as bytes, and whether the query ran to its end. *ignore_custom_codec*
        has no meaning here: look-ups of types do not come by.
        """
        if return_status:
            status: str = await self._directly("execute", query, *args, timeout=timeout)
            return [], status.encode(), True
        if limit == 1:
            row = await self._directly("fetchrow", query, *args, timeout=timeout, record_class=record_class)
            return [] if row is None else [row]
        rows: list[Any] = await self._directly("fetch", query, *args, timeout=timeout, record_class=record_class)
        return rows[:limit] if limit else rows

    # What override.c compares _execute with.
    _own_execute = _execute

    async def _executemany(self, query: str, args: Sets, timeout: float | None) -> None:
        """Execute *query* for each sequence of arguments in *args*, all or none."""
        await self._run_many(query, args, timeout)

    _own_executemany = _executemany

    @awaited
    def executemany(self, command: str, args: Sets, *, timeout: float | None = None) -> _core.Operation[None]:
        """Execute *command* for each sequence of arguments in *args*: all of them, or none.

        *args* may be any iterable, also an asynchronous one; an iterator is read as
        the server takes its elements. Where they are mappings, *command* has
        parameters by name, as in fetch(params=). *timeout*, in seconds, is for all
        executions together.
        """
        if type(self)._executemany is not type(self)._own_executemany:
            return cast("_core.Operation[None]", self._executemany(command, args, timeout))
        return self._run_many(command, args, timeout)

    def _run_many(self, command: str, args: Sets, timeout: float | None) -> _core.Operation[None]:
        from holisticpool.portions import run_sets

        return run_sets(lambda sets: _core.Connection.executemany(self, command, sets, timeout=timeout), args)

    async def _overridden(
        self,
        method: str,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: type[_core.Record] | None = None,
        column: int | str = 0,
        **ours: Any,
    ) -> Any:
        """For the C part: a query by *method*, which _execute() is to run, since it is not this class's."""
        if ours:
            # What asyncpg does not have (params=, rows=) its _execute() has no place for.
            if method in ("fetch", "fetchrow"):
                ours["record_class"] = record_class
            elif method == "fetchval":
                ours["column"] = column
            return await self._directly(method, query, *args, timeout=timeout, **ours)
        if method == "execute":
            if not args:
                return await self._directly(method, query, timeout=timeout)
            _, status, _ = await self._execute(query, args, 0, timeout, return_status=True)
            return status.decode()
        if method == "fetch":
            return await self._execute(query, args, 0, timeout, record_class=record_class)
        rows = await self._execute(query, args, 1, timeout, record_class=record_class)
        if not rows:
            return None
        return rows[0] if method == "fetchrow" else rows[0][column]
