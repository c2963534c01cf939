"""Connection.pipeline(): results, errors and transactions of statements that do not wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import Connection, Pool, Record, exceptions
from holisticpool.pipeline import Pipeline


class Row(Record):
    """Rows of one's own."""


class Relay:
    """Between a connection and the server: counts how often the client speaks after the server did."""

    def __init__(self) -> None:
        self.turns = 0
        self._server_spoke = True
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, host: str, port: int) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            up_reader, up_writer = await asyncio.open_connection(host, port)
            self._writers += [writer, up_writer]
            await asyncio.gather(self._pump(reader, up_writer, True), self._pump(up_reader, writer, False))

        return await asyncio.start_server(accept, "127.0.0.1", 0)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_client: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if from_client and self._server_spoke:
                    self.turns += 1
                self._server_spoke = not from_client
                writer.write(data)
                await writer.drain()
        writer.close()


async def names(conn: Connection, table: str) -> list[int]:
    return [row["id"] for row in await conn.fetch(f"SELECT id FROM {table} ORDER BY id")]


def insert(pipe: Pipeline, table: str, n: int, **keywords: Any) -> holisticpool.pipeline.PipelineResult[str]:
    return pipe.execute(f"INSERT INTO {table} VALUES ($1, 'x')", n, **keywords)


# ---- results ----


async def test_results_belong_to_their_statements(conn: Connection, table: str) -> None:
    async with conn.pipeline() as pipe:
        results = [pipe.fetchval("SELECT $1::int", n) for n in range(500)]
        tag = insert(pipe, table, 1)
        rows = pipe.fetch(f"SELECT * FROM {table}")
        row = pipe.fetchrow(f"SELECT * FROM {table}")
        none = pipe.fetchrow(f"SELECT * FROM {table} WHERE id = 2")
    assert [await result for result in results] == list(range(500))
    assert await tag == "INSERT 0 1"
    assert await rows == [(1, "x")]
    assert tuple(await row) == (1, "x")
    assert await none is None


async def test_methods_take_what_the_connections_methods_take(conn: Connection) -> None:
    async with conn.pipeline() as pipe:
        rows = pipe.fetch("SELECT $1::int AS n", 1, record_class=Row, timeout=30)
        as_dict = pipe.fetchrow("SELECT :n::int AS n", params={"n": 2}, rows="dict")
        by_name = pipe.fetchval("SELECT 1 AS a, 3 AS b", column="b")
        with pytest.raises(TypeError, match="unexpected keyword"):
            pipe.execute("SELECT 1", rows="dict")  # type: ignore[call-arg]
    assert type((await rows)[0]) is Row
    assert await as_dict == {"n": 2}
    assert await by_name == 3


async def test_a_result_can_be_awaited_inside_and_again_and_by_several_tasks(conn: Connection) -> None:
    async def wait(result: Any) -> Any:
        return await result

    async with conn.pipeline() as pipe:
        result = pipe.fetchval("SELECT 5 FROM pg_sleep(0.01)")
        assert not result.done()
        assert list(await asyncio.gather(wait(result), wait(result), result)) == [5, 5, 5]
        assert result.done()
        assert await result == 5
        assert await pipe.fetchval("SELECT 6") == 6
    assert await result == 5


async def test_a_statement_leaves_though_nobody_awaits_it(conn: Connection, dsn: str, table: str) -> None:
    other = await holisticpool.connect(dsn)
    try:
        await other.execute("SELECT pg_advisory_lock(471113)")
        async with conn.pipeline() as pipe:
            pipe.execute("SELECT pg_advisory_lock(471113)")
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE objid = 471113 AND NOT granted"):
                await asyncio.sleep(0)
            await other.execute("SELECT pg_advisory_unlock_all()")
    finally:
        await other.close()


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_statements_that_are_known_take_one_round_trip(
    dsn: str, server: PostgresServer, in_transaction: bool
) -> None:
    relay = Relay()
    async with await relay.serve("127.0.0.1", server.port) as listening:
        port = listening.sockets[0].getsockname()[1]
        conn = await holisticpool.connect(dsn, host="127.0.0.1", port=port, ssl="disable")
        for text in ("SELECT $1::int", "SELECT $1::text"):
            await conn.prepare(text)
            await conn.fetchval(text, 1 if "int" in text else "a")
        before = relay.turns
        async with contextlib.AsyncExitStack() as stack:
            pipe = await stack.enter_async_context(conn.pipeline())
            if in_transaction:
                await stack.enter_async_context(pipe.transaction())
            results = [pipe.fetchval("SELECT $1::int", 1), pipe.fetchval("SELECT $1::text", "a")]
        turns = relay.turns - before
        assert [await result for result in results] == [1, "a"]
        assert turns == 1 or (not in_transaction and turns == 2)
        await conn.close()


