"""Connection: one lease of a server session, and connect(), a session of one's own.

The methods that are hot (fetch, execute, close, ...) are the base class's, in C;
here is what runs rarely. Objects are made by the pool, in C, one for each lease,
without __init__. Only that of a subclass is run, once for a session; the objects of
its leases share their __dict__ then (csrc/binding/attributes.h).

connect() uses a pool of exactly one session (dedicated=True) that ends with it,
so that there is one way to connect, cancel and close.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from holisticpool import _core
from holisticpool.awaitables import awaited
from holisticpool.check import DEFAULT_PREFETCH, FORMATS, PIPELINE_OFF, UNSET, RowForm, Unset, check_rows, found_later
from holisticpool.conninfo import ConnectConfig, Password, connect_config
from holisticpool.copy import CopyConnection
from holisticpool.exceptions import ClientConfigurationError, InterfaceError, UnsupportedClientFeatureError
from holisticpool.execute import ExecutingConnection
from holisticpool.listeners import ListeningConnection, address
from holisticpool.targets import TargetSource

if TYPE_CHECKING:
    from holisticpool.codecs import CodecChoice, TypeCodec
    from holisticpool.cursor import CursorFactory as CursorFactory
    from holisticpool.pipeline import Pipeline
    from holisticpool.portions import Sets
    from holisticpool.prepared_stmt import PreparedStatement as PreparedStatement
    from holisticpool.reports import ConnectionConfiguration as ConnectionConfiguration
    from holisticpool.reports import ConnectionParameters as ConnectionParameters
    from holisticpool.reports import LoggedQuery as LoggedQuery
    from holisticpool.transaction import Transaction as Transaction
    from holisticpool.types import ServerVersion as ServerVersion
else:
    # What the methods below import when they are called is found here by its name, too.
    __getattr__ = found_later(
        __name__,
        {
            "ConnectionConfiguration": "reports",
            "ConnectionParameters": "reports",
            "CursorFactory": "cursor",
            "LoggedQuery": "reports",
            "PreparedStatement": "prepared_stmt",
            "ServerVersion": "types",
            "Transaction": "transaction",
        },
    )

__all__ = ("Connection", "ConnectionParameters", "ConnectionSettings", "LoggedQuery", "connect")

RESET_QUERY = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"


# Each value comes as oid, name or "char", of which hardly anybody has codecs of his own.
_TYPE_QUERY = """
SELECT t.oid, n.nspname AS schema, t.typname AS name,
       CASE WHEN t.typtype IN ('b', 'd', 'e') AND NOT (t.typelem <> 0 AND t.typlen = -1) THEN 's'::"char"
            WHEN t.typtype = 'c' THEN 'c'::"char" ELSE 'o'::"char" END AS kind
FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
WHERE t.typname = $1 AND n.nspname = $2
"""
_TYPE_KINDS = {b"s": "scalar", b"c": "composite", b"o": "other"}


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


class ConnectionSettings:
    """The settings that the server reports, by their names: ``settings.TimeZone``.

    Raises AttributeError for a setting that the server does not report.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> str:
        value = self._connection._parameter_status(name)
        if value is None:
            raise AttributeError(f"the server reports no setting {name!r}")
        return value


class PoolConnectionHolder:
    """``connection._holder``: where a lease comes from."""

    __slots__ = ("_con", "_pool")

    def __init__(self, connection: Connection) -> None:
        self._con = connection._con
        self._pool = connection._pool


class ConnectionMeta(type):
    """The class of Connection, under asyncpg's name for it."""


