"""Pool and create_pool(): opening and closing a pool; what is hot is the base class's, in C.

States: new -> opening -> open -> closing -> closed; a failed opening ends in
closed. The base class is initialised by the opening, not by __init__: only then
is the event loop known, so that a pool can be made at import time and opened in
an application's start-up. Until then the base class's methods raise
InterfaceError("pool is not initialized").
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from holisticpool import _core
from holisticpool.check import DEFAULT_PREFETCH, UNSET, RowForm, Unset, found_later
from holisticpool.config import changed_connection, pool_config
from holisticpool.connection import Connection, check_record_class, chosen_codecs, init_with_class, running_loop
from holisticpool.connection import PoolConnectionHolder as PoolConnectionHolder
from holisticpool.conninfo import connect_config
from holisticpool.copy import CopyPool
from holisticpool.exceptions import InterfaceError
from holisticpool.targets import TargetSource

if TYPE_CHECKING:
    from holisticpool.codecs import TypeCodec
    from holisticpool.leases import PoolAcquireContext as PoolAcquireContext
    from holisticpool.leases import PoolConnectionProxy as PoolConnectionProxy
    from holisticpool.leases import PoolConnectionProxyMeta as PoolConnectionProxyMeta
    from holisticpool.portions import Sets
else:
    # asyncpg's names, for annotations and isinstance().
    __getattr__ = found_later(
        __name__,
        dict.fromkeys(("PoolAcquireContext", "PoolConnectionProxy", "PoolConnectionProxyMeta"), "leases"),
    )

__all__ = ("Pool", "create_pool")

logger = logging.getLogger("holisticpool")

Hook = Callable[[Connection], Awaitable[None]]
Connect = Callable[..., Awaitable[Connection]]

LONG_CLOSE_S: Final = 60.0

# Of the keywords for a connect= callback, those that the pool itself heeds too.
_FOR_THE_POOL: Final = (
    "timeout",
    "statement_cache_size",
    "max_cached_statement_lifetime",
    "max_cacheable_statement_size",
)

_CONNECT_KEYWORDS: Final = frozenset(connect_config.__kwdefaults__ or ()) - {"default_settings"}

# What the values of many tables are made of. Importing them takes 1 to 2 ms each, for which the first statement that
# needs one would hold up the loop; while the servers' answers are on their way there is nothing else to do.
_MODULES_OF_VALUES: Final = ("decimal", "uuid")


class _Opening:
    # No enumeration: making one took as long as the rest of this class's module.
    NEW: Final = "new"
    OPENING: Final = "opening"
    OPENED: Final = "opened"
    FAILED: Final = "failed"


def _import_next(loop: asyncio.AbstractEventLoop, names: tuple[str, ...]) -> None:
    """Import a module in each turn of the loop, so that what comes meanwhile has its turn too."""
    importlib.import_module(names[0])
    if len(names) > 1:
        loop.call_soon(_import_next, loop, names[1:])


class Pool(CopyPool):
    """Connections to one database, shared by the tasks of one event loop.

    Made by create_pool(), or with the same parameters; open it with ``await
    pool`` or ``async with pool``.
    """

    # What the session reset at release is, where the user's hook is not it.
    _reset_mode: str | None = None
    # Whether setup and reset coroutines are run: __new__ chooses the class by them.
    _runs_hooks = False
    _opening: str = _Opening.NEW

    def __new__(cls, *args: Any, setup: object = None, reset: object = None, **kwargs: Any) -> Pool:
        """A pool whose leases run coroutines of the user's is of another class, which is slower."""
        if setup is None and (reset is None or isinstance(reset, str)):
            return super().__new__(cls)
        # Here, since hooks.py builds on this module's Pool.
        from holisticpool.hooks import hooked

        return super().__new__(hooked(cls))

    def __init__(
        self,
        dsn: str | None = None,
        *,
        init_size: int | None | Unset = UNSET,
        min_size: int | Unset = UNSET,
        max_size: int | Unset = UNSET,
        max_queries: int | Unset = UNSET,
        max_inactive_connection_lifetime: float | Unset = UNSET,
        max_lifetime: float | Unset = UNSET,
        acquire_timeout: float | None | Unset = UNSET,
        command_timeout: float | None | Unset = UNSET,
        max_waiters: int | Unset = UNSET,
        pipeline: str | int | Unset = UNSET,
        connect: Connect | None = None,
        setup: Hook | None = None,
        init: Hook | None = None,
        reset: str | Hook | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        connection_class: type[Connection] = Connection,
        record_class: type[_core.Record] = _core.Record,
        json: str | tuple[Callable[[Any], str | bytes], Callable[[str], Any]] | None = None,
        numeric: str = "decimal",
        vector: str = "text",
        type_codecs: Iterable[TypeCodec] | None = None,
        **connect_kwargs: Any,
    ) -> None:
        """Check the parameters; see create_pool() for them. The base class is initialised by the opening."""
        for name, hook in (("connect", connect), ("setup", setup), ("init", init), ("reset", reset)):
            if hook is not None and not callable(hook) and not (name == "reset" and isinstance(hook, str)):
                raise TypeError(f"{name} is expected to be a coroutine function, got {hook!r}")
        if not self._runs_hooks and (setup is not None or not (reset is None or isinstance(reset, str))):
            raise TypeError(f"setup and reset must be passed to {type(self).__name__}() itself")
        _check_classes(connection_class, record_class)
        self._connect_hook = connect
        self._connect_args: tuple[str | None, dict[str, Any]] = dsn, dict(connect_kwargs)
        if connect is None:
            _check_names("create_pool", connect_kwargs)
        else:
            if not isinstance(command_timeout, Unset):
                self._connect_args[1]["command_timeout"] = command_timeout
            # The rest is for the hook, whatever it takes.
            dsn = ""
            connect_kwargs = {name: connect_kwargs[name] for name in _FOR_THE_POOL if name in connect_kwargs}
        self._codecs = chosen_codecs(json=json, numeric=numeric, vector=vector, type_codecs=type_codecs)
        self._config = pool_config(
            dsn,
            init_size=init_size,
            min_size=min_size,
            max_size=max_size,
            max_queries=max_queries,
            max_inactive_connection_lifetime=max_inactive_connection_lifetime,
            max_lifetime=max_lifetime,
            acquire_timeout=acquire_timeout,
            command_timeout=command_timeout,
            max_waiters=max_waiters,
            pipeline=pipeline,
            reset=reset if isinstance(reset, str) else UNSET,
            **connect_kwargs,
        )
        self._wanted_loop = loop
        self._source = TargetSource(self._config.connection)
        self._init = init
        self._connection_class = connection_class
        self._record_class = record_class

    if TYPE_CHECKING:
        # The base class hands out connection_class, which is one of these.
        def acquire(self, *, timeout: float | None = ...) -> _core.Operation[Connection]: ...

    def __await__(self) -> Generator[Any, Any, Pool]:
        return self._initialize().__await__()

    async def __aenter__(self) -> Pool:
        return await self._initialize()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _initialize(self) -> Pool:
        if self._opening == _Opening.OPENED:
            return self
        if self._opening == _Opening.OPENING:
            raise InterfaceError("pool is being initialized in another task")
        if self._opening == _Opening.FAILED:
            raise InterfaceError("pool is closed")
        running = running_loop(self._wanted_loop)
        self._opening = _Opening.OPENING
        try:
            await self._connect(running, await self._source.resolve() if self._connect_hook is None else [])
        except BaseException:
            self._opening = _Opening.FAILED
            raise
        self._opening = _Opening.OPENED
        return self

    async def _connect(self, loop: asyncio.AbstractEventLoop, targets: list[dict[str, str]]) -> None:
        config = self._config
        super().__init__(
            loop,
            init_size=config.init_size,
            min_size=config.min_size,
            max_size=config.max_size,
            max_queries=config.max_queries,
            max_inactive_connection_lifetime=config.max_inactive_connection_lifetime,
            max_lifetime=config.max_lifetime,
            acquire_timeout=config.acquire_timeout,
            command_timeout=self._source.config.command_timeout,
            connect_timeout=self._source.config.timeout_for(targets),
            max_waiters=config.max_waiters,
            statement_cache_size=config.connection.statement_cache_size,
            max_cached_statement_lifetime=config.connection.max_cached_statement_lifetime,
            max_cacheable_statement_size=config.connection.max_cacheable_statement_size,
            reset=self._reset_mode or config.reset,
            record_class=self._record_class,
            connection_class=self._connection_class,
            dedicated=False,
            pipeline=config.pipeline,
        )
        self._choose_codecs(*self._codecs)
        if self._connect_hook is not None:
            self._set_ask(self._session_of_hook, True)
        elif self._source.is_constant:
            self._set_targets(targets)
        else:
            self._set_ask(self._source, False)
        # The callback of connect= has run the class's __init__ already.
        is_made = self._connect_hook is not None
        self._set_on_connect(
            init_with_class(self, self._connection_class, self._source.config, self._init, is_made=is_made)
        )
        try:
            opened = self._open()
            # Connecting begins in the loop's next turn.
            loop.call_soon(loop.call_soon, _import_next, loop, _MODULES_OF_VALUES)
            await opened
        except BaseException:
            self.terminate()
            raise

    async def _changed_targets(self) -> list[dict[str, str]]:
        """For the C part, once set_connect_args() was called: what the next connection is opened with."""
        targets = await self._source()
        self._set_connect_timeout(self._source.config.timeout_for(targets))
        return targets

    async def _session_of_hook(self) -> Connection:
        """For the C part: a session that the pool takes over from the connect= callback."""
        assert self._connect_hook is not None
        dsn, kwargs = self._connect_args
        wanted = self._connection_class
        connection = await self._connect_hook(
            dsn, loop=self._loop, connection_class=wanted, record_class=self._record_class, **kwargs
        )
        if not isinstance(connection, wanted):
            raise InterfaceError(
                f"expected pool connect callback to return an instance of '{_full_name(wanted)}', "
                f"got '{_full_name(type(connection))}'"
            )
        return connection

    def set_connect_args(self, dsn: str | None = None, **connect_kwargs: Any) -> None:
        """Open further connections with these parameters of connect(), in place of all that were given.

        Open connections stay until they are replaced: expire_connections() makes
        that soon. command_timeout, where it is given, counts for all of them at
        once. Raises ValueError or TypeError kinds for wrong parameters, among
        them those that belong to the pool as a whole (statement_cache_size and
        its like). With connect= they are for that callback, unchecked.
        """
        if self._connect_hook is None:
            _check_names("set_connect_args", connect_kwargs)
            self._source.config = changed_connection(self._source.config, dsn, **connect_kwargs)
        self._connect_args = dsn, dict(connect_kwargs)
        if self._opening != _Opening.OPENED or self._connect_hook is not None:
            return
        self._set_command_timeout(self._source.config.command_timeout)
        timeout = self._source.config.connect_timeout
        if not isinstance(timeout, Unset):
            self._set_connect_timeout(timeout)
        self._set_ask(self._changed_targets, False)

    async def expire_connections(self) -> None:
        """Replace every connection that is open: idle ones now, the others when they are released."""
        if self._opening == _Opening.OPENED and not self._closed:
            self._expire()

    def _check_open(self) -> None:
        if self._opening == _Opening.OPENING:
            raise InterfaceError(
                "pool is being initialized, but not yet ready: likely there is a race between creating a pool and "
                "using it"
            )
        if self._opening == _Opening.NEW:
            raise InterfaceError("pool is not initialized")
        if self._opening == _Opening.FAILED or self._closed:
            raise InterfaceError("pool is closed")

    async def _overridden(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """For the C part: a query whose method the connection class has redefined."""
        async with self.acquire() as connection:
            return await getattr(connection, method)(*args, **kwargs)

    def stream(
        self,
        query: str,
        *args: Any,
        prefetch: int = DEFAULT_PREFETCH,
        timeout: float | None = None,
        record_class: type[_core.Record] | None = None,
        rows: RowForm | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """The rows of a query one by one, without holding them all: ``async for row in pool.stream(...)``.

        A connection is leased for it until the last row, the generator's aclose() or
        an exception; see Connection.stream(). A loop that may be left early is best
        put into ``async with contextlib.aclosing(pool.stream(...)) as rows``: without
        it the lease ends when the generator is garbage collected.
        """
        from holisticpool.stream import Stream

        return Stream(query, args, prefetch, timeout, record_class, rows, params).of_pool(self)

    async def executemany(self, command: str, args: Sets, *, timeout: float | None = None) -> None:
        """Execute *command* for each sequence of arguments in *args*: all of them, or none.

        See Connection.executemany().
        """
        async with self.acquire() as connection:
            await connection.executemany(command, args, timeout=timeout)

    async def fetchmany(
        self,
        query: str,
        args: Sets,
        *,
        timeout: float | None = None,
        record_class: type[_core.Record] | None = None,
        rows: RowForm | None = None,
    ) -> list[Any]:
        """Run *query* for each sequence of arguments in *args*, all or none; the rows of all in one list.

        See Connection.fetchmany().
        """
        async with self.acquire() as connection:
            # Without what is not given: a redefined method may not know of it.
            form = {} if rows is None else {"rows": rows}
            return await connection.fetchmany(query, args, timeout=timeout, record_class=record_class, **form)

    def get_init_size(self) -> int:
        """Connections that are opened at first."""
        return self._config.init_size

    def get_min_size(self) -> int:
        """Connections that are kept at least; known before the pool is open too."""
        return self._config.min_size

    def get_max_size(self) -> int:
        """Connections that are open at most; known before the pool is open too."""
        return self._config.max_size

    def get_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the pool was opened on; before that the one it was given, or None."""
        return self._loop or self._wanted_loop

    async def close(self) -> None:
        """Wait until every lease is released, then close every connection.

        New leases are refused at once. Where this is cancelled or fails, the
        pool is terminated. Doing it again does nothing.
        """
        if self._opening == _Opening.FAILED:
            return
        if self._opening == _Opening.OPENED and self._closed:
            return
        self._check_open()
        warning = asyncio.get_running_loop().call_later(LONG_CLOSE_S, _warn_of_long_close)
        try:
            await self._close()
        except BaseException:
            self.terminate()
            raise
        finally:
            warning.cancel()


def create_pool(
    dsn: str | None = None,
    *,
    init_size: int | None | Unset = UNSET,
    min_size: int | Unset = UNSET,
    max_size: int | Unset = UNSET,
    max_queries: int | Unset = UNSET,
    max_inactive_connection_lifetime: float | Unset = UNSET,
    max_lifetime: float | Unset = UNSET,
    acquire_timeout: float | None | Unset = UNSET,
    command_timeout: float | None | Unset = UNSET,
    max_waiters: int | Unset = UNSET,
    pipeline: str | int | Unset = UNSET,
    connect: Connect | None = None,
    setup: Hook | None = None,
    init: Hook | None = None,
    reset: str | Hook | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    connection_class: type[Connection] = Connection,
    record_class: type[_core.Record] = _core.Record,
    json: str | tuple[Callable[[Any], str | bytes], Callable[[str], Any]] | None = None,
    numeric: str = "decimal",
    vector: str = "text",
    type_codecs: Iterable[TypeCodec] | None = None,
    **connect_kwargs: Any,
) -> Pool:
    """A pool, not yet open: ``await`` it, or use it with ``async with``.

    What is not given comes from the environment (DATABASE_URL, DATABASE_POOL_*,
    DATABASE_*_TIMEOUT, ...) or from holisticpool.config's defaults.

    min_size, max_size: connections kept at least and open at most.
    init_size: connections opened at first, by default min_size.
    max_queries: a connection is replaced after so many statements.
    max_inactive_connection_lifetime: seconds unused before a connection above
        min_size is closed; 0 keeps it.
    max_lifetime: seconds before a connection is replaced, shortened at random by
        up to a tenth; 0 keeps it.
    acquire_timeout: seconds to wait for a free connection; None waits for ever.
    command_timeout: seconds for each statement; None is for ever.
    max_waiters: tasks that may wait for a connection; 0 is without limit.
    pipeline: how single statements of the pool's own methods share connections
        (docs/pipelining.md): "off", each has one to itself; "auto", short reads go
        out behind each other, as deep as the round trip asks for; or a depth.
    connect: a coroutine function that is called in place of connect() for each
        new connection, as ``connect(dsn, loop=..., connection_class=...,
        record_class=..., **connect_kwargs)``, and returns what connect() returned
        to it; the pool takes that session over.
    setup: a coroutine function, called with the connection at every acquire.
    init: a coroutine function, called with each new connection once.
    reset: "touched" (the default: a session is reset where its lease may have
        left state behind), "always", or asyncpg's coroutine function that is
        called with the connection at every release in place of that.
    loop: the running event loop or None.
    connection_class, record_class: subclasses of Connection and Record.
    json: how json and jsonb are read and written: "text" (the default: as str),
        "stdlib", "orjson", or a pair of functions, encoder and decoder.
    numeric: "decimal" or "float".
    vector: how pgvector's types are read, "text" (as str) or "list".
    type_codecs: how other types are, see TypeCodec.
    connect_kwargs: the other keywords of connect().

    With setup or a reset coroutine each query takes asyncpg's way: acquire, run,
    release. Raises ValueError or TypeError kinds for wrong parameters, and
    UnsupportedClientFeatureError for what is not supported.
    """
    return Pool(
        dsn,
        init_size=init_size,
        min_size=min_size,
        max_size=max_size,
        max_queries=max_queries,
        max_inactive_connection_lifetime=max_inactive_connection_lifetime,
        max_lifetime=max_lifetime,
        acquire_timeout=acquire_timeout,
        command_timeout=command_timeout,
        max_waiters=max_waiters,
        connect=connect,
        pipeline=pipeline,
        setup=setup,
        init=init,
        reset=reset,
        loop=loop,
        connection_class=connection_class,
        record_class=record_class,
        json=json,
        numeric=numeric,
        vector=vector,
        type_codecs=type_codecs,
        **connect_kwargs,
    )


def _check_names(function: str, connect_kwargs: Iterable[str]) -> None:
    for name in connect_kwargs:
        if name not in _CONNECT_KEYWORDS:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def _full_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _check_classes(connection_class: object, record_class: object) -> None:
    # TypeError for both, as asyncpg's pool; its connect() raises InterfaceError.
    if not (isinstance(connection_class, type) and issubclass(connection_class, Connection)):
        raise TypeError(
            f"connection_class is expected to be a subclass of holisticpool.Connection, got {connection_class!r}"
        )
    if not (isinstance(record_class, type) and issubclass(record_class, _core.Record)):
        raise TypeError(f"record_class is expected to be a subclass of holisticpool.Record, got {record_class!r}")
    check_record_class(record_class)


def _warn_of_long_close() -> None:
    logger.warning(
        "Pool.close() is taking over 60 seconds to complete. Check if you have any unreleased connections left. "
        "Use asyncio.wait_for() to set a timeout for Pool.close()."
    )
