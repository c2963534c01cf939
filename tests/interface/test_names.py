"""What `import holisticpool as asyncpg` and `from holisticpool import ...` find."""

from __future__ import annotations

import importlib.metadata
import inspect

import pytest

import holisticpool
import holisticpool as asyncpg


@pytest.mark.parametrize(
    "name",
    [
        "connect",
        "create_pool",
        "Connection",
        "Pool",
        "Record",
        "Range",
        "Type",
        "Attribute",
        "ServerVersion",
        "PostgresError",
        "InterfaceError",
        "UniqueViolationError",
        "ForeignKeyViolationError",
        "UndefinedTableError",
        "QueryCanceledError",
        "TooManyConnectionsError",
        "PostgresWarning",
        "exceptions",
        "types",
        "DatabasePool",
        "db_pool",
        "SupabaseAsyncPGAdapter",
        "DatabaseException",
        "RENDER_POOL_CONFIG",
        "RENDER_ENV_VARS",
    ],
)
def test_public_name_exists(name: str) -> None:
    assert hasattr(asyncpg, name)
    assert name in holisticpool.__all__


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in holisticpool.__all__ if not hasattr(holisticpool, name)] == []


def test_exceptions_are_the_same_by_both_names() -> None:
    assert asyncpg.UniqueViolationError is asyncpg.exceptions.UniqueViolationError


def test_version_is_the_installed_one() -> None:
    try:
        installed = importlib.metadata.version("holisticpool")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed, only on the path")
    assert holisticpool.__version__ == installed


@pytest.mark.parametrize(
    "parameter",
    [
        "dsn",
        "min_size",
        "max_size",
        "max_queries",
        "max_inactive_connection_lifetime",
        "connect",
        "setup",
        "init",
        "reset",
        "loop",
        "connection_class",
        "record_class",
    ],
)
def test_create_pool_takes_asyncpgs_parameter(parameter: str) -> None:
    assert parameter in inspect.signature(asyncpg.create_pool).parameters


@pytest.mark.parametrize(
    "parameter",
    """
    dsn host port user password passfile service servicefile database loop timeout statement_cache_size
    max_cached_statement_lifetime max_cacheable_statement_size command_timeout ssl direct_tls connection_class
    record_class server_settings target_session_attrs krbsrvname gsslib
    """.split(),
)
def test_connect_takes_asyncpgs_parameter(parameter: str) -> None:
    assert parameter in inspect.signature(asyncpg.connect).parameters
