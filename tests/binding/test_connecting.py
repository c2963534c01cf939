"""What a new connection is opened with: passwords by a callable, the connect= callback, changed arguments."""

from __future__ import annotations

import asyncio
import gc
import uuid
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import Connection, Pool, exceptions


class Refused(Exception):
    """Raised by callables of these tests."""


def parts(server: PostgresServer, **more: Any) -> dict[str, Any]:
    """The server as keywords, without the password."""
    return {"host": server.host, "port": server.port, "user": server.superuser, "database": "postgres", **more}


# ---- password= ----


async def test_password_is_asked_for_each_connection(server: PostgresServer) -> None:
    calls = 0

    def password() -> str:
        nonlocal calls
        calls += 1
        return server.password

    async with holisticpool.create_pool(**parts(server, password=password), min_size=2, max_size=3) as pool:
        assert calls == 2
        async with pool.acquire(), pool.acquire(), pool.acquire():
            assert calls == 3
        assert await pool.fetchval("SELECT 1") == 1
    assert calls == 3


async def test_password_may_be_a_coroutine_function(server: PostgresServer) -> None:
    async def password() -> str:
        await asyncio.sleep(0)
        return server.password

    conn = await holisticpool.connect(**parts(server, password=password))
    assert await conn.fetchval("SELECT 1") == 1
    await conn.close()


async def test_password_that_changes_is_taken_anew(own_server: Callable[..., PostgresServer]) -> None:
    server = own_server()
    current = server.password
    async with holisticpool.create_pool(**parts(server, password=lambda: current), min_size=1, max_size=1) as pool:
        await pool.execute("SET password_encryption = 'scram-sha-256'")
        await pool.execute(f"ALTER ROLE \"{server.superuser}\" PASSWORD 'rotated'")
        current = "rotated"
        await pool.expire_connections()
        assert await pool.fetchval("SELECT 1") == 1
        assert pool._stats()["connects"] == 2


# A block of SHA-256 has 64 bytes, above which HMAC takes a key's digest; SASLprep makes "fi x" of the last but one.
@pytest.mark.parametrize(
    ("password", "typed"),
    [
        ("a", "a"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 65),
        ("\u043f\u0430\u0440\u043e\u043b\u044c", "\u043f\u0430\u0440\u043e\u043b\u044c"),
        ("\ufb01\u00a0x", "fi x"),
        ("it's a 'quote' \\", "it's a 'quote' \\"),
    ],
)
@pytest.mark.parametrize("iterations", [None, 1, 2])
async def test_scram_agrees_with_the_server_about_the_key(
    server: PostgresServer, conn: Connection, password: str, typed: str, iterations: int | None
) -> None:
    if iterations is not None and conn.get_server_version().major < 16:
        pytest.skip("scram_iterations came with PostgreSQL 16")
    role = f"scram_{uuid.uuid4().hex}"
    literal = await conn.fetchval("SELECT quote_literal($1)", password)
    async with conn.transaction():
        await conn.execute("SET LOCAL password_encryption = 'scram-sha-256'")
        if iterations is not None:
            await conn.execute(f"SET LOCAL scram_iterations = {iterations}")
        await conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD {literal}")
    try:
        async with holisticpool.create_pool(
            **parts(server) | {"user": role, "password": typed}, min_size=2, max_size=2
        ) as pool:
            assert await pool.fetchval("SELECT current_user::text") == role
        with pytest.raises(exceptions.InvalidPasswordError):
            await holisticpool.connect(**parts(server) | {"user": role, "password": typed + "y"})
    finally:
        await conn.execute(f"DROP ROLE {role}")


async def test_password_callable_wins_over_the_dsn(server: PostgresServer) -> None:
    wrong = server.dsn().replace(server.password, "wrong")
    conn = await holisticpool.connect(wrong, password=lambda: server.password)
    await conn.close()
    with pytest.raises(exceptions.InvalidPasswordError):
        await holisticpool.connect(server.dsn(), password=lambda: "wrong")


@pytest.mark.parametrize("error", [Refused("no token"), OSError("no route"), exceptions.InterfaceError("no")])
async def test_what_the_password_callable_raises_is_the_connect_error(server: PostgresServer, error: Exception) -> None:
    async def password() -> str:
        raise error

    with pytest.raises(type(error)) as caught:
        await holisticpool.connect(**parts(server, password=password))
    assert caught.value is error
    with pytest.raises(type(error)) as caught:
        await holisticpool.create_pool(**parts(server, password=password), min_size=2)
    assert caught.value is error


