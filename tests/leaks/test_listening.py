"""Listeners keep nothing alive: neither their connection, which they mostly hold, nor the pool, nor themselves."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from growth import growth

import holisticpool
from holisticpool import Connection, Pool, exceptions


class Service:
    """What a listener belongs to; it holds its connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def listen(self, *_: Any) -> None:
        pass


async def collect() -> None:
    """Collect garbage; before that, let the loop go of what woke the task up."""
    await asyncio.sleep(0)
    gc.collect()


async def add_all(service: Service, *, lasting: bool) -> None:
    connection = service.connection
    await connection.add_listener("news", service.listen)
    connection.add_log_listener(service.listen)
    if lasting:
        connection.add_termination_listener(service.listen)
        connection.add_query_logger(service.listen)


async def test_dropped_connection_of_its_listener_is_collected(dsn: str) -> None:
    service = Service(await holisticpool.connect(dsn))
    await add_all(service, lasting=True)
    gone = weakref.ref(service)
    with pytest.warns(ResourceWarning, match="unclosed connection"):
        del service
        await collect()
    await asyncio.sleep(0)  # its termination listener is called
    await collect()
    assert gone() is None


@pytest.mark.filterwarnings("ignore::holisticpool.exceptions.InterfaceWarning")
async def test_dropped_lease_of_its_listener_is_collected_and_comes_back(single: Pool) -> None:
    service = Service(await single.acquire())
    await add_all(service, lasting=False)
    gone = weakref.ref(service)
    with pytest.warns(ResourceWarning, match="never released"):
        del service
        await collect()
    assert gone() is None
    async with single.acquire(timeout=20) as lease:
        assert await lease.fetch("SELECT pg_listening_channels()") == []


async def test_closed_connection_lets_its_listeners_go(dsn: str) -> None:
    service = Service(await holisticpool.connect(dsn))
    await add_all(service, lasting=True)
    await service.connection.close()
    gone = weakref.ref(service)
    del service
    await collect()
    assert gone() is None


@pytest.mark.filterwarnings("ignore::holisticpool.exceptions.InterfaceWarning")
async def test_session_that_ends_lets_its_listeners_go(single: Pool) -> None:
    service = Service(await single.acquire())
    await add_all(service, lasting=True)
    await single.release(service.connection)
    gone = weakref.ref(service)
    del service
    await collect()
    assert gone() is not None  # the session has a termination listener and a query logger
    async with single.acquire() as lease:
        lease.terminate()
    del lease
    await collect()
    assert gone() is None


async def test_pool_in_a_cycle_with_a_lasting_listener_goes(dsn: str) -> None:
    class Holder:
        pool: Pool

        def listen(self, *_: Any) -> None:
            pass

    holder = Holder()
    holder.pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1)
    async with holder.pool.acquire() as lease:
        lease.add_termination_listener(holder.listen)
    await holder.pool.close()
    gone = weakref.ref(holder)
    del holder, lease
    await collect()
    assert gone() is None


async def test_listening_grows_nothing(single: Pool) -> None:
    def listener(*_: Any) -> None:
        pass

    async def work() -> None:
        async with single.acquire() as lease:
            await lease.add_listener("news", listener)
            lease.add_log_listener(listener)
            lease.add_termination_listener(listener)
            with lease.query_logger(listener):
                await lease.execute("NOTIFY news, 'x'; DO $$ BEGIN RAISE NOTICE 'a'; END $$")
                with pytest.raises(exceptions.DivisionByZeroError):
                    await lease.fetchval("SELECT 1/0")
            await lease.remove_listener("news", listener)
            lease.remove_log_listener(listener)
            lease.remove_termination_listener(listener)

    assert await growth(work, 30) == {}
