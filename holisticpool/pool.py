"""Pool and create_pool(): opening and closing a pool; what is hot is the base class's, in C.

States: new -> opening -> open -> closing -> closed; a failed opening ends in
closed. The base class is initialised by the opening, not by __init__: only then
is the event loop known, so that a pool can be made at import time and opened in
an application's start-up. Until then the base class's methods raise
InterfaceError("pool is not initialized").
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from holisticpool import _core
from holisticpool.check import UNSET, Unset
from holisticpool.codecs import CodecChoice, TypeCodec, codec_choices
from holisticpool.config import PoolConfig, pool_config
from holisticpool.connection import Connection, check_record_class, running_loop
from holisticpool.conninfo import connect_config
from holisticpool.exceptions import InterfaceError, UnsupportedClientFeatureError
from holisticpool.portions import Sets

__all__ = ("Pool", "create_pool")

logger = logging.getLogger("holisticpool")

Hook = Callable[[Connection], Awaitable[None]]

LONG_CLOSE_S: Final = 60.0

_CONNECT_KEYWORDS: Final = frozenset(connect_config.__kwdefaults__ or ()) - {"default_settings"}


class _Opening(enum.Enum):
    NEW = "new"
    OPENING = "opening"
    OPENED = "opened"
    FAILED = "failed"


class Pool(_core.Pool):
    """Connections to one database, shared by the tasks of one event loop.

    Made by create_pool(); open it with ``await pool`` or ``async with pool``.
    """

    # What the session reset at release is, where the user's hook is not it.
    _reset_mode: str | None = None

    def __init__(
        self,
        config: PoolConfig,
        *,
        init: Hook | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        connection_class: type[Connection] = Connection,
        record_class: type[_core.Record] = _core.Record,
        codecs: tuple[list[CodecChoice], bool] = ([], False),
    ) -> None:
        self._config = config
        self._opening = _Opening.NEW
        self._wanted_loop = loop
        self._init = init
        self._connection_class = connection_class
        self._record_class = record_class
        self._codecs = codecs

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
        if self._opening is _Opening.OPENED:
            return self
        if self._opening is _Opening.OPENING:
            raise InterfaceError("pool is being initialized in another task")
        if self._opening is _Opening.FAILED:
            raise InterfaceError("pool is closed")
        running = running_loop(self._wanted_loop)
        self._opening = _Opening.OPENING
        try:
            targets = await running.run_in_executor(None, self._config.connection.targets)
            await self._connect(running, targets)
        except BaseException:
            self._opening = _Opening.FAILED
            raise
        self._opening = _Opening.OPENED
        return self

    async def _connect(self, loop: asyncio.AbstractEventLoop, targets: list[dict[str, str]]) -> None:
        config = self._config
        super().__init__(
            loop,
            min_size=config.min_size,
            max_size=config.max_size,
            max_queries=config.max_queries,
            max_inactive_connection_lifetime=config.max_inactive_connection_lifetime,
            max_lifetime=config.max_lifetime,
            acquire_timeout=config.acquire_timeout,
            command_timeout=config.connection.command_timeout,
            connect_timeout=config.connection.timeout_for(targets),
            max_waiters=config.max_waiters,
            statement_cache_size=config.connection.statement_cache_size,
            max_cached_statement_lifetime=config.connection.max_cached_statement_lifetime,
            max_cacheable_statement_size=config.connection.max_cacheable_statement_size,
            reset=self._reset_mode or config.reset,
            record_class=self._record_class,
            connection_class=self._connection_class,
            dedicated=False,
        )
        self._choose_codecs(*self._codecs)
        self._set_targets(targets)
        self._set_on_connect(self._init)
        try:
            await self._open()
        except BaseException:
            self.terminate()
            raise

    async def _by_lease(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """For the C part: a query whose method the connection class has redefined."""
        async with self.acquire() as connection:
            return await getattr(connection, method)(*args, **kwargs)

    async def executemany(self, command: str, args: Sets, *, timeout: float | None = None) -> None:
        """Execute *command* for each sequence of arguments in *args*: all of them, or none.

        See Connection.executemany().
        """
        async with self.acquire() as connection:
            await connection.executemany(command, args, timeout=timeout)

    async def fetchmany(
        self, query: str, args: Sets, *, timeout: float | None = None, record_class: type[_core.Record] | None = None
    ) -> list[Any]:
        """Run *query* for each sequence of arguments in *args*, all or none; the rows of all in one list.

        See Connection.fetchmany().
        """
        async with self.acquire() as connection:
            return await connection.fetchmany(query, args, timeout=timeout, record_class=record_class)

    def get_min_size(self) -> int:
        """Connections that are kept at least; known before the pool is open too."""
        return self._config.min_size

    def get_max_size(self) -> int:
        """Connections that are open at most; known before the pool is open too."""
        return self._config.max_size

    async def close(self) -> None:
        """Wait until every lease is released, then close every connection.

        New leases are refused at once. Where this is cancelled or fails, the
        pool is terminated. Doing it again does nothing.
        """
        if self._opening is _Opening.FAILED:
            return
        if self._opening is not _Opening.OPENED:
            raise InterfaceError("pool is not initialized")
        if self._closed:
            return
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
    min_size: int | Unset = UNSET,
    max_size: int | Unset = UNSET,
    max_queries: int | Unset = UNSET,
    max_inactive_connection_lifetime: float | Unset = UNSET,
    max_lifetime: float | Unset = UNSET,
    acquire_timeout: float | None | Unset = UNSET,
    command_timeout: float | None | Unset = UNSET,
    max_waiters: int | Unset = UNSET,
    connect: Callable[..., Awaitable[Connection]] | None = None,
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
    max_queries: a connection is replaced after so many statements.
    max_inactive_connection_lifetime: seconds unused before a connection above
        min_size is closed; 0 keeps it.
    max_lifetime: seconds before a connection is replaced, shortened at random by
        up to a tenth; 0 keeps it.
    acquire_timeout: seconds to wait for a free connection; None waits for ever.
    command_timeout: seconds for each statement; None is for ever.
    max_waiters: tasks that may wait for a connection; 0 is without limit.
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
    UnsupportedClientFeatureError for what is not supported (connect).
    """
    # Here, since hooks.py builds on this module's Pool.
    from holisticpool.hooks import HookedPool

    if connect is not None:
        raise UnsupportedClientFeatureError(
            "connect is not supported: the pool makes its connections itself; use init to prepare each new one"
        )
    for name in connect_kwargs:
        if name not in _CONNECT_KEYWORDS:
            raise TypeError(f"create_pool() got an unexpected keyword argument {name!r}")
    _check_classes(connection_class, record_class)
    for name, hook in (("setup", setup), ("init", init), ("reset", reset)):
        if hook is not None and not callable(hook) and not (name == "reset" and isinstance(hook, str)):
            raise TypeError(f"{name} is expected to be a coroutine function, got {hook!r}")
    config = pool_config(
        dsn,
        min_size=min_size,
        max_size=max_size,
        max_queries=max_queries,
        max_inactive_connection_lifetime=max_inactive_connection_lifetime,
        max_lifetime=max_lifetime,
        acquire_timeout=acquire_timeout,
        command_timeout=command_timeout,
        max_waiters=max_waiters,
        reset=reset if isinstance(reset, str) else UNSET,
        **connect_kwargs,
    )
    codecs = codec_choices(json=json, numeric=numeric, vector=vector, type_codecs=type_codecs)
    reset_hook = None if isinstance(reset, str) else reset
    if setup is None and reset_hook is None:
        return Pool(
            config, init=init, loop=loop, connection_class=connection_class, record_class=record_class, codecs=codecs
        )
    return HookedPool(
        config,
        setup=setup,
        reset=reset_hook,
        init=init,
        loop=loop,
        connection_class=connection_class,
        record_class=record_class,
        codecs=codecs,
    )


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
