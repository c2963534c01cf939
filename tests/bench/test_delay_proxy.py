"""The proxy keeps what its modes promise, seen by plain sockets against an echoing server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bench.proxy import DelayProxy, ProxyError
from bench.relay import Address

PATIENCE_SECONDS = 10.0
SILENCE_SECONDS = 0.05


class Echo:
    """A server that sends back what it receives, until its peer ends."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address: Address = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    @staticmethod
    def _serve(peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(65536):
                    peer.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[DelayProxy]:
    with DelayProxy(echo.address) as started:
        yield started


def connect(proxy: DelayProxy) -> socket.socket:
    return socket.create_connection(proxy.address, PATIENCE_SECONDS)


def receive(client: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        data = client.recv(count - len(received))
        if not data:
            break
        received += data
    return received


def test_bytes_come_back_in_order_and_complete(proxy: DelayProxy) -> None:
    payload = bytes(range(256)) * 8192
    with connect(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(payload,))
        sender.start()
        assert receive(client, len(payload)) == payload
        sender.join()
    assert proxy.counts().bytes_to_client == len(payload)


def test_each_direction_is_delayed(proxy: DelayProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"before")
        receive(client, 6)
        proxy.set_delay(0.05)
        began = time.perf_counter()
        client.sendall(b"after")
        assert receive(client, 5) == b"after"
        assert time.perf_counter() - began >= 0.1


def test_end_of_stream_passes_in_both_directions(proxy: DelayProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 100) == b"last words"
        assert client.recv(1) == b""


def test_black_hole_holds_bytes_and_forward_delivers_them(proxy: DelayProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"1")
        receive(client, 1)
        proxy.black_hole()
        client.sendall(b"2")
        client.settimeout(SILENCE_SECONDS)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.forward()
        client.settimeout(PATIENCE_SECONDS)
        assert client.recv(1) == b"2"


def test_black_hole_accepts_and_stays_silent_to_new_connections(proxy: DelayProxy) -> None:
    proxy.black_hole()
    with connect(proxy) as client:
        client.sendall(b"hello")
        client.settimeout(SILENCE_SECONDS)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.forward()
        client.settimeout(PATIENCE_SECONDS)
        assert receive(client, 5) == b"hello"


def test_refuse_keeps_existing_connections_and_forward_listens_again(proxy: DelayProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"1")
        receive(client, 1)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        client.sendall(b"2")
        assert client.recv(1) == b"2"
        proxy.forward()
        with connect(proxy) as second:
            second.sendall(b"3")
            assert second.recv(1) == b"3"


def test_unreachable_answers_no_attempt_to_connect(proxy: DelayProxy) -> None:
    proxy.unreachable()
    with socket.socket() as client:
        client.settimeout(SILENCE_SECONDS)
        with pytest.raises(TimeoutError):
            client.connect(proxy.address)
    proxy.forward()
    with connect(proxy) as client:
        client.sendall(b"back")
        assert receive(client, 4) == b"back"
    assert proxy.counts().accepted == 1


def test_reset_connections_sends_rst_and_takes_new_ones(proxy: DelayProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"1")
        receive(client, 1)
        proxy.reset_connections()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(proxy) as client:
        client.sendall(b"2")
        assert client.recv(1) == b"2"


def test_close_connections_ends_them_in_the_orderly_way(proxy: DelayProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"1")
        receive(client, 1)
        proxy.close_connections()
        assert client.recv(1) == b""
    assert proxy.counts().connections == 0


def test_client_of_a_stopped_server_is_reset(echo: Echo, proxy: DelayProxy) -> None:
    echo.close()
    echo.close = lambda: None  # type: ignore[method-assign]
    # The reset may come as early as the end of the handshake.
    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


def test_many_connections_at_once(proxy: DelayProxy) -> None:
    proxy.set_delay(0.001)
    clients = [connect(proxy) for _ in range(200)]
    for number, client in enumerate(clients):
        client.sendall(number.to_bytes(2, "big"))
    assert [int.from_bytes(receive(client, 2), "big") for client in clients] == list(range(200))
    for client in clients:
        client.close()


def test_unknown_mode_is_refused_and_the_proxy_lives_on(proxy: DelayProxy) -> None:
    with pytest.raises(ProxyError, match="no mode"):
        proxy.set_mode("sideways")  # type: ignore[arg-type]
    with connect(proxy) as client:
        client.sendall(b"1")
        assert client.recv(1) == b"1"


async def test_async_context_manager_starts_and_stops(echo: Echo) -> None:
    async with DelayProxy(echo.address) as proxy:
        with connect(proxy) as client:
            client.sendall(b"1")
            assert client.recv(1) == b"1"
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
