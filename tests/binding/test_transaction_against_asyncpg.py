"""The same uses and misuses of transaction() on asyncpg and on holisticpool: outcomes and texts must be equal.

A case gets a connection of its own and, for those about leases, a pool of one connection. Its outcome is what it
returns, or the class and the text of what it raises.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import holisticpool

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")

Case = Callable[[Any, Any], Awaitable[Any]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


async def level(conn: Any) -> tuple[str, str, str]:
    row = await conn.fetchrow(
        "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only'), "
        "current_setting('transaction_deferrable')"
    )
    return tuple(row)


async def caught(what: Awaitable[Any] | Callable[[], Awaitable[Any]]) -> tuple[str, str]:
    """How an awaitable ends, or a call that may fail before there is one."""
    try:
        await (what() if callable(what) else what)
    except Exception as error:
        return type(error).__name__, str(error)
    return "nothing", ""


@case
async def start_twice(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()
    await tr.start()
    outcome = await caught(tr.start())
    await tr.rollback()
    return outcome


@case
async def start_after_commit(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()
    await tr.start()
    await tr.commit()
    return [await caught(tr.start()), await caught(tr.commit()), await caught(tr.rollback())]


@case
async def start_after_rollback(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()
    await tr.start()
    await tr.rollback()
    return [await caught(tr.start()), await caught(tr.commit()), await caught(tr.rollback())]


@case
async def end_before_start(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()
    return [await caught(tr.commit()), await caught(tr.rollback())]


@case
async def start_that_fails(conn: Any, pool: Any) -> Any:
    outer = conn.transaction()
    await outer.start()
    await caught(conn.execute("SELECT 1/0"))
    inner = conn.transaction()
    failed = [await caught(inner.start()), await caught(inner.start()), await caught(inner.commit())]
    await outer.rollback()
    return failed


@case
async def commit_of_an_aborted_one(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()
    await tr.start()
    await caught(conn.execute("SELECT 1/0"))
    await tr.commit()  # the server makes it a rollback
    return [conn.is_in_transaction(), await caught(tr.commit())]


@case
async def inside_a_manual_one(conn: Any, pool: Any) -> Any:
    await conn.execute("BEGIN")
    tr = conn.transaction()
    failed = await caught(tr.start())
    await conn.execute("ROLLBACK")
    await tr.start()
    await tr.commit()
    return failed


@case
async def manual_end_in_a_block(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()
    async with tr:
        return [await caught(tr.commit()), await caught(tr.rollback()), await caught(tr.__aenter__())]


@case
async def block_entered_again(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()
    async with tr:
        pass
    return await caught(tr.__aenter__())


@case
async def started_one_as_a_block(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()
    await tr.start()
    failed = await caught(tr.__aenter__())
    await conn.execute("ROLLBACK")
    return failed


@case
async def unknown_level(conn: Any, pool: Any) -> Any:
    try:
        conn.transaction(isolation="snapshot")
    except ValueError as error:
        return re.sub(r"of .*, got", "of ..., got", str(error))


@case
async def empty_level(conn: Any, pool: Any) -> Any:
    async with conn.transaction(isolation=""):
        return await level(conn)


@case
async def every_level(conn: Any, pool: Any) -> Any:
    found = []
    for isolation in (None, "read_uncommitted", "read_committed", "repeatable_read", "serializable"):
        for readonly in (False, True):
            for deferrable in (False, True):
                async with conn.transaction(isolation=isolation, readonly=readonly, deferrable=deferrable):
                    found.append(await level(conn))
    return found


@case
async def nested_with_another_level(conn: Any, pool: Any) -> Any:
    found: list[object] = []
    async with conn.transaction(isolation="repeatable_read"):
        found.append(await caught(conn.transaction(isolation="serializable").start()))
        async with conn.transaction(isolation="repeatable_read"):
            found.append(await level(conn))
        async with conn.transaction():
            found.append(await level(conn))
    return found


@case
async def nested_with_the_default_level(conn: Any, pool: Any) -> Any:
    found: list[object] = []
    async with conn.transaction():
        found.append(await caught(conn.transaction(isolation="serializable").start()))
        async with conn.transaction(isolation="read_committed"):
            found.append(await level(conn))
    await conn.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    async with conn.transaction():
        found.append(await caught(conn.transaction(isolation="read_committed").start()))
        async with conn.transaction(isolation="serializable"):
            found.append(await level(conn))
    return found


@case
async def nested_readonly_says_nothing_to_the_server(conn: Any, pool: Any) -> Any:
    async with conn.transaction():
        async with conn.transaction(readonly=True, deferrable=True):
            return await level(conn)


@case
async def savepoints_come_and_go(conn: Any, pool: Any) -> Any:
    await conn.execute("CREATE TEMP TABLE s (i int)")
    try:
        async with conn.transaction():
            await conn.execute("INSERT INTO s VALUES (1)")
            for fails in (True, False):
                try:
                    async with conn.transaction():
                        await conn.execute("INSERT INTO s VALUES ($1)", 2 + fails)
                        if fails:
                            await conn.execute("SELECT 1/0")
                except ArithmeticError:
                    pass
                except Exception as error:
                    assert type(error).__name__ == "DivisionByZeroError"
        return [row[0] for row in await conn.fetch("SELECT i FROM s ORDER BY 1")]
    finally:
        await conn.execute("DROP TABLE s")


@case
async def exception_passes_through(conn: Any, pool: Any) -> Any:
    tr = conn.transaction()

    async def fails() -> None:
        async with tr:
            raise LookupError("mine")

    return [await caught(fails()), conn.is_in_transaction(), await caught(tr.rollback())]


@case
async def states_in_words(conn: Any, pool: Any) -> Any:
    tr = conn.transaction(isolation="serializable", readonly=True, deferrable=True)
    words = [repr(tr)]
    await tr.start()
    words.append(repr(tr))
    await tr.commit()
    words.append(repr(tr))
    other = conn.transaction()
    await other.start()
    await other.rollback()
    words.append(repr(other))
    return [re.sub(r"^<\w+\.", "<", re.sub(r"0x[0-9a-f]+", "0x", each)) for each in words]


@case
async def on_a_closed_connection(conn: Any, pool: Any) -> Any:
    tr, started = conn.transaction(), conn.transaction()
    await started.start()
    await conn.close()
    return [await caught(tr.start), await caught(started.commit), await caught(started.rollback)]


@case
async def block_whose_connection_is_closed_inside(conn: Any, pool: Any) -> Any:
    async def closes() -> None:
        async with conn.transaction():
            await conn.close()

    return await caught(closes())


@case
async def on_a_released_lease(conn: Any, pool: Any) -> Any:
    lease = await pool.acquire()
    tr, started = lease.transaction(), lease.transaction()
    await pool.release(lease)
    found = [await caught(tr.start), await caught(started.commit)]
    again = await pool.acquire()
    found.append(await caught(tr.start))
    await pool.release(again)
    return found


@case
async def block_whose_lease_is_released_inside(conn: Any, pool: Any) -> Any:
    async def releases() -> None:
        lease = await pool.acquire()
        async with lease.transaction():
            await pool.release(lease)

    return [await caught(releases()), await pool.fetchval("SELECT 1")]


@case
async def generator_left_in_the_middle(conn: Any, pool: Any) -> Any:
    async def rows() -> Any:
        async with pool.acquire() as lease, lease.transaction():
            for row in await lease.fetch("SELECT generate_series(1, 3)"):
                yield row[0]

    generator = rows()
    first = await generator.__anext__()
    await generator.aclose()
    return [first, await pool.fetchval("SELECT 1")]


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    # asyncpg reports what it finds left open at a release to the loop's exception handler.
    caplog.set_level("CRITICAL", "asyncio")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", sorted(CASES))
async def test_transaction_does_what_asyncpgs_does(dsn: str, name: str) -> None:
    async def outcome(driver: Any) -> Any:
        conn = await driver.connect(dsn)
        pool = await driver.create_pool(dsn, min_size=1, max_size=1)
        try:
            return await CASES[name](conn, pool)
        except Exception as error:
            return type(error).__name__, str(error)
        finally:
            await conn.close()
            await pool.close()

    assert await outcome(holisticpool) == await outcome(asyncpg)