@pytest.mark.parametrize("value", [b"bytes", 7, ["list"], "zero\0byte"])
async def test_what_is_no_password_is_refused_without_showing_it(server: PostgresServer, value: Any) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="password") as caught:
        await holisticpool.connect(**parts(server, password=lambda: value))
    assert str(value) not in str(caught.value) and "list" not in str(caught.value).replace("returned list", "")


async def test_password_callable_that_raises_ends_the_wait_at_once(server: PostgresServer) -> None:
    broken = True

    def password() -> str:
        if broken:
            raise Refused
        return server.password

    async with holisticpool.create_pool(
        **parts(server, password=password), min_size=0, max_size=1, acquire_timeout=None
    ) as pool:
        with pytest.raises(Refused):
            await pool.acquire()
        with pytest.raises(Refused):
            await pool.fetch("SELECT 1")
        broken = False
        assert await pool.fetchval("SELECT 1") == 1


async def test_passing_failure_of_the_password_callable_is_tried_again(server: PostgresServer) -> None:
    calls = 0

    def password() -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConnectionResetError("the token service is away")
        return server.password

    async with holisticpool.create_pool(**parts(server, password=password), min_size=0, max_size=1) as pool:
        assert await pool.fetchval("SELECT 1") == 1
        assert calls == 3


async def test_failure_of_the_password_callable_is_the_cause_when_time_is_over(server: PostgresServer) -> None:
    def password() -> str:
        raise ConnectionResetError("the token service, secret=hunter22")

    async with holisticpool.create_pool(
        **parts(server, password=password), min_size=0, max_size=1, acquire_timeout=0.3
    ) as pool:
        with pytest.raises(exceptions.ServerUnavailableError) as caught:
            await pool.fetch("SELECT 1")
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert "hunter22" not in str(caught.value)
        assert "hunter22" not in str(pool._stats()["last_error"])
        assert "ConnectionResetError" in str(pool._stats()["last_error"])


async def test_password_callable_that_hangs_is_cancelled_at_the_timeout(server: PostgresServer) -> None:
    cancelled = asyncio.Event()

    async def password() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ""

    with pytest.raises(asyncio.TimeoutError, match="password"):
        await holisticpool.connect(**parts(server, password=password), timeout=0.1)
    await cancelled.wait()


async def test_cancelled_connect_cancels_the_password_callable(server: PostgresServer) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def password() -> str:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ""

    task = asyncio.create_task(holisticpool.connect(**parts(server, password=password)))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cancelled.wait()


async def test_pool_closed_while_the_password_is_asked_cancels_the_callable(server: PostgresServer) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()
    calls = 0

    async def password() -> str:
        nonlocal calls
        calls += 1
        if calls > 1:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        return server.password

    pool = await holisticpool.create_pool(**parts(server, password=password), min_size=1, max_size=2)
    async with pool.acquire():
        waiting = asyncio.create_task(pool.fetch("SELECT 1"))
        await asked.wait()
        closing = asyncio.create_task(pool.close())
        await cancelled.wait()
    await waiting
    await closing


async def test_password_callable_that_cancels_itself_is_no_cancellation_of_the_caller(server: PostgresServer) -> None:
    async def password() -> str:
        raise asyncio.CancelledError

    with pytest.raises(ConnectionError, match="cancelled"):
        await holisticpool.connect(**parts(server, password=password))


async def test_loop_that_is_closed_meanwhile_leaves_nothing_behind(server: PostgresServer) -> None:
    def run() -> None:
        loop = asyncio.new_event_loop()
        asked = asyncio.Event()

        async def password() -> str:
            asked.set()
            await asyncio.Event().wait()
            return ""

        async def main() -> None:
            loop.create_task(holisticpool.connect(**parts(server, password=password)))
            await asked.wait()

        loop.run_until_complete(main())
        loop.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await asyncio.get_running_loop().run_in_executor(None, run)
        gc.collect()
    conn = await holisticpool.connect(server.dsn())
    await conn.close()


# ---- connect= ----


