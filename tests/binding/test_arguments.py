"""The arguments of a statement: how many, which, and what happens to one that does not fit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, Record, exceptions

METHODS = ("fetch", "fetchrow", "fetchval", "execute")


# ---- the number of arguments ----


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "sql, arguments, text",
    [
        ("SELECT 1", (1,), "the server expects 0 arguments for this query, 1 was passed"),
        ("SELECT 1", (1, 2), "the server expects 0 arguments for this query, 2 were passed"),
        ("SELECT $1::int", (1, 2), "the server expects 1 argument for this query, 2 were passed"),
        ("SELECT $1::int + $2::int", (1,), "the server expects 2 arguments for this query, 1 was passed"),
    ],
)
async def test_wrong_number_of_arguments(
    pool: Pool, method: str, sql: str, arguments: tuple[Any, ...], text: str
) -> None:
    for _ in range(2):  # new to the pool, then known to it
        with pytest.raises(exceptions.InterfaceError) as caught:
            await getattr(pool, method)(sql, *arguments)
        assert caught.value.args == (text,)
        assert ("SELECT, INSERT" in (caught.value.hint or "")) == ("expects 0" in text)


@pytest.mark.parametrize("method", ["fetch", "fetchrow", "fetchval"])
async def test_missing_arguments(pool: Pool, method: str) -> None:
    for _ in range(2):
        with pytest.raises(exceptions.InterfaceError) as caught:
            await getattr(pool, method)("SELECT $1::int, $2::int")
        assert caught.value.args == ("the server expects 2 arguments for this query, 0 were passed",)
        assert "$1" in (caught.value.hint or "")


async def test_execute_without_arguments_lets_the_server_complain(pool: Pool) -> None:
    with pytest.raises(exceptions.UndefinedParameterError):
        await pool.execute("SELECT $1::int")


@pytest.mark.parametrize("method", METHODS)
async def test_call_without_a_query_is_a_type_error(pool: Pool, method: str) -> None:
    with pytest.raises(TypeError, match=rf"{method}\(\) missing 1 required positional argument: 'query'"):
        getattr(pool, method)()


@pytest.mark.parametrize("method", METHODS)
async def test_unknown_keyword_is_a_type_error(pool: Pool, method: str) -> None:
    with pytest.raises(TypeError, match=rf"{method}\(\) got an unexpected keyword argument 'wrong'"):
        getattr(pool, method)("SELECT 1", wrong=1)


async def test_keywords_of_other_methods_are_type_errors(pool: Pool) -> None:
    with pytest.raises(TypeError):
        pool.fetch("SELECT 1", column=1)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        pool.fetchval("SELECT 1", record_class=Record)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        pool.execute("SELECT 1", record_class=Record)  # type: ignore[call-arg]


async def test_query_may_be_given_by_name(pool: Pool) -> None:
    assert await pool.fetchval(query="SELECT 1") == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("query", [None, 1, b"SELECT 1", ["SELECT 1"]])
async def test_query_that_is_no_str_is_a_type_error(pool: Pool, method: str, query: Any) -> None:
    with pytest.raises(TypeError):
        await getattr(pool, method)(query)


@pytest.mark.parametrize("query", ["SELECT 1 \0", "\0", "SELECT '\ud800'"])
async def test_query_that_cannot_be_sent_is_a_value_error(pool: Pool, query: str) -> None:
    for method in METHODS:
        with pytest.raises(ValueError):
            await getattr(pool, method)(query)
    assert await pool.fetchval("SELECT 1") == 1


async def test_many_arguments(pool: Pool) -> None:
    for n in (8, 9, 100, 2000):
        sql = "SELECT " + " + ".join(f"${i}::int" for i in range(1, n + 1))
        for _ in range(2):
            assert await pool.fetchval(sql, *range(n)) == sum(range(n))


async def test_more_arguments_than_the_protocol_has_room_for_are_refused(pool: Pool) -> None:
    with pytest.raises(exceptions.InterfaceError, match="65536"):
        await pool.fetchval("SELECT 1", *range(65536))
    assert await pool.fetchval("SELECT 1") == 1


# ---- arguments that do not fit ----


BAD_ARGUMENTS: list[tuple[str, tuple[Any, ...], str]] = [
    ("SELECT $1::int", ("one",), "invalid input for query argument $1: 'one' ("),
    ("SELECT $1::int", (1.5,), "invalid input for query argument $1: 1.5 ("),
    ("SELECT $1::int", (2**31,), "invalid input for query argument $1: 2147483648 ("),
    ("SELECT $1::int, $2::int", (1, "two"), "invalid input for query argument $2: 'two' ("),
    ("SELECT $1::text, $2::bool, $3::uuid", ("a", True, "no uuid"), "invalid input for query argument $3: 'no uuid' ("),
    ("SELECT $1::text", (1,), "invalid input for query argument $1: 1 ("),
    ("SELECT $1::text", ("a\0b",), "invalid input for query argument $1: 'a\\x00b' ("),
    ("SELECT $1::date", ("2020-01-01",), "invalid input for query argument $1: '2020-01-01' ("),
    ("SELECT $1::int[]", (["a"],), "invalid input for query argument $1: ['a'] ("),
    ("SELECT $1::int[]", (5,), "invalid input for query argument $1: 5 ("),
]


@pytest.mark.parametrize("sql, arguments, start", BAD_ARGUMENTS)
async def test_bad_argument_is_named_by_position(
    conn: Connection, sql: str, arguments: tuple[Any, ...], start: str
) -> None:
    for _ in range(2):
        with pytest.raises(exceptions.DataError) as caught:
            await conn.fetch(sql, *arguments)
        assert str(caught.value).startswith(start)
        assert isinstance(caught.value, ValueError)
    assert await conn.fetchval("SELECT 1") == 1


async def test_bad_argument_sends_nothing_once_the_statement_is_known(pool: Pool) -> None:
    await pool.fetchval("SELECT $1::int", 1)
    before = pool._stats()["queries"]
    with pytest.raises(exceptions.DataError):
        await pool.fetchval("SELECT $1::int", "one")
    assert pool._stats()["queries"] == before


async def test_bad_argument_does_not_end_a_transaction(conn: Connection) -> None:
    async with conn.transaction():
        with pytest.raises(exceptions.DataError):
            await conn.fetchval("SELECT $1::int", "one")
        assert await conn.fetchval("SELECT $1::int", 1) == 1


async def test_long_argument_is_shortened_in_the_message(pool: Pool) -> None:
    with pytest.raises(exceptions.DataError) as caught:
        await pool.fetchval("SELECT $1::int", "x" * 10_000)
    assert len(str(caught.value)) < 300
    assert "..." in str(caught.value)


async def test_argument_whose_repr_fails_raises_that(pool: Pool) -> None:
    class Bad:
        def __repr__(self) -> str:
            raise KeyError("no repr")

    for _ in range(2):
        with pytest.raises(KeyError, match="no repr"):
            await pool.fetchval("SELECT $1::int", Bad())
    assert await pool.fetchval("SELECT 1") == 1


async def test_error_of_the_arguments_own_code_passes_through(pool: Pool) -> None:
    class Interrupted(BaseException):
        pass

    class Bad(list[int]):
        def __iter__(self) -> Any:
            raise Interrupted

        def __len__(self) -> int:
            raise Interrupted

    for _ in range(2):
        with pytest.raises(Interrupted):
            await pool.fetchval("SELECT $1::int[]", Bad([1]))
    assert await pool.fetchval("SELECT 1") == 1


async def test_argument_that_starts_its_own_operation_again_is_refused(single: Pool) -> None:
    seen: list[BaseException] = []

    class Restarts(list[int]):
        def __iter__(self) -> Any:
            try:
                operation.send(None)
            except RuntimeError as error:
                seen.append(error)
            return super().__iter__()

    for _ in range(2):
        operation = single.fetchval("SELECT $1::int[]", Restarts([1]))
        assert await operation == [1]
    assert seen


async def test_argument_that_closes_its_own_operation_ends_it(single: Pool) -> None:
    class Closes(list[int]):
        def __iter__(self) -> Any:
            operation.close()
            return super().__iter__()

    await single.fetchval("SELECT $1::int[]", [1])
    operation = single.fetchval("SELECT $1::int[]", Closes([1]))
    with pytest.raises(RuntimeError):
        await operation
    assert await single.fetchval("SELECT 1") == 1


async def test_argument_that_cancels_its_own_operation_cancels_it(single: Pool) -> None:
    class Cancels(list[int]):
        def __iter__(self) -> Any:
            operation.cancel()  # type: ignore[attr-defined]
            return super().__iter__()

    for sql in ("SELECT $1::int[]", "SELECT $1::int[]"):
        operation = single.fetchval(sql, Cancels([1]))
        with pytest.raises(asyncio.CancelledError):
            await operation
    assert await single.fetchval("SELECT 1") == 1


async def test_argument_that_terminates_the_pool_ends_the_operation(dsn: str) -> None:
    class Terminates(list[int]):
        def __iter__(self) -> Any:
            pool.terminate()
            return super().__iter__()

    for known in (False, True):
        # Known: its arguments are read before it is sent. Else it is under way, to be described.
        ended = exceptions.InterfaceError if known else exceptions.ConnectionDoesNotExistError
        pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1)
        if known:
            await pool.fetchval("SELECT $1::int[]", [1])
        with pytest.raises(ended):
            await pool.fetchval("SELECT $1::int[]", Terminates([1]))
        pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1)
        connection = await pool.acquire()
        if known:
            await connection.fetchval("SELECT $1::int[]", [1])
        with pytest.raises(ended):
            await connection.fetchval("SELECT $1::int[]", Terminates([1]))
        await pool.release(connection)


async def test_argument_list_that_changes_while_it_is_encoded_does_no_harm(pool: Pool) -> None:
    numbers: list[Any] = [1, 2, 3]

    class Shrinks(str):
        pass

    class Clears:
        def __str__(self) -> str:
            numbers.clear()
            return "1"

        __repr__ = __str__

        def __index__(self) -> int:
            numbers.clear()
            return 1

        def __float__(self) -> float:
            numbers.clear()
            return 1.0

    for sql in ("SELECT $1::int[]", "SELECT $1::numeric[]", "SELECT $1::float8[]", "SELECT $1::text[]"):
        for _ in range(2):
            numbers[:] = [Clears(), 2, 3]
            try:
                await pool.fetchval(sql, numbers)
            except exceptions.DataError:
                pass
    assert await pool.fetchval("SELECT 1") == 1
