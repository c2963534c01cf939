"""./dev demo: the same FastAPI service with a connection per request and with holisticpool, under the same load.

Starts a PostgreSQL of its own that allows 20 connections (or takes DATABASE_URL), loads a schema, serves
examples/fastapi_service with uvicorn, loads it, prints one table and each success criterion with what was measured,
and keeps serving until Ctrl-C. With --once it stops there; the exit status is 0 only if every criterion holds.
Whatever way it ends, nothing that it started or created stays behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
from demo_report import BackendFigures, criteria, table
from http_load import ask_once, burst, sustained

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from servers import PostgresServer, WatchedDirectory, embedded_bindir  # noqa: E402

MAX_CONNECTIONS = 20  # what small hosted databases allow
ADMIN_NAME = "holisticpool-demo"
SERVICE_NAME = "holisticos_mvp"  # application_name of the service's sessions
SCHEMA = ROOT / "examples" / "fastapi_service" / "schema.sql"

BURST = 20  # requests at once
FEW_USERS = 10  # as many as a connection each leaves unharmed
MANY_USERS = 50
START_TIMEOUT = 30.0  # s, until the service answers
STOP_TIMEOUT = 15.0  # s, until it has closed what it opened
SAMPLE_INTERVAL = 0.05  # s, between looks at pg_stat_activity
CHECKS_TIMEOUT = 150.0  # s
PREFERRED_PORT = 8000


class DemoError(Exception):
    """Something the demo needs is not there; the text says what."""


@contextlib.contextmanager
def step(text: str) -> Iterator[list[str]]:
    """Progress: what is being done, then how long it took and what the block appended to its list."""
    print(f"  {text} ...", end="", flush=True)
    began = time.monotonic()
    notes: list[str] = []
    try:
        yield notes
    except BaseException:
        print(flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s{''.join(f', {note}' for note in notes)}", flush=True)


# ---- the database ----


@contextlib.contextmanager
def database() -> Iterator[str]:
    """The URL of the database to use: DATABASE_URL, or a server of our own that ends with the block."""
    given = os.environ.get("DATABASE_URL")
    if given:
        print("  PostgreSQL: the one that DATABASE_URL names")
        yield given
        return
    with step(f"PostgreSQL 18 of the demo's own, max_connections={MAX_CONNECTIONS}"):
        server = PostgresServer(embedded_bindir(), max_connections=MAX_CONNECTIONS)
    with contextlib.closing(server):
        server.start()
        # Like a hosted database's user: not a superuser, so the reserved connections are not for it.
        server.psql(f"CREATE ROLE app LOGIN PASSWORD '{server.password}'")
        server.psql("CREATE DATABASE app OWNER app")
        yield server.dsn(user="app", dbname="app")


@contextlib.asynccontextmanager
async def demo_schema(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Load the schema, yield a connection to watch by, and drop the schema at the end."""
    admin = await asyncpg.connect(url, server_settings={"application_name": ADMIN_NAME}, timeout=30)
    try:
        with step("5,000 people and 50,000 events"):
            await admin.execute(SCHEMA.read_text())
        yield admin
    finally:
        await admin.execute("DROP SCHEMA IF EXISTS holisticpool_demo CASCADE", timeout=30)
        await admin.close(timeout=5)


# ---- the service ----


def free_port(preferred: int = 0) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise DemoError("no free port on 127.0.0.1")


