"""Tables and types that change while statements are prepared on several connections, and statements that vanish."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from observing import Observer, settled, unique_name, until

import holisticpool
from holisticpool import exceptions

CONNECTIONS = 3


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[holisticpool.Pool]:
    """Several connections, none of which may break."""
    async with holisticpool.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        yield pool
        stats = await settled(pool)
        assert stats["recycled"]["broken"] == 0


@pytest.fixture
async def table(observer: Observer) -> AsyncIterator[str]:
    """A table with one row, (1, 'one')."""
    name = unique_name("changing")
    await observer.ask(f"CREATE TABLE {name} (id int, label text); INSERT INTO {name} VALUES (1, 'one')")
    yield name
    await observer.ask(f"DROP TABLE IF EXISTS {name}")


async def everywhere(pool: holisticpool.Pool, query: str, *args: object, in_transaction: bool = False) -> list[object]:
    """Run a query once on every connection and return the first row (or the error) of each."""
    leases = [await pool.acquire() for _ in range(CONNECTIONS)]

    async def run(lease: holisticpool.Connection) -> object:
        try:
            if in_transaction:
                async with lease.transaction():
                    return await lease.fetchrow(query, *args)
            return await lease.fetchrow(query, *args)
        except exceptions.PostgresError as error:
            return error

    try:
        return [await run(lease) for lease in leases]
    finally:
        for lease in leases:
            await pool.release(lease)


CHANGES = {
    "column type": ("ALTER TABLE {t} ALTER label TYPE int USING 7", (1, 7)),
    "column added": ("ALTER TABLE {t} ADD more date DEFAULT '2024-02-01'", None),
    "column dropped": ("ALTER TABLE {t} DROP label", (1,)),
    "column order": ("ALTER TABLE {t} DROP id; ALTER TABLE {t} ADD id int DEFAULT 1", ("one", 1)),
    "recreated": ("DROP TABLE {t}; CREATE TABLE {t} AS SELECT 'x' AS id, 2.5 AS label", None),
    "recreated alike": ("DROP TABLE {t}; CREATE TABLE {t} AS SELECT 5 AS id, 'five' AS label", (5, "five")),
    "became a view": ("DROP TABLE {t}; CREATE VIEW {t} AS SELECT 6 AS id, '{{1,2}}'::int[] AS label", (6, [1, 2])),
    "wider key": ("ALTER TABLE {t} ALTER id TYPE bigint", (1, "one")),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_change_of_a_result_is_not_noticed_outside_a_transaction(
    pool: holisticpool.Pool, table: str, observer: Observer, change: str
) -> None:
    query = f"SELECT * FROM {table}"
    assert await everywhere(pool, query) == [(1, "one")] * CONNECTIONS
    ddl, expected = CHANGES[change]
    await observer.ask(ddl.format(t=table))
    try:
        fresh = await asyncio.to_thread(observer.server.psql, query)
        for _ in range(2):
            for row in await everywhere(pool, query):
                assert isinstance(row, holisticpool.Record)
                assert expected is None or row == expected
                assert len(row) == len(fresh.split("|"))
    finally:
        await observer.ask(f"DROP VIEW IF EXISTS {table}" if change == "became a view" else "SELECT 1")


async def test_change_of_a_result_fails_at_most_one_transaction_of_a_connection(
    pool: holisticpool.Pool, table: str, observer: Observer
) -> None:
    query = f"SELECT * FROM {table}"
    await everywhere(pool, query, in_transaction=True)
    await observer.ask(f"ALTER TABLE {table} ALTER label TYPE int USING 7")
    first = await everywhere(pool, query, in_transaction=True)
    assert all(row == (1, 7) or isinstance(row, exceptions.InvalidCachedStatementError) for row in first)
    for _ in range(3):
        assert await everywhere(pool, query, in_transaction=True) == [(1, 7)] * CONNECTIONS


async def test_renamed_column_is_found_under_its_new_name(
    pool: holisticpool.Pool, table: str, observer: Observer
) -> None:
    query = f"SELECT * FROM {table}"
    await everywhere(pool, query)
    await observer.ask(f"ALTER TABLE {table} RENAME label TO caption")
    for _ in range(2):
        for row in await everywhere(pool, query):
            assert isinstance(row, holisticpool.Record)
            assert dict(row) == {"id": 1, "caption": "one"}


async def test_dropped_table_is_an_error_until_it_is_there_again(
    pool: holisticpool.Pool, table: str, observer: Observer
) -> None:
    query = f"SELECT * FROM {table} WHERE id = $1"
    assert await everywhere(pool, query, 1) == [(1, "one")] * CONNECTIONS
    await observer.ask(f"DROP TABLE {table}")
    for error in await everywhere(pool, query, 1):
        assert isinstance(error, exceptions.UndefinedTableError)
    await observer.ask(f"CREATE TABLE {table} AS SELECT 1 AS id, 'again' AS label")
    for in_transaction in (False, True):
        assert await everywhere(pool, query, 1, in_transaction=in_transaction) == [(1, "again")] * CONNECTIONS


async def test_wider_type_of_a_parameter_is_taken_up(pool: holisticpool.Pool, table: str, observer: Observer) -> None:
    query = f"SELECT label FROM {table} WHERE id = $1"
    assert await everywhere(pool, query, 1) == [("one",)] * CONNECTIONS
    await observer.ask(f"ALTER TABLE {table} ALTER id TYPE bigint; UPDATE {table} SET id = {2**40}")

    async def is_found() -> bool:
        try:
            return bool(await pool.fetchval(query, 2**40) == "one")
        except exceptions.DataError:
            return False  # for the short time that types are taken for granted

    await until(is_found, "the parameter is known to be a bigint")
    assert await everywhere(pool, query, 2**40) == [("one",)] * CONNECTIONS


async def test_other_type_of_a_parameter_is_taken_up(pool: holisticpool.Pool, table: str, observer: Observer) -> None:
    query = f"UPDATE {table} SET id = $1 RETURNING id"
    assert await everywhere(pool, query, 5) == [(5,)] * CONNECTIONS
    await observer.ask(f"ALTER TABLE {table} ALTER id TYPE uuid USING '00000000-0000-0000-0000-000000000000'")
    value = uuid.UUID("12345678-1234-5678-1234-567812345678")

    async def is_set() -> bool:
        try:
            return bool(await pool.fetchval(query, value) == value)
        except exceptions.DataError:
            return False

    await until(is_set, "the parameter is known to be a uuid")
    assert await everywhere(pool, query, value) == [(value,)] * CONNECTIONS


async def test_argument_that_fits_the_old_type_only_is_sent_as_the_new_one(
    pool: holisticpool.Pool, table: str, observer: Observer
) -> None:
    query = f"SELECT label FROM {table} WHERE id = $1"
    await everywhere(pool, query, 1)
    await observer.ask(f"ALTER TABLE {table} ALTER id TYPE text")
    for _ in range(2):
        # The server refuses text = integer; described anew, the argument is what is wrong.
        with pytest.raises(exceptions.DataError, match="expected str"):
            await pool.fetchval(query, 1)
    assert await everywhere(pool, query, "1") == [("one",)] * CONNECTIONS


async def test_cursor_of_the_same_name_may_have_other_columns(pool: holisticpool.Pool) -> None:
    async with pool.acquire() as connection:
        for query, row in (("SELECT 1 AS a", {"a": 1}), ("SELECT 'x' AS b, 2 AS c", {"b": "x", "c": 2})):
            for _ in range(2):
                async with connection.transaction():
                    await connection.execute(f"DECLARE walker CURSOR FOR {query}")
                    found = await connection.fetch("FETCH ALL FROM walker")
                    assert [dict(each) for each in found] == [row]


@pytest.mark.parametrize("vanish", ["DEALLOCATE ALL", "DISCARD ALL", "DISCARD PLANS"])
async def test_statements_that_vanish_behind_our_back_are_prepared_again(
    pool: holisticpool.Pool, table: str, observer: Observer, vanish: str
) -> None:
    query = f"SELECT label FROM {table} WHERE id = $1"
    hide = f"""CREATE OR REPLACE FUNCTION vanish_{table}() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN EXECUTE '{vanish}'; END $$"""
    async with pool.acquire() as connection:
        for _ in range(3):
            assert await connection.fetchval(query, 1) == "one"
            await connection.execute(vanish)
            assert await connection.fetchval(query, 1) == "one"
    if vanish == "DEALLOCATE ALL":  # the others cannot be run inside a function
        await observer.ask(hide)
        for _ in range(3):
            await everywhere(pool, f"SELECT vanish_{table}()")
            assert await everywhere(pool, query, 1) == [("one",)] * CONNECTIONS
        await observer.ask(f"DROP FUNCTION vanish_{table}()")


async def test_statement_that_vanished_fails_at_most_one_transaction(pool: holisticpool.Pool, table: str) -> None:
    query = f"SELECT label FROM {table} WHERE id = $1"
    async with pool.acquire() as connection:
        await connection.fetchval(query, 1)
        await connection.execute("DEALLOCATE ALL")
        outcomes = []
        for _ in range(3):
            try:
                async with connection.transaction():
                    outcomes.append(await connection.fetchval(query, 1))
            except exceptions.InvalidSQLStatementNameError:
                outcomes.append("failed")
        assert outcomes[1:] == ["one", "one"]


async def test_missing_statement_of_the_users_own_is_reported_each_time(pool: holisticpool.Pool) -> None:
    async with pool.acquire() as connection:
        for _ in range(3):
            with pytest.raises(exceptions.InvalidSQLStatementNameError):
                await connection.fetch("EXECUTE not_there")
            async with connection.transaction():
                with pytest.raises(exceptions.InvalidSQLStatementNameError):
                    async with connection.transaction():
                        await connection.fetch("EXECUTE not_there")
            await connection.execute("PREPARE not_there AS SELECT 12")
            assert await connection.fetchval("EXECUTE not_there") == 12
            await connection.execute("DEALLOCATE not_there")


async def test_enum_that_is_recreated_or_gets_a_label_is_served(pool: holisticpool.Pool, observer: Observer) -> None:
    name = unique_name("mood")
    query = f"SELECT $1::{name}, $1::{name}::text"
    await observer.ask(f"CREATE TYPE {name} AS ENUM ('sad', 'ok')")
    assert await everywhere(pool, query, "ok") == [("ok", "ok")] * CONNECTIONS
    await observer.ask(f"ALTER TYPE {name} ADD VALUE 'happy'")
    assert await everywhere(pool, query, "happy") == [("happy", "happy")] * CONNECTIONS
    await observer.ask(f"DROP TYPE {name}; CREATE TYPE {name} AS ENUM ('new')")
    outcomes = [await everywhere(pool, query, "new") for _ in range(2)]
    assert outcomes[-1] == [("new", "new")] * CONNECTIONS, outcomes
    await observer.ask(f"DROP TYPE {name}")


async def test_enum_column_of_a_recreated_table_is_served(pool: holisticpool.Pool, observer: Observer) -> None:
    name = unique_name("mood")
    make = f"CREATE TYPE {name} AS ENUM ('{{0}}'); CREATE TABLE t_{name} AS SELECT '{{0}}'::{name} AS mood"
    drop = f"DROP TABLE t_{name}; DROP TYPE {name}"
    for label in ("first", "second", "third"):
        await observer.ask(make.format(label))
        assert await everywhere(pool, f"SELECT * FROM t_{name}") == [(label,)] * CONNECTIONS
        await observer.ask(drop)


async def test_search_path_decides_which_table_is_meant(pool: holisticpool.Pool, observer: Observer) -> None:
    name = unique_name("tenant")
    for schema, value in ((f"{name}_a", "1"), (f"{name}_b", "'text'")):
        await observer.ask(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.{name} AS SELECT {value} AS v")
    async with pool.acquire() as connection:
        for _ in range(3):
            await connection.execute(f"SET search_path TO {name}_a")
            assert await connection.fetchval(f"SELECT * FROM {name}") == 1
            await connection.execute(f"SET search_path TO {name}_b")
            assert await connection.fetchval(f"SELECT * FROM {name}") == "text"
    with pytest.raises(exceptions.UndefinedTableError):
        await pool.fetchval(f"SELECT * FROM {name}")
    await observer.ask(f"DROP SCHEMA {name}_a CASCADE; DROP SCHEMA {name}_b CASCADE")


async def test_executemany_goes_on_over_a_changed_table(
    pool: holisticpool.Pool, table: str, observer: Observer
) -> None:
    text = f"INSERT INTO {table} (id, label) VALUES ($1, $2)"
    async with pool.acquire() as connection:
        await connection.executemany(text, [(2, "two")])
        await observer.ask(f"ALTER TABLE {table} ALTER id TYPE bigint, ALTER label TYPE varchar(20)")
        await connection.executemany(text, [(3, "three"), (2**20, "many")])
        await connection.execute("DEALLOCATE ALL")
        await connection.executemany(text, [(4, "four")])
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 5


async def test_statements_of_many_tasks_survive_changes_under_load(
    pool: holisticpool.Pool, table: str, observer: Observer
) -> None:
    over = asyncio.Event()
    seen: set[type] = set()

    async def reader() -> None:
        while not over.is_set():
            value = await pool.fetchval(f"SELECT label FROM {table} WHERE id = $1", 1)
            assert value in ("one", 7)
            seen.add(type(value))

    readers = [asyncio.create_task(reader()) for _ in range(8)]
    for _ in range(5):
        await observer.ask(f"ALTER TABLE {table} ALTER label TYPE int USING 7")
        await observer.ask(f"ALTER TABLE {table} ALTER label TYPE text USING 'one'")
    over.set()
    await asyncio.gather(*readers)
    assert seen == {int, str}
