"""When pools, sessions and the module itself go: with their last reference, with the loop, with the interpreter."""

from __future__ import annotations

import asyncio
import gc
import resource
import subprocess
import sys
import textwrap
import warnings
import weakref
from typing import Any

import pytest

import holisticpool
from holisticpool import Connection, Pool, Record, _core, exceptions

EXIT_TIMEOUT_S = 60


# In development mode asyncio warns of steps that take long, as on a machine that is busy.
NO_SLOW_STEPS = """
import logging
logging.getLogger("asyncio").addFilter(lambda record: " took " not in record.getMessage())
"""


def run_python(code: str, dsn: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own; `dsn` is its first argument."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", NO_SLOW_STEPS + textwrap.dedent(code), dsn],
        capture_output=True,
        text=True,
        timeout=EXIT_TIMEOUT_S,
        cwd="/",  # not where a package without its extension lies
    )


ARGUMENTS: dict[str, Any] = {
    "init_size": 1,
    "min_size": 1,
    "max_size": 1,
    "max_queries": 0,
    "max_inactive_connection_lifetime": 0.0,
    "max_lifetime": 0.0,
    "acquire_timeout": None,
    "command_timeout": None,
    "connect_timeout": 60.0,
    "max_waiters": 0,
    "statement_cache_size": 10,
    "max_cached_statement_lifetime": 0.0,
    "max_cacheable_statement_size": 0,
    "reset": "touched",
    "record_class": Record,
    "connection_class": Connection,
    "dedicated": False,
    "pipeline": 0,
}


# ---- objects ----


async def collect() -> None:
    """Collect garbage; before that, let the loop go of what woke the task up."""
    await asyncio.sleep(0)
    gc.collect()


async def test_closed_pool_goes_with_its_last_reference(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1, max_size=2)
    await pool.fetchval("SELECT 1")
    await pool.close()
    gone = weakref.ref(pool)
    del pool
    await collect()
    assert gone() is None


async def test_terminated_pool_goes_with_its_last_reference(dsn: str) -> None:
    pool = await holisticpool.create_pool(dsn, min_size=1, max_size=2)
    connection = await pool.acquire()
    pool.terminate()
    gone = weakref.ref(pool)
    del pool
    await collect()
    assert gone() is not None  # the lease keeps it
    del connection
    await collect()
    assert gone() is None


async def test_pool_that_was_never_opened_goes_with_its_last_reference() -> None:
    pool = holisticpool.create_pool("postgresql://localhost/x")
    gone = weakref.ref(pool)
    del pool
    await collect()
    assert gone() is None


async def test_pool_that_failed_to_open_goes_with_its_last_reference(dsn: str) -> None:
    pool = holisticpool.create_pool(dsn, database="no_such_database", min_size=2)
    with pytest.raises(exceptions.InvalidCatalogNameError):
        await pool
    gone = weakref.ref(pool)
    del pool
    await collect()
    assert gone() is None


async def test_pool_in_a_cycle_with_its_hook_goes(dsn: str) -> None:
    class Holder:
        pool: Pool

        async def init(self, connection: Connection) -> None:
            await connection.execute("SET TIME ZONE 'UTC'")

    holder = Holder()
    holder.pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1, init=holder.init)
    await holder.pool.close()
    gone = weakref.ref(holder)
    del holder
    await collect()
    assert gone() is None


async def test_arguments_in_a_cycle_with_their_operation_go(single: Pool) -> None:
    class Holder:
        operation: Any

    holder = Holder()
    holder.operation = single.fetchval("SELECT 1", holder)
    holder.operation.close()
    gone = weakref.ref(holder)
    del holder
    await collect()
    assert gone() is None


async def test_never_awaited_operation_in_a_cycle_warns_and_goes(single: Pool) -> None:
    class Holder:
        operation: Any

    holder = Holder()
    holder.operation = single.fetchval("SELECT 1", holder)
    gone = weakref.ref(holder)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        del holder
        gc.collect()
    assert gone() is None