def end_with_parent() -> None:
    """In the child: ask Linux for SIGTERM should the demo be killed without a chance to stop what it started."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Service:
    """examples/fastapi_service in a uvicorn process of its own, from entry to exit of the block."""

    def __init__(self, backend: str, url: str, port: int, log: Path) -> None:
        self.port = port
        self._log = log
        self._settings = {"DEMO_BACKEND": backend, "DATABASE_URL": url, "DATABASE_APPLICATION_NAME": SERVICE_NAME}
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Service:
        with step("uvicorn"):
            self._spawn()
            try:
                await self._answers()
            except BaseException:
                self._stop()
                raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop()

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples"), "fastapi_service.main:app"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning", "--no-access-log"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                # Not the checkout: `-m` puts the directory first on the path, and its holisticpool is not built.
                cwd=self._log.parent,
                env=os.environ | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A session of its own: Ctrl-C is ours to handle, so that the service is stopped in order.
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    async def _answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(OSError):
                status, _ = await ask_once(self.port, "/api/health")
                if status == 200:
                    return
            if not self.is_running() or time.monotonic() > deadline:
                raise DemoError(f"the service did not start:\n{self.log_text()}")
            await asyncio.sleep(0.05)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_text(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-3000:]

    def _stop(self) -> None:
        if self._process is None or not self.is_running():
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def ask(self, path: str) -> dict[str, Any]:
        _, body = await ask_once(self.port, path)
        answer: dict[str, Any] = json.loads(body)
        return answer

    def memory(self) -> int:
        """Resident bytes of the process now."""
        assert self._process is not None
        if sys.platform == "linux":
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        shown = subprocess.run(["ps", "-o", "rss=", "-p", str(self._process.pid)], capture_output=True, text=True)
        return int(shown.stdout) * 1024


class SessionWatch:
    """The most sessions of the service that the server has seen at once, asked for again and again."""

    def __init__(self, admin: asyncpg.Connection) -> None:
        self._admin = admin
        self._task: asyncio.Task[None] | None = None
        self.peak = 0

    async def _watch(self) -> None:
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()"
        while True:
            self.peak = max(self.peak, await self._admin.fetchval(count, SERVICE_NAME))
            await asyncio.sleep(SAMPLE_INTERVAL)

    async def __aenter__(self) -> SessionWatch:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


# ---- measuring ----


async def measure(service: Service, admin: asyncpg.Connection, seconds: float) -> BackendFigures:
    """The whole load on a service that runs."""
    # So that imports, caches and the pool's first connections are nobody's latency.
    await sustained(service.port, 4, 1.0)
    async with SessionWatch(admin) as watch:
        with step(f"{BURST} requests at once") as notes:
            first = await burst(service.port, BURST)
            notes.append(f"{first.ok} answered well")
        with step(f"{FEW_USERS} users for {seconds:.0f} s") as notes:
            few = await sustained(service.port, FEW_USERS, seconds)
            notes.append(f"{few.throughput:.0f} answers/s, {few.failed} failures")
        with step(f"{MANY_USERS} users for {seconds:.0f} s") as notes:
            many = await sustained(service.port, MANY_USERS, seconds)
            notes.append(f"{many.throughput:.0f} answers/s, {many.failed} failures")
    return BackendFigures(
        first, few, many, watch.peak, metrics=await service.ask("/api/metrics"), health=await service.ask("/api/health")
    )


async def memory_growth(service: Service, seconds: float) -> tuple[int, int]:
    """Resident bytes before and after as much load again, on a process that has seen that load before."""
    before = service.memory()
    await sustained(service.port, MANY_USERS, seconds)
    return before, service.memory()


async def check_pool(url: str) -> dict[str, Any]:
    """What pool_checks.py measures, in a process that can be given up on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "tools" / "dev" / "pool_checks.py"),
        url,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), CHECKS_TIMEOUT)
    except asyncio.TimeoutError:
        return {"failure": "no answer"}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        return {"failure": errors.decode()[-2000:]}
    measured: dict[str, Any] = json.loads(output)
    return measured


async def run(url: str, scratch: Path, *, once: bool, seconds: float) -> bool:
    """Everything, on a database that is there. Whether every criterion holds."""
    async with demo_schema(url) as admin:
        print("A connection per request (asyncpg.connect)")
        async with Service("per_request", url, free_port(), scratch / "per_request.log") as service:
            per_request = await measure(service, admin, seconds)

        print("holisticpool")
        async with Service("holisticpool", url, free_port(PREFERRED_PORT), scratch / "holisticpool.log") as service:
            pooled = await measure(service, admin, seconds)
            with step(f"{MANY_USERS} users for {seconds:.0f} s again, watching memory") as notes:
                memory = await memory_growth(service, seconds)
                notes.append(f"{memory[0] / 2**20:.1f} -> {memory[1] / 2**20:.1f} MiB")
            with step("the pool by itself: idle leases, a hanging query, replacement"):
                checks = await check_pool(url)
            held = report(per_request, pooled, memory, checks)
            if not once:
                await serve_on(service)
    return held


def report(
    per_request: BackendFigures, pooled: BackendFigures, memory: tuple[int, int], checks: dict[str, Any]
) -> bool:
    """Print the table and the verdicts. Whether every criterion holds."""
    verdicts = criteria(per_request, pooled, memory, checks)
    print(f"\n{table(per_request, pooled)}\n")
    print("\n".join(str(verdict) for verdict in verdicts))
    print(f"\n{sum(verdict.holds for verdict in verdicts)} of {len(verdicts)} criteria hold.", flush=True)
    return all(verdict.holds for verdict in verdicts)


async def serve_on(service: Service) -> None:
    """Leave the service to the user until Ctrl-C."""
    base = f"http://127.0.0.1:{service.port}"
    print(f"\nServing {base}/docs  {base}/api/health  {base}/api/users  {base}/api/metrics")
    print("Ctrl-C stops everything.", flush=True)
    while service.is_running():
        await asyncio.sleep(0.5)
    raise DemoError(f"the service ended by itself:\n{service.log_text()}")


def interrupt(*_: object) -> None:
    """Any request to end is the same as Ctrl-C, which asyncio knows how to end by."""
    signal.raise_signal(signal.SIGINT)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="end after the report; status 0 only if all criteria hold")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each load lasts (default 5)")
    arguments = parser.parse_args()
    # A script that starts the demo in the background makes it ignore SIGINT; the others come by way of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        with WatchedDirectory("holisticpool-demo-") as scratch, database() as url:
            held = asyncio.run(run(url, scratch, once=arguments.once, seconds=arguments.seconds))
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    except (DemoError, OSError, asyncpg.PostgresError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
