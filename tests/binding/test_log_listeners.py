"""add_log_listener(): notices and warnings of the server, as objects of asyncpg's classes."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, exceptions


def raising(level: str, text: str = "catch me", **options: str) -> str:
    using = ", ".join(f"{name} = '{value}'" for name, value in options.items())
    return f"DO $$ BEGIN RAISE {level} '{text}' {f'USING {using}' if using else ''}; END $$"


async def test_listener_gets_connection_and_message(conn: Connection) -> None:
    heard: list[Any] = []
    conn.add_log_listener(lambda *args: heard.append(args))
    query = raising("NOTICE", detail="the detail", hint="the hint", table="t", errcode="01004")
    await conn.execute(query)
    [(connection, message)] = heard
    assert connection is conn
    assert isinstance(message, exceptions.StringDataRightTruncation)
    assert (message.message, message.detail, message.hint) == ("catch me", "the detail", "the hint")
    assert (message.severity_en, message.sqlstate, message.table_name) == ("NOTICE", "01004", "t")
    assert message.query == query
    assert message.server_source_function == "exec_stmt_raise"


@pytest.mark.parametrize("level", ["DEBUG", "LOG", "INFO", "NOTICE", "WARNING"])
async def test_each_level_that_the_session_asks_for_comes(dsn: str, level: str) -> None:
    async with await holisticpool.connect(dsn, server_settings={"client_min_messages": "debug1"}) as conn:
        heard: list[Any] = []
        conn.add_log_listener(lambda _, message: heard.append(message))
        await conn.execute(raising(level))
        [message] = [each for each in heard if each.message == "catch me"]
        assert message.severity_en in (level, "DEBUG1")
        assert type(message) is (exceptions.PostgresWarning if level == "WARNING" else exceptions.PostgresLogMessage)


async def test_error_is_an_exception_and_no_log_message(conn: Connection) -> None:
    heard: list[Any] = []
    conn.add_log_listener(lambda *args: heard.append(args))
    with pytest.raises(exceptions.InvalidCharacterValueForCastError):
        await conn.execute(raising("EXCEPTION", errcode="22018"))
    await asyncio.sleep(0)
    assert heard == []


async def test_message_was_delivered_when_its_statement_returns(conn: Connection) -> None:
    """... each with the statement that it belongs to, with and without arguments."""
    await conn.execute(
        "CREATE FUNCTION pg_temp.speak(i int) RETURNS int LANGUAGE plpgsql AS $$"
        "BEGIN RAISE NOTICE 'a %', i; PERFORM pg_sleep(0.01); RAISE NOTICE 'b %', i; RETURN i; END $$"
    )
    heard: list[Any] = []
    now = None
    conn.add_log_listener(lambda _, message: heard.append((now, message.message, message.query)))
    for now in range(5):
        assert await conn.fetchval("SELECT pg_temp.speak($1)", now) == now
        assert heard == [
            (now, f"a {now}", "SELECT pg_temp.speak($1)"),
            (now, f"b {now}", "SELECT pg_temp.speak($1)"),
        ]
        heard.clear()


async def test_messages_before_an_error_come_before_it(conn: Connection) -> None:
    heard: list[str] = []
    conn.add_log_listener(lambda _, message: heard.append(message.message))
    with pytest.raises(exceptions.RaiseError):
        await conn.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE EXCEPTION 'then'; END $$")
    assert heard == ["first"]


async def test_messages_of_a_batch_and_of_a_script_all_come(conn: Connection) -> None:
    heard: list[str] = []
    conn.add_log_listener(lambda _, message: heard.append(message.message))
    await conn.execute(
        "CREATE FUNCTION pg_temp.say(t text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', t; END $$"
    )
    await conn.executemany("SELECT pg_temp.say($1)", [(str(i),) for i in range(50)])
    await conn.execute("SELECT pg_temp.say('x'); SELECT pg_temp.say('y')")
    assert heard == [*map(str, range(50)), "x", "y"]


async def test_no_message_is_lost_among_many(conn: Connection) -> None:
    heard: list[str] = []
    conn.add_log_listener(lambda _, message: heard.append(message.message))
    await conn.execute("DO $$ BEGIN FOR i IN 1..5000 LOOP RAISE NOTICE '%', repeat('x', 200) || i; END LOOP; END $$")
    assert heard == ["x" * 200 + str(i) for i in range(1, 5001)]


async def test_coroutine_function_is_run(conn: Connection) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def listener(connection: Connection, message: Any) -> None:
        await asyncio.sleep(0)
        heard.put_nowait((connection, message.message))

    conn.add_log_listener(listener)
    await conn.execute(raising("NOTICE"))
    assert await asyncio.wait_for(heard.get(), 20) == (conn, "catch me")


async def test_removed_listener_hears_nothing(conn: Connection) -> None:
    heard: list[Any] = []

    def listener(*args: Any) -> None:
        heard.append(args)

    conn.remove_log_listener(listener)
    conn.add_log_listener(listener)
    conn.remove_log_listener(listener)
    await conn.execute(raising("NOTICE"))
    await asyncio.sleep(0)
    assert heard == []


async def test_reset_forgets_the_listeners(conn: Connection) -> None:
    heard: list[Any] = []
    conn.add_log_listener(heard.append)
    await conn.reset()
    await conn.execute(raising("NOTICE"))
    await asyncio.sleep(0)
    assert heard == []


async def test_release_warns_and_forgets_them(single: Pool) -> None:
    heard: list[Any] = []
    with pytest.warns(
        exceptions.InterfaceWarning, match=".*Connection.*released to the pool but has 1 active log listener$"
    ):
        async with single.acquire() as lease:
            lease.add_log_listener(lambda *args: heard.append(args))
            await lease.execute(raising("NOTICE"))
    assert len(heard) == 1
    await single.execute(raising("NOTICE"))
    async with single.acquire() as lease:
        await lease.execute(raising("NOTICE"))
    assert len(heard) == 1


async def test_closed_connection_takes_no_listener(dsn: str) -> None:
    conn = await holisticpool.connect(dsn)
    await conn.close()
    with pytest.raises(exceptions.InterfaceError, match="connection is closed"):
        conn.add_log_listener(print)
    conn.remove_log_listener(print)


async def test_wrong_callback_is_refused(conn: Connection) -> None:
    with pytest.raises(exceptions.InterfaceError, match="callable"):
        conn.add_log_listener(None)  # type: ignore[arg-type]


async def test_statement_without_messages_schedules_nothing(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    conn.add_log_listener(print)
    monkeypatch.setattr("holisticpool.listeners.Callbacks.noticed", None)
    assert await conn.fetchval("SELECT 1") == 1


async def test_garbage_collection_inside_a_message_may_end_the_session(dsn: str) -> None:
    """Python runs when a message is passed on, and with it finalizers, which may do anything."""
    conn = await holisticpool.connect(dsn)

    class Terminating:
        cycle: Any

        def __del__(self) -> None:
            conn.terminate()

    conn.add_log_listener(lambda *_: None)
    thresholds = gc.get_threshold()
    for at in range(1, 40):
        if conn.is_closed():
            conn = await holisticpool.connect(dsn)
            conn.add_log_listener(lambda *_: None)
        bomb = Terminating()
        bomb.cycle = bomb
        del bomb
        gc.set_threshold(at)
        try:
            await conn.execute("DO $$ BEGIN FOR i IN 1..3 LOOP RAISE NOTICE 'x'; END LOOP; END $$")
        except (exceptions.InterfaceError, exceptions.ConnectionDoesNotExistError):
            pass
        finally:
            gc.set_threshold(*thresholds)
    gc.collect()
    conn.terminate()


# ---- beside asyncpg ----


@pytest.mark.parametrize("level", ["NOTICE", "WARNING", "LOG"])
@pytest.mark.parametrize("options", [{}, {"errcode": "01004"}, {"errcode": "99999"}, {"errcode": "42P07", "hint": "h"}])
async def test_message_is_asyncpgs(dsn: str, level: str, options: dict[str, str]) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")
    seen = []
    for driver in (asyncpg, holisticpool):
        conn = await driver.connect(dsn, server_settings={"client_min_messages": "log"})
        heard: list[Any] = []
        conn.add_log_listener(lambda _, message, heard=heard: heard.append(message))
        await conn.execute(raising(level, **options))
        await asyncio.sleep(0)
        [message] = heard
        seen.append((type(message).__name__, message.as_dict(), str(message), message.query))
        await conn.close()
    assert seen[0] == seen[1]
