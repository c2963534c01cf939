"""Every exception of holisticpool, under the names that asyncpg gives them.

`except` clauses written for asyncpg.exceptions work with these. Who is who:

    PostgresError              the server refused: one subclass per SQLSTATE (UniqueViolationError, ...)
    InterfaceError             the client side refused: wrong use, bad configuration, pool exhausted, server away
    ClientDataError            an argument that cannot be encoded: a DataError, an InterfaceError and a ValueError
    InternalClientError        should not happen
    QueryTimeoutError          a TimeoutError: the statement ran longer than command_timeout or timeout=
    PoolExhaustedError         a TimeoutError: all connections are leased
    ServerUnavailableError     a TimeoutError and ConnectionError: no connection can be opened
    PostgresLogMessage         not an error: what log listeners get (PostgresWarning and others)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import _errors, _sqlstates
from .._errors import *  # noqa: F403
from .._errors import InterfaceError as InterfaceError
from .._errors import PostgresError as PostgresError
from .._sqlstates import DataError as DataError
from ..redact import redact

if TYPE_CHECKING:
    # Type checkers understand __all__ only as a literal; without one they take what is imported here.
    from .._sqlstates import *  # noqa: F403


def __getattr__(name: str) -> object:
    # The class of an SQLSTATE that is asked for by its name the first time.
    value: object
    if name == "__all__":
        value = _names()
    else:
        try:
            value = getattr(_sqlstates, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_names()})


def _names() -> tuple[str, ...]:
    return ("ClientDataError", *_errors.__all__, *_sqlstates.__all__)


class ClientDataError(DataError, InterfaceError, ValueError):
    """An argument that cannot be sent as the type the statement expects. Nothing was sent.

    asyncpg raises DataError itself here, the class of the server's own data
    errors (22000), and so does `except DataError` catch both; this subclass is
    also what a client-side error should be.
    """

    def __init__(self, msg: str, *, detail: str | None = None, hint: str | None = None) -> None:
        # Not through PostgresError, whose constructor knows no detail and hint.
        InterfaceError.__init__(self, redact(msg), detail=detail, hint=hint)


def _new_server_error(fields: Mapping[str, str], query: str | None) -> PostgresError:
    """For the C part: the exception for an error result, from its fields by letter and the statement's text."""
    return PostgresError.new(fields, query)


# A traceback names the place that users import from.
for _name in ("ClientDataError", *_errors.__all__):
    globals()[_name].__module__ = __name__
del _name
