"""The server that is measured against, with the data set: a throw-away one (tests/servers.py) or one given by --dsn."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from bench.proxy import DelayProxy
from bench.workloads import SCHEMA, SETUP_SQL

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
from servers import PostgresServer, default_bindir  # noqa: E402

MAX_CONNECTIONS = 300
MS_PER_SECOND = 1_000


@dataclass(frozen=True)
class Target:
    """Where the drivers connect, and where PostgreSQL's own programs are."""

    dsn: str
    bindir: Path
    description: str

    def psql(self, sql: str) -> str:
        """Runs a script of SQL; the unaligned output. Raises RuntimeError with psql's message."""
        done = subprocess.run(
            [self.bindir / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"],
            input=sql,
            capture_output=True,
            text=True,
            env=self.environment(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def environment(self) -> dict[str, str]:
        """Our environment with the PG* variables that say what `dsn` says: no password on any command line.

        Without what is preloaded into Python, a sanitizer for instance, with which psql hangs.
        """
        others = {key: value for key, value in os.environ.items() if not key.startswith("PG") and key != "LD_PRELOAD"}
        return others | pg_variables(self.dsn)


def pg_variables(dsn: str) -> dict[str, str]:
    """The PG* variables for a libpq URI. Raises ValueError for anything but a URI, or for one with several hosts."""
    parts = urlsplit(dsn)
    if parts.scheme not in ("postgresql", "postgres") or "," in parts.netloc:
        raise ValueError("--dsn must be a postgresql:// URI with one host")
    found = {
        "PGHOST": unquote(parts.hostname or ""),
        "PGPORT": str(parts.port or ""),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    # urlsplit folds the host to lower case, which a socket's directory does not survive.
    host = parts.netloc.rpartition("@")[2]
    if host.lower().startswith("%2f"):
        found["PGHOST"] = unquote(host.partition(":")[0])
    for name, value in parse_qsl(parts.query):
        found["PG" + {"dbname": "database"}.get(name, name).upper()] = value
    return {name: value for name, value in found.items() if value}


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """The options that open_target() reads."""
    group = parser.add_argument_group("server")
    group.add_argument("--dsn", help=f"a server to use instead of a throw-away one; gets a schema {SCHEMA}")
    group.add_argument("--pg-bin", type=Path, help="the directory of PostgreSQL's programs for the throw-away server")
    group.add_argument("--tcp", action="store_true", help="connect by TCP on the loopback, not by the Unix socket")
    group.add_argument(
        "--delay-ms", type=float, default=0.0, help="delay each direction so much through a proxy (implies --tcp)"
    )


@contextlib.contextmanager
def open_target(options: argparse.Namespace) -> Iterator[Target]:
    """A server with the data set loaded, reached the way the options say; removed at the end."""
    with contextlib.ExitStack() as stack:
        bindir: Path = options.pg_bin or default_bindir()
        by_tcp = options.tcp or options.delay_ms > 0
        dsn: str | None = options.dsn
        where = "given by --dsn"
        if dsn is None:
            server = PostgresServer(bindir, max_connections=MAX_CONNECTIONS, tls=False)
            stack.callback(server.close)
            server.start()
            dsn, bindir = server.dsn(host=None if by_tcp else "unix"), server.bindir
            where = "TCP on the loopback" if by_tcp else "Unix socket"
        direct = Target(dsn, bindir, "")
        direct.psql(SETUP_SQL)
        stack.callback(direct.psql, f"DROP SCHEMA {SCHEMA} CASCADE")
        if options.delay_ms > 0:
            dsn = stack.enter_context(_delayed(dsn, options.delay_ms / MS_PER_SECOND))
            where += f", {options.delay_ms:g} ms of delay in each direction"
        version = direct.psql("SHOW server_version")
        yield Target(dsn, bindir, f"PostgreSQL {version}, {where}")


@contextlib.contextmanager
def _delayed(dsn: str, seconds: float) -> Iterator[str]:
    variables = pg_variables(dsn)
    host, port = variables.get("PGHOST", "127.0.0.1"), variables.get("PGPORT", "5432")
    if host.startswith("/"):
        raise ValueError("--delay-ms needs a server that listens on TCP")
    with DelayProxy((host, int(port)), delay=seconds) as proxy:
        parts = urlsplit(dsn)
        credentials, at, _ = parts.netloc.rpartition("@")
        proxied_host, proxied_port = proxy.address
        yield parts._replace(netloc=f"{credentials}{at}{proxied_host}:{proxied_port}").geturl()
