"""Parameters, environment variables and defaults of the pool: who wins, and what a wrong value says."""

from __future__ import annotations

from typing import Any

import pytest

from holisticpool import RENDER_ENV_VARS, RENDER_POOL_CONFIG, config, exceptions
from holisticpool.config import pool_config

# keyword, its default, its variable, a text for the variable, what that gives
PARAMETERS = [
    ("min_size", 2, "DATABASE_POOL_MIN_SIZE", "5", 5),
    ("max_size", 8, "DATABASE_POOL_MAX_SIZE", "20", 20),
    ("max_queries", 1000, "DATABASE_POOL_MAX_QUERIES", "77", 77),
    ("max_inactive_connection_lifetime", 300.0, "DATABASE_MAX_IDLE_TIME", "12.5", 12.5),
    ("command_timeout", 30.0, "DATABASE_COMMAND_TIMEOUT", "7", 7.0),
    ("acquire_timeout", 30.0, "DATABASE_ACQUIRE_TIMEOUT", "0.25", 0.25),
]


def made(environ: dict[str, str], **keywords: Any) -> dict[str, Any]:
    result = pool_config(environ=environ, **keywords)
    return {**vars(result), "command_timeout": result.connection.command_timeout, "dsn": result.connection.dsn}


def test_render_pool_config_is_the_documented_set() -> None:
    assert RENDER_POOL_CONFIG == {
        "min_size": 2,
        "max_size": 8,
        "max_queries": 1000,
        "max_inactive_connection_lifetime": 300,
        "command_timeout": 30,
    }
    assert config.RENDER_POOL_CONFIG is RENDER_POOL_CONFIG


def test_render_env_vars_are_the_documented_four() -> None:
    assert RENDER_ENV_VARS == {
        "DATABASE_POOL_MIN_SIZE": "2",
        "DATABASE_POOL_MAX_SIZE": "8",
        "DATABASE_COMMAND_TIMEOUT": "30",
        "DATABASE_MAX_IDLE_TIME": "300",
    }
    assert config.RENDER_ENV_VARS is RENDER_ENV_VARS


def test_render_env_vars_give_the_render_pool_config() -> None:
    values = made(dict(RENDER_ENV_VARS))
    assert {name: values[name] for name in RENDER_POOL_CONFIG} == RENDER_POOL_CONFIG


@pytest.mark.parametrize(("keyword", "default", "variable", "text", "value"), PARAMETERS)
def test_default_holds_without_keyword_and_variable(
    keyword: str, default: float, variable: str, text: str, value: float
) -> None:
    assert made({})[keyword] == default


@pytest.mark.parametrize(("keyword", "default", "variable", "text", "value"), PARAMETERS)
def test_variable_wins_over_default(keyword: str, default: float, variable: str, text: str, value: float) -> None:
    assert made({variable: text})[keyword] == value


@pytest.mark.parametrize(("keyword", "default", "variable", "text", "value"), PARAMETERS)
def test_keyword_wins_over_variable(keyword: str, default: float, variable: str, text: str, value: float) -> None:
    assert made({variable: "3"}, **{keyword: value})[keyword] == value


@pytest.mark.parametrize("text", ["", "eight", "8x", "1e", "nan", "-1"])
@pytest.mark.parametrize(("keyword", "default", "variable", "good", "value"), PARAMETERS)
def test_wrong_variable_is_named_with_its_value(
    keyword: str, default: float, variable: str, good: str, value: float, text: str
) -> None:
    with pytest.raises(ValueError) as caught:
        pool_config(environ={variable: text})
    assert variable in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("variable", ["DATABASE_POOL_MIN_SIZE", "DATABASE_POOL_MAX_SIZE", "DATABASE_POOL_MAX_QUERIES"])
def test_fraction_is_no_number_of_connections_or_queries(variable: str) -> None:
    with pytest.raises(ValueError, match=variable):
        pool_config(environ={variable: "2.5"})


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("min_size", -1),
        ("min_size", True),
        ("min_size", 2.0),
        ("max_size", 0),
        ("max_size", "8"),
        ("max_queries", 0),
        ("max_inactive_connection_lifetime", -1),
        ("max_inactive_connection_lifetime", None),
        ("max_lifetime", -0.1),
        ("acquire_timeout", 0),
        ("acquire_timeout", "30"),
        ("command_timeout", -1),
        ("command_timeout", True),
        ("command_timeout", float("inf")),
        ("max_waiters", -1),
        ("statement_cache_size", -1),
        ("statement_cache_size", True),
        ("max_cacheable_statement_size", None),
        ("timeout", 0),
        ("reset", "sometimes"),
    ],
)
def test_wrong_keyword_value_is_named(keyword: str, value: object) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match=keyword):
        pool_config(environ={}, **{keyword: value})


def test_min_size_above_max_size_is_refused() -> None:
    with pytest.raises(ValueError, match="min_size is greater than max_size"):
        pool_config(environ={}, min_size=9, max_size=3)


def test_min_size_above_max_size_of_the_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="min_size is greater than max_size"):
        pool_config(environ={"DATABASE_POOL_MAX_SIZE": "3"}, min_size=9)


def test_default_size_yields_to_a_given_one() -> None:
    assert pool_config(environ={}, max_size=1).min_size == 1
    assert pool_config(environ={}, min_size=10).max_size == 10
    assert pool_config(environ={"DATABASE_POOL_MAX_SIZE": "1"}).min_size == 1


@pytest.mark.parametrize("keyword", ["acquire_timeout", "command_timeout"])
def test_none_is_for_ever(keyword: str) -> None:
    assert made({"DATABASE_ACQUIRE_TIMEOUT": "3", "DATABASE_COMMAND_TIMEOUT": "3"}, **{keyword: None})[keyword] is None


def test_database_url_is_the_default_dsn() -> None:
    assert made({"DATABASE_URL": "postgresql://h/d"})["dsn"] == "postgresql://h/d"
    assert made({"DATABASE_URL": "postgresql://h/d"}, dsn="postgresql://x/y")["dsn"] == "postgresql://x/y"


@pytest.mark.parametrize("keyword", ["host", "port", "user", "password", "database", "service", "passfile"])
def test_database_url_does_not_apply_where_a_keyword_says_which_server(keyword: str) -> None:
    value = "5433" if keyword == "port" else "elsewhere"
    assert made({"DATABASE_URL": "postgresql://u:secret@h/d"}, **{keyword: value})["dsn"] is None


def test_unknown_keyword_is_named() -> None:
    import holisticpool

    with pytest.raises(TypeError, match="'min_sise'"):
        holisticpool.create_pool(min_sise=3)
