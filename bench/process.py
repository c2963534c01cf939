"""The parent's side of a driver's process (bench/worker.py): start, ask, stop.

The repository goes last on the child's path, so that an installed holisticpool wins over its source tree, which has no
compiled part.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from types import TracebackType
from typing import IO, Any

from bench.quota import CpuQuota
from bench.server import ROOT

BOOTSTRAP = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry] + [{str(ROOT)!r}]
from bench.worker import main
main()
"""
ANSWER_TIMEOUT_SECONDS = 120.0
EXIT_TIMEOUT_SECONDS = 10.0


LOOPS = ("asyncio", "uvloop")


class DriverError(Exception):
    """A driver failed, is not installed, or its process ended; the text is one line."""


def _neutral_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_"))}


class DriverProcess:
    """One driver in a process of its own; also a context manager that stops it.

    command_prefix   goes in front of the interpreter, e.g. valgrind's command line
    environment      variables to add to ours, of which none that a driver would read as settings reaches the child
    quota            limits the child's CPU
    """

    def __init__(
        self,
        loop: str = "asyncio",
        *,
        command_prefix: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        quota: CpuQuota | None = None,
        timeout: float = ANSWER_TIMEOUT_SECONDS,
    ) -> None:
        self._timeout = timeout
        self._process = subprocess.Popen(
            [*command_prefix, sys.executable, "-c", BOOTSTRAP, loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_neutral_environment() | (environment or {}),
        )
        self._errors: list[str] = []
        self._reader = threading.Thread(target=self._drain_errors, daemon=True)
        self._reader.start()
        if quota is not None:
            quota.limit(self._process.pid)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Sends one command and waits for its answer. Raises DriverError."""
        stdin, stdout = self._pipes()
        # The only way to end the wait for an answer that does not come.
        watchdog = threading.Timer(self._timeout, self._process.kill)
        watchdog.start()
        try:
            stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            self._reader.join(EXIT_TIMEOUT_SECONDS)
            last = self._errors[-1].strip() if self._errors else "no message"
            raise DriverError(f"the process ended during {command!r}: {last}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DriverError(str(answer["error"]).splitlines()[0])
        return answer

    def stop(self) -> None:
        """Lets the process end by itself, which is when instruments write their output; kills it if it does not."""
        stdin, stdout = self._pipes()
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        try:
            self._process.wait(max(EXIT_TIMEOUT_SECONDS, self._timeout / 2))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(EXIT_TIMEOUT_SECONDS)
        stdout.close()

    def __enter__(self) -> DriverProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _drain_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            self._errors.extend(line for line in stream if line.strip())