async def test_connect_callback_gets_what_asyncpg_gives_it(dsn: str) -> None:
    seen: list[tuple[Any, ...]] = []

    class Special(Connection):
        pass

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        seen.append((args, dict(kwargs)))
        del kwargs["instance"]
        return await holisticpool.connect(*args, **kwargs)

    async with holisticpool.create_pool(
        dsn, connect=connect, connection_class=Special, min_size=1, command_timeout=7, instance="cloud:one"
    ) as pool:
        assert await pool.fetchval("SELECT 1") == 1
        async with pool.acquire() as conn:
            assert isinstance(conn, Special)
    assert seen == [
        (
            (dsn,),
            {
                "loop": asyncio.get_running_loop(),
                "connection_class": Special,
                "record_class": holisticpool.Record,
                "command_timeout": 7,
                "instance": "cloud:one",
            },
        )
    ]


async def test_session_of_the_connect_callback_is_the_one_that_is_leased(dsn: str) -> None:
    pids: list[int] = []

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        conn = await holisticpool.connect(*args, **kwargs)
        await conn.execute("SET work_mem = '3MB'")
        pids.append(await conn.fetchval("SELECT pg_backend_pid()"))
        return conn

    async with holisticpool.create_pool(dsn, connect=connect, min_size=2, max_size=2) as pool:
        async with pool.acquire() as one, pool.acquire() as other:
            assert {one.get_server_pid(), other.get_server_pid()} == set(pids)
            assert await one.fetchval("SHOW work_mem") == "3MB"
            async with one.transaction():
                assert await one.fetchval("SELECT $1::text", "x") == "x"
        assert await pool.fetchval("SELECT 2") == 2
    assert len(pids) == 2


async def test_init_runs_on_the_session_of_the_connect_callback(dsn: str) -> None:
    async def init(conn: Connection) -> None:
        await conn.execute("SET work_mem = '5MB'")

    async with holisticpool.create_pool(dsn, connect=holisticpool.connect, init=init, min_size=1, max_size=1) as pool:
        assert await pool.fetchval("SHOW work_mem") == "5MB"


async def test_connection_that_the_callback_kept_is_closed_for_it(dsn: str) -> None:
    kept: list[Connection] = []

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        kept.append(await holisticpool.connect(*args, **kwargs))
        return kept[-1]

    async with holisticpool.create_pool(dsn, connect=connect, min_size=1, max_size=1) as pool:
        assert kept[0].is_closed()
        with pytest.raises(exceptions.InterfaceError, match="closed"):
            await kept[0].fetch("SELECT 1")
        await kept[0].close()
        assert await pool.fetchval("SELECT 1") == 1


async def _closed(conn: Connection) -> None:
    await conn.close()


async def _in_transaction(conn: Connection) -> None:
    await conn.execute("BEGIN")


async def _busy(conn: Connection) -> None:
    task = asyncio.ensure_future(conn.execute("SELECT pg_sleep(600)"))
    task.add_done_callback(lambda ended: ended.exception())
    await asyncio.sleep(0)


async def _with_codec(conn: Connection) -> None:
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)


async def _with_listener(conn: Connection) -> None:
    await conn.add_listener("channel", lambda *_: None)


@pytest.mark.parametrize(
    ("make_unfit", "message"),
    [
        (_closed, "is closed"),
        (_in_transaction, "transaction is open"),
        (_busy, "operation is in progress"),
        (_with_codec, "type codecs.*init="),
        (_with_listener, "listeners.*init="),
    ],
)
async def test_what_the_pool_cannot_use_is_refused_and_closed(dsn: str, make_unfit: Any, message: str) -> None:
    made: list[Connection] = []

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        made.append(await holisticpool.connect(*args, **kwargs))
        await make_unfit(made[0])
        return made[0]

    with pytest.raises(exceptions.InterfaceError, match=message):
        await holisticpool.create_pool(dsn, connect=connect, min_size=1, max_size=1)
    assert made[0].is_closed()


async def test_connect_callback_has_to_return_a_connection(dsn: str) -> None:
    async def connect(*args: Any, **kwargs: Any) -> Any:
        return object()

    with pytest.raises(
        exceptions.InterfaceError, match="instance of 'holisticpool.connection.Connection', got 'object'"
    ):
        await holisticpool.create_pool(dsn, connect=connect, min_size=1, max_size=1)


