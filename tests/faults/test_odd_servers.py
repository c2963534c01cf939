"""Servers that are none, or say what nobody expects: a clear error at once, never a hang, never a wrong answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from observing import until

import holisticpool
from holisticpool import exceptions

Reply = Callable[[socket.socket], None]

GUARD_S = 20  # far beyond what is under test


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


AUTH_OK = message(b"R", struct.pack("!i", 0))
READY = message(b"Z", b"I")
GREETING = AUTH_OK + message(b"S", b"client_encoding\0UTF8\0") + message(b"K", struct.pack("!ii", 7, 7)) + READY


def error(code: bytes, text: bytes) -> bytes:
    return message(b"E", b"SFATAL\0VFATAL\0C" + code + b"\0M" + text + b"\0\0")


@contextlib.contextmanager
def server_that(reply: Reply) -> Iterator[str]:
    """A server on loopback that runs `reply` in a thread for each connection after its start-up packet; its DSN."""
    listening = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.recv(4096)  # the start-up packet, which fits
            reply(connection)
        connection.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(listening.accept()[0])
                threads.append(threading.Thread(target=serve, args=(connections[-1],)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    port = listening.getsockname()[1]
    try:
        yield f"postgresql://someone:secret-word@127.0.0.1:{port}/db?sslmode=disable&gssencmode=disable"
    finally:
        for each in (listening, *connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread in threads:
            thread.join()
        listening.close()


def says(data: bytes, *, stay: bool = False) -> Reply:
    def reply(connection: socket.socket) -> None:
        connection.sendall(data)
        while stay and connection.recv(4096):
            pass

    return reply


GREETINGS = {
    "nothing": b"",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": bytes(100),
    "half a message": AUTH_OK[:5],
    "huge length": b"R\x7f\xff\xff\xff" + bytes(50),
    "negative length": b"R\xff\xff\xff\xff" + bytes(50),
    "unknown authentication": message(b"R", struct.pack("!i", 99)),
    "kerberos": message(b"R", struct.pack("!i", 2)),
    "unknown sasl": message(b"R", struct.pack("!i", 10) + b"UNHEARD-OF\0\0"),
    "scram out of turn": message(b"R", struct.pack("!i", 12) + b"v=abc"),
    "rows before the start": message(b"D", b"\0\0"),
    "error without fields": message(b"E", b"\0"),
    "error": error(b"57P03", b"the database system is starting up"),
    "end after authentication": AUTH_OK,
}


@pytest.mark.parametrize("greeting", GREETINGS)
@pytest.mark.parametrize("stay", [False, True], ids=["ends", "stays"])
async def test_odd_greeting_is_an_error_within_the_connect_timeout(greeting: str, stay: bool) -> None:
    with server_that(says(GREETINGS[greeting], stay=stay)) as dsn:
        for make in (holisticpool.connect, holisticpool.create_pool):
            with pytest.raises((OSError, exceptions.PostgresError, exceptions.InterfaceError)) as caught:
                await asyncio.wait_for(make(dsn, timeout=0.3), GUARD_S)
            assert str(caught.value) and "secret-word" not in str(caught.value)


ANSWERS = {
    "garbage": b"\x01\x02\x03\x04\x05\x06\x07\x08",
    "unknown kind": message(b"~", b"what"),
    "too short": b"D\0\0\0\2",
    "negative length": b"D\xff\xff\xff\xff",
    "rows nobody asked for": message(b"D", b"\0\1\0\0\0\1x") * 3 + READY,
    "ready too early": READY + READY,
    "copy out of nowhere": message(b"G", b"\0\0\0"),
    "copy both": message(b"W", b"\0\0\0"),
    "error without fields": message(b"E", b"\0") + READY,
    "fatal": error(b"57P01", b"terminating"),
    "changed encoding": message(b"S", b"client_encoding\0SJIS\0") + READY,
    "another greeting": GREETING,
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("stay", [False, True], ids=["ends", "stays"])
async def test_odd_answer_costs_that_statement_and_connection(answer: str, stay: bool) -> None:
    def reply(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        connection.recv(4096)  # the statement comes
        connection.sendall(ANSWERS[answer])
        while stay and connection.recv(4096):
            pass

    with server_that(reply) as dsn:
        pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1, timeout=1)
        try:
            for run in (lambda: pool.fetch("SELECT 1", timeout=0.5), lambda: pool.execute("SELECT 1", timeout=0.5)):
                try:
                    rows = await asyncio.wait_for(run(), GUARD_S)
                except (OSError, asyncio.TimeoutError, exceptions.PostgresError, exceptions.InterfaceError) as caught:
                    assert str(caught)
                except (exceptions.InternalClientError, exceptions.ConnectionDoesNotExistError) as caught:
                    assert str(caught)
                else:
                    pytest.fail(f"took it for an answer: {rows!r}")
        finally:
            pool.terminate()


@pytest.mark.parametrize("answer", ANSWERS)
async def test_what_comes_unasked_costs_that_connection_and_no_caller(answer: str) -> None:
    connections = 0
    opened = threading.Event()

    def reply(connection: socket.socket) -> None:
        nonlocal connections
        connections += 1
        connection.sendall(GREETING)
        if connections == 1:
            opened.wait(GUARD_S)
            connection.sendall(ANSWERS[answer])
            return
        while connection.recv(4096):  # this one stays
            pass

    with server_that(reply) as dsn:
        pool = await holisticpool.create_pool(dsn, min_size=1, max_size=1, timeout=1)
        opened.set()
        await until(lambda: connections == 2, "the connection was replaced")
        pool.terminate()


async def test_cancel_that_hits_the_empty_round_trip_behind_it_costs_nobody_anything() -> None:
    cancelled = message(b"E", b"SERROR\0VERROR\0C57014\0Mcanceling statement\0\0") + READY
    answers = [cancelled, cancelled, message(b"I") + READY, message(b"C", b"SELECT 1\0") + READY]
    came: list[bytes] = []
    sessions = 0
    asked_to_cancel = threading.Event()

    def reply(connection: socket.socket) -> None:
        nonlocal sessions
        sessions += 1
        if sessions > 1:
            asked_to_cancel.set()
            return
        connection.sendall(GREETING)
        for answer in answers:
            came.append(connection.recv(4096))
            asked_to_cancel.wait(GUARD_S)
            connection.sendall(answer)
        connection.recv(4096)

    with server_that(reply) as dsn:
        async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await connection.execute("SELECT 1", timeout=0.05)
            assert await connection.execute("SELECT 2") == "SELECT 1"
    assert came == [message(b"Q", text) for text in (b"SELECT 1\0", b"\0", b"\0", b"SELECT 2\0")]