async def test_order_is_kept_where_statements_and_types_are_new(conn: Connection, table: str) -> None:
    await conn.execute("CREATE TYPE pg_temp.piped_mood AS ENUM ('sad', 'ok')")
    async with conn.pipeline() as pipe:
        counts = []
        for n in range(8):
            counts.append(pipe.fetchval(f"SELECT count(*) + {n * 100} FROM {table}"))
            pipe.execute(f"INSERT INTO {table} VALUES ({n})")
            counts.append(pipe.fetchval(f"SELECT ($1::pg_temp.piped_mood, {n})", "ok"))
    assert [await count for count in counts[::2]] == [n * 101 for n in range(8)]
    assert [await count for count in counts[1::2]] == [("ok", n) for n in range(8)]


async def test_many_large_answers_flow_and_leave_the_loop_to_others(conn: Connection) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    async with conn.pipeline() as pipe:
        results = [pipe.fetchval("SELECT length($1) || repeat('x', $2)", "y" * 3000, 5000) for _ in range(10_000)]
        before = turns
    assert turns - before > 50
    task.cancel()
    assert {len(await result) for result in results} == {5004}


# ---- errors ----


async def test_first_error_that_nobody_awaited_is_raised_at_the_end(conn: Connection, table: str) -> None:
    with pytest.raises(exceptions.DivisionByZeroError) as raised:
        async with conn.pipeline() as pipe:
            good = insert(pipe, table, 1)
            bad = pipe.fetchval("SELECT 1/0")
            worse = insert(pipe, table, 1)
            last = insert(pipe, table, 2)
    assert await good == await last == "INSERT 0 1"
    assert [type(error) for error in pipe.errors] == [exceptions.DivisionByZeroError, exceptions.UniqueViolationError]
    assert pipe.errors[0] is raised.value
    for _ in range(2):
        with pytest.raises(exceptions.DivisionByZeroError):
            await bad
    with pytest.raises(exceptions.UniqueViolationError):
        await worse
    if hasattr(raised.value, "__notes__"):
        assert "1 more failed" in raised.value.__notes__[0]
    assert await names(conn, table) == [1, 2]


async def test_an_awaited_error_is_not_raised_again(conn: Connection) -> None:
    async with conn.pipeline() as pipe:
        with pytest.raises(exceptions.DivisionByZeroError):
            await pipe.fetchval("SELECT 1/0")
        with pytest.raises(exceptions.UndefinedTableError):
            await pipe.fetchval("SELECT * FROM no_such_table")
        assert await pipe.fetchval("SELECT 1") == 1


async def test_an_argument_that_cannot_be_encoded_is_an_error_of_its_result(conn: Connection, table: str) -> None:
    for _ in range(2):  # the second time the types are known already
        async with conn.pipeline() as pipe:
            bad = pipe.execute(f"INSERT INTO {table} VALUES ($1)", "not a number")
            with pytest.raises(exceptions.DataError):
                await bad
            good = pipe.fetchval("SELECT 1")
        assert await good == 1


@pytest.mark.parametrize("query", ["COPY pg_class TO STDOUT", "COPY {table} FROM STDIN"])
async def test_copy_is_refused(conn: Connection, table: str, query: str) -> None:
    with pytest.raises(exceptions.InterfaceError, match="COPY cannot be run"):
        async with conn.pipeline() as pipe:
            pipe.execute(query.format(table=table))
            good = pipe.fetchval("SELECT 1")
    assert await good == 1


async def test_scripts_are_refused(conn: Connection) -> None:
    with pytest.raises(exceptions.PostgresSyntaxError, match="multiple commands"):
        async with conn.pipeline() as pipe:
            pipe.execute("SELECT 1; SELECT 2")


async def test_the_connection_itself_is_refused_while_the_pipeline_is_open(conn: Connection) -> None:
    async with conn.pipeline() as pipe:
        for attempt in (
            conn.fetch("SELECT 1"),
            conn.execute("SELECT 1"),
            conn.executemany("SELECT $1", [("1",)]),
            conn.transaction().start(),
            conn.prepare("SELECT 1"),
            conn.pipeline().__aenter__(),
        ):
            with pytest.raises(exceptions.InterfaceError, match="a pipeline is open"):
                await attempt
        assert await pipe.fetchval("SELECT 1") == 1
    assert await conn.fetchval("SELECT 1") == 1


