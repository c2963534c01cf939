"""The values that connect()'s parameters take, as enumerations, under asyncpg's names; and _connect_addr()."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ("SSLMode", "SSLNegotiation", "SessionAttribute")

_T = TypeVar("_T")


class SSLMode(enum.IntEnum):
    """libpq's sslmode; the higher, the more is demanded."""

    disable = 0
    allow = 1
    prefer = 2
    require = 3
    verify_ca = 4
    verify_full = 5

    @classmethod
    def parse(cls, sslmode: str | SSLMode) -> SSLMode:
        """The mode of that name, ``verify-full`` or ``verify_full``; AttributeError for another."""
        if isinstance(sslmode, cls):
            return sslmode
        try:
            return cls[str(sslmode).replace("-", "_")]
        except KeyError:
            raise AttributeError(sslmode) from None


class SSLNegotiation(str, enum.Enum):
    """libpq's sslnegotiation: whether TLS begins at once or is asked for first."""

    postgres = "postgres"
    direct = "direct"

    def __str__(self) -> str:
        return self.value


class SessionAttribute(str, enum.Enum):
    """libpq's target_session_attrs: which servers of a list will do."""

    any = "any"
    primary = "primary"
    standby = "standby"
    prefer_standby = "prefer-standby"
    read_write = "read-write"
    read_only = "read-only"


async def _connect_addr(*, addr: tuple[str, int] | str, params: Any, connect: Callable[[], Awaitable[_T]]) -> _T:
    """What connect() opens its session by: instrumentations wrap it and read *addr* and *params*.

    addr: host and port that are tried first, or the path of a Unix socket.
    params: has ``user`` and ``database``.
    """
    return await connect()
