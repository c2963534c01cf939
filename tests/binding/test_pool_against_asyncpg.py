"""The life of a pool, its hooks and its refusals on asyncpg and on holisticpool: outcomes must be equal.

A case gets a function that makes a pool of its driver on the shared server, min_size=1 and max_size=1 if not told
otherwise. Its outcome is what it returns. An exception is noted by the name of asyncpg's class and, where the case
says so, its text; holisticpool's must be an instance of its own class of that name.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import holisticpool

asyncpg = pytest.importorskip("asyncpg", "0.32", reason="asyncpg is what is compared with")


class Make:
    """Makes pools of a driver on the shared server."""

    def __init__(self, driver: Any, dsn: str, password: str) -> None:
        self.driver = driver
        self.dsn = dsn
        self.password = password

    def __call__(self, **keywords: Any) -> Any:
        return self.driver.create_pool(self.dsn, **{"min_size": 1, "max_size": 1, **keywords})


Case = Callable[[Any, Make], Awaitable[Any]]
CASES: dict[str, Case] = {}


class Mine(Exception):
    """Raised by the hooks of these tests."""


class Raised:
    """An exception, for comparing: equal by class, and by text where that is asked for."""

    def __init__(self, error: BaseException, text: bool) -> None:
        self.error = error
        self.text = str(error) if text else None

    def __eq__(self, other: object) -> bool:
        # Ours is on the left.
        if not isinstance(other, Raised):
            return NotImplemented
        name = type(other.error).__name__
        wanted = getattr(holisticpool, name, None) or getattr(builtins, name, None) or type(other.error)
        if isinstance(other.error, asyncio.TimeoutError):
            wanted = asyncio.TimeoutError
        return isinstance(self.error, wanted) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self.error).__name__}: {self.error}>"


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


async def caught(what: Any, *, text: bool = True) -> Any:
    """What an awaitable, or a call of a function, raises; "nothing" where it does not."""
    try:
        result = what() if callable(what) else what
        if hasattr(result, "__await__"):
            await result
    except (Exception, asyncio.CancelledError) as error:
        return Raised(error, text)
    return "nothing"


# ---- life ----


@case
async def use_before_it_is_open(driver: Any, make: Make) -> Any:
    pool = make()
    return [
        await caught(lambda: pool.acquire()),
        await caught(lambda: pool.fetch("SELECT 1")),
        await caught(lambda: pool.close()),
        [pool.is_closing(), pool.get_min_size(), pool.get_max_size(), pool.get_size(), pool.get_idle_size()],
    ]


@case
async def use_after_close(driver: Any, make: Make) -> Any:
    pool = make()
    await pool
    await pool.close()
    return [
        await caught(lambda: pool.acquire()),
        await caught(lambda: pool.execute("SELECT 1")),
        await caught(pool.close),
        await caught(pool.terminate),
        [pool.is_closing(), pool.get_idle_size(), pool.get_size()],
    ]


@case
async def opened_twice(driver: Any, make: Make) -> Any:
    pool = make()
    first = await pool
    second = await pool
    async with pool as third:
        same = first is second is third
    return [same, pool.is_closing()]


@case
async def closing_refuses_and_waits(driver: Any, make: Make) -> Any:
    pool = make(max_size=2)
    await pool
    conn = await pool.acquire()
    closing = asyncio.ensure_future(pool.close())
    await asyncio.sleep(0)
    found = [pool.is_closing(), closing.done(), await caught(lambda: pool.acquire())]
    found.append(await conn.fetchval("SELECT 1"))
    await pool.release(conn)
    await closing
    return found


@case
async def cancelled_close_terminates(driver: Any, make: Make) -> Any:
    pool = make()
    await pool
    conn = await pool.acquire()
    found = [await caught(asyncio.wait_for(pool.close(), 0.05), text=False)]
    found += [pool.is_closing(), await caught(lambda: conn.fetch("SELECT 1"), text=False)]
    found.append(await caught(lambda: pool.acquire(), text=False))
    return found


@case
async def terminate_ends_leases(driver: Any, make: Make) -> Any:
    pool = make()
    await pool
    conn = await pool.acquire()
    pool.terminate()
    return [pool.is_closing(), await caught(lambda: conn.fetch("SELECT 1"), text=False)]


@case
async def empty_pool_opens_on_demand(driver: Any, make: Make) -> Any:
    async with make(min_size=0, max_size=2) as pool:
        sizes = [pool.get_size()]
        sizes.append(await pool.fetchval("SELECT 1"))
        sizes.append(pool.get_size())
        async with pool.acquire():
            sizes += [pool.get_size(), pool.get_idle_size()]
        return sizes


@case
async def one_acquire_gives_one_lease(driver: Any, make: Make) -> Any:
    async with make(max_size=2) as pool:
        acquiring = pool.acquire()
        async with acquiring:
            found = [await caught(acquiring.__aenter__)]
        return found


@case
async def closed_lease_makes_room(driver: Any, make: Make) -> Any:
    async with make() as pool:
        conn = await pool.acquire()
        pid = conn.get_server_pid()
        await conn.execute("SET work_mem = '3MB'")
        conn.terminate()
        async with pool.acquire() as other:
            return [other.get_server_pid() == pid, await other.fetchval("SHOW work_mem") == "3MB"]


# ---- hooks ----


@case
async def init_that_fails_at_the_start(driver: Any, make: Make) -> Any:
    async def init(conn: Any) -> None:
        raise Mine("init")

    pool = make(init=init)

    async def opens() -> None:
        await pool

    return [await caught(opens), pool.is_closing()]


@case
async def init_that_fails_later(driver: Any, make: Make) -> Any:
    fails = True

    async def init(conn: Any) -> None:
        if fails:
            raise Mine("init")
        await conn.execute("SET work_mem = '3MB'")

    async with make(init=init, min_size=0) as pool:
        found = [await caught(lambda: pool.acquire()), await caught(lambda: pool.fetch("SELECT 1"))]
        fails = False
        return [*found, await pool.fetchval("SELECT 7")]


@case
async def init_that_hangs_when_there_is_a_timeout(driver: Any, make: Make) -> Any:
    hangs = True

    async def init(conn: Any) -> None:
        if hangs:
            await asyncio.sleep(0.3)

    async with make(init=init, min_size=0) as pool:
        found = await caught(lambda: pool.acquire(timeout=0.1), text=False)
        hangs = False
        return [found, await pool.fetchval("SELECT 7")]


@case
async def setup_that_fails(driver: Any, make: Make) -> Any:
    fails = True

    async def setup(conn: Any) -> None:
        if fails:
            await conn.execute("SET work_mem = '3MB'")
            raise Mine("setup")

    async with make(setup=setup) as pool:
        found = [await caught(lambda: pool.acquire()), await caught(lambda: pool.fetch("SELECT 1"))]
        fails = False
        return [*found, await pool.fetchval("SHOW work_mem") == "3MB", pool.get_size()]


@case
async def setup_that_is_cancelled(driver: Any, make: Make) -> Any:
    hangs, inside = True, asyncio.Event()

    async def setup(conn: Any) -> None:
        if hangs:
            inside.set()
            await asyncio.Event().wait()

    async def take() -> None:
        await pool.acquire()

    async with make(setup=setup) as pool:
        task = asyncio.ensure_future(take())
        await inside.wait()
        task.cancel()
        found = await caught(task, text=False)
        hangs = False
        return [found, await pool.fetchval("SELECT 7")]


@case
async def setup_sees_a_lease(driver: Any, make: Make) -> Any:
    seen: list[Any] = []

    async def setup(conn: Any) -> None:
        seen.append(conn)

    async with make(setup=setup) as pool, pool.acquire() as conn:
        proxy = driver.pool.PoolConnectionProxy
        return [isinstance(seen[0], driver.Connection), isinstance(seen[0], proxy), seen[0] is conn]


@case
async def reset_that_fails(driver: Any, make: Make) -> Any:
    fails = True

    async def reset(conn: Any) -> None:
        if fails:
            raise Mine("reset")

    async with make(reset=reset) as pool:
        conn = await pool.acquire()
        pid = conn.get_server_pid()
        found = [await caught(lambda: pool.release(conn)), await caught(lambda: conn.fetch("SELECT 1"))]
        fails = False
        return [*found, await pool.fetchval("SELECT pg_backend_pid()") == pid, pool.get_size()]


@case
async def reset_that_takes_longer_than_release_may(driver: Any, make: Make) -> Any:
    hangs = True

    async def reset(conn: Any) -> None:
        if hangs:
            await asyncio.Event().wait()

    async with make(reset=reset) as pool:
        conn = await pool.acquire()
        found = [await caught(lambda: pool.release(conn, timeout=0.05), text=False)]
        conn = await pool.acquire(timeout=0.2)
        found.append(await caught(lambda: pool.release(conn), text=False))  # the timeout of acquire() counts
        hangs = False
        return [*found, await pool.fetchval("SELECT 7")]


@case
async def reset_survives_the_cancellation_of_release(driver: Any, make: Make) -> Any:
    inside, proceed, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reset(conn: Any) -> None:
        inside.set()
        await proceed.wait()
        await conn.execute("RESET ALL")
        ended.set()

    async def give_back(conn: Any) -> None:
        await pool.release(conn)

    async with make(reset=reset) as pool:
        conn = await pool.acquire()
        pid = conn.get_server_pid()
        task = asyncio.ensure_future(give_back(conn))
        await inside.wait()
        task.cancel()
        found = await caught(task, text=False)
        proceed.set()
        await ended.wait()
        return [found, await pool.fetchval("SELECT pg_backend_pid()") == pid]


@case
async def reset_is_not_run_on_a_closed_connection(driver: Any, make: Make) -> Any:
    seen: list[Any] = []

    async def reset(conn: Any) -> None:
        seen.append(conn)
        await conn.execute("SELECT 1")

    async with make(reset=reset) as pool:
        conn = await pool.acquire()
        await conn.execute("SELECT 1")
        conn.terminate()
        found = await caught(lambda: pool.release(conn))
        return [found, len(seen), await pool.fetchval("SELECT 7")]


@case
async def reset_finds_no_transaction(driver: Any, make: Make) -> Any:
    seen: list[Any] = []

    async def reset(conn: Any) -> None:
        seen.append(conn.is_in_transaction())

    async with make(reset=reset) as pool:
        async with pool.acquire() as conn:
            await conn.execute("BEGIN")
        return seen


# ---- connect= ----


@case
async def connect_callback_that_gives_something_else(driver: Any, make: Make) -> Any:
    async def connect(*args: Any, **kwargs: Any) -> Any:
        return {"no": "connection"}

    async def opens() -> None:
        await make(connect=connect)

    found = await caught(opens)
    text = found.text.replace(driver.__name__, "driver")
    return [Raised(found.error, False), text]


@case
async def connect_callback_gets_the_arguments(driver: Any, make: Make) -> Any:
    seen: list[Any] = []

    async def connect(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, sorted(kwargs), kwargs["server_settings"], kwargs["timeout"]))
        return await driver.connect(*args, **kwargs)

    async with make(connect=connect, server_settings={"work_mem": "3MB"}, timeout=20) as pool:
        return [seen, await pool.fetchval("SHOW work_mem")]


@case
async def connect_callback_and_init_in_turn(driver: Any, make: Make) -> Any:
    order: list[str] = []

    async def connect(*args: Any, **kwargs: Any) -> Any:
        order.append("connect")
        return await driver.connect(*args, **kwargs)

    async def init(conn: Any) -> None:
        order.append("init")

    async with make(connect=connect, init=init) as pool:
        await pool.fetchval("SELECT 1")
        await pool.expire_connections()
        await pool.fetchval("SELECT 1")
        return order


@case
async def password_of_every_kind(driver: Any, make: Make) -> Any:
    def text() -> str:
        return make.password

    async def later() -> str:
        return make.password

    def wrong() -> str:
        return "wrong"

    def fails() -> str:
        raise Mine("no token")

    found = []
    for password in (text, later, lambda: later(), wrong, fails):
        try:
            async with make(password=password) as pool:
                found.append(await pool.fetchval("SELECT 1"))
        except Exception as error:
            found.append(Raised(error, isinstance(error, Mine)))
    return found


# ---- arguments ----


@case
async def wrong_arguments(driver: Any, make: Make) -> Any:
    wrong: list[dict[str, Any]] = [
        {"max_size": 0},
        {"max_size": -1, "min_size": -2},
        {"min_size": -1},
        {"min_size": 5, "max_size": 4},
        {"init_size": -1},
        {"init_size": 5, "min_size": 1, "max_size": 4},
        {"init_size": 1, "min_size": 2, "max_size": 4},
        {"max_queries": 0},
        {"max_queries": -1},
        {"max_inactive_connection_lifetime": -0.1},
        {"connection_class": int},
        {"record_class": int},
    ]
    return [await caught(lambda each=each: make(**each), text=False) for each in wrong]


@case
async def wrong_arguments_of_connect(driver: Any, make: Make) -> Any:
    wrong: list[dict[str, Any]] = [
        {"statement_cache_size": -1},
        {"statement_cache_size": None},
        {"max_cacheable_statement_size": -1},
        {"max_cached_statement_lifetime": -1},
        {"command_timeout": 0},
        {"command_timeout": -1},
        {"command_timeout": True},
        {"command_timeout": "soon"},
        {"ssl": "sometimes"},
        {"server_settings": {"jit": 1}},
        {"target_session_attrs": "fastest"},
        {"gsslib": "mine"},
        {"host": ["a", "b"], "port": [1, 2, 3]},
    ]

    async def connect(**keywords: Any) -> None:
        conn = await driver.connect(make.dsn, **keywords)
        await conn.close()

    return [await caught(connect(**each), text=False) for each in wrong]


@case
async def use_while_it_is_opening(driver: Any, make: Make) -> Any:
    pool = make()

    async def opens() -> None:
        await pool

    opening = asyncio.create_task(opens())
    await asyncio.sleep(0)  # its first step: nothing is answered yet
    seen = [
        await caught(pool.acquire),
        await caught(lambda: pool.fetch("SELECT 1")),
        await caught(lambda: pool.execute("SELECT 1")),
        await caught(pool.close),
        await caught(pool.expire_connections),
        await caught(opens),
    ]
    await opening
    seen.append(await pool.fetchval("SELECT 5"))
    await pool.close()
    return seen


@case
async def expiring_where_nothing_is_open(driver: Any, make: Make) -> Any:
    pool = make()
    seen = [await caught(pool.expire_connections)]
    await pool
    await pool.close()
    return [*seen, await caught(pool.expire_connections)]


# ---- transactions ----


@case
async def release_tells_of_a_transaction_that_nobody_ends(driver: Any, make: Make) -> Any:
    told: list[str] = []
    seen: list[Any] = []

    async def begun(conn: Any) -> None:
        await conn.execute("BEGIN")

    async def started(conn: Any) -> None:
        await conn.transaction().start()
        await conn.execute("SELECT 1")

    async def only_started(conn: Any) -> None:
        await conn.transaction().start()

    async def failed(conn: Any) -> None:
        await conn.transaction().start()
        await caught(lambda: conn.execute("SELECT 1 / 0"))

    async def ended(conn: Any) -> None:
        async with conn.transaction():
            await conn.execute("SELECT 1")
        transaction = conn.transaction()
        await transaction.start()
        await transaction.rollback()

    async def no_reset(conn: Any) -> None:
        pass

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"].partition(" <")[0]))
    try:
        for hooks in ({}, {"reset": no_reset}, {"setup": no_reset}):
            async with make(**hooks) as pool:
                for leave in (begun, started, only_started, failed, ended):
                    async with pool.acquire() as conn:
                        await leave(conn)
                    conn = await pool.acquire()
                    await leave(conn)
                    await pool.release(conn)
                    seen.append((leave.__name__, len(told), await pool.fetchval("SELECT 6")))
        return [seen, told]
    finally:
        loop.set_exception_handler(None)


@case
async def release_inside_of_a_transaction_that_ends_by_itself(driver: Any, make: Make) -> Any:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    try:
        async with make() as pool:
            conn = await pool.acquire()

            async def leave() -> None:
                async with conn.transaction():
                    await conn.execute("SELECT 1")
                    await pool.release(conn)

            return [await caught(leave, text=False), told, await pool.fetchval("SELECT 7")]
    finally:
        loop.set_exception_handler(None)


@case
async def closed_session_is_in_no_transaction(driver: Any, make: Make) -> Any:
    conn = await driver.connect(make.dsn)
    cursor = conn.cursor("SELECT 1")
    await conn.close()
    return [conn.is_in_transaction(), await caught(cursor, text=False), await caught(conn.reset)]


@case
async def command_timeout_that_is_no_number(driver: Any, make: Make) -> Any:
    return [await caught(lambda each=each: make(command_timeout=each)) for each in ("soon", False, True)]


@pytest.mark.parametrize("name", sorted(CASES))
async def test_pool_does_what_asyncpgs_does(server: Any, dsn: str, name: str) -> None:
    async def outcome(driver: Any) -> Any:
        return await CASES[name](driver, Make(driver, dsn, server.password))

    ours, theirs = await outcome(holisticpool), await outcome(asyncpg)
    assert ours == theirs