async def test_a_pipeline_is_for_one_block(conn: Connection) -> None:
    pipe = conn.pipeline()
    with pytest.raises(exceptions.InterfaceError, match="not open"):
        pipe.fetch("SELECT 1")
    async with pipe:
        pass
    with pytest.raises(exceptions.InterfaceError, match="is closed"):
        pipe.fetch("SELECT 1")
    with pytest.raises(exceptions.InterfaceError, match="used already"):
        await pipe.__aenter__()


async def test_a_released_connection_ends_its_pipeline(single: Pool) -> None:
    connection = await single.acquire()
    with pytest.raises(exceptions.InterfaceError, match="released while"):
        async with connection.pipeline() as pipe:
            slow = pipe.execute("SELECT pg_sleep(600)")
            more = pipe.fetchval("SELECT 1")
            await asyncio.sleep(0)
            await single.release(connection)
            with pytest.raises(exceptions.InterfaceError):
                await more
            with pytest.raises(exceptions.InterfaceError):
                await pipe.fetchval("SELECT 2")
    assert slow.done()
    assert await single.fetchval("SELECT 1") == 1


# ---- transactions ----


async def test_a_transaction_commits(conn: Connection, table: str) -> None:
    async with conn.pipeline() as pipe:
        before = pipe.fetchval("SELECT txid_current_if_assigned()")
        async with pipe.transaction(isolation="serializable", deferrable=True):
            level = pipe.fetchval("SHOW transaction_isolation")
            results = [insert(pipe, table, n) for n in range(20)]
            assert await results[3] == "INSERT 0 1"
            assert conn.is_in_transaction()
        assert all(result.done() for result in results)
        assert not conn.is_in_transaction()
        after = pipe.fetchval("SHOW transaction_isolation")
    assert await before is None
    assert await level == "serializable"
    assert await after == "read committed"
    assert await names(conn, table) == list(range(20))


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("place", range(4))
async def test_a_failing_statement_undoes_its_transaction(
    conn: Connection, table: str, place: int, awaited: bool
) -> None:
    with pytest.raises(exceptions.DivisionByZeroError):
        async with conn.pipeline() as pipe:
            before = insert(pipe, table, 100)
            async with pipe.transaction():
                results = [insert(pipe, table, n) for n in range(place)]
                bad = pipe.execute("SELECT 1/0")
                if awaited:
                    with contextlib.suppress(exceptions.DivisionByZeroError):
                        await bad
                results += [insert(pipe, table, n) for n in range(place, 3)]
    assert await before == "INSERT 0 1"
    for n, result in enumerate(results):
        if n < place:
            assert await result == "INSERT 0 1"
        else:
            with pytest.raises(exceptions.InFailedSQLTransactionError) as skipped:
                await result
            assert type(skipped.value.__cause__) is exceptions.DivisionByZeroError
    assert not conn.is_in_transaction()
    assert await names(conn, table) == [100]


@pytest.mark.parametrize("bad", ["encoding", "copy", "commit", "begin"])
async def test_whatever_fails_nothing_is_committed(conn: Connection, table: str, bad: str) -> None:
    await conn.execute("CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    expected: dict[str, type[Exception]] = {
        "encoding": exceptions.DataError,
        "copy": exceptions.InterfaceError,
        "commit": exceptions.UniqueViolationError,
        "begin": exceptions.PostgresSyntaxError,
    }
    async with conn.pipeline() as pipe:
        with pytest.raises(expected[bad]):
            transaction = pipe.transaction()
            if bad == "begin":
                transaction._statement = "BEGIN NONSENSE"
            async with transaction:
                insert(pipe, table, 1)
                if bad == "encoding":
                    pipe.execute(f"INSERT INTO {table} VALUES ($1)", "not a number")
                elif bad == "copy":
                    pipe.execute("COPY pg_class TO STDOUT")
                elif bad == "commit":
                    pipe.execute("INSERT INTO late VALUES (1), (1)")
                insert(pipe, table, 2)
        assert await pipe.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert await names(conn, table) == []


async def test_an_exception_in_the_block_rolls_back(conn: Connection, table: str) -> None:
    async with conn.pipeline() as pipe:
        with pytest.raises(ArithmeticError):
            async with pipe.transaction():
                done = insert(pipe, table, 1)
                assert await done == "INSERT 0 1"
                left = pipe.execute("SELECT pg_sleep(600)")
                raise ArithmeticError
        with pytest.raises(exceptions.InterfaceError, match="was cancelled"):
            await left
        async with pipe.transaction():
            insert(pipe, table, 2)
    assert await names(conn, table) == [2]