async def test_finished_tasks_keep_nothing_of_the_operation(single: Pool) -> None:
    class Text(str):
        pass

    argument = Text("x")
    gone = weakref.ref(argument)
    task = asyncio.create_task(single.fetchval("SELECT $1::text", argument))
    await task
    del argument, task
    await collect()
    assert gone() is None


# ---- __init__ ----


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"min_size": -1}, ValueError),
        ({"max_size": 0}, ValueError),
        ({"min_size": 3, "max_size": 2}, ValueError),
        ({"init_size": 0}, ValueError),
        ({"init_size": 2}, ValueError),
        ({"statement_cache_size": -1}, ValueError),
        ({"reset": "sometimes"}, ValueError),
        ({"reset": 5}, TypeError),
        ({"record_class": dict}, TypeError),
        ({"record_class": 5}, TypeError),
        ({"connection_class": dict}, TypeError),
        ({"connection_class": 5}, TypeError),
        ({"acquire_timeout": "soon"}, ValueError),
        ({"command_timeout": True}, ValueError),
        ({"min_size": "a"}, TypeError),
        ({"wrong": 1}, TypeError),
    ],
)
async def test_failed_init_leaves_an_object_that_refuses_everything(
    changes: dict[str, Any], error: type[Exception]
) -> None:
    pool = _core.Pool.__new__(_core.Pool)
    loop = asyncio.get_running_loop()
    for _ in range(2):
        with pytest.raises(error):
            pool.__init__(loop, **ARGUMENTS | changes)  # type: ignore[misc]
    refuses_everything(pool)


def refuses_everything(pool: _core.Pool) -> None:
    for call in (
        lambda: pool.fetch("SELECT 1"),
        lambda: pool.fetchrow("SELECT 1"),
        lambda: pool.fetchval("SELECT 1"),
        lambda: pool.execute("SELECT 1"),
        lambda: pool.acquire(),
        lambda: pool.release(None),  # type: ignore[arg-type]
        lambda: pool._open(),
        lambda: pool._close(),
        lambda: pool._stats(),
        lambda: pool._set_targets([{}]),
        lambda: pool._set_on_connect(None),
    ):
        with pytest.raises(exceptions.InterfaceError, match="pool is not initialized"):
            call()
    pool.terminate()
    pool._abandon()
    assert (pool.get_size(), pool.get_idle_size()) == (0, 0)
    assert (pool.is_closing(), pool._closed, pool._forked) == (False, False, False)


async def test_init_after_a_failed_one_works(dsn: str) -> None:
    loop = asyncio.get_running_loop()
    pool = _core.Pool.__new__(_core.Pool)
    with pytest.raises(ValueError):
        pool.__init__(loop, **ARGUMENTS | {"reset": "sometimes"})  # type: ignore[misc]
    pool.__init__(loop, **ARGUMENTS)  # type: ignore[misc]
    with pytest.raises(RuntimeError, match="twice"):
        pool.__init__(loop, **ARGUMENTS)  # type: ignore[misc]
    pool._set_targets(holisticpool.create_pool(dsn)._config.connection.targets())
    await pool._open()
    assert await pool.fetchval("SELECT 1") == 1
    await pool._close()


async def test_init_after_one_that_failed_late_works_and_leaks_nothing() -> None:
    """No descriptor is left for the pool's reactor: the last thing that __init__ makes."""

    class Loop:
        def call_soon(self) -> None: ...

        def get_debug(self) -> bool:
            return False

    loop = Loop()
    pool = _core.Pool.__new__(_core.Pool)
    before = sys.getrefcount(loop)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        for _ in range(3):
            with pytest.raises(OSError, match="files"):
                pool.__init__(loop, **ARGUMENTS)  # type: ignore[misc]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    refuses_everything(pool)
    assert sys.getrefcount(loop) == before
    pool.__init__(loop, **ARGUMENTS)  # type: ignore[misc]
    assert pool.get_size() == 0
    del pool
    assert sys.getrefcount(loop) == before


async def test_pool_without_a_loop_is_refused() -> None:
    with pytest.raises(AttributeError):
        _core.Pool(None, **ARGUMENTS)  # type: ignore[arg-type]


