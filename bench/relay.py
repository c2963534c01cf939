"""The process behind bench/proxy.py: one thread, one epoll, standard library only.

Each direction of each connection is a queue of chunks, each stamped with the time at which it is due: arrival plus
delay, never before the chunk in front of it. Order is kept and any number of chunks is under way at once, so that the
delay adds latency and takes no throughput, up to QUEUE_LIMIT_BYTES under way per direction. The end of a stream travels
in the queue like data. Due times are met by a timerfd, since epoll's own timeout counts whole milliseconds.

A stream is in the heap of due times while its first chunk waits for its time, and out of it while the chunk waits for
room in the sink. In a mode in which no byte passes the heap stands still and no connection is watched.

Commands come as JSON lines on stdin, each answered by one line on stdout; the end of stdin ends the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import heapq
import itertools
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Address = tuple[str, int]
Mode = Literal["forward", "black_hole", "refuse", "unreachable"]
MODES: tuple[Mode, ...] = ("forward", "black_hole", "refuse", "unreachable")

CHUNK_BYTES = 64 * 1024
QUEUE_LIMIT_BYTES = 16 * 1024 * 1024
BACKLOG = 512
NS_PER_SECOND = 1_000_000_000


@dataclass(eq=False)
class _Stream:
    """One direction: what was read from `source` and waits to be due, or to fit into `sink`.

    A chunk of None is the end of the stream. `due_ns` ascends from chunk to chunk.
    """

    source: socket.socket
    sink: socket.socket
    queue: deque[tuple[int, memoryview | None]] = field(default_factory=deque)
    queued_bytes: int = 0
    delivered_bytes: int = 0
    source_ended: bool = False
    sink_ended: bool = False
    sink_full: bool = False


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    server: socket.socket
    to_server: _Stream
    to_client: _Stream
    connected: bool = False
    """Whether the server's side stands; until then nothing is read from the client."""


class _Timer:
    """A descriptor that turns readable at a given time of time.monotonic_ns()."""

    _CLOCK_MONOTONIC = 1
    _ABSOLUTE = 1

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._due_ns: int | None = None
        self.descriptor: int = self._libc.timerfd_create(self._CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, due_ns: int | None) -> None:
        """Asks to be woken at `due_ns`; None for never."""
        if due_ns == self._due_ns:
            return
        self._due_ns = due_ns
        seconds, nanoseconds = divmod(due_ns or 0, NS_PER_SECOND)
        specification = struct.pack("@llll", 0, 0, seconds, nanoseconds)
        self._libc.timerfd_settime(self.descriptor, self._ABSOLUTE, specification, None)

    def fired(self) -> None:
        """To be called when the descriptor is readable."""
        self._due_ns = None
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 8)