async def test_transactions_do_not_nest(conn: Connection, table: str) -> None:
    async with conn.pipeline() as pipe, pipe.transaction():
        with pytest.raises(exceptions.InterfaceError, match="no savepoints"):
            await pipe.transaction().__aenter__()
        insert(pipe, table, 1)
    async with conn.transaction(), conn.pipeline() as pipe:
        with pytest.raises(exceptions.InterfaceError, match="inside a transaction"):
            await pipe.transaction().__aenter__()
        insert(pipe, table, 2)
    with pytest.raises(ValueError, match="isolation"):
        conn.pipeline().transaction(isolation="none")
    assert await names(conn, table) == [1, 2]


async def test_a_pipeline_in_a_transaction_of_the_connection(conn: Connection, table: str) -> None:
    with pytest.raises(exceptions.UniqueViolationError):
        async with conn.transaction():
            async with conn.pipeline() as pipe:
                for n in (1, 2, 2, 3):
                    insert(pipe, table, n)
    assert await names(conn, table) == []
    async with conn.transaction(), conn.pipeline() as pipe:
        for n in (1, 2, 3):
            insert(pipe, table, n)
    assert await names(conn, table) == [1, 2, 3]


async def test_where_begin_of_the_connection_fails_nothing_runs(conn: Connection, table: str) -> None:
    await conn.fetch(f"SELECT count(*) FROM {table}")
    with pytest.raises(exceptions.PostgresSyntaxError):
        transaction = conn.transaction()
        transaction._isolation = "nonsense"
        async with transaction, conn.pipeline() as pipe:
            for n in range(3):
                pipe.execute(f"INSERT INTO {table} VALUES ({n})")
    assert await names(conn, table) == []


# ---- leaving ----


