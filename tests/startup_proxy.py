"""A proxy that sees with what each connection begins: TLS, a session in clear, or a cancel request.

StartupProxy passes on what it gets. Tests change how by subclassing: what becomes of a cancel request in clear, and
what is done while a session waits for an answer. It runs in the loop of the test, and what
goes wrong in it is raised at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from servers import PostgresServer

_KINDS = {80877103: "tls", 80877104: "gss", 80877102: "cancel"}
_CHUNK = 65536

_Proxy = TypeVar("_Proxy", bound="StartupProxy")


class StartupProxy:
    """An async context manager; `port` is where clients connect, on the host of the server.

    kinds           of each connection, in order: "tls", "gss", "cancel" or "session" (a start-up packet in clear)
    after_startup   what the client sent first after that, of each connection that has ended
    """

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.kinds: list[str] = []
        self.after_startup: list[bytes] = []
        self.port = 0
        self._serving: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._answers = asyncio.Lock()
        self._failure: Exception | None = None

    async def __aenter__(self: _Proxy) -> _Proxy:
        self._serving = await asyncio.start_server(self._accept, self.server.host, 0)
        self.port = self._serving.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._serving is not None
        self._serving.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    # ---- for subclasses ----

    async def takes(self, kind: str) -> bool:
        """Whether a connection that begins so is served; it is closed otherwise."""
        return True

    async def cancel(self, packet: bytes) -> None:
        """A cancel request has come in clear; its connection is closed when this returns."""
        await self.deliver(packet)

    async def client_sent(self) -> None:
        """What a session sent has gone on to the server; no answer passes before this returns."""

    # ---- at work ----

    async def deliver(self, packet: bytes) -> None:
        """Hand a cancel request to the server and wait until it has been seen to."""
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port)
        writer.write(packet)
        await reader.read()
        writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        except Exception as failure:
            self._failure = failure
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(8)
        length, code = struct.unpack("!ii", head)
        packet = head + await reader.readexactly(length - 8)
        kind = _KINDS.get(code, "session")
        self.kinds.append(kind)
        if not await self.takes(kind):
            return
        if kind == "cancel":
            await self.cancel(packet)
            return
        server_reader, server_writer = await asyncio.open_connection(self.server.host, self.server.port)
        try:
            server_writer.write(packet)
            await _first_of(self._to_server(reader, server_writer), self._to_client(server_reader, writer))
        finally:
            server_writer.close()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = b""
        try:
            while data := await reader.read(_CHUNK):
                first = first or data
                async with self._answers:
                    writer.write(data)
                    await self.client_sent()
        finally:
            self.after_startup.append(first)

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            async with self._answers:
                writer.write(data)


async def _first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run them until one has ended."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
