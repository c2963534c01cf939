"""connect(ssl=, direct_tls=): what becomes of them in libpq's words, and whether it holds on the wire."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from servers import PostgresServer

import holisticpool
from holisticpool import _core, exceptions
from holisticpool.connect_utils import SSLMode
from holisticpool.conninfo import connect_config
from holisticpool.tls import tls_parameters

KNOWS_DIRECT = _core.libpq_version() >= 170000
USED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

pytestmark = pytest.mark.usefixtures("libpq_with_tls")


def target(dsn: str | None = "postgresql://h/d", **keywords: Any) -> dict[str, str]:
    (only,) = connect_config(dsn, **keywords).targets()
    return only


@pytest.mark.parametrize(
    ("value", "sslmode"),
    [
        ("disable", "disable"),
        ("allow", "allow"),
        ("prefer", "prefer"),
        ("require", "require"),
        ("verify-ca", "verify-ca"),
        ("verify-full", "verify-full"),
        ("verify_full", "verify-full"),
        *((mode, mode.name.replace("_", "-")) for mode in SSLMode),
        (False, "disable"),
    ],
)
def test_ssl_is_an_sslmode(value: Any, sslmode: str) -> None:
    assert target(ssl=value)["sslmode"] == sslmode


@pytest.mark.parametrize("value", ["sometimes", 1, b"require"])
def test_other_ssl_argument_is_refused(value: Any) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="ssl"):
        connect_config(ssl=value)


def test_ssl_true_verifies_against_the_roots_that_the_dsn_names() -> None:
    found = target("postgresql://h/d?sslrootcert=/ca.pem", ssl=True)
    assert (found["sslmode"], found["sslrootcert"]) == ("verify-full", "/ca.pem")


def test_ssl_true_without_named_roots_takes_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = tmp_path / "system.pem"
    system.write_bytes(b"")
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    wanted = "system" if _core.libpq_version() >= 160000 else str(system)
    found = target(ssl=True)
    assert (found["sslmode"], found["sslrootcert"]) == ("verify-full", wanted)


def test_missing_system_roots_are_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/cert.pem")
    tls = tls_parameters(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), None)
    with pytest.raises(exceptions.ClientConfigurationError, match="sslrootcert"):
        tls.finish({"sslmode": "verify-ca"})


# ---- SSLContext ----


def context_of(file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(file))


def test_context_becomes_mode_roots_and_versions(server: PostgresServer) -> None:
    context = context_of(server.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    found = target("postgresql://h/d?sslrootcert=/dsn.pem&sslcrl=/dsn.crl", ssl=context)
    assert found["sslmode"] == "verify-full"
    assert (found["ssl_min_protocol_version"], found["ssl_max_protocol_version"]) == ("TLSv1.3", "TLSv1.3")
    assert found.get("sslcrl") is None
    roots = ssl.create_default_context(cafile=found["sslrootcert"])
    assert roots.get_ca_certs() == context.get_ca_certs() != []


def test_context_without_host_names_is_verify_ca(server: PostgresServer) -> None:
    context = context_of(server.ca_file)
    context.check_hostname = False
    assert target(ssl=context)["sslmode"] == "verify-ca"


def test_context_that_verifies_nothing_is_require(server: PostgresServer) -> None:
    context = context_of(server.ca_file)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    found = target("postgresql://h/d?sslrootcert=/dsn.pem", ssl=context)
    assert (found["sslmode"], found.get("sslrootcert")) == ("require", None)


def test_file_of_the_roots_is_for_us_alone_and_shared_by_equal_contexts(server: PostgresServer) -> None:
    paths = {target(ssl=context_of(server.ca_file))["sslrootcert"] for _ in range(2)}
    other = target(ssl=context_of(server.other_ca_file))["sslrootcert"]
    assert len(paths) == 1 and other not in paths
    assert stat.S_IMODE(os.stat(os.path.dirname(other)).st_mode) == 0o700


def test_context_that_libpq_cannot_be_told_of_is_refused_with_what_to_use(server: PostgresServer) -> None:
    ciphers = context_of(server.ca_file)
    ciphers.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
    servers = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for context, problem in ((ciphers, "ciphers"), (servers, "server's")):
        with pytest.raises(exceptions.UnsupportedClientFeatureError, match=problem) as caught:
            connect_config(ssl=context)
        for parameter in ("sslmode", "sslrootcert", "sslcert", "sslkey"):
            assert parameter in str(caught.value)


async def test_context_verifies_on_the_wire_as_it_would_in_python(server: PostgresServer, tls_dsn: str) -> None:
    dsn = server.dsn(host="localhost")
    conn = await holisticpool.connect(dsn, ssl=context_of(server.ca_file))
    assert await conn.fetchval(USED) is True
    await conn.close()
    with pytest.raises(ConnectionError, match="certificate"):
        await holisticpool.connect(dsn, ssl=context_of(server.other_ca_file))
    lenient = context_of(server.other_ca_file)
    lenient.check_hostname = False
    lenient.verify_mode = ssl.CERT_NONE
    async with holisticpool.create_pool(dsn, ssl=lenient, min_size=1) as pool:
        assert await pool.fetchval(USED) is True


# ---- direct_tls ----


@pytest.mark.skipif(not KNOWS_DIRECT, reason="libpq before 17 has no sslnegotiation")
def test_direct_tls_is_asked_of_libpq() -> None:
    found = target(direct_tls=True, ssl="require")
    assert (found["sslnegotiation"], found["sslmode"]) == ("direct", "require")
    assert target(direct_tls=False)["sslnegotiation"] == "postgres"


@pytest.mark.skipif(not KNOWS_DIRECT, reason="libpq before 17 has no sslnegotiation")
@pytest.mark.parametrize("keywords", [{"ssl": "prefer"}, {"ssl": False}, {}])
def test_direct_tls_with_a_weak_mode_is_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="sslmode|sslnegotiation"):
        target(direct_tls=True, **keywords)


@pytest.mark.skipif(KNOWS_DIRECT, reason="libpq 17 has sslnegotiation")
def test_direct_tls_without_it_in_libpq_is_refused_by_name() -> None:
    with pytest.raises(exceptions.UnsupportedClientFeatureError, match="direct_tls needs libpq 17"):
        connect_config("postgresql://h/d", direct_tls=True, ssl="require")
    assert "sslnegotiation" not in target(direct_tls=False)


def test_direct_tls_is_a_bool() -> None:
    with pytest.raises(exceptions.ClientConfigurationError, match="direct_tls"):
        connect_config(direct_tls="yes")
