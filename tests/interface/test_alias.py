"""Libraries written for asyncpg: the module names that they import, and install_as_asyncpg()."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys

import pytest

import holisticpool

# As found in ORMs, queues and instrumentations, and in programs that copied a name from a traceback.
IMPORTED = [
    ("connection", "Connection"),
    ("connection", "connect"),
    ("exceptions", "UniqueViolationError"),
    ("exceptions._base", "InterfaceError"),
    ("exceptions._base", "PostgresError"),
    ("pgproto.pgproto", "UUID"),
    ("pgproto.types", "BitString"),
    ("pgproto.types", "Point"),
    ("pool", "Pool"),
    ("pool", "create_pool"),
    ("protocol", "Record"),
    ("protocol.protocol", "Record"),
    ("serverversion", "split_server_version_string"),
    ("transaction", "Transaction"),
    ("types", "Range"),
]


@pytest.mark.parametrize(("module", "name"), IMPORTED)
def test_name_is_where_asyncpg_has_it(module: str, name: str) -> None:
    ours = getattr(importlib.import_module(f"holisticpool.{module}"), name)
    theirs = pytest.importorskip(f"asyncpg.{module}")
    assert callable(getattr(theirs, name))
    assert callable(ours)
    assert getattr(holisticpool, name, ours) is ours


def run(program: str) -> str:
    """The output of a program, in a Python that has not imported anything yet."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_installed_alias_is_what_everybody_imports() -> None:
    program = """
import holisticpool
holisticpool.install_as_asyncpg()
holisticpool.install_as_asyncpg()
import asyncpg, asyncpg.pool
import asyncpg.exceptions as exceptions
from asyncpg.protocol import Record
from asyncpg.exceptions._base import InterfaceError
assert asyncpg is holisticpool
assert asyncpg.pool is holisticpool.pool
assert exceptions is holisticpool.exceptions
assert Record is holisticpool.Record
assert InterfaceError is holisticpool.InterfaceError
try:
    import asyncpg.nothing_of_that_name
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run(program) == "asyncpg.nothing_of_that_name"


def test_alias_comes_too_late_after_asyncpg_itself() -> None:
    program = """
import sys, types
sys.modules["asyncpg"] = theirs = types.ModuleType("asyncpg")
import holisticpool
try:
    holisticpool.install_as_asyncpg()
except RuntimeError as error:
    print(error)
assert sys.modules["asyncpg"] is theirs
assert "asyncpg.pool" not in sys.modules
"""
    assert run(program).startswith("asyncpg is imported already: call holisticpool.install_as_asyncpg()")


def test_every_module_that_both_have_is_aliased() -> None:
    asyncpg = pytest.importorskip("asyncpg")
    shared = []
    for module in pkgutil.walk_packages(asyncpg.__path__):
        if importlib.util.find_spec(f"holisticpool.{module.name}") is not None:
            shared.append(module.name)
    program = "import holisticpool, sys; holisticpool.install_as_asyncpg(); print(*sys.modules)"
    assert {f"asyncpg.{name}" for name in shared} <= set(run(program).split())
    assert "exceptions" in shared
