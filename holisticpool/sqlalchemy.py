"""SQLAlchemy's dialect: ``create_async_engine("postgresql+holisticpool://user:password@host/database")``.

SQLAlchemy finds it by the entry point ``postgresql.holisticpool`` and needs the
extra ``holisticpool[sqlalchemy]``. It is SQLAlchemy's own asyncpg dialect with
holisticpool as its driver: the SQL, the types and the options are the same.
Here is only what names the driver: its module, its exceptions and what a URL's
query may hold.

Written for SQLAlchemy 2.0 and 2.1, whose asyncpg dialects differ inside. Only
what both have is overridden.
"""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import util
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi, PGDialect_asyncpg
from sqlalchemy.engine import URL

import holisticpool
from holisticpool import exceptions

__all__ = ("HolisticpoolDialect", "dialect")

# What the adapter below takes for itself before the rest goes to connect().
_ADAPTER_KEYWORDS = ("async_creator_fn", "prepared_statement_cache_size", "prepared_statement_name_func")

# A URL's query is text; connect() takes numbers.
_NUMBERS: dict[str, type] = {
    "command_timeout": float,
    "direct_tls": bool,
    "max_cacheable_statement_size": int,
    "max_cached_statement_lifetime": float,
    "prepared_statement_cache_size": int,
    "statement_cache_size": int,
    "timeout": float,
}

# SQLAlchemy's class for errors of a class of ours and its subclasses. The classes of constraints came with 2.1.
_ERRORS = {
    "PostgresError": "Error",
    "IntegrityConstraintViolationError": "IntegrityError",
    "SyntaxOrAccessError": "ProgrammingError",
    "InterfaceError": "InterfaceError",
    "InvalidCachedStatementError": "InvalidCachedStatementError",
    "InternalServerError": "InternalServerError",
    "InternalClientError": "InternalClientError",
    "RestrictViolationError": "RestrictViolationError",
    "NotNullViolationError": "NotNullViolationError",
    "ForeignKeyViolationError": "ForeignKeyViolationError",
    "UniqueViolationError": "UniqueViolationError",
    "CheckViolationError": "CheckViolationError",
    "ExclusionViolationError": "ExclusionViolationError",
}


class _Driver(AsyncAdapt_asyncpg_dbapi):
    """The DB-API that SQLAlchemy sees: its adapter for asyncpg, over holisticpool."""

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().connect(*args, **kwargs)
        except self.InterfaceError as error:
            # An unreachable server is an OSError to those who wait for one, as it is with asyncpg.
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from error.__cause__.__cause__
            raise

    @util.memoized_property
    def _asyncpg_error_translate(self) -> dict[type[Exception], type[Exception]]:
        return {
            getattr(exceptions, ours): getattr(self, theirs)
            for ours, theirs in _ERRORS.items()
            if hasattr(self, theirs)
        }


class HolisticpoolDialect(PGDialect_asyncpg):
    """``postgresql+holisticpool``: options and types are those of ``postgresql+asyncpg``."""

    driver = "holisticpool"
    # SQLAlchemy looks for it in the class itself.
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver's module; SQLAlchemy calls it when an engine is made."""
        return _Driver(holisticpool)

    def create_connect_args(self, url: URL) -> Any:
        """The arguments of connect() for *url*.

        In the URL's query are keywords of holisticpool.connect(), libpq's
        parameters (``sslmode=require``) and server settings
        (``application_name=api``).
        """
        arguments, options = super().create_connect_args(url)
        for name, kind in _NUMBERS.items():
            util.coerce_kw_type(options, name, kind)
        known = {*inspect.signature(holisticpool.connect).parameters, *_ADAPTER_KEYWORDS}
        others = {name: options.pop(name) for name in list(options) if name not in known}
        if others:
            options["dsn"] = f"postgresql://?{urlencode(others, quote_via=quote)}"
        return arguments, options


dialect = HolisticpoolDialect
