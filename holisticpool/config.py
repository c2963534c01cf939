"""The pool's parameters: defaults, environment variables, checks.

Who wins: an explicit keyword over the environment variable, that over the
default (the table of docs/configuration.md). A default also yields where it
contradicts a value that was given: max_size=1 alone makes min_size 1.

Reading the environment happens when a PoolConfig is made, never at import.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from holisticpool.check import PIPELINE_AUTO, PIPELINE_OFF, UNSET, Unset, check_seconds, check_size, check_timeout
from holisticpool.conninfo import ConnectConfig, connect_config, has_application_name
from holisticpool.exceptions import ClientConfigurationError

__all__ = ("RENDER_ENV_VARS", "RENDER_POOL_CONFIG", "UNSET", "PoolConfig", "changed_connection", "pool_config")

RENDER_POOL_CONFIG: Final[dict[str, int]] = {
    "min_size": 2,
    "max_size": 8,
    "max_queries": 1000,
    "max_inactive_connection_lifetime": 300,
    "command_timeout": 30,
}

RENDER_ENV_VARS: Final[dict[str, str]] = {
    "DATABASE_POOL_MIN_SIZE": "2",
    "DATABASE_POOL_MAX_SIZE": "8",
    "DATABASE_COMMAND_TIMEOUT": "30",
    "DATABASE_MAX_IDLE_TIME": "300",
}

DATABASE_URL: Final = "DATABASE_URL"
APPLICATION_NAME_VARIABLE: Final = "DATABASE_APPLICATION_NAME"
DEFAULT_APPLICATION_NAME: Final = "holisticos_mvp"
DEFAULT_TIMEZONE: Final = "UTC"

DEFAULT_ACQUIRE_TIMEOUT_S: Final = 30.0
# Long enough to cost nothing, short enough that a fail-over, a changed DNS
# record or a server session that grew are left behind within the hour.
DEFAULT_MAX_LIFETIME_S: Final = 3600.0

RESET_MODES: Final = ("touched", "always")
PIPELINE_MOST: Final = 64

# Keywords that say which server: with one of them given, DATABASE_URL does not
# apply, or its password would be sent to the server that the keyword names.
_ADDRESS_KEYWORDS: Final = frozenset({"host", "port", "user", "password", "database", "service", "passfile"})

# Parameters of connect() that all connections of a pool share.
_OF_THE_POOL: Final = ("statement_cache_size", "max_cached_statement_lifetime", "max_cacheable_statement_size")

_V = TypeVar("_V")
_D = TypeVar("_D")


# Not a dataclass, as all that is needed before the first query: making one takes longer than the module's import.
class PoolConfig:
    """Everything a pool is made with, checked. Times in seconds, None or 0 is for ever. Not to be changed."""

    def __init__(
        self,
        *,
        connection: ConnectConfig,
        init_size: int,
        min_size: int,
        max_size: int,
        max_queries: int,
        max_inactive_connection_lifetime: float,
        max_lifetime: float,
        acquire_timeout: float | None,
        max_waiters: int,
        reset: str,
        pipeline: int,
    ) -> None:
        self.connection: Final = connection
        self.init_size: Final = init_size
        self.min_size: Final = min_size
        self.max_size: Final = max_size
        self.max_queries: Final = max_queries
        self.max_inactive_connection_lifetime: Final = max_inactive_connection_lifetime
        self.max_lifetime: Final = max_lifetime
        self.acquire_timeout: Final = acquire_timeout
        self.max_waiters: Final = max_waiters
        self.reset: Final = reset
        self.pipeline: Final = pipeline  # as _core.Pool takes it

    @property
    def has_address(self) -> bool:
        """Whether anything but libpq's own defaults says which server to use."""
        connection = self.connection
        given = {"database" if name == "dbname" else name for name in connection.params}
        return connection.dsn is not None or connection.password is not None or bool(_ADDRESS_KEYWORDS & given)


def pool_config(
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
    reset: str | Unset = UNSET,
    pipeline: str | int | Unset = UNSET,
    environ: Mapping[str, str] | None = None,
    **connect_kwargs: Any,
) -> PoolConfig:
    """The checked parameters of a pool; see create_pool() for their meaning.

    *environ* is read in place of ``os.environ``. Raises ClientConfigurationError
    (a ValueError), which names the environment variable where the wrong value
    came from one.
    """
    source = _Source(os.environ if environ is None else environ)
    smallest, first, largest = _sizes(source, init_size, min_size, max_size)
    return PoolConfig(
        connection=_connection(
            source,
            dsn,
            source.pick(
                "command_timeout",
                command_timeout,
                check_timeout,
                float(RENDER_POOL_CONFIG["command_timeout"]),
                "DATABASE_COMMAND_TIMEOUT",
            ),
            connect_kwargs,
        ),
        init_size=first,
        min_size=smallest,
        max_size=largest,
        max_queries=source.pick(
            "max_queries", max_queries, _positive, RENDER_POOL_CONFIG["max_queries"], "DATABASE_POOL_MAX_QUERIES", int
        ),
        max_inactive_connection_lifetime=source.pick(
            "max_inactive_connection_lifetime",
            max_inactive_connection_lifetime,
            check_seconds,
            float(RENDER_POOL_CONFIG["max_inactive_connection_lifetime"]),
            "DATABASE_MAX_IDLE_TIME",
        ),
        max_lifetime=source.pick("max_lifetime", max_lifetime, check_seconds, DEFAULT_MAX_LIFETIME_S),
        acquire_timeout=source.pick(
            "acquire_timeout", acquire_timeout, check_timeout, DEFAULT_ACQUIRE_TIMEOUT_S, "DATABASE_ACQUIRE_TIMEOUT"
        ),
        max_waiters=source.pick("max_waiters", max_waiters, _not_negative, 0),
        reset=source.pick("reset", reset, _reset_mode, "touched"),
        pipeline=PIPELINE_AUTO if isinstance(pipeline, Unset) else _pipeline("pipeline", pipeline),
    )


