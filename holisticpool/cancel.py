"""Cancel requests by TLS, for libpq before 17, which sends them in clear only.

send_cancel() is run by the C part as a task of the pool's event loop, with what libpq opened the session with. It
speaks the few bytes that come before a session: SSLRequest, the TLS handshake, CancelRequest. The server is checked
as libpq has checked it for the session; where the check fails, the key of the session is not sent.

Nothing here blocks the loop: certificate files are read in the loop's executor, anew for each request as libpq does
for each session. No error shows the key or the password of a key file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from typing import TypeVar

from holisticpool import _core

__all__ = ("CancelError", "send_cancel", "tls_context")

_CANCEL_REQUEST = 80877102
_SSL_REQUEST = 80877103

_LIBPQ_WITH_HOME_VARIABLE = 150000
_LIBPQ_WITH_SYSTEM_ROOTS = 160000

_CHUNK_BYTES = 16384

_VERSIONS = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}

_T = TypeVar("_T")


class CancelError(Exception):
    """The cancel request was not delivered; the text says why."""


async def send_cancel(
    host: str, hostaddr: str, port: str, parameters: Mapping[str, str], pid: int, key: int, timeout: float
) -> None:
    """Ask a server by TLS to cancel what a session runs, and wait until it has been seen to.

    host, hostaddr, port: where the session is; no name is resolved.
    parameters: libpq's parameters that begin with "ssl".
    pid, key: the server's of that session.
    timeout: seconds for all of it.
    Raises CancelError, OSError or ssl.SSLError where it was not delivered.
    """
    try:
        await asyncio.wait_for(_send(host, hostaddr, int(port), parameters, pid, key), timeout)
    except (TimeoutError, asyncio.TimeoutError):
        raise CancelError(f"it took longer than {timeout:.1f} s") from None


async def _send(host: str, hostaddr: str, port: int, parameters: Mapping[str, str], pid: int, key: int) -> None:
    loop = asyncio.get_running_loop()
    context = await loop.run_in_executor(None, tls_context, parameters)
    family = socket.AF_INET6 if ":" in hostaddr else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        # The request follows the end of the handshake, which nobody acknowledges at once.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, (hostaddr, port))
        await loop.sock_sendall(sock, struct.pack("!ii", 8, _SSL_REQUEST))
        # One byte and no more: what follows it would be taken as received by TLS.
        if await loop.sock_recv(sock, 1) != b"S":
            raise CancelError("the server refused TLS")
        named = context.check_hostname or parameters.get("sslsni") != "0"
        channel = _Channel(loop, sock, context, host if named and host else None)
        await channel.handshake()
        await channel.write(struct.pack("!iiii", 16, _CANCEL_REQUEST, pid, key))
        await channel.read_to_end()


class _Channel:
    """TLS over a connected socket."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, context: ssl.SSLContext, name: str | None
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    async def handshake(self) -> None:
        await self._run(self._tls.do_handshake)

    async def write(self, data: bytes) -> None:
        await self._run(lambda: self._tls.write(data))

    async def read_to_end(self) -> None:
        """Until the server has closed, in whichever way. An alert of TLS is an error: with TLS 1.3 the refusal of a
        client's certificate comes only after the handshake."""
        try:
            while await self._run(lambda: self._tls.read(_CHUNK_BYTES)):
                pass
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass

    async def _run(self, step: Callable[[], _T]) -> _T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._loop.sock_recv(self._sock, _CHUNK_BYTES)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await self._loop.sock_sendall(self._sock, data)


def tls_context(parameters: Mapping[str, str]) -> ssl.SSLContext:
    """What libpq does with its parameters about TLS. Blocks: reads files.

    Raises OSError or ssl.SSLError where a file that is needed cannot be used.
    """
    libpq = _core.libpq_version()
    files = _Files(parameters, libpq)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT")  # OpenSSL's, as in libpq; Python's are fewer
    context.minimum_version = _version(parameters, "ssl_min_protocol_version", ssl.TLSVersion.MINIMUM_SUPPORTED)
    context.maximum_version = _version(parameters, "ssl_max_protocol_version", ssl.TLSVersion.MAXIMUM_SUPPORTED)
    mode = parameters.get("sslmode", "prefer")
    roots = files.named("sslrootcert", "root.crt")
    if roots == "system" and libpq >= _LIBPQ_WITH_SYSTEM_ROOTS:
        context.set_default_verify_paths()
        context.verify_mode = ssl.CERT_REQUIRED
    elif mode in ("verify-ca", "verify-full") or os.path.exists(roots):
        context.load_verify_locations(roots)
        context.verify_mode = ssl.CERT_REQUIRED
    if context.verify_mode is ssl.CERT_REQUIRED:
        _load_revoked(context, parameters, files)
    context.check_hostname = mode == "verify-full"
    if parameters.get("sslcertmode") != "disable":
        _load_certificate(context, parameters, files)
    return context


def _version(parameters: Mapping[str, str], name: str, default: ssl.TLSVersion) -> ssl.TLSVersion:
    return _VERSIONS.get(parameters.get(name, "").lower(), default)


def _load_revoked(context: ssl.SSLContext, parameters: Mapping[str, str], files: _Files) -> None:
    directory = parameters.get("sslcrldir") or None
    file = parameters.get("sslcrl") or (None if directory else files.in_home("root.crl"))
    try:
        context.load_verify_locations(file, directory)
    except OSError:
        return  # as in libpq, which checks against the list if there is one
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN


def _load_certificate(context: ssl.SSLContext, parameters: Mapping[str, str], files: _Files) -> None:
    certificate = files.named("sslcert", "postgresql.crt")
    key = files.named("sslkey", "postgresql.key")
    if not os.path.exists(certificate):
        return
    if ":" in parameters.get("sslkey", "") and not os.path.exists(key):
        return  # "engine:name", which Python cannot use; a server may take the request without a certificate
    # An empty password rather than none: OpenSSL would ask for one at the terminal.
    context.load_cert_chain(certificate, key, password=parameters.get("sslpassword", ""))


class _Files:
    """Where libpq finds a file that a parameter names, or does not."""

    def __init__(self, parameters: Mapping[str, str], libpq: int) -> None:
        self._parameters = parameters
        home = os.environ.get("HOME") if libpq >= _LIBPQ_WITH_HOME_VARIABLE else None
        if not home:
            with contextlib.suppress(KeyError):  # a user without an entry has no home
                home = pwd.getpwuid(os.geteuid()).pw_dir
        self._home = home

    def in_home(self, name: str) -> str:
        """A file of ~/.postgresql; a name that no file has where there is no home."""
        return os.path.join(self._home, ".postgresql", name) if self._home else ""

    def named(self, parameter: str, default: str) -> str:
        """The file of a parameter, or the default one."""
        return self._parameters.get(parameter) or self.in_home(default)