class Connection(CopyConnection, ExecutingConnection, ListeningConnection, metaclass=ConnectionMeta):
    """A database session: leased from a pool, or one's own by connect().

    ``async with`` closes it at the end, which for a lease means to release it.
    """

    def __init__(
        self,
        protocol: Any,
        transport: Any,
        loop: asyncio.AbstractEventLoop,
        addr: tuple[str, int] | str,
        config: ConnectionConfiguration,
        params: ConnectionParameters,
    ) -> None:
        """Nothing here; a subclass may extend it. It is run once for each session, before anybody uses it.

        protocol, transport: None.
        loop: the event loop.
        addr: ``(host, port)``, or the path of the Unix socket.
        config: what connect() was told of statements.
        params: user and database.

        What it sets on *self* is found by every lease of the session, whatever object
        the lease is. What it raises is raised where the connection was to be opened.
        """

    # Names of asyncpg's own that programs are known to look at.

    @property
    def _con(self) -> Connection | None:
        """What asyncpg's wrapper of a lease holds: the connection, or None once it is released."""
        return None if self._released else self

    @property
    def _holder(self) -> PoolConnectionHolder:
        """The connection's place in its pool."""
        return PoolConnectionHolder(self)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the connection."""
        return self._pool._loop

    @property
    def _top_xact(self) -> Transaction | None:
        """The outermost transaction that transaction() has started, or None."""
        return self._transactions[0] if self._transactions else None

    @property
    def _transactions(self) -> list[Transaction]:
        """The started transactions, outermost first; transaction.py keeps it."""
        if self._started is None:
            self._started = []
        return self._started

    def _is_unobserved(self) -> bool:
        """Whether nobody would miss a statement that does not come by execute(): no override, wrapper or logger."""
        cls = type(self)
        return (
            cls.execute is _core.Connection.execute
            and cls._execute is ExecutingConnection._own_execute
            and not self._query_loggers
        )

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Transaction:
        """A transaction, or a savepoint inside the one that was started by this method.

        *isolation* is ``"serializable"``, ``"repeatable_read"``,
        ``"read_committed"``, ``"read_uncommitted"`` or None for the session's
        default. Use it with ``async with``, or call start() and then commit() or
        rollback(). Raises ValueError for another isolation level, InterfaceError
        on a closed or released connection.
        """
        from holisticpool.transaction import Transaction

        self._check_open("transaction")
        return Transaction(self, isolation, readonly, deferrable)

    def pipeline(self) -> Pipeline:
        """Statements that are sent without waiting for the answers of those before: ``async with`` it.

        Until the block is left, the connection's own methods raise InterfaceError.
        Raises InterfaceError on a closed or released connection.
        """
        from holisticpool.pipeline import Pipeline

        self._check_open("pipeline")
        return Pipeline(self)

    async def prepare(
        self,
        query: str,
        *,
        name: str | None = None,
        timeout: float | None = None,
        record_class: type[_core.Record] | None = None,
        params: bool = False,
    ) -> PreparedStatement:
        """Prepare a statement for this connection, to be executed often or described.

        *name* is its name on the server, made up if None; *timeout* is in seconds;
        *record_class* is for its rows in place of the connection's. With *params*
        the query has parameters by name (``:name``, ``$name``), and the statement
        takes its arguments by ``params=``, as fetch() does. Raises
        InterfaceError on a closed or released connection, the server's
        PostgresError for a statement that it refuses, ValueError for a name of
        more than 63 bytes.
        """
        from holisticpool.prepared_stmt import PreparedStatement

        self._check_open("prepare")
        if record_class is not None:
            check_record_class(record_class)
        return await PreparedStatement._prepare(self, query, name, timeout, record_class, params)

    def cursor(
        self,
        query: str,
        *args: Any,
        prefetch: int | None = None,
        timeout: float | None = None,
        record_class: type[_core.Record] | None = None,
        rows: RowForm | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> CursorFactory:
        """The rows of a query in batches, inside a transaction: for ``async for``, or awaited a Cursor to read by hand.

        *prefetch* is how many rows are fetched at a time, for iteration only; by
        default 50 at first and up to 400 as it goes on. *timeout*, in seconds, is for
        each batch; *record_class*, *rows* and *params* as for fetch(). The cursor ends
        with its transaction. Raises InterfaceError on a closed or released connection,
        and at the first row NoActiveSQLTransactionError outside of a transaction.
        """
        from holisticpool.cursor import CursorFactory

        self._check_open("cursor")
        check_rows(record_class, rows)
        query, args = self._pool._by_name(query, args, params)
        return CursorFactory(self, query, args, prefetch, timeout, record_class, rows)

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
        """The rows of a query one by one, without holding them all: ``async for row in connection.stream(...)``.

        A cursor in a transaction: in the one that the connection is in, or in one of
        its own that is committed after the last row and rolled back where the rows
        are left before. *prefetch* rows are fetched at a time, the next ones while
        these are used; *timeout*, in seconds, is for each batch; *record_class*,
        *rows* and *params* as for fetch(). Other statements of the connection wait for a batch that is on
        its way. Raises InterfaceError on a closed or released connection.
        """
        from holisticpool.stream import Stream

        self._check_open("stream")
        return Stream(query, args, prefetch, timeout, record_class, rows, params).of_connection(self)

    @awaited
    def fetchmany(
        self,
        query: str,
        args: Sets,
        *,
        timeout: float | None = None,
        record_class: type[_core.Record] | None = None,
        rows: RowForm | None = None,
    ) -> _core.Operation[list[Any]]:
        """Run *query* for each sequence of arguments in *args*, all or none; the rows of all in one list.

        *args*, *timeout*: as for executemany(); *record_class*, *rows*: as for fetch().
        """
        from holisticpool.portions import run_sets

        return run_sets(
            lambda sets: super(Connection, self).fetchmany(
                query, sets, timeout=timeout, record_class=record_class, rows=rows
            ),
            args,
        )

    @awaited
    def close(self, *, timeout: float | None = None) -> _core.Operation[None]:
        """Close the session; a lease is released to its pool instead."""
        if self._release_hook is not None:
            return cast("_core.Operation[None]", self._release_hook(self, timeout=timeout))
        return super().close(timeout=timeout)

    async def reset(self, *, timeout: float | None = None) -> None:
        """Bring the session back to what it was when it was opened.

        Forgets the listeners of channels and of log messages, rolls back an open
        transaction, then runs get_reset_query(). A transaction that no ``async with``
        is going to end is told to the event loop's exception handler. Raises
        TimeoutError after *timeout* seconds.
        """
        self._check_open("reset")
        await asyncio.wait_for(self._reset(), timeout)

    async def _reset(self) -> None:
        self._forget_listeners()
        self._report_transaction()
        self._transactions.clear()
        if self.is_in_transaction():
            await self.execute("ROLLBACK")
        for query in (self.get_reset_query(), self._settings_query):
            if query:
                await self.execute(query)

    def _report_transaction(self) -> None:
        """Tell the loop's exception handler, before a reset, of a transaction that no ``async with`` is going to end.

        The C part calls it, too, when a lease is given back.
        """
        outermost = self._top_xact
        if outermost._managed if outermost is not None else not self.is_in_transaction():
            return
        loop = self._loop
        assert loop is not None  # there is a session
        loop.call_exception_handler(
            {"message": f"Resetting connection with an active transaction {self!r}", "connection": self}
        )

    def get_reset_query(self) -> str:
        """The statements that reset() runs; a subclass may give others."""
        return RESET_QUERY

    def get_server_version(self) -> ServerVersion:
        """The server's version, e.g. ``ServerVersion(major=15, minor=0, micro=4, ...)``."""
        from holisticpool.types import parse_server_version

        self._check_open("get_server_version")
        return parse_server_version(self._parameter_status("server_version") or "")

    def get_settings(self) -> ConnectionSettings:
        """The settings that the server reports, as they are at the time of reading."""
        self._check_open("get_settings")
        return ConnectionSettings(self)

    async def set_type_codec(
        self,
        typename: str,
        *,
        schema: str = "public",
        encoder: Callable[[Any], Any],
        decoder: Callable[[Any], Any],
        format: str = "text",
    ) -> None:
        """Encode and decode values of a type, and of arrays of it, by the caller's functions on this session.

        With format ``"text"`` the encoder returns and the decoder gets str, with
        ``"binary"`` bytes-like objects, both in PostgreSQL's form of the type, and
        with ``"tuple"`` what the type consists of: (months, days, microseconds) of
        an interval, for example, or the values of a composite type. It lasts until
        the session ends; for all of a pool's see TypeCodec. Raises ValueError for
        an unknown type or format, InterfaceError for a type that is neither scalar
        nor composite, or has no tuple format, UnsupportedClientFeatureError for a
        composite type with another format.
        """
        self._check_open("set_type_codec")
        if format not in FORMATS:
            raise ClientConfigurationError(
                f"invalid `format` argument, expected 'text', 'binary' or 'tuple', got {format!r}"
            )
        kind, oid = await self._known_type(typename, schema)
        if kind == "composite" and format != "tuple":
            raise UnsupportedClientFeatureError(
                f"composite type {schema}.{typename} takes codecs of format 'tuple' only"
            )
        if kind == "other":
            raise InterfaceError(
                f"cannot use custom codec on type {schema}.{typename}: it is neither a scalar type nor a composite type"
            )
        self._set_codec(oid, format, encoder, decoder)

    async def reset_type_codec(self, typename: str, *, schema: str = "public") -> None:
        """Undo set_type_codec() or set_builtin_type_codec() for a type on this session.

        What the pool was told about the type holds again. Raises ValueError for
        an unknown type.
        """
        self._check_open("reset_type_codec")
        _, oid = await self._known_type(typename, schema)
        self._set_codec(oid, None)

    async def set_builtin_type_codec(
        self, typename: str, *, schema: str = "public", codec_name: str, format: str | None = None
    ) -> None:
        """Encode and decode values of a type by a built-in codec on this session.

        *codec_name* is the name of a built-in type ("int", "jsonb", "timestamp
        with time zone"), whose binary form the type must have, or
        "pg_contrib.hstore", which gives dicts from str to str or None. Both formats
        are used, whatever *format* says. Raises ValueError for an unknown type,
        InterfaceError for one that is not scalar and for an unknown codec.
        """
        self._check_open("set_builtin_type_codec")
        if format not in (None, "text", "binary"):
            raise ClientConfigurationError(f"invalid `format` argument, expected 'text' or 'binary', got {format!r}")
        kind, oid = await self._known_type(typename, schema)
        if kind != "scalar":
            raise InterfaceError(f"cannot alias non-scalar type {schema}.{typename}")
        try:
            self._set_codec(oid, "like", None, None, codec_name)
        except LookupError as error:
            raise InterfaceError(f"cannot alias {typename} to {codec_name}: {error}") from None

    async def _known_type(self, typename: str, schema: str) -> tuple[str, int]:
        """What kind of type it is ("scalar", "composite", "other") and its OID, with the type known to the pool."""
        builtin = _core.builtin_type(typename.lower()) if schema == "pg_catalog" else None
        if builtin is not None:
            return "scalar", builtin
        row = await self._directly("fetchrow", _TYPE_QUERY, typename, schema)
        if row is None:
            raise ValueError(f"unknown type: {schema}.{typename}")
        oid, actual_schema, name, kind = row
        if _TYPE_KINDS[kind] != "other":
            # Describing a statement makes its types known to the pool; as the element of an array, since a column
            # of a domain is described as its base type.
            await self._directly("fetchval", f"SELECT NULL::{_quoted(actual_schema)}.{_quoted(name)}[]")
        return _TYPE_KINDS[kind], int(oid)

    async def reload_schema_state(self) -> None:
        """Forget what the pool knows of statements and types, so that altered types are looked up again.

        It is for all connections of the pool and sends nothing: each statement is
        described anew at its next use. Raises InterfaceError on a closed or
        released connection.
        """
        self._forget_types()

    def _check_open(self, method: str) -> None:
        if self._released:
            raise InterfaceError(f"cannot call Connection.{method}(): connection has been released back to the pool")
        if self.is_closed():
            raise InterfaceError("connection is closed")

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()


