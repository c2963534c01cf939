"""A PostgreSQL client and connection pool for asyncio whose hot path is C.

``import holisticpool as asyncpg`` is the way in for code written for asyncpg;
``db_pool`` and ``SupabaseAsyncPGAdapter`` are for services that share one pool.
"""

from __future__ import annotations

import os

from holisticpool import _core, exceptions, types
from holisticpool._core import Record
from holisticpool._version import __version__ as __version__
from holisticpool.adapter import DatabaseException, SupabaseAsyncPGAdapter
from holisticpool.config import RENDER_ENV_VARS, RENDER_POOL_CONFIG
from holisticpool.connection import Connection, connect
from holisticpool.database import DatabasePool, db_pool
from holisticpool.exceptions import *  # noqa: F403
from holisticpool.pool import Pool, create_pool
from holisticpool.types import *  # noqa: F403

__all__: tuple[str, ...] = (
    "RENDER_ENV_VARS",
    "RENDER_POOL_CONFIG",
    "Connection",
    "DatabaseException",
    "DatabasePool",
    "Pool",
    "Record",
    "SupabaseAsyncPGAdapter",
    "connect",
    "create_pool",
    "db_pool",
    "exceptions",
    "types",
)
__all__ += exceptions.__all__
__all__ += types.__all__

# A child process must not speak on its parent's sockets.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core.forked)
