"""A session by TLS is cancelled by TLS: whatever libpq, no cancel request goes out in clear, nor to a server that does
not pass the session's own checks."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from observing import Observer, settled, until
from servers import PostgresServer
from startup_proxy import StartupProxy
from tls_front import TlsFront

import holisticpool
from bench.proxy import DelayProxy
from holisticpool import Pool
from holisticpool.cancel import CancelError, send_cancel, tls_context

TIMEOUTS = (TimeoutError, asyncio.TimeoutError)


class TlsOnly(StartupProxy):
    """Closes every connection that does not begin with TLS, as hosts that take nothing else do."""

    async def takes(self, kind: str) -> bool:
        return kind == "tls"


class Silent(StartupProxy):
    """Says nothing to any connection after the first."""

    async def takes(self, kind: str) -> bool:
        if len(self.kinds) > 1:
            await asyncio.Event().wait()
        return True


def by_port(dsn: str, server: PostgresServer, port: int) -> str:
    return dsn.replace(f":{server.port}/", f":{port}/")


def one_connection(dsn: str) -> Pool:
    return holisticpool.create_pool(dsn, min_size=1, max_size=1)


async def times_out_and_stays_usable(pool: Pool, observer: Observer, marker: str) -> None:
    pid = await pool.fetchval("SELECT pg_backend_pid()")
    with pytest.raises(TIMEOUTS):
        await pool.fetchval(f"SELECT pg_sleep(600) /* {marker} */", timeout=0.05)
    await observer.until_not_running(marker)
    assert await pool.fetchval("SELECT pg_backend_pid()") == pid
    await settled(pool)


async def test_cancel_request_is_encrypted_where_the_session_is(
    tls_dsn: str, server: PostgresServer, observer: Observer
) -> None:
    async with StartupProxy(server) as proxy, one_connection(by_port(tls_dsn, server, proxy.port)) as pool:
        await times_out_and_stays_usable(pool, observer, "encrypted cancel")
    assert len(proxy.kinds) >= 2 and set(proxy.kinds) == {"tls"}
    # After the request for TLS come its records (22: handshake) and nothing else.
    assert {first[:2] for first in proxy.after_startup} == {b"\x16\x03"}


async def test_cancel_request_is_in_clear_where_the_session_is(server: PostgresServer, observer: Observer) -> None:
    dsn = server.dsn(sslmode="disable", gssencmode="disable")
    async with StartupProxy(server) as proxy, one_connection(by_port(dsn, server, proxy.port)) as pool:
        await times_out_and_stays_usable(pool, observer, "cancel in clear")
    assert proxy.kinds[0] == "session" and set(proxy.kinds[1:]) == {"cancel"}


async def test_statement_ends_behind_a_host_that_takes_tls_only(
    tls_dsn: str, server: PostgresServer, observer: Observer
) -> None:
    async with TlsOnly(server) as proxy, one_connection(by_port(tls_dsn, server, proxy.port)) as pool:
        for i in range(3):
            await times_out_and_stays_usable(pool, observer, f"tls only {i}")


async def test_cancelled_task_and_lease_are_cancelled_by_tls_too(
    tls_dsn: str, server: PostgresServer, observer: Observer
) -> None:
    async with TlsOnly(server) as proxy, one_connection(by_port(tls_dsn, server, proxy.port)) as pool:
        async with pool.acquire() as connection:
            pid = connection.get_server_pid()
            task = asyncio.create_task(connection.execute("SELECT 1; SELECT pg_sleep(600) /* cancelled task */"))
            await observer.until_running("cancelled task")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await connection.fetchval("SELECT pg_backend_pid()") == pid
        await settled(pool)


async def test_statement_that_is_left_in_another_thread_is_cancelled_by_tls(tls_dsn: str, observer: Observer) -> None:
    """A coroutine is closed where its last reference goes: by garbage collection, in any thread."""
    async with one_connection(tls_dsn) as pool:
        operation = pool.fetchval("SELECT pg_sleep(600) /* left elsewhere */")
        operation.send(None)
        await observer.until_running("left elsewhere")
        await asyncio.to_thread(operation.close)
        await observer.until_not_running("left elsewhere")
        await settled(pool)


async def test_cancel_request_shows_the_certificate_and_the_name_that_the_session_has_shown(
    tls_dsn: str, server: PostgresServer, observer: Observer
) -> None:
    certificates = server.ca_file.parent
    with TlsFront(server, clients_must_have=server.ca_file) as front:
        dsn = front.dsn(sslcert=str(certificates / "client.crt"), sslkey=str(certificates / "client.key"))
        async with one_connection(dsn) as pool:
            await times_out_and_stays_usable(pool, observer, "client certificate")
        assert front.kinds[0] == "session" and set(front.kinds[1:]) == {"cancel"}
        assert set(front.certificates) == {"postgres"} and set(front.names) == {"localhost"}
        assert front.in_clear == front.refused == 0


async def test_encrypted_key_of_a_client_certificate_is_opened_with_sslpassword(
    tls_dsn: str, server: PostgresServer, observer: Observer, tmp_path: Path
) -> None:
    certificates = server.ca_file.parent
    key = tmp_path / "client.key"
    subprocess.run(
        [*"openssl pkcs8 -topk8 -passout pass:key-word -in".split(), certificates / "client.key", "-out", key],
        check=True,
    )
    key.chmod(0o600)
    with TlsFront(server, clients_must_have=server.ca_file) as front:
        dsn = front.dsn(sslcert=str(certificates / "client.crt"), sslkey=str(key), sslpassword="key-word")
        async with one_connection(dsn) as pool:
            await times_out_and_stays_usable(pool, observer, "encrypted key")
        assert "cancel" in front.kinds


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
async def test_no_key_is_sent_to_a_server_that_the_session_would_not_have_trusted(
    sslmode: str, tls_dsn: str, server: PostgresServer, observer: Observer, tmp_path: Path
) -> None:
    roots = tmp_path / "roots.crt"
    shutil.copy(server.ca_file, roots)
    marker = f"wrong ca {sslmode}"
    with TlsFront(server) as front:
        async with one_connection(front.dsn(sslmode=sslmode, sslrootcert=str(roots))) as pool:
            pid = await pool.fetchval("SELECT pg_backend_pid()")
            shutil.copy(server.other_ca_file, roots)
            with pytest.raises(TIMEOUTS):
                await pool.fetchval(f"SELECT pg_sleep(600) /* {marker} */", timeout=0.05)
            await until(lambda: front.refused >= 1, "the cancel request has met the wrong certificate")
            assert await observer.holds(f"SELECT {observer._running(marker)} = 1")
            assert front.kinds == ["session"] and front.in_clear == 0
            shutil.copy(server.ca_file, roots)  # and it is asked again
            await observer.until_not_running(marker)
            assert await pool.fetchval("SELECT pg_backend_pid()") == pid


async def test_closing_right_after_a_timeout_waits_for_the_cancel_and_leaves_nothing(
    tls_dsn: str, server: PostgresServer, observer: Observer
) -> None:
    async with TlsOnly(server) as proxy:
        pool = await one_connection(by_port(tls_dsn, server, proxy.port))
        with pytest.raises(TIMEOUTS):
            await pool.fetchval("SELECT pg_sleep(600) /* closed after */", timeout=0.05)
        await pool.close()
        await observer.until_not_running("closed after")


async def test_pool_can_be_terminated_while_a_cancel_request_is_under_way(tls_dsn: str, server: PostgresServer) -> None:
    async with Silent(server) as proxy:
        pool = await one_connection(by_port(tls_dsn, server, proxy.port))
        with pytest.raises(TIMEOUTS):
            await pool.fetchval("SELECT pg_sleep(600)", timeout=0.05)
        await until(lambda: len(proxy.kinds) == 2, "the cancel request has its connection")
        pool.terminate()
    async with one_connection(tls_dsn) as pool:
        assert await pool.fetchval("SELECT 1") == 1


def test_loop_may_end_while_a_cancel_request_is_under_way(
    tls_dsn: str, server: PostgresServer, proxy: DelayProxy
) -> None:
    """In a program of its own, that shows what it says at its end: nothing."""
    program = """
        import asyncio, sys, holisticpool

        async def main():
            pool = await holisticpool.create_pool(sys.argv[1], min_size=1, max_size=1)
            print("open", flush=True)
            sys.stdin.readline()
            try:
                await pool.fetchval("SELECT pg_sleep(600)", timeout=0.05)
            except (TimeoutError, asyncio.TimeoutError):
                print("timed out")
            await asyncio.sleep(0)  # the request begins

        asyncio.run(main())
    """
    running = subprocess.Popen(
        [sys.executable, "-W", "always", "-c", textwrap.dedent(program)] + [by_port(tls_dsn, server, proxy.address[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",  # not the checkout, whose holisticpool has no extension
    )
    assert running.stdin is not None and running.stdout is not None
    assert running.stdout.readline() == "open\n"
    proxy.black_hole()
    out, err = running.communicate("\n")
    assert (out, err, running.returncode) == ("timed out\n", "", 0)


# ---- the parts ----


@pytest.mark.parametrize(
    ("sslmode", "roots", "verifies", "checks_name"),
    [
        ("prefer", False, False, False),
        ("require", False, False, False),
        ("prefer", True, True, False),
        ("require", True, True, False),
        ("verify-ca", True, True, False),
        ("verify-full", True, True, True),
    ],
)
def test_server_is_checked_as_libpq_does(
    sslmode: str,
    roots: bool,
    verifies: bool,
    checks_name: bool,
    server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    parameters = {"sslmode": sslmode, "sslrootcert": str(server.ca_file if roots else tmp_path / "none.crt")}
    context = tls_context(parameters)
    assert (context.verify_mode is ssl.CERT_REQUIRED, context.check_hostname) == (verifies, checks_name)


def test_files_of_the_home_directory_are_found_as_libpq_finds_them(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".postgresql").mkdir()
    assert tls_context({"sslmode": "require"}).verify_mode is ssl.CERT_NONE
    shutil.copy(server.ca_file, tmp_path / ".postgresql" / "root.crt")
    assert tls_context({"sslmode": "require"}).verify_mode is ssl.CERT_REQUIRED
    (tmp_path / ".postgresql" / "postgresql.crt").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        tls_context({"sslmode": "require"})
    assert tls_context({"sslmode": "require", "sslcertmode": "disable"}).verify_mode is ssl.CERT_REQUIRED


def test_roots_that_are_gone_are_an_error_where_the_server_must_be_verified(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tls_context({"sslmode": "verify-ca", "sslrootcert": str(tmp_path / "gone.crt")})


def test_versions_of_tls_are_those_of_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    context = tls_context({"ssl_min_protocol_version": "TLSv1.2", "ssl_max_protocol_version": "tlsv1.3"})
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2 and context.maximum_version is ssl.TLSVersion.TLSv1_3


def test_wrong_password_of_a_key_is_an_error_that_does_not_show_it(server: PostgresServer, tmp_path: Path) -> None:
    certificates = server.ca_file.parent
    key = tmp_path / "client.key"
    subprocess.run(
        [*"openssl pkcs8 -topk8 -passout pass:right -in".split(), certificates / "client.key", "-out", key], check=True
    )
    for password in ({"sslpassword": "wrong-word"}, {}):
        with pytest.raises(ssl.SSLError) as caught:
            tls_context({"sslcert": str(certificates / "client.crt"), "sslkey": str(key), **password})
        assert "wrong-word" not in repr(caught.value)


async def test_revoked_certificate_of_the_server_is_refused(server: PostgresServer, tmp_path: Path) -> None:
    if not server.tls:
        pytest.skip("these PostgreSQL binaries were built without TLS")
    crl = tmp_path / "root.crl"
    parameters = {"sslmode": "verify-ca", "sslrootcert": str(server.ca_file), "sslcrl": str(crl)}
    to = ("localhost", server.host, str(server.port), parameters, 1, 2, 30.0)
    await send_cancel(*to)  # no list: not checked, as in libpq
    revoke_server(server.ca_file.parent, crl)
    with pytest.raises(ssl.SSLCertVerificationError, match="revoked"):
        await send_cancel(*to)


def revoke_server(certificates: Path, crl: Path) -> None:
    """Make the list of revoked certificates that holds the server's."""
    database, configuration = crl.with_name("database"), crl.with_name("ca.cnf")
    database.write_text("")
    configuration.write_text(
        f"[ca]\ndefault_ca = own\n[own]\ndatabase = {database}\ndefault_md = sha256\ndefault_crl_days = 1\n"
    )
    for action in (["-revoke", str(certificates / "server.crt")], ["-gencrl", "-out", str(crl)]):
        subprocess.run(
            ["openssl", "ca", "-config", str(configuration), "-keyfile", str(certificates / "ca.key")]
            + ["-cert", str(certificates / "ca.crt"), *action],
            check=True,
            stderr=subprocess.DEVNULL,
        )


async def test_server_that_refuses_tls_gets_no_key(own_server: Callable[..., PostgresServer]) -> None:
    server = own_server(tls=False)
    async with StartupProxy(server) as proxy:
        with pytest.raises(CancelError, match="refused TLS"):
            await send_cancel("localhost", server.host, str(proxy.port), {"sslmode": "require"}, 1, 2, 30)
        await until(lambda: len(proxy.after_startup) == 1, "its connection has ended")
        assert proxy.kinds == ["tls"] and proxy.after_startup == [b""]


async def test_silent_server_is_given_up_in_time(proxy: DelayProxy) -> None:
    proxy.black_hole()
    host, port = proxy.address
    with pytest.raises(CancelError, match=r"longer than 0\.1 s"):
        await send_cancel("localhost", host, str(port), {"sslmode": "require"}, 1, 2, 0.1)
