"""connect()'s keywords as libpq parameters, before any server is asked."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

import holisticpool
from holisticpool import _core, exceptions
from holisticpool.connect_utils import SessionAttribute
from holisticpool.conninfo import connect_config, split_dsn


@pytest.fixture
def tls() -> None:
    """Skips where libpq was built without TLS: it then takes no sslmode that needs it."""
    try:
        _core.resolve_conninfo(None, {"sslmode": "require"})
    except exceptions.ClientConfigurationError:
        pytest.skip("this libpq was built without TLS")


def target(dsn: str | None = None, **keywords: Any) -> dict[str, str]:
    (only,) = connect_config(dsn, **keywords).targets()
    return only


def test_keywords_become_libpq_parameters(tls: None) -> None:
    found = target(host="h", port=5433, user="u", password="p", database="d", ssl="require")
    assert (
        found | {"host": "h", "port": "5433", "user": "u", "password": "p", "dbname": "d", "sslmode": "require"}
        == found
    )


def test_keyword_wins_over_dsn() -> None:
    found = target("postgresql://u:p@h:1/d", user="other", port=2)
    assert (found["user"], found["port"], found["host"], found["password"]) == ("other", "2", "h", "p")


def test_several_hosts_become_one_target_each() -> None:
    targets = connect_config(host=["a", "b"], port=[1, 2]).targets()
    assert [(t["host"], t["port"]) for t in targets] == [("a", "1"), ("b", "2")]


def test_one_port_serves_all_hosts() -> None:
    targets = connect_config(host=["a", "b"], port=7).targets()
    assert [(t["host"], t["port"]) for t in targets] == [("a", "7"), ("b", "7")]


def test_port_and_host_counts_must_match() -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="could not match 3 port numbers to 2 hosts"):
        connect_config(host=["a", "b"], port=[1, 2, 3])


def test_socket_file_is_taken_as_asyncpg_takes_it() -> None:
    found = target(host="/run/x/.s.PGSQL.5444")
    assert (found["host"], found["port"]) == ("/run/x", "5444")


@pytest.mark.parametrize(
    ("value", "option"),
    [
        ("off", "-c jit=off"),
        ("a b", "-c jit=a\\ b"),
        ("back\\slash", "-c jit=back\\\\slash"),
        ("tab\tnewline\n", "-c jit=tab\\\tnewline\\\n"),
        ("", "-c jit="),
    ],
)
def test_server_setting_becomes_an_escaped_option(value: str, option: str) -> None:
    assert target(server_settings={"jit": value})["options"] == option


def test_server_settings_come_after_the_options_of_the_dsn() -> None:
    found = target("postgresql://h/d?options=-c%20jit%3Don", server_settings={"jit": "off"})
    assert found["options"] == "-c jit=on -c jit=off"


def test_default_settings_come_before_the_options_of_the_dsn() -> None:
    found = target("postgresql://h/d?options=-c%20timezone%3DCET", default_settings={"timezone": "UTC"})
    assert found["options"] == "-c timezone=UTC -c timezone=CET"


def test_application_name_is_a_parameter_of_its_own() -> None:
    found = target(server_settings={"application_name": "shop"})
    assert found["application_name"] == "shop"
    assert "options" not in found


def test_default_application_name_yields_to_the_dsn() -> None:
    found = target("postgresql://h/d?application_name=theirs", default_settings={"application_name": "ours"})
    assert found["application_name"] == "theirs"


@pytest.mark.parametrize(
    "settings",
    [
        {"jit": 1},
        {1: "jit"},
        ["jit"],
        {"not a name": "x"},
        {"a;b": "x"},
        {"": "x"},
        {"jit": "a\0b"},
        {"client_encoding": "LATIN1"},
    ],
)
def test_wrong_server_settings_are_refused(settings: Any) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="server_settings"):
        connect_config(server_settings=settings)


def test_unknown_name_in_a_uri_is_a_server_setting() -> None:
    dsn, settings = split_dsn("postgresql://h/d?search_path=a%2Cb&sslmode=require&database=x&work_mem=4MB")
    assert dsn == "postgresql://h/d?sslmode=require&dbname=x"
    assert settings == {"search_path": "a,b", "work_mem": "4MB"}


def test_question_mark_in_a_password_starts_no_query() -> None:
    dsn = "postgresql://u:p?x=y@h/d"
    assert split_dsn(dsn) == (dsn, {})


def test_keyword_dsn_is_left_to_libpq() -> None:
    assert split_dsn("host=h dbname=d") == ("host=h dbname=d", {})


@pytest.mark.parametrize("scheme", ["mysql", "postgresql+asyncpg", "http"])
def test_other_scheme_is_refused_without_the_password(scheme: str) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="scheme is expected to be") as caught:
        connect_config(f"{scheme}://u:hunter22@h/d")
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:hunter22@h:port/d",
        "postgresql://u:hunter22@h:70000/d",
        "postgresql://u:hunter22/x@h/d",
        "postgresql://u:hunter22@[::1/d",
        "host=h password=hunter22 nonsense",
        "host=h hunter22 x",
        "postgresql://u:hunter22@h/d?sslmode=require&sslmode",
        "postgresql://u:hunter22%zz@h/d",
    ],
)
def test_dsn_that_libpq_refuses_raises_without_the_password(dsn: str) -> None:
    with pytest.raises(exceptions.ClientConfigurationError) as caught:
        connect_config(dsn).targets()
    assert "hunter22" not in str(caught.value)


def test_options_among_the_server_settings_are_taken_as_they_are() -> None:
    assert target(server_settings={"options": "-c jit=off -c geqo=off"})["options"] == "-c jit=off -c geqo=off"


@pytest.mark.parametrize("value", ["UTF8", "utf-8"])
def test_client_encoding_may_be_utf8(value: str) -> None:
    assert target(server_settings={"client_encoding": value})["client_encoding"] == "UTF8"


@pytest.mark.parametrize("value", ["soon", "7s"])
def test_wrong_connect_timeout_of_the_dsn_is_refused(value: str) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="connect_timeout"):
        config = connect_config(f"postgresql://h/d?connect_timeout={value}")
        config.timeout_for(config.targets())


@pytest.mark.parametrize("port", ["many", True, "54x"])
def test_wrong_port_keyword_is_refused(port: Any) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="port"):
        connect_config(port=port)


@pytest.mark.parametrize("keyword", ["user", "password", "database", "passfile", "service", "servicefile"])
def test_zero_byte_is_refused(keyword: str) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="zero byte"):
        connect_config(**{keyword: "a\0b"})


def test_unlimited_statement_lifetime_is_what_we_do() -> None:
    connect_config(max_cached_statement_lifetime=0)


@pytest.mark.parametrize("attribute", SessionAttribute)
def test_target_session_attrs_is_a_name_or_asyncpgs_enumeration(attribute: SessionAttribute) -> None:
    for value in (attribute, attribute.value):
        found = target("postgresql://h/d", target_session_attrs=value)["target_session_attrs"]
        assert found == attribute.value and type(found) is str


def test_wrong_target_session_attrs_is_refused() -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="target_session_attrs"):
        connect_config(target_session_attrs="fastest")


@pytest.mark.parametrize(
    ("dsn", "keywords", "seconds"),
    [
        ("postgresql://h/d", {}, 60.0),
        ("postgresql://h/d?connect_timeout=7", {}, 7.0),
        ("postgresql://h/d?connect_timeout=7", {"timeout": 3}, 3.0),
        ("postgresql://h/d?connect_timeout=7", {"timeout": None}, 0.0),
        ("postgresql://h/d?connect_timeout=0", {}, 0.0),
    ],
)
def test_connect_timeout_is_the_keyword_else_the_dsn_else_a_minute(
    dsn: str, keywords: dict[str, Any], seconds: float
) -> None:
    config = connect_config(dsn, **keywords)
    assert config.timeout_for(config.targets()) == seconds


def test_repr_shows_no_password() -> None:
    assert "hunter22" not in repr(connect_config("postgresql://u:hunter22@h/d", password="hunter22"))


@pytest.mark.parametrize("dsn", ["postgresql://u:sec@ret@h/d", "postgresql://u:s@e@h,g/d"])
def test_part_of_a_password_that_looks_like_a_host_is_not_shown(dsn: str) -> None:
    with pytest.raises(exceptions.ClientConfigurationError) as caught:
        connect_config(dsn).targets()
    assert "@" in str(caught.value) and "ret" not in str(caught.value) and "e@h" not in str(caught.value)


# ---- libpq's environment ----

VARIABLES = [
    ("PGTZ", "Asia/Tokyo", "TimeZone", "Europe/Rome"),
    ("PGDATESTYLE", "German", "datestyle", "ISO, YMD"),
    ("PGGEQO", "off", "geqo", "on"),
]


@pytest.mark.parametrize(("variable", "sent", "setting", "wanted"), VARIABLES)
async def test_server_setting_wins_over_what_libpq_sends_from_the_environment(
    dsn: str, monkeypatch: pytest.MonkeyPatch, variable: str, sent: str, setting: str, wanted: str
) -> None:
    monkeypatch.setenv(variable, sent)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, server_settings={setting: wanted}) as pool:
        assert await pool.fetchval(f"SHOW {setting}") == wanted
        async with pool.acquire() as lease:
            await lease.execute("SET work_mem = '9MB'")
        assert await pool.fetchval(f"SHOW {setting}") == wanted  # after the reset
        async with pool.acquire() as lease:
            await lease.reset()
            assert await lease.fetchval(f"SHOW {setting}") == wanted
    query = f"{setting}={quote(wanted)}"
    async with await holisticpool.connect(f"{dsn}?{query}") as conn:
        assert await conn.fetchval(f"SHOW {setting}") == wanted


@pytest.mark.parametrize(("variable", "sent", "setting", "wanted"), VARIABLES)
async def test_environment_wins_over_defaults(
    dsn: str, monkeypatch: pytest.MonkeyPatch, variable: str, sent: str, setting: str, wanted: str
) -> None:
    monkeypatch.setenv(variable, sent)
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        assert (await pool.fetchval(f"SHOW {setting}")).startswith(sent)


@pytest.mark.parametrize("sent", [None, "default", "DEFAULT", "Europe/Rome"])
def test_setting_that_nothing_takes_costs_no_round_trip(monkeypatch: pytest.MonkeyPatch, sent: str | None) -> None:
    if sent is not None:
        monkeypatch.setenv("PGTZ", sent)
    found = target("postgresql://h", server_settings={"timezone": "Europe/Rome"})
    assert "_overridden_sql" not in found
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    assert "_overridden_sql" in target("postgresql://h", server_settings={"timezone": "Europe/Rome"})
    assert "_overridden_sql" not in target("postgresql://h")


async def test_wrong_setting_that_wins_is_refused_at_connect(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    with pytest.raises((exceptions.PostgresError, ConnectionError), match="Nowhere"):
        await holisticpool.connect(dsn, server_settings={"timezone": "Nowhere"})
