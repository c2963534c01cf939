"""A TCP proxy that delays, stalls and breaks connections on command, for the bench and for tests of faults.

DelayProxy is the handle. The proxy itself (bench/relay.py) is a process of its own, so that the loop under test is not
disturbed and the proxy goes on while that loop is blocked.

What new and existing connections meet, by mode:

    forward       bytes pass, delayed
    black_hole    connections stay, and the kernel still accepts new ones, but no byte passes in either direction; on
                  return to `forward` everything held is delivered, as after a network outage that TCP survives
    refuse        new connections are refused; existing ones go on
    unreachable   as black_hole, and new connections get no answer at all

and at once, by command: close_connections (orderly, FIN) and reset_connections (RST) end all that exist, in both
directions. The target may be a TCP address or the path of a Unix socket; what the proxy listens on is TCP. A client
whose connection the target refuses meets an RST after it was accepted. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.relay import Address, Mode

STOP_TIMEOUT_SECONDS = 5.0
COMMAND_TIMEOUT_SECONDS = 10.0
RELAY = Path(__file__).with_name("relay.py")


class ProxyError(Exception):
    """The proxy's process failed or refused a command; the text says why."""


@dataclass(frozen=True)
class ProxyCounts:
    """Connections accepted since the start, connections now, and bytes delivered to each side."""

    accepted: int
    connections: int
    bytes_to_server: int
    bytes_to_client: int


class DelayProxy:
    """The handle of one proxy, and a context manager, plain or async; `address` is where clients connect.

    target   (host, port) or the path of a Unix socket
    delay    seconds, in each direction

    The methods block for one exchange over a pipe (well under a millisecond); each has returned only when the proxy has
    carried it out. They raise ProxyError.
    """

    def __init__(self, target: Address | str, *, delay: float = 0.0, host: str = "127.0.0.1") -> None:
        self._target = target
        self._delay = delay
        self._host = host
        self._process: subprocess.Popen[str] | None = None
        self.address: Address = (host, 0)

    def start(self) -> DelayProxy:
        """Starts the proxy's process; returns when it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(RELAY), json.dumps(self._target), self._host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C in the terminal is for us; the proxy ends when we close its stdin.
            start_new_session=True,
        )
        try:
            answer = self._answer("start")
            self.address = (self._host, int(answer["port"]))
            self.set_delay(self._delay)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the proxy and with it all connections through it. A second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def set_delay(self, seconds: float) -> None:
        """The delay of what arrives from now on, in each direction."""
        self._ask("delay", seconds=seconds)

    def set_mode(self, mode: Mode) -> None:
        """One of MODES."""
        self._ask("mode", mode=mode)

    def forward(self) -> None:
        """Bytes pass again, and new connections are accepted."""
        self.set_mode("forward")

    def black_hole(self) -> None:
        """No byte passes any more; nobody is told."""
        self.set_mode("black_hole")

    def refuse(self) -> None:
        """New connections are refused."""
        self.set_mode("refuse")

    def unreachable(self) -> None:
        """No byte passes any more, and attempts to connect get no answer."""
        self.set_mode("unreachable")

    def close_connections(self) -> None:
        """Ends every connection in the orderly way (FIN), at once and in both directions."""
        self._ask("end", reset=False)

    def reset_connections(self) -> None:
        """Ends every connection with RST, at once and in both directions."""
        self._ask("end", reset=True)

    def counts(self) -> ProxyCounts:
        """What the proxy has done so far."""
        return ProxyCounts(**self._ask("counts"))

    def __enter__(self) -> DelayProxy:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> DelayProxy:
        return await asyncio.get_running_loop().run_in_executor(None, self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.stop)

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        if self._process is None or self._process.stdin is None:
            raise ProxyError("the proxy is not running")
        try:
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ProxyError("the proxy's process has ended") from error
        return self._answer(command)

    def _answer(self, command: str) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        watchdog = threading.Timer(COMMAND_TIMEOUT_SECONDS, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise ProxyError(f"the proxy's process ended during {command!r}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ProxyError(f"{command}: {answer['error']}")
        return answer
