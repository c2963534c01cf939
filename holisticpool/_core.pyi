# What the extension module holisticpool._core offers, typed. Built from csrc/;
# csrc/module.c assembles it. Names that start with an underscore are for this
# package only: the user sees them through holisticpool.pool and
# holisticpool.connection.

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, SupportsIndex, TypedDict, TypeVar, overload

from holisticpool.listeners import Callbacks

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_RecordT = TypeVar("_RecordT", bound=Record)
_PreparedT = TypeVar("_PreparedT", bound=PreparedStatement)
_RowsT = TypeVar("_RowsT", bound=Rows)

class Record:
    """One row: a tuple by position, a mapping by column name."""

    @overload
    def get(self, key: str) -> Any | None: ...
    @overload
    def get(self, key: str, default: _T) -> Any | _T: ...
    def items(self) -> Iterator[tuple[str, Any]]: ...
    def keys(self) -> Iterator[str]: ...
    def values(self) -> Iterator[Any]: ...
    @overload
    def __getitem__(self, index: str) -> Any: ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Any, ...]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __contains__(self, x: object) -> bool: ...
    def __len__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...
    def __lt__(self, other: Any) -> bool: ...
    def __le__(self, other: Any) -> bool: ...
    def __gt__(self, other: Any) -> bool: ...
    def __ge__(self, other: Any) -> bool: ...
    @classmethod
    def _restore(cls, names: tuple[str, ...], values: tuple[Any, ...], /) -> Record: ...  # for pickle

class Operation(Coroutine[Any, Any, _T_co], Generic[_T_co]):
    """What every I/O method returns. Lazy like a coroutine: starts at the first await.

    Entering one with ``async with`` awaits it, and leaving releases the result:
    that works for what Pool.acquire() returns and raises TypeError otherwise.
    """

    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def send(self, value: Any, /) -> Any: ...
    @overload
    def throw(self, typ: type[BaseException], val: object = ..., tb: TracebackType | None = ..., /) -> Any: ...
    @overload
    def throw(self, typ: BaseException, val: None = ..., tb: TracebackType | None = ..., /) -> Any: ...
    def close(self) -> None: ...
    def _start_ahead(self) -> None: ...
    def add_done_callback(self, callback: Callable[[Operation[_T_co]], object], /) -> None: ...
    # Sets in portions, see holisticpool/portions.py.
    def _in_portions(self) -> None: ...
    def _feed(self, sets: Sequence[Sequence[Any] | Mapping[str, Any]], more: bool, /) -> int: ...
    def _abort(self) -> bool: ...
    async def __aenter__(self) -> _T_co: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> None: ...