def changed_connection(current: ConnectConfig, dsn: str | None, **connect_kwargs: Any) -> ConnectConfig:
    """The checked connection parameters that take the place of *current* in an open pool.

    command_timeout stays where it is not given. What belongs to the pool as a
    whole cannot be changed: ClientConfigurationError, as for wrong values.
    """
    kept = {name: getattr(current, name) for name in _OF_THE_POOL}
    timeout = connect_kwargs.pop("command_timeout", current.command_timeout)
    changed = _connection(
        _Source(os.environ), dsn, check_timeout("command_timeout", timeout), {**kept, **connect_kwargs}
    )
    for name, value in kept.items():
        if getattr(changed, name) != value:
            raise ClientConfigurationError(
                f"{name} belongs to the pool and stays {value!r} until it is closed, got {connect_kwargs[name]!r}"
            )
    return changed


def _connection(
    source: _Source, dsn: str | None, command_timeout: float | None, connect_kwargs: Mapping[str, Any]
) -> ConnectConfig:
    if dsn is None and all(connect_kwargs.get(name) is None for name in _ADDRESS_KEYWORDS):
        dsn = source.environ.get(DATABASE_URL) or None
    return connect_config(
        dsn,
        command_timeout=command_timeout,
        **_with_default_settings(source.environ, dsn, connect_kwargs),
    )


class _Source:
    """Where a value comes from: keyword, environment variable, default."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def pick(
        self,
        name: str,
        given: _V | Unset,
        check: Callable[[str, object], _V],
        default: _D,
        variable: str | None = None,
        parse: Callable[[str], object] = float,
    ) -> _V | _D:
        """The checked value of *name*; *default* is taken as it is."""
        if not isinstance(given, Unset):
            return check(name, given)
        text = None if variable is None else self.environ.get(variable)
        if text is None:
            return default
        try:
            value = parse(text)
        except ValueError:
            kind = "an integer" if parse is int else "a number"
            raise ClientConfigurationError(f"{variable} is expected to be {kind}, got {text!r}") from None
        try:
            return check(name, value)
        except ClientConfigurationError as error:
            raise ClientConfigurationError(f"{variable}={text!r}: {error}") from None


def _sizes(
    source: _Source, init_size: int | None | Unset, min_size: int | Unset, max_size: int | Unset
) -> tuple[int, int, int]:
    first = UNSET if init_size is None or isinstance(init_size, Unset) else _not_negative("init_size", init_size)
    smallest = source.pick("min_size", min_size, _not_negative, UNSET, "DATABASE_POOL_MIN_SIZE", int)
    largest = source.pick("max_size", max_size, _positive, UNSET, "DATABASE_POOL_MAX_SIZE", int)
    if isinstance(smallest, Unset):
        default = RENDER_POOL_CONFIG["min_size"]
        smallest = min([default, *(size for size in (first, largest) if not isinstance(size, Unset))])
    if isinstance(first, Unset):
        first = smallest
    if isinstance(largest, Unset):
        largest = max(RENDER_POOL_CONFIG["max_size"], smallest, first)
    if smallest > largest:
        raise ClientConfigurationError(f"min_size is greater than max_size ({smallest} > {largest})")
    if first > largest:
        raise ClientConfigurationError(f"init_size is greater than max_size ({first} > {largest})")
    if first < smallest:
        raise ClientConfigurationError(f"init_size is smaller than min_size ({first} < {smallest})")
    return smallest, first, largest


def _with_default_settings(
    environ: Mapping[str, str], dsn: str | None, connect_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """*connect_kwargs* with the pool's own server settings behind the user's."""
    defaults = {"timezone": DEFAULT_TIMEZONE, "application_name": DEFAULT_APPLICATION_NAME}
    kwargs = {"default_settings": defaults, **connect_kwargs}
    name = environ.get(APPLICATION_NAME_VARIABLE)
    settings = connect_kwargs.get("server_settings")
    if name and not has_application_name(dsn) and (settings is None or isinstance(settings, Mapping)):
        # The variable beats libpq's PGAPPNAME, which a default would not.
        kwargs["server_settings"] = {"application_name": name, **(settings or {})}
    return kwargs


def _positive(name: str, value: object) -> int:
    return check_size(name, value, at_least=1)


def _not_negative(name: str, value: object) -> int:
    return check_size(name, value, at_least=0)


def _pipeline(name: str, value: object) -> int:
    if value == "off":
        return PIPELINE_OFF
    if value == "auto":
        return PIPELINE_AUTO
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= PIPELINE_MOST:
        raise ClientConfigurationError(
            f"{name} is expected to be 'off', 'auto' or a depth from 1 to {PIPELINE_MOST}, got {value!r}"
        )
    return value


def _reset_mode(name: str, value: object) -> str:
    if not isinstance(value, str) or value not in RESET_MODES:
        raise ClientConfigurationError(f"{name} is expected to be one of {', '.join(RESET_MODES)}, got {value!r}")
    return value