async def connect(
    dsn: str | None = None,
    *,
    host: str | Sequence[str] | None = None,
    port: int | str | Sequence[int | str] | None = None,
    user: str | None = None,
    password: str | Password | None = None,
    passfile: str | os.PathLike[str] | None = None,
    service: str | None = None,
    servicefile: str | os.PathLike[str] | None = None,
    database: str | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    timeout: float | None | Unset = UNSET,
    statement_cache_size: int = 100,
    max_cached_statement_lifetime: float = 0,
    max_cacheable_statement_size: int = 15 * 1024,
    command_timeout: float | None = None,
    ssl: object = None,
    direct_tls: bool | None = None,
    connection_class: type[Connection] = Connection,
    record_class: type[_core.Record] = _core.Record,
    server_settings: Mapping[str, str] | None = None,
    target_session_attrs: str | None = None,
    krbsrvname: str | None = None,
    gsslib: str | None = None,
    json: str | tuple[Callable[[Any], str | bytes], Callable[[str], Any]] | None = None,
    numeric: str = "decimal",
    vector: str = "text",
    type_codecs: Iterable[TypeCodec] | None = None,
) -> Connection:
    """Open one server session; ``await connection.close()`` ends it.

    *dsn* is libpq's: a URI or keyword=value pairs, several hosts, Unix sockets
    and all of libpq's parameters included; PG* environment variables, the
    service file and the password file are read as libpq reads them. A keyword
    wins over the DSN.

    host, port: one or several, tried in order; a host that starts with ``/`` is
        the directory of a Unix socket.
    password: a string, or a function without arguments that returns one (or an
        awaitable of one); it is called for each connection, and what it raises
        is raised here.
    servicefile: the service file to look *service* up in.
    timeout: seconds to connect, by default the DSN's connect_timeout or 60;
        None is for ever.
    command_timeout: seconds for each statement; None is for ever.
    statement_cache_size: prepared statements kept on the session; 0 keeps none.
    max_cached_statement_lifetime: seconds before a statement is prepared anew; 0 is without limit.
    max_cacheable_statement_size: bytes; longer statements are not kept, 0 keeps all.
    ssl: an sslmode by name or SSLMode, True for verify-full, False for disable,
        or an SSLContext, of which its verification, its trusted certificates and
        its versions of TLS count; a client certificate is named by sslcert and
        sslkey in *dsn*.
    direct_tls: True begins TLS at once; needs libpq 17 and an sslmode of at
        least require.
    server_settings: PostgreSQL settings of the session, str to str.
    target_session_attrs: libpq's.
    json, numeric, vector, type_codecs: as in create_pool().

    Raises ClientConfigurationError (a ValueError) for wrong parameters,
    UnsupportedClientFeatureError for those not supported, TimeoutError and
    ConnectionError kinds where no host could be reached, and the server's
    PostgresError where it refused.
    """
    if not (isinstance(connection_class, type) and issubclass(connection_class, Connection)):
        raise InterfaceError(
            f"connection_class is expected to be a subclass of holisticpool.Connection, got {connection_class!r}"
        )
    check_record_class(record_class)
    codecs = chosen_codecs(json=json, numeric=numeric, vector=vector, type_codecs=type_codecs)
    running = running_loop(loop)
    config = connect_config(
        dsn,
        host=host,
        port=port,
        user=user,
        password=password,
        passfile=passfile,
        service=service,
        servicefile=servicefile,
        database=database,
        timeout=timeout,
        statement_cache_size=statement_cache_size,
        max_cached_statement_lifetime=max_cached_statement_lifetime,
        max_cacheable_statement_size=max_cacheable_statement_size,
        command_timeout=command_timeout,
        ssl=ssl,
        direct_tls=direct_tls,
        server_settings=server_settings,
        target_session_attrs=target_session_attrs,
        krbsrvname=krbsrvname,
        gsslib=gsslib,
    )
    source = TargetSource(config)
    targets = await source.resolve()
    pool = _core.Pool(
        running,
        init_size=1,
        min_size=1,
        max_size=1,
        max_queries=0,
        max_inactive_connection_lifetime=0.0,
        max_lifetime=0.0,
        acquire_timeout=None,
        command_timeout=config.command_timeout,
        connect_timeout=config.timeout_for(targets),
        max_waiters=0,
        statement_cache_size=config.statement_cache_size,
        max_cached_statement_lifetime=config.max_cached_statement_lifetime,
        max_cacheable_statement_size=config.max_cacheable_statement_size,
        reset="touched",
        record_class=record_class,
        connection_class=connection_class,
        dedicated=True,
        pipeline=PIPELINE_OFF,
    )
    pool._choose_codecs(*codecs)
    pool._set_on_connect(init_with_class(pool, connection_class, config, None))
    if source.is_constant:
        pool._set_targets(targets)
    else:
        pool._set_ask(source, False)

    async def opened() -> Connection:
        try:
            await pool._open()
            return cast(Connection, await pool.acquire(timeout=None))
        except BaseException:
            pool.terminate()
            raise

    # A pool needs none of these.
    from holisticpool import connect_utils
    from holisticpool.reports import ConnectionParameters

    first = targets[0]
    return await connect_utils._connect_addr(
        addr=address(first.get("host") or first.get("hostaddr") or "localhost", first.get("port") or "5432"),
        params=ConnectionParameters(first.get("user") or "", first.get("dbname") or ""),
        connect=opened,
    )


