"""A load of HTTP/1.1 requests over kept-alive connections, light enough to share a machine with what it measures.

Each user is one connection that sends its next request when the answer to the last one is there. Only what uvicorn
answers is understood: a status line, headers with Content-Length, a body. Used by demo.py.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

REQUEST_TIMEOUT = 60.0  # s, after which a request counts as failed
USERS_IN_SCHEMA = 5000  # ids 1..N exist, see schema.sql

Request = bytes


@dataclass
class LoadResult:
    """What came of a load. Latencies in seconds, of successful (2xx) answers only."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0  # requests without any answer

    @property
    def ok(self) -> int:
        return len(self.latencies)

    @property
    def failed(self) -> int:
        return self.broken + sum(self.statuses.values()) - self.ok

    @property
    def throughput(self) -> float:
        """Successful answers a second."""
        return self.ok / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Seconds within which that share of the successful requests was answered; NaN if none was."""
        if not self.latencies:
            return float("nan")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def get(path: str) -> Request:
    return f"GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n".encode()


def post(path: str, body: object) -> Request:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: demo\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def any_request(chance: random.Random) -> Request:
    """What a user of the service asks for: seven times somebody's page, twice a list, once a new event."""
    which = chance.random()
    someone = chance.randint(1, USERS_IN_SCHEMA)
    if which < 0.7:
        return get(f"/api/users/{someone}")
    if which < 0.9:
        return get(f"/api/users?after={someone}&limit=20")
    return post(f"/api/users/{someone}/events", {"kind": "workout", "payload": {"minutes": chance.randint(5, 90)}})


class HttpConnection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def open(cls, port: int) -> HttpConnection:
        _, protocol = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = _content_length(head)
        if len(body) < length:
            return
        self._buffer = body[length:]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed by the service"))

    async def ask(self, request: Request) -> tuple[int, bytes]:
        """Send one request and return the status and the body of its answer."""
        assert self._transport is not None
        if self._transport.is_closing():
            raise ConnectionResetError("closed by the service")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await asyncio.wait_for(self._answer, REQUEST_TIMEOUT)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _content_length(head: bytes) -> int:
    lower = head.lower()
    start = lower.find(b"content-length:")
    if start < 0:
        raise ValueError("an answer without Content-Length")
    return int(lower[start + 15 :].split(b"\r\n", 1)[0])


async def ask_once(port: int, path: str) -> tuple[int, bytes]:
    """GET a path by a connection of its own."""
    connection = await HttpConnection.open(port)
    try:
        return await connection.ask(get(path))
    finally:
        connection.close()


async def _timed(connection: HttpConnection, request: Request, result: LoadResult) -> bool:
    """One request into the result; False when the connection is of no more use."""
    began = time.perf_counter()
    try:
        status, _ = await connection.ask(request)
    except (OSError, ValueError, asyncio.TimeoutError):
        result.broken += 1
        return False
    result.statuses[status] += 1
    if 200 <= status < 300:
        result.latencies.append(time.perf_counter() - began)
    return True


async def burst(port: int, requests: int) -> LoadResult:
    """So many users, each with one request, all at the same moment."""
    chance = random.Random(requests)
    result = LoadResult()
    connections = await asyncio.gather(*(HttpConnection.open(port) for _ in range(requests)))
    began = time.perf_counter()
    await asyncio.gather(*(_timed(connection, any_request(chance), result) for connection in connections))
    result.seconds = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return result


async def sustained(
    port: int, users: int, seconds: float, make_request: Callable[[random.Random], Request] = any_request
) -> LoadResult:
    """So many users who ask without a pause for so long."""
    result = LoadResult()
    began = time.perf_counter()
    until = began + seconds

    async def user(number: int) -> None:
        chance = random.Random(number)
        connection = await HttpConnection.open(port)
        while time.perf_counter() < until:
            if not await _timed(connection, make_request(chance), result):
                connection.close()
                connection = await HttpConnection.open(port)
        connection.close()

    await asyncio.gather(*(user(number) for number in range(users)))
    result.seconds = time.perf_counter() - began
    return result
