"""The roots of the exception hierarchy: what a server message carries, and the client's own errors.

Import from holisticpool.exceptions, which adds one class per SQLSTATE
(_sqlstates.py). The names, the attributes and who inherits from whom
are asyncpg's; PoolExhaustedError, ServerUnavailableError and QueryTimeoutError
are ours, each a subclass of what asyncpg raises in that situation.

Invariants: every exception can be pickled and copied without losing an
attribute; no message of a client-side error shows a password.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .redact import redact

__all__ = (
    "ClientConfigurationError",
    "FatalPostgresError",
    "InterfaceError",
    "InterfaceWarning",
    "InternalClientError",
    "OutdatedSchemaCacheError",
    "PoolExhaustedError",
    "PostgresError",
    "PostgresLogMessage",
    "ProtocolError",
    "QueryTimeoutError",
    "ServerUnavailableError",
    "TargetServerAttributeNotMatched",
    "UnknownPostgresError",
    "UnsupportedClientFeatureError",
    "UnsupportedServerFeatureError",
)

# The letter of a field in an ErrorResponse or NoticeResponse, and the attribute it becomes
# (PostgreSQL documentation, "Error and Notice Message Fields").
_FIELDS: dict[str, str] = {
    "S": "severity",
    "V": "severity_en",
    "C": "sqlstate",
    "M": "message",
    "D": "detail",
    "H": "hint",
    "P": "position",
    "p": "internal_position",
    "q": "internal_query",
    "W": "context",
    "s": "schema_name",
    "t": "table_name",
    "c": "column_name",
    "d": "data_type_name",
    "n": "constraint_name",
    "F": "server_source_filename",
    "L": "server_source_line",
    "R": "server_source_function",
}

# The server function that notices that a prepared statement's result type has changed. Its message is
# translated and its SQLSTATE (0A000) is shared with every unsupported feature, so its name is the only sure sign.
_REVALIDATE = "RevalidateCachedQuery"

_WARNING = "01000"
_FEATURE_NOT_SUPPORTED = "0A000"
_STATEMENT_NAME_CODES = ("26000", "42P05")
_POOLER_HINT = (
    "A pooler that hands each transaction to another server session, such as PgBouncer in transaction or "
    "statement mode, loses prepared statements. Where one stands between here and PostgreSQL, let it track "
    "prepared statements, or set statement_cache_size=0."
)

if TYPE_CHECKING:
    _SelfT = TypeVar("_SelfT", bound="InterfaceError")  # for whose bound Python would compile an expression


def _with_notes(message: str, detail: str | None, hint: str | None) -> str:
    """A message the way psql shows it: detail and hint on lines of their own."""
    if detail:
        message += f"\nDETAIL:  {detail}"
    if hint:
        message += f"\nHINT:  {hint}"
    return message


class PostgresMessage:
    """What the server says: an error, a warning or a notice.

    Every field is text as the server sent it (also `position`, which counts
    characters from 1), or None where the server sent none. `query` is the
    statement that was running, where there was one.

    A subclass that names a `sqlstate` of its own is what the server's messages
    with that code become; applications may so define classes for the codes they
    RAISE.
    """

    _by_sqlstate: ClassVar[dict[str, type[PostgresMessage]]] = {}

    severity: str | None = None
    severity_en: str | None = None
    sqlstate: str | None = None
    message: str | None = None
    detail: str | None = None
    hint: str | None = None
    position: str | None = None
    internal_position: str | None = None
    internal_query: str | None = None
    context: str | None = None
    schema_name: str | None = None
    table_name: str | None = None
    column_name: str | None = None
    data_type_name: str | None = None
    constraint_name: str | None = None
    server_source_filename: str | None = None
    server_source_line: str | None = None
    server_source_function: str | None = None
    query: str | None = None

    def __init_subclass__(cls, *, listed: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        code = cls.__dict__.get("sqlstate")
        if code is None:
            return
        if not listed:
            # PostgreSQL's own class of this code has it, even where nobody has asked for that class yet.
            _class_of(code)
        taken = cls._by_sqlstate.setdefault(code, cls)
        if taken is not cls:
            raise TypeError(f"{cls.__name__}: SQLSTATE {code} belongs to {taken.__name__}")

    def __setstate__(self, state: dict[str, Any] | None, /) -> None:
        # Not through setattr, which log messages refuse.
        self.__dict__.update(state or {})

    def as_dict(self) -> dict[str, str]:
        """The fields that the server sent, by attribute name; never `query`."""
        values = ((name, getattr(self, name)) for name in _FIELDS.values())
        return {name: value for name, value in values if value is not None}


def _nothing_listed(_key: str, /) -> type[PostgresMessage] | None:
    return None


# The class of PostgreSQL's list by its SQLSTATE or its name, None where there is none. _sqlstates.py, which is made of
# this module's classes, puts its own function here.
listed_class: Callable[[str], type[PostgresMessage] | None] = _nothing_listed


def _class_of(code: str) -> type[PostgresMessage] | None:
    """The class of an SQLSTATE; None for one that neither PostgreSQL's list nor the application has."""
    return PostgresMessage._by_sqlstate.get(code) or listed_class(code)