class _Relay:
    """The proxy: one epoll over the control pipe, the listening socket, the timer and both ends of each connection."""

    def __init__(self, target: Address | str, host: str) -> None:
        self._target = target
        self._mode: Mode = "forward"
        self._delay_ns = 0
        self._accepted = 0
        self._finished = {"bytes_to_server": 0, "bytes_to_client": 0}
        self._connections: dict[int, _Connection] = {}
        self._watched: dict[int, int] = {}
        self._fillers: list[socket.socket] = []
        self._filler_addresses: set[Address] = set()
        self._due: list[tuple[int, int, _Stream]] = []
        self._order = itertools.count()
        self._epoll = select.epoll()
        self._timer = _Timer()
        self._epoll.register(self._timer.descriptor, select.EPOLLIN)
        self._listener = self._listen((host, 0))
        self.address: Address = self._listener.getsockname()[:2]

    # -- commands --

    def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carries out one command of DelayProxy's."""
        if name == "delay":
            self._delay_ns = int(arguments["seconds"] * NS_PER_SECOND)
        elif name == "mode":
            self._set_mode(arguments["mode"])
        elif name == "end":
            for connection in set(self._connections.values()):
                self._end(connection, reset=arguments["reset"])
        elif name == "counts":
            return self._counts()
        else:
            raise ValueError("no such command")
        return {}

    def _counts(self) -> dict[str, Any]:
        connections = set(self._connections.values())
        return {
            "accepted": self._accepted,
            "connections": len(connections),
            "bytes_to_server": self._finished["bytes_to_server"]
            + sum(connection.to_server.delivered_bytes for connection in connections),
            "bytes_to_client": self._finished["bytes_to_client"]
            + sum(connection.to_client.delivered_bytes for connection in connections),
        }

    def _set_mode(self, mode: Mode) -> None:
        if mode not in MODES:
            raise ValueError(f"no mode {mode!r}")
        self._leave_mode()
        self._mode = mode
        if mode == "refuse":
            self._close_listener()
        elif mode == "unreachable":
            self._fill_backlog()
        if self._listener.fileno() >= 0:
            self._epoll.modify(self._listener.fileno(), select.EPOLLIN if mode == "forward" else 0)
        for connection in set(self._connections.values()):
            self._watch(connection)
            if self._passes():
                for stream in (connection.to_server, connection.to_client):
                    self._deliver(connection, stream)

    def _leave_mode(self) -> None:
        if self._mode == "refuse":
            self._listener = self._listen(self.address)
        elif self._mode == "unreachable":
            for filler in self._fillers:
                filler.close()
            self._fillers.clear()
            self._listener.listen(BACKLOG)

    def _passes(self) -> bool:
        return self._mode in ("forward", "refuse")

    # -- listening --

    def _listen(self, address: Address) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        return listener

    def _close_listener(self) -> None:
        self._epoll.unregister(self._listener.fileno())
        self._listener.close()

    def _fill_backlog(self) -> None:
        """Fills the queue of the listening socket, after which the kernel drops each further SYN."""
        self._listener.listen(0)
        for _ in range(BACKLOG):
            filler = socket.socket()
            filler.setblocking(False)
            self._fillers.append(filler)
            # On the loopback a handshake that the kernel takes part in is complete when connect() returns.
            if filler.connect_ex(self.address) == 0:
                self._filler_addresses.add(filler.getsockname())
                continue
            try:
                filler.getpeername()
                self._filler_addresses.add(filler.getsockname())
            except OSError:
                return

    def _accept(self) -> None:
        while True:
            try:
                client, peer = self._listener.accept()
            except BlockingIOError:
                return
            if peer in self._filler_addresses:
                self._filler_addresses.remove(peer)
                client.close()
                continue
            self._accepted += 1
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
        if not isinstance(self._target, str) and ":" in self._target[0]:
            family = socket.AF_INET6
        server = socket.socket(family)
        for side in (client, server):
            side.setblocking(False)
            if side.family != socket.AF_UNIX:
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(client, server, _Stream(client, server), _Stream(server, client))
        code = server.connect_ex(self._target)
        if code not in (0, errno.EINPROGRESS):
            _close(client, reset=True)
            server.close()
            return
        connection.connected = code == 0
        for side in (client, server):
            self._connections[side.fileno()] = connection
        self._watch(connection)

    # -- the flow of bytes --

    def run(self, read_commands: Callable[[], bool]) -> None:
        """Runs until `read_commands`, called when stdin is readable, says that no more will come."""
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        while True:
            self._timer.set(self._due[0][0] if self._due and self._passes() else None)
            # New connections come last: their descriptors may be those of connections that ended in the same batch.
            accepts = False
            for descriptor, events in self._epoll.poll():
                if descriptor == sys.stdin.fileno():
                    if not read_commands():
                        return
                elif descriptor == self._timer.descriptor:
                    self._timer.fired()
                elif descriptor == self._listener.fileno():
                    accepts = True
                elif descriptor in self._connections:
                    self._handle(descriptor, events)
            if accepts and self._mode == "forward":
                self._accept()
            if self._passes():
                self._deliver_due()

    def _handle(self, descriptor: int, events: int) -> None:
        connection = self._connections[descriptor]
        if descriptor == connection.server.fileno():
            incoming, outgoing = connection.to_client, connection.to_server
            if not connection.connected and not self._finish_connect(connection):
                return
        else:
            incoming, outgoing = connection.to_server, connection.to_client
        if events & select.EPOLLOUT:
            outgoing.sink_full = False
            self._deliver(connection, outgoing)
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR) and self._passes():
            self._read(connection, incoming)
        if descriptor in self._connections:
            self._watch(connection)

    def _finish_connect(self, connection: _Connection) -> bool:
        if connection.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._end(connection, reset=True)
            return False
        connection.connected = True
        return True

    def _read(self, connection: _Connection, stream: _Stream) -> None:
        if stream.source_ended or stream.queued_bytes >= QUEUE_LIMIT_BYTES or stream.source.fileno() < 0:
            return
        try:
            data = stream.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._end(connection, reset=True)
            return
        if not data:
            stream.source_ended = True
        due = time.monotonic_ns() + self._delay_ns
        if stream.queue:
            due = max(due, stream.queue[-1][0])
        stream.queue.append((due, memoryview(data) if data else None))
        stream.queued_bytes += len(data)
        if len(stream.queue) == 1:
            self._schedule(stream)

    def _schedule(self, stream: _Stream) -> None:
        heapq.heappush(self._due, (stream.queue[0][0], next(self._order), stream))

    def _deliver_due(self) -> None:
        now = time.monotonic_ns()
        while self._due and self._due[0][0] <= now:
            stream = heapq.heappop(self._due)[2]
            connection = self._connections.get(stream.sink.fileno())
            if connection is not None:
                self._deliver(connection, stream)

    def _deliver(self, connection: _Connection, stream: _Stream) -> None:
        """Sends what is due as far as the sink takes it; the rest is scheduled again or waits for EPOLLOUT."""
        now = time.monotonic_ns()
        while stream.queue and stream.queue[0][0] <= now:
            if not self._passes() or stream.sink_full or not connection.connected:
                break
            due, chunk = stream.queue[0]
            if chunk is None:
                stream.queue.popleft()
                self._end_sink(connection, stream)
                return
            try:
                sent = stream.sink.send(chunk)
            except BlockingIOError:
                stream.sink_full = True
                break
            except OSError:
                self._end(connection, reset=True)
                return
            stream.delivered_bytes += sent
            stream.queued_bytes -= sent
            if sent == len(chunk):
                stream.queue.popleft()
            else:
                stream.queue[0] = (due, chunk[sent:])
        if stream.queue and not stream.sink_full:
            self._schedule(stream)
        self._watch(connection)

    def _end_sink(self, connection: _Connection, stream: _Stream) -> None:
        stream.sink_ended = True
        with contextlib.suppress(OSError):
            stream.sink.shutdown(socket.SHUT_WR)
        if connection.to_server.sink_ended and connection.to_client.sink_ended:
            self._end(connection, reset=False)

    def _watch(self, connection: _Connection) -> None:
        """Tells epoll what each side of a connection waits for now.

        A side that waits for nothing is taken out, since epoll reports errors and hang-ups unasked, again and again.
        """
        for incoming, outgoing in (
            (connection.to_server, connection.to_client),
            (connection.to_client, connection.to_server),
        ):
            side = incoming.source
            if side.fileno() < 0:
                return
            events = 0
            room = incoming.queued_bytes < QUEUE_LIMIT_BYTES
            if self._passes() and connection.connected and room and not incoming.source_ended:
                events |= select.EPOLLIN
            waits_to_connect = side is connection.server and not connection.connected
            if self._passes() and (outgoing.sink_full or waits_to_connect):
                events |= select.EPOLLOUT
            self._set_events(side.fileno(), events)

    def _set_events(self, descriptor: int, events: int) -> None:
        before = self._watched.get(descriptor, 0)
        if events == before:
            return
        if not events:
            self._epoll.unregister(descriptor)
        elif before:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._watched[descriptor] = events

    def _end(self, connection: _Connection, *, reset: bool) -> None:
        self._finished["bytes_to_server"] += connection.to_server.delivered_bytes
        self._finished["bytes_to_client"] += connection.to_client.delivered_bytes
        for side in (connection.client, connection.server):
            self._connections.pop(side.fileno(), None)
            self._set_events(side.fileno(), 0)
            self._watched.pop(side.fileno(), None)
            _close(side, reset=reset)


def _close(side: socket.socket, *, reset: bool) -> None:
    if reset and side.family != socket.AF_UNIX:
        # Lingering for zero seconds makes close() send RST.
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.close()


def _serve() -> None:
    described = json.loads(sys.argv[1])
    target: Address | str = described if isinstance(described, str) else (described[0], int(described[1]))
    relay = _Relay(target, sys.argv[2])
    print(json.dumps({"port": relay.address[1]}), flush=True)

    def read_commands() -> bool:
        # DelayProxy sends the next command only after the answer, so a line never comes with another behind it.
        line = sys.stdin.readline()
        if not line:
            return False
        asked = json.loads(line)
        try:
            answer = relay.command(asked.pop("command"), asked)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
        return True

    relay.run(read_commands)


if __name__ == "__main__":
    _serve()
