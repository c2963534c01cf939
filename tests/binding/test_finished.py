"""What release() returns: it has taken effect at the call, and can still be awaited in every way."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holisticpool import Connection, Pool


async def plain_await(awaitable: Any) -> Any:
    return await awaitable


async def in_yield_from(awaitable: Any) -> Any:
    class Wrapped:
        def __await__(self) -> Any:
            return (yield from awaitable.__await__())

    return await Wrapped()


WAYS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "await": plain_await,
    "yield from": in_yield_from,
    "gather": lambda awaitable: asyncio.gather(awaitable),
    "shield": lambda awaitable: asyncio.shield(awaitable),
    "create_task": lambda awaitable: asyncio.create_task(awaitable),
    "ensure_future": lambda awaitable: asyncio.ensure_future(awaitable),
    "wait_for": lambda awaitable: asyncio.wait_for(awaitable, 60),
    "wait_for without a limit": lambda awaitable: asyncio.wait_for(awaitable, None),
}


@pytest.mark.parametrize("way", WAYS)
async def test_release_can_be_awaited_by(way: str, single: Pool) -> None:
    connection = await single.acquire()
    result = await WAYS[way](single.release(connection))
    assert result is None or result == [None]
    assert single.get_idle_size() == 1


@pytest.mark.parametrize("way", WAYS)
async def test_close_of_a_lease_can_be_awaited_by(way: str, single: Pool) -> None:
    connection = await single.acquire()
    await WAYS[way](connection.close())
    assert single.get_idle_size() == 1


async def test_release_takes_effect_without_being_awaited_and_does_not_warn(single: Pool) -> None:
    connection = await single.acquire()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        single.release(connection)
        gc.collect()
    assert single.get_idle_size() == 1


async def test_it_is_a_coroutine_and_no_future(single: Pool) -> None:
    finished = single.release(await single.acquire())
    assert asyncio.iscoroutine(finished)
    assert not asyncio.isfuture(finished)
    await finished


async def test_close_and_throw_behave_as_a_coroutines(single: Pool) -> None:
    finished = single.release(await single.acquire())
    finished.close()
    error = KeyError("thrown")
    with pytest.raises(KeyError) as caught:
        finished.throw(error)
    assert caught.value is error
    with pytest.raises(ValueError, match="text"):
        finished.throw(ValueError, "text")
    with pytest.raises(TypeError):
        finished.throw()  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        finished.throw(1)  # type: ignore[call-overload]
    with pytest.raises(StopIteration):
        finished.send(None)
    await finished


async def test_cancelled_task_that_releases_has_released(single: Pool) -> None:
    connection: Connection = await single.acquire()
    task = asyncio.create_task(single.release(connection))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert single.get_idle_size() == 1
