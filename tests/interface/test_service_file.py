"""connect(service=, servicefile=): a service file at a place that the caller names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import exceptions
from holisticpool.conninfo import connect_config

TEXT = """\
# a comment
[other]
host=other.example.org

  [shop]
host = not trimmed
port=6001

dbname=orders
user=alice
password=hunter22
application_name=of the service
[later]
host=later.example.org
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "services.conf"
    path.write_text(TEXT.replace("host = not trimmed", "host=shop.example.org"))
    return path


def target(dsn: str | None = None, **keywords: Any) -> dict[str, str]:
    (only,) = connect_config(dsn, **keywords).targets()
    return only


def test_section_of_the_service_is_read(file: Path) -> None:
    found = target(service="shop", servicefile=file)
    assert (found["host"], found["port"], found["dbname"]) == ("shop.example.org", "6001", "orders")
    assert (found["user"], found["password"]) == ("alice", "hunter22")
    assert found["application_name"] == "of the service"
    assert target(service="later", servicefile=str(file))["host"] == "later.example.org"


def test_service_may_be_named_by_the_dsn(file: Path) -> None:
    assert target("service=other", servicefile=file)["host"] == "other.example.org"
    assert target("postgresql:///?service=shop", servicefile=file)["host"] == "shop.example.org"


def test_keywords_and_dsn_win_over_the_service(file: Path) -> None:
    found = target("postgresql://of_dsn:1/?service=shop", user="bob", servicefile=file)
    assert (found["host"], found["port"], found["user"], found["dbname"]) == ("of_dsn", "1", "bob", "orders")


def test_service_wins_over_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "of_environment")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "7")
    found = target(service="shop", servicefile=file)
    assert (found["user"], found["connect_timeout"]) == ("alice", "7")


def test_servicefile_without_a_service_changes_nothing(file: Path) -> None:
    assert target("postgresql://h/d", servicefile=file)["host"] == "h"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[shop]\nnonsense\n", "line 2: keyword=value is expected"),
        ("[shop]\n\nservice=other\n", "line 3: a service cannot name another one"),
        ("[shop]\nldap://x/y\n", "line 2: LDAP"),
        ("[shop]\ncolour=hunter22\n", "line 2: libpq has no such parameter"),
        ("[shopping]\nhost=h\n", 'definition of service "shop" was not found'),
        ("host=h\n", 'definition of service "shop" was not found'),
    ],
)
def test_wrong_service_file_is_refused_with_the_line_and_no_value(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.conf"
    path.write_text(text)
    with pytest.raises(exceptions.ClientConfigurationError, match=message) as caught:
        target(service="shop", servicefile=path)
    assert str(path) in str(caught.value) and "hunter22" not in str(caught.value)


def test_missing_service_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match=r"none\.conf.*No such file"):
        target(service="shop", servicefile=tmp_path / "none.conf")


def test_servicefile_beside_pgservice_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "shop")
    with pytest.raises(exceptions.ClientConfigurationError, match="PGSERVICE"):
        target(service="shop", servicefile=file)


async def test_service_file_leads_to_the_server(server: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "real.conf"
    path.write_text(
        f"[real]\nhost={server.host}\nport={server.port}\nuser={server.superuser}\npassword={server.password}\n"
        "dbname=postgres\noptions=-c work_mem=3MB\n"
    )
    conn = await holisticpool.connect(service="real", servicefile=path)
    assert await conn.fetchval("SHOW work_mem") == "3MB"
    await conn.close()
