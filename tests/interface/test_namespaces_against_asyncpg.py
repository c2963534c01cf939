"""The names and signatures of asyncpg, beside ours: nothing may be missing but what is listed here.

docs/asyncpg.md says what to use in place of what is listed, and why a default differs.
"""

from __future__ import annotations

import importlib
import inspect
import types
from typing import Any

import pytest

import holisticpool

asyncpg = pytest.importorskip("asyncpg", "0.32", reason="asyncpg is what is compared with")

# asyncpg's inside: protocol and catalogue queries are C here, `compat` is for old Pythons.
INNER_MODULES = {"compat", "connresource", "introspection", "utils"}

# Public names of modules that programs import from.
MODULES = {
    "connect_utils": {"SSLMode", "SSLNegotiation", "SessionAttribute"},
    "connection": {"Connection", "ConnectionMeta", "connect"},
    "cursor": {"BaseCursor", "Cursor", "CursorFactory", "CursorIterator"},
    "pool": {
        "Pool",
        "PoolAcquireContext",
        "PoolConnectionHolder",
        "PoolConnectionProxy",
        "PoolConnectionProxyMeta",
        "create_pool",
    },  # fmt: skip
    "prepared_stmt": {"PreparedStatement"},
    "protocol": {"Record"},
    "protocol.protocol": {"Record"},
    "serverversion": {"split_server_version_string"},
    "transaction": {"ISOLATION_LEVELS", "Transaction", "TransactionState"},
    "types": {"Attribute", "BitString", "Range", "ServerVersion", "Type"},
    "exceptions": {"InterfaceError", "PostgresError"},
    "pgproto.pgproto": {"UUID"},
    "pgproto.types": {"BitString", "Box", "Circle", "Line", "LineSegment", "Path", "Point", "Polygon"},
}

# Defaults that differ on purpose: None has a meaning of its own, or it is the environment's or the DSN's.
OTHER_DEFAULTS = {
    ("connect", "timeout"),
    ("connect", "max_cached_statement_lifetime"),
    ("create_pool", "init_size"),
    ("create_pool", "min_size"),
    ("create_pool", "max_size"),
    ("create_pool", "max_queries"),
    ("create_pool", "max_inactive_connection_lifetime"),
    ("acquire", "timeout"),
}


def test_every_name_of_the_package_is_here() -> None:
    theirs = {name for name in dir(asyncpg) if not name.startswith("_")}
    missing = {name for name in theirs if not hasattr(holisticpool, name)}
    assert missing <= INNER_MODULES


def test_everything_that_a_star_import_gives_is_given() -> None:
    assert set(asyncpg.__all__) <= set(holisticpool.__all__)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_has_the_names_that_programs_import(name: str) -> None:
    theirs = importlib.import_module(f"asyncpg.{name}")
    ours = importlib.import_module(f"holisticpool.{name}")
    for each in MODULES[name]:
        assert hasattr(theirs, each)
        assert hasattr(ours, each)


@pytest.mark.parametrize("name", ["SSLMode", "SSLNegotiation", "SessionAttribute"])
def test_enumeration_has_the_same_members(name: str) -> None:
    theirs = getattr(importlib.import_module("asyncpg.connect_utils"), name)
    ours = getattr(importlib.import_module("holisticpool.connect_utils"), name)
    assert {each.name: each.value for each in theirs} == {each.name: each.value for each in ours}
    assert [str(each.value) for each in theirs] == [str(each.value) for each in ours]


def test_sslmode_is_parsed_the_same() -> None:
    from asyncpg.connect_utils import SSLMode as Theirs

    from holisticpool.connect_utils import SSLMode as Ours

    for text in ("disable", "verify-full", "verify_ca"):
        assert Ours.parse(text).value == Theirs.parse(text).value
    for parse in (Ours.parse, Theirs.parse):
        with pytest.raises(AttributeError):
            parse("sometimes")


# ---- signatures ----


def public(cls: type) -> dict[str, Any]:
    found = {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}
    return {name: each for name, each in found.items() if callable(each)}


def parameters(function: Any) -> list[inspect.Parameter]:
    return [each for each in inspect.signature(function).parameters.values() if each.name != "self"]


def plain_default(parameter: inspect.Parameter) -> Any:
    """A class of either library by its name, since each has its own."""
    value = parameter.default
    return value.__name__ if isinstance(value, type) else value


def compare(name: str, ours: Any, theirs: Any) -> None:
    mine = {each.name: each for each in parameters(ours)}
    wanted = parameters(theirs)
    for each in wanted:
        assert each.name in mine, f"{name}() has no parameter {each.name}"
        assert mine[each.name].kind is each.kind, f"{name}({each.name})"
        if (name, each.name) not in OTHER_DEFAULTS:
            assert plain_default(mine[each.name]) == plain_default(each), f"{name}({each.name})"
    positional = [each.name for each in wanted if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert [each.name for each in mine.values() if each.kind is each.POSITIONAL_OR_KEYWORD] == positional
    more = {each.name: each for each in mine.values() if each.name not in {other.name for other in wanted}}
    assert all(each.default is not each.empty for each in more.values()), f"{name}(): what is ours is optional"


def classes() -> list[tuple[type, type]]:
    from asyncpg.cursor import Cursor
    from asyncpg.prepared_stmt import PreparedStatement
    from asyncpg.transaction import Transaction

    return [
        (holisticpool.Connection, asyncpg.Connection),
        (holisticpool.Pool, asyncpg.Pool),
        (holisticpool.transaction.Transaction, Transaction),
        (holisticpool.prepared_stmt.PreparedStatement, PreparedStatement),
        (holisticpool.cursor.Cursor, Cursor),
        (holisticpool.Record, asyncpg.Record),
    ]


@pytest.mark.parametrize(
    "number", range(6), ids=["Connection", "Pool", "Transaction", "PreparedStatement", "Cursor", "Record"]
)
def test_methods_have_the_parameters_that_asyncpgs_have(number: int) -> None:
    ours, theirs = classes()[number]
    compared = 0
    for name, method in public(theirs).items():
        assert hasattr(ours, name), f"{ours.__name__}.{name} is missing"
        if not isinstance(method, types.FunctionType):
            continue  # asyncpg's own C part says nothing of its parameters
        compare(name, getattr(ours, name), method)
        compared += 1
    assert compared > 0 or theirs is asyncpg.Record


@pytest.mark.parametrize("name", ["connect", "create_pool"])
def test_function_has_the_parameters_that_asyncpgs_has(name: str) -> None:
    compare(name, getattr(holisticpool, name), getattr(asyncpg, name))


@pytest.mark.parametrize("cls", [holisticpool.Connection, holisticpool.Pool, holisticpool.Record])
def test_every_signature_can_be_read_and_every_method_says_what_it_does(cls: type) -> None:
    for name, method in public(cls).items():
        inspect.signature(method)
        assert (method.__doc__ or "").strip(), name