class _Latency(TypedDict):
    """Seconds, except count."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float

class _Recycled(TypedDict):
    max_queries: int
    idle: int
    lifetime: int
    broken: int

class _Stats(TypedDict):
    size: int
    idle: int
    leased: int
    busy: int
    connecting: int
    resetting: int
    waiters: int
    min_size: int
    max_size: int
    state: str  # "closed", "opening", "open" or "closing"
    acquisitions: int
    reused: int
    acquire_timeouts: int
    query_timeouts: int
    cancellations: int
    rejected: int  # refused because max_waiters were waiting
    queries: int
    connects: int
    connection_errors: int  # failed attempts
    recycled: _Recycled
    errors_by_class: dict[str, int]  # by the first two characters of SQLSTATE
    wait: _Latency
    query: _Latency
    resets: int
    pipelined: int  # statements sent behind others on their connection
    resent: int  # ... sent again on another, since their turn did not come
    last_connect_ok: bool
    last_error: str | None  # without passwords
    last_error_at: float | None  # Unix time
    longest_lease: float  # seconds; 0 without leases

class Pool:
    """Server connections of one event loop, with all policy that is hot."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        init_size: int,
        min_size: int,
        max_size: int,
        max_queries: int,
        max_inactive_connection_lifetime: float,
        max_lifetime: float,
        acquire_timeout: float | None,
        command_timeout: float | None,
        connect_timeout: float,
        max_waiters: int,
        statement_cache_size: int,
        max_cached_statement_lifetime: float,
        max_cacheable_statement_size: int,
        reset: str,
        record_class: type[Record],
        connection_class: type[Connection],
        dedicated: bool,
        pipeline: int,  # statements in flight on a connection; 0: one; -1: as many as the round trip asks for
    ) -> None: ...
    @property
    def _loop(self) -> asyncio.AbstractEventLoop | None: ...
    @property
    def _closed(self) -> bool: ...
    @property
    def _type_names(self) -> dict[int, Any]: ...
    @property
    def _forked(self) -> bool: ...
    def _choose_codecs(
        self, codecs: list[tuple[str | None, str, str, Any, Any, str | None]], read_vectors: bool, /
    ) -> None: ...
    def _keep_attributes(self) -> None: ...  # of its connection class
    def _by_name(
        self, query: str, args: tuple[Any, ...], params: Mapping[str, Any] | None, /
    ) -> tuple[str, tuple[Any, ...]]: ...
    def _set_targets(self, targets: list[dict[str, str]], /) -> None: ...
    def _set_ask(self, callback: Callable[[], Awaitable[Any]], for_session: bool, /) -> None: ...
    def _set_connect_timeout(self, seconds: float | None, /) -> None: ...
    def _set_command_timeout(self, seconds: float | None, /) -> None: ...
    def _expire(self) -> None: ...
    def _set_on_connect(self, callback: Callable[[Any], Awaitable[None]] | None, /) -> None: ...
    def _open(self) -> Operation[None]: ...
    def _close(self) -> Operation[None]: ...
    def _abandon(self) -> None: ...
    def _stats(self) -> _Stats: ...
    def terminate(self) -> None:
        """Close every connection now, leased ones too."""

    @overload
    def fetch(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: None = None,
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[list[Record]]: ...
    @overload
    def fetch(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: type[_RecordT],
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[list[_RecordT]]: ...
    @overload
    def fetch(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: None = None,
        rows: Literal["dict"],
        params: Mapping[str, Any] | None = None,
    ) -> Operation[list[dict[str, Any]]]: ...
    @overload
    def fetchrow(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: None = None,
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[Record | None]: ...
    @overload
    def fetchrow(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: type[_RecordT],
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[_RecordT | None]: ...
    @overload
    def fetchrow(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: None = None,
        rows: Literal["dict"],
        params: Mapping[str, Any] | None = None,
    ) -> Operation[dict[str, Any] | None]: ...
    def fetchval(
        self,
        query: str,
        *args: Any,
        column: int | str = 0,
        timeout: float | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[Any]: ...
    def execute(
        self, query: str, *args: Any, timeout: float | None = None, params: Mapping[str, Any] | None = None
    ) -> Operation[str]: ...
    def acquire(self, *, timeout: float | None = ...) -> Operation[Any]: ...
    def release(self, connection: Any, *, timeout: float | None = None) -> Operation[None]: ...
    def get_size(self) -> int: ...
    def get_idle_size(self) -> int: ...
    def get_min_size(self) -> int: ...
    def get_max_size(self) -> int: ...
    def is_closing(self) -> bool: ...

class Connection:
    """One lease of a server connection. Made by a Pool only."""

    @property
    def _pool(self) -> Pool: ...
    @property
    def _released(self) -> bool: ...
    # Of this lease alone; None at its start.
    _started: list[Any] | None
    _release_hook: Callable[..., Awaitable[None]] | None
    _acquire_timeout: float | None
    @property
    def _settings_query(self) -> str | None: ...  # what brings the session's settings back after RESET ALL
    @property
    def _callbacks(self) -> Callbacks | None: ...
    def _listen(self, callbacks: Callbacks, logs: bool, /) -> None: ...
    def _parameter_status(self, name: str, /) -> str | None: ...
    def _directly(self, method: str, query: str, /, *args: Any, **kwargs: Any) -> Operation[Any]: ...
    def _endpoint(self) -> tuple[str, str, str, str]: ...  # host or socket directory, port, user, database
    def _server_version_num(self) -> int: ...
    def _rows(self, cls: type[_RowsT], /) -> _RowsT: ...
    def _cursor(
        self,
        source: str | PreparedStatement,
        args: tuple[Any, ...],
        declare: str | None,
        fetch: str | None,
        rows: bool,
        timeout: float | None,
        record_class: type[Record] | None,
        row_form: Literal["record", "dict"] | None,
        /,
    ) -> Operation[Any]: ...
    def _prepare(
        self,
        cls: type[_PreparedT],
        query: str,
        name: str | None,
        record_class: type[Record] | None,
        by_name: bool,
        /,
    ) -> _PreparedT: ...
    def _set_codec(
        self, oid: int, form: str | None, encoder: Any = None, decoder: Any = None, like: str | None = None, /
    ) -> None: ...
    def _forget_types(self) -> None: ...
    def _copy(
        self, method: str, query: str, timeout: float | None, from_stdin: bool, columns: PreparedStatement | None, /
    ) -> Copy: ...
    @overload
    def fetch(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: None = None,
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[list[Record]]: ...
    @overload
    def fetch(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: type[_RecordT],
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[list[_RecordT]]: ...
    @overload
    def fetch(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: None = None,
        rows: Literal["dict"],
        params: Mapping[str, Any] | None = None,
    ) -> Operation[list[dict[str, Any]]]: ...
    @overload
    def fetchrow(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: None = None,
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[Record | None]: ...
    @overload
    def fetchrow(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: type[_RecordT],
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[_RecordT | None]: ...
    @overload
    def fetchrow(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: None = None,
        rows: Literal["dict"],
        params: Mapping[str, Any] | None = None,
    ) -> Operation[dict[str, Any] | None]: ...
    def fetchval(
        self,
        query: str,
        *args: Any,
        column: int | str = 0,
        timeout: float | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[Any]: ...
    def execute(
        self, query: str, *args: Any, timeout: float | None = None, params: Mapping[str, Any] | None = None
    ) -> Operation[str]: ...
    def executemany(
        self, command: str, args: Sequence[Sequence[Any] | Mapping[str, Any]], *, timeout: float | None = None
    ) -> Operation[None]: ...
    def fetchmany(
        self,
        query: str,
        args: Sequence[Sequence[Any] | Mapping[str, Any]],
        *,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
        rows: Literal["record", "dict"] | None = None,
    ) -> Operation[list[Any]]: ...
    def close(self, *, timeout: float | None = None) -> Operation[None]: ...
    def terminate(self) -> None: ...
    def is_closed(self) -> bool: ...
    def _begin(self, sql: str, /) -> None: ...  # with the next statement
    def _pipe_open(self) -> None: ...
    def _pipe_close(self) -> None: ...
    def _pipe_flush(self) -> None: ...
    def _pipe(
        self, method: str, in_transaction: bool, query: str, /, *args: Any, **keywords: Any
    ) -> Operation[Any]: ...  # to be started ahead
    def _pipe_control(self, query: str, begins: bool, /) -> Operation[str]: ...  # to be started ahead
    def _drop_begin(self) -> bool: ...  # the transaction is over: had it not begun?
    def is_in_transaction(self) -> bool: ...
    def get_server_pid(self) -> int: ...

class Rows:
    """Rows that come in batches, one after another. Made by a Connection only."""

    @property
    def _connection(self) -> Any: ...
    def _put(self, rows: list[Any], /) -> Any: ...
    def __aiter__(self: _RowsT) -> _RowsT: ...
    def __anext__(self) -> Coroutine[Any, Any, Any]: ...

class PreparedStatement:
    """A statement that a lease has prepared for itself. Made by Connection.prepare()."""

    @property
    def _query(self) -> str: ...
    @property
    def _names(self) -> tuple[str, ...] | None: ...  # of the parameters, where they have names
    @property
    def _name(self) -> str: ...
    @property
    def _status(self) -> str | None: ...
    @property
    def _connection(self) -> Any: ...
    @property
    def _record_class(self) -> type[Record]: ...
    @property
    def _parameter_oids(self) -> tuple[int, ...]: ...
    @property
    def _columns(self) -> tuple[tuple[str, int], ...]: ...
    def _check(self, method: str, /) -> None: ...
    def executemany(
        self, args: Sequence[Sequence[Any] | Mapping[str, Any]], *, timeout: float | None = None
    ) -> Operation[None]: ...
    def fetchmany(
        self,
        args: Sequence[Sequence[Any] | Mapping[str, Any]],
        *,
        timeout: float | None = None,
        rows: Literal["record", "dict"] | None = None,
    ) -> Operation[list[Any]]: ...
    def _describe(self, timeout: float | None, /) -> Operation[None]: ...
    def _by_name(self, args: tuple[Any, ...], params: Mapping[str, Any] | None, /) -> tuple[Any, ...]: ...
    @overload
    def fetch(
        self,
        *args: Any,
        timeout: float | None = None,
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[list[Any]]: ...
    @overload
    def fetch(
        self,
        *args: Any,
        timeout: float | None = None,
        rows: Literal["dict"],
        params: Mapping[str, Any] | None = None,
    ) -> Operation[list[dict[str, Any]]]: ...
    @overload
    def fetchrow(
        self,
        *args: Any,
        timeout: float | None = None,
        rows: Literal["record"] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[Any]: ...
    @overload
    def fetchrow(
        self,
        *args: Any,
        timeout: float | None = None,
        rows: Literal["dict"],
        params: Mapping[str, Any] | None = None,
    ) -> Operation[dict[str, Any] | None]: ...
    def fetchval(
        self,
        *args: Any,
        column: int | str = 0,
        timeout: float | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Operation[Any]: ...

class AwaitableMethod:
    """A method in C that stands for a coroutine function; awaitables.py marks it as one."""

class Copy:
    """One COPY of a connection. Made by a Connection only.

    Nothing waits: _ready() says what for. Each method raises what the COPY has failed with.
    """

    def _start(self, on_failure: Callable[[], object], /) -> None: ...
    def _ready(self) -> asyncio.Future[None] | None: ...
    def _check(self) -> None: ...
    def _put(self, data: bytes | memoryview, /) -> None: ...
    def _add(self, data: bytes | memoryview, /) -> bool: ...  # true: it is time for _put_added()
    def _put_rows(self, records: Iterator[Any], /) -> bool: ...  # false: those were all
    def _add_row(self, record: Any, /) -> bool: ...
    def _put_added(self) -> None: ...
    def _end(self) -> None: ...
    def _read_at_least(self, size: int, /) -> None: ...
    def _read(self) -> bytes | None: ...  # b"": none yet; None: no more
    def _result(self) -> str | None: ...
    def _abandon(self) -> None: ...

def resolve_conninfo(dsn: str | None, params: Mapping[str, str], /) -> list[dict[str, str]]: ...

# For tests; `rows` is what the catalogue query gives for a type that is not built in.
def encode(oid: int, value: Any, rows: Sequence[Sequence[str | None]] = ..., /) -> bytes | None: ...
def decode(oid: int, data: bytes, rows: Sequence[Sequence[str | None]] = ..., /) -> Any: ...
def decode_text(oid: int, data: bytes, rows: Sequence[Sequence[str | None]] = ..., /) -> Any: ...
def builtin_type(name: str, /) -> int | None: ...
def has_codec(name: str, /) -> bool: ...
def insert_literals(sql: str, literals: tuple[str, ...], standard_strings: bool, /) -> str: ...
def sqlscan(sql: str, /) -> dict[str, Any]: ...
def is_declarable(sql: str, /) -> bool: ...
def libpq_version() -> int: ...
def forked() -> None: ...
