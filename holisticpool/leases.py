"""PoolConnectionProxy and its like: what asyncpg wraps a leased connection in, as programs name it.

There is no such wrapper here: a lease is a Connection of its own, and refuses
its use once it is released. These names are for annotations, for isinstance()
and for code that looks behind the wrapper.
"""

from __future__ import annotations

from typing import Any

from holisticpool import _core
from holisticpool.connection import Connection, ConnectionMeta, PoolConnectionHolder

__all__ = ("PoolAcquireContext", "PoolConnectionHolder", "PoolConnectionProxy", "PoolConnectionProxyMeta")

# What Pool.acquire() returns.
PoolAcquireContext = _core.Operation


class PoolConnectionProxyMeta(ConnectionMeta):
    """Every lease of a pool is an instance, released or not; a connection of connect() is none."""

    def __instancecheck__(cls, instance: Any) -> bool:
        # The pool of a session of one's own is of the base class.
        return isinstance(instance, Connection) and type(instance._pool) is not _core.Pool


class PoolConnectionProxy(Connection, metaclass=PoolConnectionProxyMeta):
    """A leased connection, for isinstance() and annotations; acquire() gives a Connection."""
