"""Input at and beyond the limits: a clear error at once, and the connection and the pool go on."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest
from observing import Observer, settled, unique_name, usable
from servers import PostgresServer

import holisticpool
from holisticpool import exceptions

MIB = 1024 * 1024


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[holisticpool.Pool]:
    """Two connections, all of which must be alive and usable at the end."""
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2, command_timeout=60) as pool:
        yield pool
        await settled(pool)
        await usable(pool)


async def check_alive(pool: holisticpool.Pool, broken: int = 0) -> None:
    await usable(pool)
    assert pool._stats()["recycled"]["broken"] == broken


# ---- COPY by methods that are not for it ----

COPIES = ["COPY (SELECT 1) TO STDOUT", "COPY copied FROM STDIN", " /* x */ copy copied to stdout"]


@pytest.mark.parametrize("text", COPIES)
@pytest.mark.parametrize("run", ["fetch", "fetchrow", "fetchval", "execute"])
async def test_copy_is_refused_and_the_connection_kept(pool: holisticpool.Pool, run: str, text: str) -> None:
    await pool.execute("CREATE TABLE IF NOT EXISTS copied (i int)")
    for on in (pool, None):
        if on is not None:
            with pytest.raises(exceptions.InterfaceError, match="COPY"):
                await getattr(on, run)(text)
            continue
        async with pool.acquire() as connection:
            pid = connection.get_server_pid()
            with pytest.raises(exceptions.InterfaceError, match="COPY"):
                await getattr(connection, run)(text)
            assert await connection.fetchval("SELECT pg_backend_pid()") == pid
    await check_alive(pool)


async def test_copy_of_many_rows_in_a_script_is_refused_and_the_connection_kept(pool: holisticpool.Pool) -> None:
    with pytest.raises(exceptions.InterfaceError, match="COPY"):
        await pool.execute("SELECT 1; COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT")
    assert await pool.fetchval("SELECT 1") == 1
    await check_alive(pool)


async def test_copy_hidden_from_the_scanner_costs_no_more_than_its_connection(pool: holisticpool.Pool) -> None:
    # A prepared statement cannot be COPY, so only a script can hide one; both directions, between others.
    await pool.execute("CREATE TABLE IF NOT EXISTS copied (i int)")
    for text in ("SELECT 1; COPY copied FROM STDIN; SELECT 2", "DO $$ BEGIN END $$; COPY copied FROM STDIN"):
        with pytest.raises((exceptions.InterfaceError, exceptions.PostgresError)):
            await pool.execute(text)
        assert await pool.fetchval("SELECT 1") == 1
    assert await pool.fetchval("SELECT count(*) FROM copied") == 0


# ---- texts ----


@pytest.mark.parametrize("text", ["", " ", ";", ";;", "-- only a comment", "/* only /* nested */ comments */ ;"])
async def test_empty_query_is_no_error(pool: holisticpool.Pool, text: str) -> None:
    async with pool.acquire() as connection:
        for on in (pool, connection):
            assert await on.fetch(text) == []
            assert await on.fetchrow(text) is None
            assert await on.fetchval(text) is None
            assert await on.execute(text) == ""
    await check_alive(pool)


async def test_several_statements_go_without_arguments_only(pool: holisticpool.Pool) -> None:
    assert await pool.execute("SELECT 1; SELECT 2, 3; CREATE TEMP TABLE t (i int)") == "CREATE TABLE"
    for run in (
        lambda: pool.fetch("SELECT 1; SELECT 2"),
        lambda: pool.execute("SELECT $1::int; SELECT 2", 1),
        lambda: pool.executemany("SELECT $1::int; SELECT 2", [(1,)]),
    ):
        with pytest.raises(exceptions.PostgresSyntaxError, match="multiple commands"):
            await run()
    await check_alive(pool)


async def test_failing_script_is_undone_as_a_whole(pool: holisticpool.Pool) -> None:
    with pytest.raises(exceptions.DivisionByZeroError):
        await pool.execute("CREATE TABLE half (i int); SELECT 1 / 0; CREATE TABLE other_half (i int)")
    assert await pool.fetchval("SELECT to_regclass('half') IS NULL") is True


@pytest.mark.parametrize("text", ["SELECT 'a\0b'", "\0", "SELECT 1\0"])
async def test_nul_in_a_query_is_refused(pool: holisticpool.Pool, text: str) -> None:
    for run in (pool.fetch, pool.execute):
        with pytest.raises(ValueError, match="NUL|null"):
            await run(text)
    await check_alive(pool)


async def test_lone_surrogates_are_refused(pool: holisticpool.Pool) -> None:
    with pytest.raises(ValueError):
        await pool.fetch("SELECT '\ud800'")
    with pytest.raises(exceptions.DataError):
        await pool.fetch("SELECT $1::text", "\udfff")
    await check_alive(pool)


@pytest.mark.parametrize("query", [None, b"SELECT 1", 1, ["SELECT 1"]])
async def test_query_that_is_no_text_is_refused(pool: holisticpool.Pool, query: Any) -> None:
    for run in (pool.fetch, pool.execute):
        with pytest.raises(TypeError):
            await run(query)
    await check_alive(pool)


async def test_statement_longer_than_the_cache_takes_is_run_and_not_kept(pool: holisticpool.Pool) -> None:
    async with pool.acquire() as connection:
        text = f"SELECT $1::int /* {'x' * 20_000} */"
        for i in range(5):
            assert await connection.fetchval(text, i) == i
        kept = await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE length(statement) > 15000")
        assert kept == 0


async def test_statement_of_many_megabytes_is_run(pool: holisticpool.Pool) -> None:
    assert await pool.fetchval(f"SELECT $1::int /* {'x' * (20 * MIB)} */", 5) == 5
    assert await pool.fetchval(f"SELECT length('{'x' * (20 * MIB)}')") == 20 * MIB


# ---- arguments and columns ----


MOST = 65535  # parameters that the protocol can count


async def test_65535_arguments_go(pool: holisticpool.Pool) -> None:
    text = f"SELECT $1::int + ${MOST}::int WHERE 7 NOT IN ({', '.join(f'${i + 1}::int' for i in range(MOST))})"
    try:
        assert await pool.fetchval(text, *range(100, 100 + MOST)) == 100 + 100 + MOST - 1
    except exceptions.ConnectionDoesNotExistError as error:
        # Some releases of libpq, 15.18 among them, take no message of this type that has more than 30,000 bytes.
        assert 'got message type "t"' in str(error), error
        await usable(pool)
        pytest.skip(f"libpq {holisticpool._core.libpq_version()} takes no such description")
    await check_alive(pool)


async def test_more_arguments_than_the_protocol_counts_are_refused_before_sending(pool: holisticpool.Pool) -> None:
    queries = pool._stats()["queries"]
    with pytest.raises(exceptions.InterfaceError, match="65535"):
        await pool.fetch("SELECT $1::int", *range(MOST + 1))
    assert pool._stats()["queries"] == queries
    await check_alive(pool)


async def test_placeholder_beyond_the_protocol_is_an_error_with_a_text(pool: holisticpool.Pool) -> None:
    for n in (65536, 100_000, 2_000_000_000):
        with pytest.raises(Exception) as caught:
            await pool.fetch(f"SELECT ${n}::int", 1)
        assert not isinstance(caught.value, asyncio.TimeoutError)
        assert str(caught.value)
    assert await pool.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("given", [(), (1,), (1, 2, 3)])
async def test_wrong_number_of_arguments_is_refused(pool: holisticpool.Pool, given: tuple[int, ...]) -> None:
    for _ in range(2):  # unknown to the pool, and known
        with pytest.raises(exceptions.InterfaceError, match="expects 2 arguments"):
            await pool.fetch("SELECT $1::int, $2::int", *given)
    with pytest.raises(exceptions.InterfaceError, match="expects 2 arguments"):
        await pool.executemany("SELECT $1::int, $2::int", [(1, 2), given])
    await check_alive(pool)


async def test_1600_columns_and_duplicate_and_empty_names_come_as_they_are(pool: holisticpool.Pool) -> None:
    row = await pool.fetchrow("SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1600)))
    assert row is not None and list(row) == list(range(1600)) and row["c1599"] == 1599
    row = await pool.fetchrow('SELECT 1 AS a, 2 AS a, 3 AS " ", 4')
    assert row is not None and list(row) == [1, 2, 3, 4] and row["a"] == 2 and row["?column?"] == 4
    assert await pool.fetch("SELECT FROM generate_series(1, 3)") == [(), (), ()]
    with pytest.raises(exceptions.TooManyColumnsError):
        await pool.fetch("SELECT " + ", ".join(["1"] * 1665))
    await check_alive(pool)


@pytest.mark.parametrize("size", [200 * MIB])
async def test_value_of_200_mb_goes_and_comes(pool: holisticpool.Pool, size: int) -> None:
    data = b"\x01\x80" * (size // 2)
    assert await pool.fetchval("SELECT $1::bytea", data) == data
    assert await pool.fetchval("SELECT octet_length($1::text)", "y" * size) == size
    await check_alive(pool)


async def test_result_beyond_the_servers_limit_is_an_error_and_the_connection_stays(pool: holisticpool.Pool) -> None:
    with pytest.raises(exceptions.PostgresError):
        await pool.fetchval("SELECT repeat('x', 1073741824)")
    await check_alive(pool)


async def test_bad_arguments_of_executemany_leave_no_row_behind(pool: holisticpool.Pool) -> None:
    await pool.execute("CREATE TABLE IF NOT EXISTS many (i int PRIMARY KEY)")
    for rows, error in (
        ([(i,) for i in range(5000)] + [("x",)], exceptions.DataError),
        ([(i,) for i in range(5000)] + [(1,)], exceptions.UniqueViolationError),
        ([(1,)] + [(i,) for i in range(5000)], exceptions.UniqueViolationError),
        ([(1,), 5], exceptions.DataError),
        ([(1,), "x"], exceptions.DataError),
    ):
        with pytest.raises(error):
            await pool.executemany("INSERT INTO many VALUES ($1)", rows)  # type: ignore[arg-type]
        assert await pool.fetchval("SELECT count(*) FROM many") == 0
    await pool.execute("DROP TABLE many")
    await check_alive(pool)


# ---- settings that change what bytes mean ----


async def test_client_encoding_changed_behind_our_back_gives_no_misread_text(pool: holisticpool.Pool) -> None:
    with pytest.raises(exceptions.InterfaceError, match="client_encoding"):
        await pool.execute("SET client_encoding TO latin1")
    async with pool.acquire() as connection:
        with pytest.raises(exceptions.InterfaceError, match="client_encoding"):
            await connection.fetchval("SELECT set_config('client_encoding', 'LATIN1', false) || 'é'")
        assert connection.is_closed()
    assert await pool.fetchval("SELECT 'é' || $1::text", "ü") == "éü"
    await usable(pool)


async def test_date_and_interval_styles_never_give_another_value(pool: holisticpool.Pool) -> None:
    binary = "SELECT $1::date, '1 mon -2 days 03:04:05'::interval, ARRAY['2024-02-01'::date], '2024-02-01'::timestamptz"
    # One column without a binary form makes the whole row text, which the server writes in the session's style.
    text = binary.replace("SELECT", "SELECT NULL::aclitem,")
    day = datetime.date(2024, 2, 1)
    async with pool.acquire() as connection:
        expected = tuple(await connection.fetchrow(binary, day) or ())
        assert tuple(await connection.fetchrow(text, day) or ()) == (None, *expected)
        for style in ("SQL, DMY", "SQL, MDY", "German", "Postgres, MDY", "ISO, YMD"):
            for interval in ("sql_standard", "iso_8601", "postgres_verbose", "postgres"):
                await connection.execute(f"SET DateStyle TO {style}; SET IntervalStyle TO {interval}")
                assert await connection.fetchrow(binary, day) == expected
                assert await connection.fetchrow(text, day) == (None, *expected)


async def test_float_digits_and_bytea_output_do_not_change_values(pool: holisticpool.Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("SET extra_float_digits TO -15; SET bytea_output TO escape")
        for extra in ("", ", NULL::aclitem"):
            row = await connection.fetchrow(f"SELECT $1::float8, $2::bytea{extra}", 0.1 + 0.2, b"\x00\\\xff")
            assert row is not None and row[1] == b"\x00\\\xff"
            if not extra:
                assert row[0] == 0.1 + 0.2


async def test_notice_storm_is_swallowed(pool: holisticpool.Pool) -> None:
    storm = "DO $$ BEGIN FOR i IN 1..20000 LOOP RAISE NOTICE 'number % %', i, repeat('x', 100); END LOOP; END $$"
    await pool.execute(storm)
    async with pool.acquire() as connection:
        await connection.execute("SET client_min_messages TO debug5")
        assert await connection.fetchval("SELECT 1") == 1
    await check_alive(pool)


async def test_notifications_that_nobody_hears_do_no_harm(pool: holisticpool.Pool, observer: Observer) -> None:
    async with pool.acquire() as connection:
        await connection.execute("LISTEN noise")
        payload = "y" * 7999
        for _ in range(20):
            await pool.execute(f"NOTIFY noise, '{payload}'")
        await observer.ask("NOTIFY noise, 'while idle'")
        assert await connection.fetchval("SELECT 1") == 1
    await check_alive(pool)


async def test_standard_conforming_strings_off_hides_nothing_from_the_reset(pool: holisticpool.Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("SET standard_conforming_strings TO off; SET escape_string_warning TO off")
        # With the setting off the text is one string and then SET; read the other way it is two strings.
        assert await connection.fetchval(r"SELECT 'it\'s'") == "it's"
        await connection.execute(r"SELECT '\'; -- '; SET work_mem = '67MB'")
        assert await connection.fetchval("SHOW work_mem") == "67MB"
    async with pool.acquire() as first, pool.acquire() as second:
        assert await first.fetchval("SHOW work_mem") == await second.fetchval("SHOW work_mem") == "4MB"


async def test_session_that_begins_with_standard_conforming_strings_off_is_reset_too(server: PostgresServer) -> None:
    dsn = server.dsn(options="-c standard_conforming_strings=off -c escape_string_warning=off")
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        await pool.execute(r"SELECT '\'; -- '; SET work_mem = '67MB'")
        assert await pool.fetchval("SHOW work_mem") == "4MB"


async def test_error_with_every_field_and_odd_text_arrives(pool: holisticpool.Pool) -> None:
    text = """DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = E'first\\nsecond \U0001f600', DETAIL = 'd', HINT = 'h',
        ERRCODE = 'ZZ999', COLUMN = 'c', CONSTRAINT = 'n', DATATYPE = 't', TABLE = 'b', SCHEMA = 's'; END $$"""
    with pytest.raises(exceptions.PostgresError) as caught:
        await pool.execute(text)
    error = caught.value
    assert (error.message, error.detail, error.hint) == ("first\nsecond \U0001f600", "d", "h")
    assert (error.column_name, error.constraint_name, error.data_type_name) == ("c", "n", "t")
    assert (error.table_name, error.schema_name, error.sqlstate) == ("b", "s", "ZZ999")
    with pytest.raises(exceptions.PostgresError) as caught:
        await pool.execute("DO $$ BEGIN RAISE EXCEPTION '%', repeat('long ', 1000000); END $$")
    assert len(str(caught.value)) >= 5_000_000
    await check_alive(pool)


# ---- databases in another encoding ----


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
async def test_database_in_another_encoding_is_served_rightly_or_refused_clearly(
    server: PostgresServer, observer: Observer, encoding: str
) -> None:
    name = unique_name("encoded")
    await observer.ask(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        async with holisticpool.create_pool(server.dsn(dbname=name), min_size=1, max_size=1) as pool:
            assert await pool.fetchval("SELECT 'plain ' || $1::text", "text") == "plain text"
            if encoding == "LATIN1":
                assert await pool.fetchval("SELECT 'é' || $1::text", "ü") == "éü"
            if encoding == "SQL_ASCII":
                # Bytes go through as they are; what is no UTF-8 is an error, never a wrong character.
                assert await pool.fetchval("SELECT 'é' || $1::text", "ü") == "éü"
                with pytest.raises(Exception) as caught:
                    await pool.fetchval("SELECT chr(233)")
                assert not isinstance(caught.value, asyncio.TimeoutError)
            else:
                with pytest.raises(exceptions.UntranslatableCharacterError):
                    await pool.fetchval("SELECT $1::text", "\U0001f600")
            assert await pool.fetchval("SELECT 1") == 1
            await settled(pool)
    finally:
        await observer.ask(f"DROP DATABASE {name} WITH (FORCE)")