@pytest.mark.parametrize("targets", [None, [], {}, [1], [None], [{1: "a"}], [{"host": 1}], [{"host": "a"}, 5]])
async def test_targets_that_are_none_are_refused(targets: Any) -> None:
    pool = _core.Pool(asyncio.get_running_loop(), **ARGUMENTS)
    with pytest.raises(TypeError):
        pool._set_targets(targets)
    with pytest.raises(exceptions.InterfaceError):
        pool._open()


# ---- loops ----


def test_loop_closed_with_an_open_pool_makes_no_noise(dsn: str) -> None:
    loop = asyncio.new_event_loop()

    async def opened() -> Pool:
        made = await holisticpool.create_pool(dsn, min_size=1, max_size=2)
        await made.fetchval("SELECT 1")
        return made

    pool = loop.run_until_complete(opened())
    loop.close()
    gone = weakref.ref(pool)
    pool._abandon()
    assert pool._closed
    del pool
    gc.collect()
    assert gone() is None


def test_loop_closed_with_an_open_pool_that_is_dropped_makes_no_noise(dsn: str) -> None:
    loop = asyncio.new_event_loop()

    async def opened() -> Pool:
        return await holisticpool.create_pool(dsn, min_size=1, max_size=2)

    pool = loop.run_until_complete(opened())
    loop.close()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None