async def test_cancelling_an_await_cancels_that_statement_only(conn: Connection, table: str) -> None:
    async with conn.pipeline() as pipe:
        slow = pipe.execute("SELECT pg_sleep(600)")
        more = [insert(pipe, table, n) for n in range(3)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(slow, 0.05)
        assert [await result for result in more] == ["INSERT 0 1"] * 3
        with pytest.raises(exceptions.InterfaceError, match="was cancelled"):
            await slow
    assert await names(conn, table) == [0, 1, 2]


async def test_an_await_that_is_cancelled_leaves_the_statement_to_others_who_await_it(conn: Connection) -> None:
    async def wait(result: Any) -> Any:
        return await result

    async with conn.pipeline() as pipe:
        result = pipe.fetchval("SELECT 5 FROM pg_sleep(0.1)")
        first, second = asyncio.create_task(wait(result)), asyncio.create_task(wait(result))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 5
    assert first.cancelled()


async def test_timeout_is_of_one_statement(conn: Connection, table: str) -> None:
    async with conn.pipeline() as pipe:
        slow = pipe.execute("SELECT pg_sleep(600)", timeout=0.05)
        more = insert(pipe, table, 1)
        with pytest.raises(exceptions.QueryTimeoutError):
            await slow
    assert await more == "INSERT 0 1"


@pytest.mark.parametrize("how", ["timeout", "cancel"])
@pytest.mark.parametrize("place", ["first", "last"])
async def test_one_that_did_not_finish_undoes_its_transaction(
    conn: Connection, table: str, how: str, place: str
) -> None:
    expected: type[Exception] = exceptions.QueryTimeoutError if how == "timeout" else exceptions.InterfaceError
    with pytest.raises(expected):
        async with conn.pipeline() as pipe, pipe.transaction():
            if place == "last":
                insert(pipe, table, 1)
            slow = pipe.execute("SELECT pg_sleep(600)", timeout=0.05 if how == "timeout" else None)
            if place == "first":
                insert(pipe, table, 1)
            if how == "cancel":
                await asyncio.sleep(0)
                assert slow.cancel()
                assert not slow.cancel()
    assert not conn.is_in_transaction()
    assert await names(conn, table) == []


async def test_leaving_by_an_exception_cancels_and_does_not_wait(conn: Connection, table: str) -> None:
    with pytest.raises(ArithmeticError):
        async with conn.pipeline() as pipe:
            results = [pipe.execute("SELECT pg_sleep(600)") for _ in range(5)]
            await asyncio.sleep(0)
            raise ArithmeticError
    assert all(result.done() for result in results)
    assert not conn.is_in_transaction()
    assert await conn.fetchval("SELECT 1") == 1
    for result in results:
        with pytest.raises(exceptions.InterfaceError, match="left by an exception"):
            await result


async def test_cancelled_at_any_turn_all_or_nothing_is_committed(conn: Connection, table: str) -> None:
    async def work(n: int) -> None:
        async with conn.pipeline() as pipe:
            looked = pipe.fetchval(f"SELECT count(*) FROM {table} WHERE id = $1", n)
            async with pipe.transaction():
                insert(pipe, table, n)
                await insert(pipe, table, n + 1)
                insert(pipe, table, n + 2)
            await looked

    n = 0
    for turns in range(60):
        task = asyncio.create_task(work(n))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert not conn.is_in_transaction()
        kept = await conn.fetchval(f"SELECT count(*) FROM {table} WHERE id >= $1", n)
        assert kept in (0, 3)
        n += 3
    await asyncio.wait_for(work(n), 30)


async def test_a_server_that_ends_the_session_fails_every_result(single: Pool, dsn: str) -> None:
    other = await holisticpool.connect(dsn)
    try:
        async with single.acquire() as connection:
            pid = connection.get_server_pid()
            with pytest.raises(exceptions.PostgresError):
                async with connection.pipeline() as pipe, pipe.transaction():
                    results = [pipe.execute("SELECT pg_sleep(600)")] + [pipe.fetchval("SELECT 1") for _ in range(600)]
                    await asyncio.sleep(0)
                    await other.execute("SELECT pg_terminate_backend($1)", pid)
            for result in results[1:]:
                with pytest.raises(exceptions.ConnectionDoesNotExistError):
                    await result
            assert connection.is_closed()
        assert await single.fetchval("SELECT 1") == 1
    finally:
        await other.close()


# ---- the session ----


async def test_what_a_pipeline_does_to_the_session_is_reset(single: Pool) -> None:
    async with single.acquire() as connection, connection.pipeline() as pipe:
        pipe.execute("SET application_name TO 'piped'")
        pipe.fetchval("SELECT pg_advisory_lock(471114)")
    async with single.acquire() as connection:
        assert await connection.fetchval("SHOW application_name") != "piped"
        assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE objid = 471114") == 0


async def test_query_loggers_see_the_statements_and_the_transaction(conn: Connection) -> None:
    seen: list[str] = []
    with conn.query_logger(lambda record: seen.append(record.query)):
        async with conn.pipeline() as pipe, pipe.transaction():
            pipe.fetchval("SELECT 1")
        await asyncio.sleep(0)
    assert seen == ["BEGIN", "SELECT 1", "COMMIT"]


async def test_a_statement_that_is_outdated_is_prepared_anew(conn: Connection, table: str) -> None:
    query = f"SELECT * FROM {table}"
    await conn.fetch(query)
    await conn.execute(f"ALTER TABLE {table} ADD COLUMN more int")
    async with conn.pipeline() as pipe:
        rows = pipe.fetch(query)
        await rows
    assert await conn.fetch(query) == []


@pytest.fixture
async def uncached(dsn: str) -> AsyncIterator[Connection]:
    connection = await holisticpool.connect(dsn, statement_cache_size=0)
    yield connection
    await connection.close()


async def test_without_a_statement_cache(uncached: Connection) -> None:
    async with uncached.pipeline() as pipe, pipe.transaction():
        results = [pipe.fetchval(f"SELECT {n % 3} + $1::int", n) for n in range(50)]
    assert [await result for result in results] == [n % 3 + n for n in range(50)]
    with pytest.raises(exceptions.DivisionByZeroError):
        async with uncached.pipeline() as pipe, pipe.transaction():
            pipe.fetchval("SELECT 1 / 0")
            pipe.fetchval("SELECT 2 + $1::int", 1)
    assert await uncached.fetchval("SELECT 2 + $1::int", 5) == 7


async def test_results_leave_no_garbage(conn: Connection) -> None:
    async def use() -> list[weakref.ref[Any]]:
        async with conn.pipeline() as pipe, pipe.transaction():
            task = asyncio.ensure_future(pipe.fetchval("SELECT 1"))
            await task
            pipe.fetchval("SELECT 2")
        return [weakref.ref(pipe), weakref.ref(task)]

    await use()
    gc.collect()
    gc.disable()
    try:
        seen = await use()
        await asyncio.sleep(0)
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()
