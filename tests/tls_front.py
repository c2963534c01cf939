"""A front that ends TLS and speaks to PostgreSQL in clear, as managed databases have one.

It takes nothing in clear, may ask for a client's certificate, and keeps what it has seen: so it sees inside the TLS
what a connection begins with. It runs in threads of its own.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import ssl
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from servers import PostgresServer

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_CANCEL_REQUEST = 80877102
_CHUNK = 65536


class TlsFront:
    """A context manager; `port` is where clients connect, by the server's certificate.

    clients_must_have    the CA of the certificates that clients must show; None asks for none

    kinds          "session" or "cancel", of each connection once it was by TLS
    names          the server names that clients asked for (SNI)
    certificates   the common names in the certificates that clients have shown
    in_clear       connections that did not begin with TLS
    refused        TLS handshakes that failed
    """

    def __init__(self, server: PostgresServer, *, clients_must_have: Path | None = None) -> None:
        self.server = server
        self.kinds: list[str] = []
        self.names: list[str | None] = []
        self.certificates: list[str] = []
        self.in_clear = 0
        self.refused = 0
        certificates = server.ca_file.parent
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        self._context.sni_callback = self._note_name
        if clients_must_have is not None:
            self._context.load_verify_locations(clients_must_have)
            self._context.verify_mode = ssl.CERT_REQUIRED
        front = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    front._serve(self.request)

        self._listening = socketserver.ThreadingTCPServer((server.host, 0), Handler)
        self._listening.daemon_threads = True
        self.port: int = self._listening.server_address[1]
        self._thread = threading.Thread(target=self._listening.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> TlsFront:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._listening.shutdown()
        self._thread.join()
        self._listening.server_close()

    def dsn(self, **arguments: str) -> str:
        """The server by this front, verify-full."""
        return self.server.tls_dsn(**arguments).replace(f":{self.server.port}/", f":{self.port}/")

    def _note_name(self, _: object, name: str | None, __: object) -> None:
        self.names.append(name)

    def _serve(self, client: socket.socket) -> None:
        if client.recv(8) != _SSL_REQUEST:
            self.in_clear += 1
            return
        client.sendall(b"S")
        try:
            tls = self._context.wrap_socket(client, server_side=True)
        except (ssl.SSLError, ConnectionError):
            self.refused += 1
            return
        shown: Any = tls.getpeercert()
        if shown:
            self.certificates += [value for part in shown["subject"] for name, value in part if name == "commonName"]
        with tls, socket.create_connection((self.server.host, self.server.port)) as upstream:
            head = tls.recv(_CHUNK)
            self.kinds.append("cancel" if struct.unpack_from("!i", head, 4)[0] == _CANCEL_REQUEST else "session")
            upstream.sendall(head)
            _relay(tls, upstream)


def _relay(tls: ssl.SSLSocket, upstream: socket.socket) -> None:
    """Until one side has ended."""
    while True:
        ready = [tls] if tls.pending() else select.select([tls, upstream], [], [])[0]
        for source, target in ((tls, upstream), (upstream, tls)):
            if source in ready:
                data = source.recv(_CHUNK)
                if not data:
                    return
                target.sendall(data)