def _attributes(fields: Mapping[str, str], query: str | None) -> dict[str, Any]:
    """Instance attributes for the fields of one message; letters of later protocol versions are left out."""
    attributes: dict[str, Any] = {_FIELDS[letter]: value for letter, value in fields.items() if letter in _FIELDS}
    attributes["query"] = query
    return attributes


class PostgresError(PostgresMessage, Exception):
    """An error that the server reported; the base of one class per SQLSTATE."""

    def __str__(self) -> str:
        return _with_notes(str(self.args[0]) if self.args else "", self.detail, self.hint)

    @classmethod
    def new(cls, fields: Mapping[str, str], query: str | None = None) -> PostgresError:
        """The exception for an ErrorResponse.

        Args:
            fields: text by field letter (S, C, M, ...), as libpq's PG_DIAG codes name them.
            query: the statement that was running.

        Returns:
            An instance of the class of its SQLSTATE, UnknownPostgresError for a code that none has.
        """
        attributes = _attributes(fields, query)
        code = fields.get("C", "")
        message = fields.get("M", "")
        found = _class_of(code) or UnknownPostgresError
        # A function may RAISE an error with a code of the warning classes; the caller still sees an error.
        error_class = found if issubclass(found, PostgresError) else PostgresError
        if code == _FEATURE_NOT_SUPPORTED and fields.get("R") == _REVALIDATE:
            outdated = listed_class("InvalidCachedStatementError")
            assert outdated is not None and issubclass(outdated, PostgresError)
            error_class = outdated
            message = "a prepared statement is outdated: the schema or the configuration has changed since"
        if code in _STATEMENT_NAME_CODES:
            attributes["hint"] = "\n".join(filter(None, [fields.get("H"), _POOLER_HINT]))
        error = error_class(message)
        error.__dict__.update(attributes)
        return error


class FatalPostgresError(PostgresError):
    """An error after which the session is of no use."""


class UnknownPostgresError(FatalPostgresError):
    """An error whose SQLSTATE is not in PostgreSQL's table."""


class PostgresLogMessage(PostgresMessage):
    """A notice or warning that the server sent beside its answer. Read-only."""

    def __str__(self) -> str:
        return f"{type(self).__name__}: {self.message}"

    def __setattr__(self, name: str, value: object) -> None:
        # Python itself keeps tracebacks, causes and notes of a warning that is raised.
        if not name.startswith("__"):
            raise TypeError(f"a {type(self).__name__} cannot be changed")
        super().__setattr__(name, value)

    @classmethod
    def new(cls, fields: Mapping[str, str], query: str | None = None) -> PostgresMessage:
        """The message object for a NoticeResponse; arguments as for PostgresError.new().

        Returns:
            An instance of the class of its SQLSTATE, which may be an error's ("relation already exists,
            skipping" has 42P07); else a PostgresWarning or a plain PostgresLogMessage by its severity.
        """
        message_class = _class_of(fields.get("C", "")) or PostgresLogMessage
        severity = fields.get("V") or fields.get("S") or ""
        if message_class is PostgresLogMessage and severity.upper() == "WARNING":
            message_class = _class_of(_WARNING) or PostgresLogMessage
        make: Callable[..., PostgresMessage] = message_class
        message = make(fields.get("M", "")) if issubclass(message_class, BaseException) else make()
        message.__dict__.update(_attributes(fields, query))
        return message


class InterfaceMessage:
    """What client-side errors and warnings share: a message, and perhaps a detail and a hint."""

    args: tuple[Any, ...]
    detail: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        return _with_notes(str(self.args[0]) if self.args else "", self.detail, self.hint)


