"""A PostgreSQL client and connection pool for asyncio whose hot path is C.

``import holisticpool as asyncpg`` is the way in for code written for asyncpg;
``db_pool`` and ``SupabaseAsyncPGAdapter`` are for services that share one pool.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from holisticpool import _core
from holisticpool import exceptions as exceptions
from holisticpool._core import Record as Record
from holisticpool._version import __version__ as __version__
from holisticpool.config import RENDER_ENV_VARS as RENDER_ENV_VARS
from holisticpool.config import RENDER_POOL_CONFIG as RENDER_POOL_CONFIG
from holisticpool.connection import Connection as Connection
from holisticpool.connection import connect as connect
from holisticpool.pool import Pool as Pool
from holisticpool.pool import create_pool as create_pool

_OWN_NAMES: tuple[str, ...] = (
    "RENDER_ENV_VARS",
    "RENDER_POOL_CONFIG",
    "Connection",
    "DatabaseException",
    "DatabasePool",
    "Pool",
    "Record",
    "SupabaseAsyncPGAdapter",
    "TypeCodec",
    "connect",
    "create_pool",
    "db_pool",
    "exceptions",
    "install_as_asyncpg",
    "types",
)

# Not every program needs these: their modules are imported when they are asked for.
_LATER = {
    "DatabaseException": "adapter",
    "DatabasePool": "database",
    "SupabaseAsyncPGAdapter": "adapter",
    "TypeCodec": "codecs",
    "db_pool": "database",
    "install_as_asyncpg": "alias",
}

# These are there without being imported by name, as asyncpg's or ours.
_MODULES = (
    "adapter",
    "alias",
    "codecs",
    "connect_utils",
    "copy_data",
    "cursor",
    "database",
    "leases",
    "metrics",
    "pgproto",
    "portions",
    "prepared_stmt",
    "protocol",
    "serverversion",
    "stream",
    "tls",
    "transaction",
    "type_names",
    "types",
)

if TYPE_CHECKING:
    # Type checkers understand __all__ only as a literal; without one they take what is imported here.
    from holisticpool import types as types
    from holisticpool.adapter import DatabaseException as DatabaseException
    from holisticpool.adapter import SupabaseAsyncPGAdapter as SupabaseAsyncPGAdapter
    from holisticpool.alias import install_as_asyncpg as install_as_asyncpg
    from holisticpool.codecs import TypeCodec as TypeCodec
    from holisticpool.database import DatabasePool as DatabasePool
    from holisticpool.database import db_pool as db_pool
    from holisticpool.exceptions import *  # noqa: F403
    from holisticpool.types import *  # noqa: F403
else:
    # Most classes of exceptions are made when they are asked for.

    def _types():
        return importlib.import_module(f"{__name__}.types")

    def __getattr__(name):
        if name == "__all__":
            value = _OWN_NAMES + exceptions.__all__ + _types().__all__
        elif name in _LATER:
            value = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
        elif name in _MODULES:
            value = importlib.import_module(f"{__name__}.{name}")
        elif name in exceptions.__all__:
            value = getattr(exceptions, name)
        elif name in _types().__all__:
            value = getattr(_types(), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_OWN_NAMES, *exceptions.__all__, *_types().__all__})


# A child process must not speak on its parent's sockets.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core.forked)
