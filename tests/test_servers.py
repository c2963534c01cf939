"""The test bench itself: a server of ours does what its tests rely on, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import PostgresServer, ServerError

_START_AND_DIE = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from servers import PostgresServer
server = PostgresServer().start()
print(server.pid, server.directory, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_when_the_process_is_killed() -> None:
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", _START_AND_DIE, str(tests)], stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    pid, directory = done.stdout.split()
    wait_until_gone(int(pid), Path(directory))


def wait_until_gone(pid: int, directory: Path) -> None:
    """Return once process and directory are gone; the test's own time limit bounds it."""
    while directory.exists():
        os.sched_yield()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_close_leaves_nothing(own_server: Callable[..., PostgresServer]) -> None:
    server = own_server()
    server.close()
    assert not server.is_running()
    assert not server.directory.exists()


def test_restart_keeps_port_and_data(own_server: Callable[..., PostgresServer]) -> None:
    server = own_server()
    port = server.port
    server.psql("CREATE TABLE kept (n int)")
    server.restart()
    assert server.port == port
    assert server.psql("SELECT count(*) FROM kept") == "0"


def test_settings_win_over_ours(own_server: Callable[..., PostgresServer]) -> None:
    server = own_server(max_connections=13, settings={"timezone": "Asia/Tokyo"})
    assert server.psql("SHOW max_connections") == "13"
    assert server.psql("SHOW timezone") == "Asia/Tokyo"


def test_wrong_sql_is_an_error_with_the_servers_words(server: PostgresServer) -> None:
    with pytest.raises(ServerError, match="division by zero"):
        server.psql("SELECT 1/0")
