"""Query methods that a connection class has redefined or somebody has wrapped: a pool's queries go through them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import connect_utils
from holisticpool.cursor import Cursor, CursorIterator
from holisticpool.prepared_stmt import PreparedStatement

QUERIES = {"fetch": [(1,)], "fetchrow": (1,), "fetchval": 1, "execute": "SELECT 1"}

both = pytest.mark.parametrize("library_name", ["asyncpg", "holisticpool"])


def class_with(library: ModuleType, method: str, calls: list[Any]) -> type:
    """A connection class whose *method* notes that it was called."""

    async def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((method, args, kwargs))
        return await getattr(library.Connection, method)(self, *args, **kwargs)

    return type("Noting", (library.Connection,), {method: noted})


@both
@pytest.mark.parametrize("method", QUERIES)
async def test_pool_query_calls_the_method_of_the_connection_class(dsn: str, library_name: str, method: str) -> None:
    library = pytest.importorskip(library_name)
    calls: list[Any] = []
    noting = class_with(library, method, calls)
    async with library.create_pool(dsn, min_size=1, max_size=1, connection_class=noting) as pool:
        assert await getattr(pool, method)("SELECT 1", timeout=5) == QUERIES[method]
        name, args, kwargs = calls[0]
        assert (name, args, kwargs["timeout"]) == (method, ("SELECT 1",), 5)
        for other in QUERIES.keys() - {method}:
            assert await getattr(pool, other)("SELECT 1") == QUERIES[other]
        if library is holisticpool:
            assert len(calls) == 1
        assert pool.get_idle_size() == 1


@pytest.mark.parametrize("method", QUERIES)
async def test_method_that_is_wrapped_while_the_pool_is_open_is_called(
    dsn: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    original: Callable[..., Any] = getattr(holisticpool.Connection, method)

    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(method)
        return await original(self, *args, **kwargs)

    async with holisticpool.create_pool(dsn, min_size=1) as pool:
        call = getattr(pool, method)
        assert await call("SELECT 1") == QUERIES[method]
        with monkeypatch.context() as patch:
            patch.setattr(holisticpool.Connection, method, wrapper)
            assert await call("SELECT 1") == QUERIES[method]
            assert calls == [method]
        assert await call("SELECT 1") == QUERIES[method]
        assert calls == [method]


async def test_arguments_and_keywords_arrive(dsn: str) -> None:
    calls: list[Any] = []
    noting = class_with(holisticpool, "fetchval", calls)
    async with holisticpool.create_pool(dsn, min_size=1, connection_class=noting) as pool:
        assert await pool.fetchval("SELECT $1::int, $2::text", 1, "x", column=1) == "x"
        assert await pool.fetchval(query="SELECT 2") == 2
    assert calls == [
        ("fetchval", ("SELECT $1::int, $2::text", 1, "x"), {"column": 1}),
        ("fetchval", (), {"query": "SELECT 2"}),
    ]


async def test_error_of_an_overriding_method_gives_the_connection_back(dsn: str) -> None:
    class Refusing(holisticpool.Connection):
        async def fetch(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            raise RuntimeError("refused")

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Refusing) as pool:
        with pytest.raises(RuntimeError, match="refused"):
            await pool.fetch("SELECT 1")
        assert await pool.fetchval("SELECT 1") == 1


async def test_cancelled_query_of_an_overriding_method_leaves_the_pool_usable(dsn: str) -> None:
    entered = asyncio.Event()

    class Waiting(holisticpool.Connection):
        async def fetch(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            entered.set()
            return await super().fetch(*args, **kwargs)

    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, connection_class=Waiting) as pool:
        task = asyncio.ensure_future(pool.fetch("SELECT pg_sleep(60)"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pool.fetchval("SELECT 1") == 1


async def test_closed_pool_refuses_before_it_calls_anything(dsn: str) -> None:
    calls: list[Any] = []
    noting = class_with(holisticpool, "fetch", calls)
    pool = holisticpool.create_pool(dsn, min_size=1, connection_class=noting)
    with pytest.raises(holisticpool.InterfaceError, match="pool is not initialized"):
        await pool.fetch("SELECT 1")
    async with pool:
        pass
    with pytest.raises(holisticpool.InterfaceError, match="pool is clos"):
        await pool.fetch("SELECT 1")
    assert calls == []


async def test_wrapped_cursor_methods_are_called_and_say_what_they_read(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def wrap(cls: type, method: str) -> None:
        original = getattr(cls, method)

        async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append((f"{cls.__name__}.{method}", self._query, self._args, self._connection))
            return await original(self, *args, **kwargs)

        monkeypatch.setattr(cls, method, wrapper)

    for method in ("fetch", "fetchrow", "forward"):
        wrap(Cursor, method)
    wrap(CursorIterator, "__anext__")
    query = "SELECT generate_series(1, $1::int)"
    async with await holisticpool.connect(dsn) as connection, connection.transaction():
        cursor = await connection.cursor(query, 5)
        assert await cursor.forward(1) == 1
        assert await cursor.fetchrow() == (2,)
        assert await cursor.fetch(2) == [(3,), (4,)]
        assert [row[0] async for row in connection.cursor(query, 1)] == [1]
        assert seen == [
            ("Cursor.forward", query, (5,), connection),
            ("Cursor.fetchrow", query, (5,), connection),
            ("Cursor.fetch", query, (5,), connection),
            ("CursorIterator.__anext__", query, (1,), connection),
            ("CursorIterator.__anext__", query, (1,), connection),
        ]


@pytest.mark.parametrize("method", ["fetch", "fetchrow", "fetchval", "executemany"])
async def test_wrapped_method_of_a_prepared_statement_is_called(
    dsn: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = getattr(PreparedStatement, method)

    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append((self._query, self._connection))
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(PreparedStatement, method, wrapper)
    async with await holisticpool.connect(dsn) as connection:
        statement = await connection.prepare("SELECT 1")
        await getattr(statement, method)(*([[()]] if method == "executemany" else []))
        assert seen == [("SELECT 1", connection)]


# asyncpg's Connection runs its queries through _execute() and _executemany(): some programs override these.


def hooked_class(library: ModuleType, calls: list[Any]) -> type:
    class Hooked(library.Connection):  # type: ignore[misc, name-defined]
        async def _execute(self, query: str, args: Any, limit: int, timeout: Any, **kwargs: Any) -> Any:
            calls.append((query, tuple(args), limit, timeout, kwargs.get("return_status", False)))
            return await super()._execute(query, args, limit, timeout, **kwargs)

        async def _executemany(self, query: str, args: Any, timeout: Any) -> Any:
            calls.append((query, list(args), timeout))
            return await super()._executemany(query, args, timeout)

    return Hooked


@pytest.mark.parametrize("library_name", ["asyncpg", "holisticpool"])
async def test_queries_go_through_an_overridden_execute(dsn: str, library_name: str) -> None:
    library = pytest.importorskip(library_name)
    calls: list[Any] = []
    connection = await library.connect(dsn, connection_class=hooked_class(library, calls))
    try:
        assert await connection.fetch("SELECT generate_series(1, $1::int) AS n", 3, timeout=9) == [(1,), (2,), (3,)]
        assert await connection.fetchrow("SELECT generate_series(1, $1::int) AS n", 3) == (1,)
        assert await connection.fetchval("SELECT $1::int AS a, 'x' AS b", 3, column="b") == "x"
        assert await connection.fetchval("SELECT 1 WHERE $1", False) is None
        assert await connection.execute("SELECT generate_series(1, $1::int)", 2) == "SELECT 2"
        assert await connection.execute("SELECT 1; SELECT 2") == "SELECT 1"
        await connection.executemany("SELECT $1::int", [(1,), (2,)], timeout=8)
        assert calls == [
            ("SELECT generate_series(1, $1::int) AS n", (3,), 0, 9, False),
            ("SELECT generate_series(1, $1::int) AS n", (3,), 1, None, False),
            ("SELECT $1::int AS a, 'x' AS b", (3,), 1, None, False),
            ("SELECT 1 WHERE $1", (False,), 1, None, False),
            ("SELECT generate_series(1, $1::int)", (2,), 0, None, True),
            ("SELECT $1::int", [(1,), (2,)], 8),
        ]
    finally:
        await connection.close()


async def test_queries_of_a_pool_go_through_an_overridden_execute(dsn: str) -> None:
    calls: list[Any] = []
    async with holisticpool.create_pool(
        dsn, min_size=1, max_size=1, connection_class=hooked_class(holisticpool, calls)
    ) as pool:
        assert await pool.fetchval("SELECT $1::int", 3) == 3
        assert await pool.fetch("SELECT :n::int", params={"n": 4}) == [(4,)]
        await pool.executemany("SELECT $1::int", [(5,)])
        assert pool.get_idle_size() == 1
    assert [call[0] for call in calls] == ["SELECT $1::int", "SELECT $1::int"]


async def test_execute_that_is_wrapped_while_a_connection_is_open_is_called(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    original = holisticpool.Connection._execute

    async def wrapper(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        calls.append(query)
        return await original(self, query, *args, **kwargs)

    async with await holisticpool.connect(dsn) as connection:
        assert await connection.fetchval("SELECT 1") == 1
        with monkeypatch.context() as patch:
            patch.setattr(holisticpool.Connection, "_execute", wrapper)
            assert await connection.fetchval("SELECT 2") == 2
            assert calls == ["SELECT 2"]
        assert await connection.fetchval("SELECT 3") == 3
        assert calls == ["SELECT 2"]


async def test_direct_query_needs_the_name_of_a_method(dsn: str) -> None:
    async with await holisticpool.connect(dsn) as connection:
        with pytest.raises(ValueError, match="'nothing' is no method that runs a query"):
            connection._directly("nothing", "SELECT 1")
        with pytest.raises(TypeError):
            connection._directly()  # type: ignore[call-arg]


async def test_wrapped_connect_addr_is_told_where_a_session_is_opened(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = connect_utils._connect_addr

    async def wrapper(**kwargs: Any) -> Any:
        seen.append((kwargs["addr"], kwargs["params"].user, kwargs["params"].database))
        return await original(**kwargs)

    monkeypatch.setattr(connect_utils, "_connect_addr", wrapper)
    async with await holisticpool.connect(server.dsn()) as connection:
        assert seen == [((server.host, server.port), "postgres", "postgres")]
        assert connection._addr == (server.host, server.port)