def chosen_codecs(
    *, json: object, numeric: object, vector: object, type_codecs: object
) -> tuple[list[CodecChoice], bool]:
    """codec_choices() of holisticpool.codecs, which is imported only where there is a choice."""
    if json is None and type_codecs is None and (numeric, vector) == ("decimal", "text"):  # the defaults
        return [], False
    from holisticpool.codecs import codec_choices

    return codec_choices(json=json, numeric=numeric, vector=vector, type_codecs=type_codecs)


def running_loop(loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    """The running event loop; InterfaceError where *loop*, the user's, is another one."""
    running = asyncio.get_running_loop()
    if loop is not None and loop is not running:
        raise InterfaceError("loop: the event loop that was passed is not the one that is running")
    return running


def init_with_class(
    pool: _core.Pool,
    connection_class: type[Connection],
    config: ConnectConfig,
    init: Callable[[Connection], Awaitable[None]] | None,
    *,
    is_made: bool = False,
) -> Callable[[Connection], Awaitable[None]] | None:
    """What each new session of *pool* is told: a subclass's ``__init__``, unless *is_made*, and *init*.

    And have the pool keep what a subclass sets on its objects.
    """
    if connection_class is not Connection:
        pool._keep_attributes()
    if is_made or connection_class.__init__ is Connection.__init__:
        return init
    from holisticpool.reports import ConnectionConfiguration

    settings = ConnectionConfiguration(
        config.command_timeout,
        config.statement_cache_size,
        config.max_cached_statement_lifetime,
        config.max_cacheable_statement_size,
    )

    async def made(connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection_class.__init__(connection, None, None, loop, connection._addr, settings, connection._params)
        if init is not None:
            await init(connection)

    return made


def check_record_class(record_class: object) -> None:
    """InterfaceError where *record_class* cannot be the class of rows."""
    if not (isinstance(record_class, type) and issubclass(record_class, _core.Record)):
        raise InterfaceError(f"record_class is expected to be a subclass of holisticpool.Record, got {record_class!r}")
    if record_class.__new__ is not _core.Record.__new__ or record_class.__init__ is not _core.Record.__init__:
        raise InterfaceError("record_class must not redefine __new__ or __init__")