def test_loop_closed_during_pending_operations_makes_no_noise(dsn: str) -> None:
    loop = asyncio.new_event_loop()
    tasks: list[Any] = []

    async def pend() -> Pool:
        made = await holisticpool.create_pool(dsn, min_size=1, max_size=1)

        async def wait() -> None:
            async with made.acquire() as connection:
                await connection.fetchval("SELECT pg_sleep(600)")

        tasks.append(asyncio.ensure_future(wait()))
        tasks.append(asyncio.ensure_future(made.fetchval("SELECT 1")))
        tasks.append(asyncio.ensure_future(made.acquire()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return made

    pool = loop.run_until_complete(pend())
    loop.close()
    while tasks:
        tasks.pop()._log_destroy_pending = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
    gone = weakref.ref(pool)
    pool._abandon()
    del pool
    gc.collect()
    assert gone() is None


# ---- the interpreter ----


EXITS = {
    "open pool": """
        import asyncio, sys, holisticpool
        async def main():
            global pool
            pool = await holisticpool.create_pool(sys.argv[1], min_size=2, max_size=2)
            assert await pool.fetchval("SELECT 1") == 1
        asyncio.run(main())
    """,
    "open pool in a loop that is still open": """
        import asyncio, sys, holisticpool
        async def main():
            pool = await holisticpool.create_pool(sys.argv[1], min_size=2, max_size=2)
            assert await pool.fetchval("SELECT 1") == 1
            return pool
        asyncio.BaseEventLoop.__del__ = lambda self: None  # it would warn
        loop = asyncio.new_event_loop()
        pool = loop.run_until_complete(main())
    """,
    "lease": """
        import asyncio, sys, holisticpool, warnings
        warnings.simplefilter("ignore")
        async def main():
            global pool, connection
            pool = await holisticpool.create_pool(sys.argv[1], min_size=1, max_size=1)
            connection = await pool.acquire()
        asyncio.run(main())
    """,
    "session": """
        import asyncio, sys, holisticpool, warnings
        warnings.simplefilter("ignore")
        async def main():
            global connection
            connection = await holisticpool.connect(sys.argv[1])
        asyncio.run(main())
    """,
    "pending operations": """
        import asyncio, sys, holisticpool, warnings
        warnings.simplefilter("ignore")
        async def main():
            global pool, tasks
            pool = await holisticpool.create_pool(sys.argv[1], min_size=1, max_size=1)
            tasks = [asyncio.ensure_future(pool.fetchval("SELECT pg_sleep(600)")),
                     asyncio.ensure_future(pool.fetchval("SELECT 1")), asyncio.ensure_future(pool.acquire())]
            await asyncio.sleep(0)
            for task in tasks:
                task._log_destroy_pending = False
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
    """,
    "raw pending operations": """
        import asyncio, sys, holisticpool, warnings
        warnings.simplefilter("ignore")
        async def main():
            global pool, operations
            pool = await holisticpool.create_pool(sys.argv[1], min_size=1, max_size=1)
            operations = [pool.fetchval("SELECT pg_sleep(600)"), pool.fetchval("SELECT 1"), pool.acquire()]
            for operation in operations:
                operation.send(None)
        asyncio.run(main())
    """,
    "operation never awaited": """
        import asyncio, sys, holisticpool, warnings
        warnings.simplefilter("ignore")
        async def main():
            global pool, operation
            pool = await holisticpool.create_pool(sys.argv[1], min_size=1, max_size=1)
            operation = pool.fetchval("SELECT 1")
        asyncio.run(main())
    """,
    "sys.exit in a task": """
        import asyncio, sys, holisticpool, warnings
        warnings.simplefilter("ignore")
        async def main():
            async with holisticpool.create_pool(sys.argv[1], min_size=1, max_size=1) as pool:
                async with pool.acquire() as connection:
                    await connection.fetchval("SELECT 1")
                    sys.exit(0)
        asyncio.run(main())
    """,
    "pool never opened": """
        import sys, holisticpool
        pool = holisticpool.create_pool(sys.argv[1])
    """,
    "module dropped": """
        import sys, gc
        import holisticpool
        from holisticpool import _core
        for name in [name for name in sys.modules if name.startswith("holisticpool")]:
            del sys.modules[name]
        del holisticpool, _core
        gc.collect()
        import holisticpool
        holisticpool.create_pool(sys.argv[1])
    """,
}


@pytest.mark.parametrize("name", EXITS)
def test_interpreter_exits_quietly_with(name: str, dsn: str) -> None:
    done = run_python(EXITS[name], dsn)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_second_copy_of_the_module_works_beside_the_first(dsn: str) -> None:
    done = run_python(
        """
        import asyncio, gc, sys
        import holisticpool as first
        for name in [name for name in sys.modules if name.startswith("holisticpool")]:
            del sys.modules[name]
        import holisticpool as second
        assert first is not second
        async def main(module):
            async with module.create_pool(sys.argv[1], min_size=1, max_size=1) as pool:
                row = await pool.fetchrow("SELECT 1 AS a, now()")
                assert type(row) is module.Record
                try:
                    await pool.fetchval("SELECT 1/0")
                except module.DivisionByZeroError:
                    pass
        for _ in range(2):
            asyncio.run(main(second))
            asyncio.run(main(first))
        del first
        gc.collect()
        asyncio.run(main(second))
        """,
        dsn,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_module_works_in_a_subinterpreter_or_says_why_not(dsn: str) -> None:
    done = run_python(
        """
        import sys, textwrap
        try:
            import _interpreters as interpreters
        except ImportError:
            try:
                import _xxsubinterpreters as interpreters
            except ImportError:
                print("no subinterpreters")
                sys.exit()
        import holisticpool
        code = textwrap.dedent(f'''
        import sys
        sys.path[:] = {sys.path!r}
        try:
            import asyncio
            from holisticpool import _core
            import holisticpool
        except ImportError as error:
            text = str(error)
        else:
            async def main():
                async with holisticpool.create_pool({sys.argv[1]!r}, min_size=1, max_size=1) as pool:
                    assert await pool.fetchval("SELECT 1") == 1
                    try:
                        await pool.fetchval("SELECT 1/0")
                    except holisticpool.DivisionByZeroError:
                        pass
            asyncio.run(main())
        ''')
        for _ in range(2):
            if hasattr(interpreters, "new_config"):
                one = interpreters.create("legacy")  # shares the GIL, and may start threads
            else:
                one = interpreters.create(isolated=False)
            interpreters.run_string(one, code)
            interpreters.destroy(one)
        print("done")
        """,
        dsn,
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "no subinterpreters":
        pytest.skip("this Python has no module for subinterpreters")
    assert done.stdout == "done\n", done.stderr