async def test_lease_is_refused_and_stays_its_pools(dsn: str, pool: Pool) -> None:
    async with pool.acquire() as lease:

        async def connect(*args: Any, **kwargs: Any) -> Any:
            return lease

        with pytest.raises(exceptions.InterfaceError, match="belongs to a pool"):
            await holisticpool.create_pool(dsn, connect=connect, min_size=1, max_size=1)
        assert await lease.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("error", [Refused("no"), OSError("no route")])
async def test_what_the_connect_callback_raises_is_raised(dsn: str, error: Exception) -> None:
    async def connect(*args: Any, **kwargs: Any) -> Connection:
        raise error

    with pytest.raises(type(error)) as caught:
        await holisticpool.create_pool(dsn, connect=connect, min_size=1)
    assert caught.value is error


async def test_connect_callback_that_raises_ends_the_wait_at_once(dsn: str) -> None:
    broken = True

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        if broken:
            raise Refused
        return await holisticpool.connect(*args, **kwargs)

    async with holisticpool.create_pool(dsn, connect=connect, min_size=0, max_size=1, acquire_timeout=None) as pool:
        with pytest.raises(Refused):
            await pool.acquire()
        broken = False
        assert await pool.fetchval("SELECT 1") == 1


async def test_connect_callback_that_hangs_is_cancelled_at_the_timeout(dsn: str) -> None:
    cancelled = asyncio.Event()

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        assert kwargs["timeout"] == 0.1
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    with pytest.raises(asyncio.TimeoutError, match="connect callback"):
        await holisticpool.create_pool(dsn, connect=connect, min_size=1, timeout=0.1)
    await cancelled.wait()


async def test_connection_that_comes_after_the_pool_was_terminated_is_closed(server: PostgresServer) -> None:
    name = "after_terminate"
    opened, proceed, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    made: list[Connection] = []

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        made.append(await holisticpool.connect(*args, **kwargs))
        opened.set()
        try:
            await proceed.wait()
        except asyncio.CancelledError:
            pass
        over.set()
        return made[0]

    pool = holisticpool.create_pool(server.dsn(application_name=name), connect=connect, min_size=1)
    opening = asyncio.ensure_future(pool._initialize())
    await opened.wait()
    pool.terminate()
    with pytest.raises(exceptions.InterfaceError):
        await opening
    await over.wait()
    while not made[0].is_closed():
        await asyncio.sleep(0)
    server.kill_backends(name)
    assert server.sessions(name) == 0


async def test_statements_prepared_in_the_connect_callback_do_not_clash(dsn: str) -> None:
    query = "SELECT $1::int + 1 AS answer"

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        conn = await holisticpool.connect(*args, **kwargs)
        await conn.fetchval(query, 1)
        return conn

    async with holisticpool.create_pool(dsn, connect=connect, min_size=1, max_size=1) as pool:
        for number in range(3):
            assert await pool.fetchval(query, number) == number + 1
        counted = "SELECT count(*) FROM pg_prepared_statements WHERE statement = $1"
        assert await pool.fetchval(counted, query) == 1


# ---- set_connect_args(), expire_connections(), sizes ----


async def test_changed_arguments_count_for_new_connections(server: PostgresServer) -> None:
    async with holisticpool.create_pool(
        server.dsn(), min_size=1, max_size=1, server_settings={"work_mem": "3MB"}
    ) as pool:
        assert await pool.fetchval("SHOW work_mem") == "3MB"
        pool.set_connect_args(server.dsn(), server_settings={"work_mem": "4MB"})
        assert await pool.fetchval("SHOW work_mem") == "3MB"
        await pool.expire_connections()
        assert await pool.fetchval("SHOW work_mem") == "4MB"
        assert await pool.fetchval("SHOW timezone") == "UTC"


async def test_arguments_may_be_changed_before_the_pool_is_open(dsn: str) -> None:
    pool = holisticpool.create_pool("postgresql://nobody@127.0.0.1:1/nowhere", min_size=1)
    pool.set_connect_args(dsn)
    async with pool:
        assert await pool.fetchval("SELECT 1") == 1