class InterfaceError(InterfaceMessage, Exception):
    """Wrong use of the API, or a request that the client side had to refuse.

    Args:
        msg: one line; passwords of connection strings in it are blanked.
        detail: what exactly is wrong.
        hint: what to do about it.
    """

    def __init__(self, msg: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(redact(msg) if isinstance(msg, str) else msg)
        self.detail = detail
        self.hint = hint

    def with_msg(self: _SelfT, msg: str) -> _SelfT:
        """The same error with another message: same class, attributes and traceback."""
        import copy  # here, since hardly anybody asks

        other = copy.copy(self)
        other.args = (redact(msg), *self.args[1:])
        return other.with_traceback(self.__traceback__)


class ClientConfigurationError(InterfaceError, ValueError):
    """A connection string, parameter or environment variable that cannot be used."""


class UnsupportedClientFeatureError(InterfaceError):
    """Something that this library does not do."""


class UnsupportedServerFeatureError(InterfaceError):
    """Something that this server does not do."""


class InterfaceWarning(InterfaceMessage, UserWarning):
    """Doubtful use of the API. Arguments as for InterfaceError."""

    def __init__(self, msg: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(msg)
        self.detail = detail
        self.hint = hint


class InternalClientError(Exception):
    """Something that should not happen, whoever is to blame."""


class ProtocolError(InternalClientError):
    """An answer of the server that makes no sense at this point."""


class TargetServerAttributeNotMatched(InternalClientError):
    """No host of the connection string is what target_session_attrs asks for."""


class OutdatedSchemaCacheError(InternalClientError):
    """A value that cannot be decoded because its type was altered after it was looked up.

    Args:
        msg: one line.
        schema: the schema of the type.
        data_type: the name of the type.
        position: of the element in the composite value, from 0.
    """

    def __init__(
        self,
        msg: str,
        *,
        schema: str | None = None,
        data_type: str | None = None,
        position: int | None = None,
    ) -> None:
        super().__init__(msg)
        self.schema_name = schema
        self.data_type_name = data_type
        self.position = position


# Until CPython 3.11 asyncio had a TimeoutError of its own; callers may catch either.
if sys.version_info >= (3, 11):

    class _Timeout(TimeoutError):
        """Time ran out."""

else:

    class _Timeout(TimeoutError, asyncio.TimeoutError):
        """Time ran out."""


class PoolExhaustedError(InterfaceError, _Timeout):
    """No connection became free in time: the database may be fine, the pool is too small or leases last too long.

    Attributes:
        leased: connections that are in use.
        longest_lease: seconds that the oldest lease has lasted.
        waiting: requests that wait for a connection, without this one.
        max_size: connections that the pool may have.
    """

    def __init__(
        self,
        msg: str = "",
        *,
        leased: int = 0,
        longest_lease: float = 0.0,
        waiting: int = 0,
        max_size: int = 0,
        detail: str | None = None,
        hint: str | None = None,
    ) -> None:
        if not msg:
            msg = (
                f"no connection became free in time: {leased} of at most {max_size} are leased, "
                f"the longest for {longest_lease:.1f} s, and {waiting} more requests wait"
            )
        super().__init__(msg, detail=detail, hint=hint)
        self.leased = leased
        self.longest_lease = longest_lease
        self.waiting = waiting
        self.max_size = max_size


class ServerUnavailableError(InterfaceError, ConnectionError, _Timeout):
    """No connection could be opened in time: the server is down, unreachable or refuses.

    Attributes:
        last_error: why the last attempt failed; also the exception's `__cause__`.
        host: the host or socket directory of the last attempt.
        attempts: how often it was tried.
    """

    def __init__(
        self,
        msg: str = "",
        *,
        last_error: BaseException | None = None,
        host: str | None = None,
        attempts: int = 0,
        detail: str | None = None,
        hint: str | None = None,
    ) -> None:
        if not msg:
            where = f" to {host}" if host else ""
            why = f": {last_error}" if last_error is not None else ""
            msg = f"no connection{where} after {attempts} attempts{why}"
        super().__init__(msg, detail=detail, hint=hint)
        self.last_error = last_error
        self.host = host
        self.attempts = attempts
        if last_error is not None:
            self.__cause__ = last_error


class QueryTimeoutError(_Timeout):
    """A statement did not end in time; it is cancelled on the server too.

    Attributes:
        timeout: seconds it was given, None where unknown.
    """

    def __init__(self, msg: str = "", *, timeout: float | None = None) -> None:
        if not msg:
            msg = "the statement did not end in time" if timeout is None else f"no answer within {timeout:g} s"
        super().__init__(msg)
        self.timeout = timeout
