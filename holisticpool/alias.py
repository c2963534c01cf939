"""install_as_asyncpg(): libraries that import asyncpg get holisticpool.

For what cannot change its import: an ORM, a migration tool, a queue. The name
``asyncpg`` and the names of its modules are put into sys.modules, so that
whatever imports them afterwards finds holisticpool's modules: the same objects,
not copies.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import holisticpool

__all__ = ("install_as_asyncpg",)

# Of asyncpg's modules those that holisticpool has under the same name.
_MODULES = (
    "_version",
    "connect_utils",
    "connection",
    "cursor",
    "exceptions",
    "exceptions._base",
    "pgproto",
    "pgproto.pgproto",
    "pgproto.types",
    "pool",
    "prepared_stmt",
    "protocol",
    "protocol.protocol",
    "serverversion",
    "transaction",
    "types",
)


def install_as_asyncpg() -> None:
    """Make ``import asyncpg``, wherever it is said from now on, give holisticpool.

    Call it before anything imports asyncpg, in the first lines of the program.
    Calling it again does nothing. Raises RuntimeError where asyncpg itself has
    been imported already: what did so would go on using it.
    """
    present = sys.modules.get("asyncpg")
    if present is holisticpool:
        return
    if present is not None:
        raise RuntimeError(
            "asyncpg is imported already: call holisticpool.install_as_asyncpg() before anything that imports it"
        )
    for name in _MODULES:
        if importlib.util.find_spec(f"holisticpool.{name}") is None:
            continue
        sys.modules[f"asyncpg.{name}"] = importlib.import_module(f"holisticpool.{name}")
    sys.modules["asyncpg"] = holisticpool