async def test_changed_password_callable_is_asked(server: PostgresServer) -> None:
    asked: list[str] = []

    def password() -> str:
        asked.append("x")
        return server.password

    async with holisticpool.create_pool(server.dsn(), min_size=1, max_size=1) as pool:
        pool.set_connect_args(**parts(server, password=password))
        await pool.expire_connections()
        assert await pool.fetchval("SELECT 1") == 1
    assert asked == ["x"]


async def test_changed_arguments_are_for_the_connect_callback_too(dsn: str) -> None:
    seen: list[Any] = []

    async def connect(*args: Any, **kwargs: Any) -> Connection:
        seen.append((args, kwargs.pop("region", None)))
        return await holisticpool.connect(*args, **kwargs)

    async with holisticpool.create_pool(dsn, connect=connect, min_size=1, max_size=1, region="a") as pool:
        pool.set_connect_args(dsn, region="b")
        await pool.expire_connections()
        assert await pool.fetchval("SELECT 1") == 1
    assert seen == [((dsn,), "a"), ((dsn,), "b")]


async def test_wrong_changed_arguments_are_refused_and_change_nothing(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        with pytest.raises(TypeError, match="colour"):
            pool.set_connect_args(dsn, colour="red")
        with pytest.raises(exceptions.ClientConfigurationError, match="port"):
            pool.set_connect_args(dsn, port="many")
        with pytest.raises(exceptions.ClientConfigurationError, match="statement_cache_size belongs to the pool"):
            pool.set_connect_args(dsn, statement_cache_size=7)
        pool.set_connect_args(dsn, statement_cache_size=100)
        await pool.expire_connections()
        assert await pool.fetchval("SELECT 1") == 1


async def test_changed_command_timeout_counts_at_once(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        pool.set_connect_args(dsn, command_timeout=0.1)
        with pytest.raises(asyncio.TimeoutError):
            await pool.execute("SELECT pg_sleep(600)")
        pool.set_connect_args(dsn)
        with pytest.raises(asyncio.TimeoutError):
            await pool.execute("SELECT pg_sleep(600)")


async def test_expired_connections_are_not_used_again(pool: Pool) -> None:
    async with pool.acquire() as conn:
        leased = conn.get_server_pid()
        idle = await pool.fetchval("SELECT pg_backend_pid()")
        await pool.expire_connections()
        assert await conn.fetchval("SELECT pg_backend_pid()") == leased
    pids = {await pool.fetchval("SELECT pg_backend_pid()") for _ in range(4)}
    assert pids.isdisjoint({leased, idle})


async def test_expire_does_nothing_where_nothing_is_open(dsn: str) -> None:
    pool = holisticpool.create_pool(dsn, min_size=1)
    await pool.expire_connections()
    await pool
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()
    await pool.expire_connections()
    assert pool.get_size() == 0


async def test_pool_opens_with_init_size_and_keeps_min_size(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, init_size=3, min_size=1, max_size=4) as pool:
        assert (pool.get_init_size(), pool.get_min_size(), pool.get_max_size()) == (3, 1, 4)
        assert pool.get_idle_size() == 3
        assert pool.get_loop() is asyncio.get_running_loop()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"init_size": 5, "min_size": 1, "max_size": 4}, "init_size is greater than max_size"),
        ({"init_size": 1, "min_size": 2, "max_size": 4}, "init_size is smaller than min_size"),
        ({"init_size": -1}, "init_size is expected to be greater or equal to zero"),
    ],
)
def test_wrong_init_size_is_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        holisticpool.create_pool("postgresql://h/d", **sizes)


# ---- Pool by itself ----


async def test_pool_class_takes_what_create_pool_takes(dsn: str) -> None:
    ran: list[str] = []

    class Mine(Pool):
        pass

    async def setup(conn: Connection) -> None:
        ran.append("setup")

    async with Mine(dsn, min_size=1) as plain, Mine(dsn, min_size=1, setup=setup) as hooked:
        assert type(plain) is Mine and isinstance(hooked, Mine)
        assert await plain.fetchval("SELECT 1") == await hooked.fetchval("SELECT 1") == 1
    assert ran == ["setup"]


def test_hooks_that_a_subclass_hides_are_refused_instead_of_ignored() -> None:
    class Mine(Pool):
        def __init__(self) -> None:
            super().__init__("postgresql://h/d", setup=_closed)

    with pytest.raises(TypeError, match="must be passed to Mine"):
        Mine()
