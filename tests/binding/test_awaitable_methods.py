"""Methods in C that stand for coroutine functions: asyncio and unittest.mock take them for such, as asyncpg's."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec, patch

import pytest

import holisticpool
from holisticpool import Connection, Pool
from holisticpool.prepared_stmt import PreparedStatement

AWAITED: dict[type, list[str]] = {
    Connection: ["fetch", "fetchrow", "fetchval", "execute", "executemany", "fetchmany", "close", "prepare", "reset"],
    Pool: ["fetch", "fetchrow", "fetchval", "execute", "executemany", "fetchmany", "close", "release"],
    PreparedStatement: ["fetch", "fetchrow", "fetchval", "executemany", "fetchmany", "explain"],
}
METHODS = [(cls, name) for cls, names in AWAITED.items() for name in names]


@pytest.mark.parametrize(("cls", "name"), METHODS)
def test_method_is_taken_for_a_coroutine_function(cls: type, name: str) -> None:
    method = getattr(cls, name)
    assert asyncio.iscoroutinefunction(method)
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(method)


def test_a_bound_method_is_too() -> None:
    async def bound(pool: Pool) -> None:
        async with pool.acquire() as connection:
            assert asyncio.iscoroutinefunction(connection.fetch)

    pool = holisticpool.create_pool("postgresql://localhost/none")
    assert asyncio.iscoroutinefunction(pool.fetchval)
    assert not asyncio.iscoroutinefunction(pool.acquire)
    assert asyncio.iscoroutinefunction(bound)


@pytest.mark.parametrize("driver", ["holisticpool", "asyncpg"])
async def test_mock_with_a_spec_is_awaited(driver: str) -> None:
    module = pytest.importorskip(driver)
    connection = AsyncMock(spec=module.Connection)
    connection.fetchrow.return_value = {"id": 1}
    assert await connection.fetchrow("SELECT 1", 5) == {"id": 1}
    connection.fetchrow.assert_awaited_once_with("SELECT 1", 5)
    assert connection.is_closed.return_value is connection.is_closed()
    pool = MagicMock(spec=module.Pool)
    pool.fetch.return_value = [1]
    assert await pool.fetch("SELECT 1") == [1]
    pool.acquire.return_value.__aenter__.return_value = connection
    async with pool.acquire() as leased:
        assert leased is connection


@pytest.mark.parametrize("driver", ["holisticpool", "asyncpg"])
async def test_autospec_is_awaited(driver: str) -> None:
    connection = create_autospec(pytest.importorskip(driver).Connection, instance=True)
    connection.fetchval.return_value = 5
    connection.executemany.return_value = None
    assert await connection.fetchval("SELECT 5") == 5
    assert await connection.executemany("SELECT $1", []) is None
    connection.fetchval.assert_awaited_once_with("SELECT 5")


@pytest.mark.parametrize("driver", ["holisticpool", "asyncpg"])
async def test_patch_puts_an_async_mock_in_place(driver: str, dsn: str) -> None:
    module = pytest.importorskip(driver)
    pool: Any = module.create_pool(dsn, min_size=0, max_size=1)
    await pool
    try:
        with patch.object(module.Pool, "fetchval", return_value=7):
            assert await pool.fetchval("SELECT 1") == 7
        with patch.object(module.Pool, "fetchval") as mock:
            mock.side_effect = module.UniqueViolationError("again")
            with pytest.raises(module.UniqueViolationError):
                await pool.fetchval("SELECT 1")
        assert await pool.fetchval("SELECT 1") == 1
    finally:
        await pool.close()


def test_signature_name_and_documentation_are_the_methods() -> None:
    method: Any = Connection.fetch
    assert list(inspect.signature(method).parameters)[:4] == ["self", "query", "args", "timeout"]
    assert (method.__name__, method.__qualname__) == ("fetch", "Connection.fetch")
    assert method.__doc__.startswith("Run a query")
    assert repr(method).startswith("<method 'fetch'")
    assert inspect.isroutine(method)
    assert pickle.loads(pickle.dumps(method)) is method


async def test_method_is_called_by_its_class_and_by_super(dsn: str) -> None:
    class Mine(Connection):
        async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:  # type: ignore[override]
            return await super().fetchval(query, *args, **options) + 1

    connection = await holisticpool.connect(dsn, connection_class=Mine)
    try:
        assert await connection.fetchval("SELECT 1") == 2
        assert await Connection.fetchval(connection, "SELECT $1::int", 1) == 1
        with pytest.raises(TypeError, match="'int'"):
            Connection.fetchval(5, "SELECT 1")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            Connection.fetchval()  # type: ignore[call-arg]
    finally:
        await connection.close()


def test_it_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        type(Connection.fetch)()  # type: ignore[misc]
