"""connect()'s ``ssl`` and ``direct_tls`` as libpq's parameters.

libpq does the TLS, so that an SSLContext can only be read and said again in
libpq's words. What can be read of one: whether and how it verifies, the
certificates that it trusts, the versions of TLS. What is there to be seen but
cannot be said (revocation lists, a choice of ciphers) is refused; what cannot
be seen at all is a client's own certificate, and trusted certificates in a
directory (``capath``), where OpenSSL looks only when it needs one: a context
that verifies and lists no certificate is taken to trust the system's.
"""

from __future__ import annotations

import atexit
import functools
import os
import ssl as ssl_module
from collections.abc import Mapping
from typing import Final

from holisticpool import _core
from holisticpool.exceptions import ClientConfigurationError, UnsupportedClientFeatureError

__all__ = ("SSL_MODES", "TLS", "tls_parameters")

# The names of connect_utils.SSLMode, as libpq has them.
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# libpq 16 took sslrootcert=system, libpq 17 sslnegotiation.
_LIBPQ_WITH_SYSTEM_ROOTS: Final = 160000
_LIBPQ_WITH_DIRECT_TLS: Final = 170000

_USE_INSTEAD: Final = (
    "say the same with libpq's parameters in the DSN: sslmode (require, verify-ca or verify-full), sslrootcert, "
    "sslcrl, sslcert and sslkey, for example postgresql://host/db?sslmode=verify-full&sslrootcert=/path/ca.pem"
)

_VERSIONS: Final[Mapping[int, str]] = {
    ssl_module.TLSVersion.TLSv1: "TLSv1",
    ssl_module.TLSVersion.TLSv1_1: "TLSv1.1",
    ssl_module.TLSVersion.TLSv1_2: "TLSv1.2",
    ssl_module.TLSVersion.TLSv1_3: "TLSv1.3",
}


class TLS:
    """What the keywords say about TLS; not to be changed.

    ``params`` are libpq's. ``roots`` holds the certificates to trust, PEM; ``b""``
    means the system's. ``roots_by_default``: only where nothing else names them.
    """

    def __init__(
        self, params: Mapping[str, str] | None = None, roots: bytes | None = None, roots_by_default: bool = False
    ) -> None:
        self.params: Final[Mapping[str, str]] = params or {}
        self.roots: Final = roots
        self.roots_by_default: Final = roots_by_default

    def finish(self, target: dict[str, str]) -> None:
        """Put the certificates to trust into the parameters of a server. Blocks: writes a file.

        Raises ClientConfigurationError where the system's are not to be found.
        """
        if self.roots is None or (self.roots_by_default and target.get("sslrootcert")):
            return
        if self.roots:
            target["sslrootcert"] = _file_with(self.roots)
        elif _core.libpq_version() >= _LIBPQ_WITH_SYSTEM_ROOTS:
            # libpq takes them for nothing less than a full check.
            target["sslrootcert"] = "system" if target.get("sslmode") == "verify-full" else _system_roots()
        else:
            target["sslrootcert"] = _system_roots()


def tls_parameters(ssl: object, direct_tls: object) -> TLS:
    """Check and translate the two keywords.

    Raises ClientConfigurationError for a wrong value, and
    UnsupportedClientFeatureError for an SSLContext that libpq cannot be told of.
    """
    tls = _of_context(ssl) if isinstance(ssl, ssl_module.SSLContext) else _of_mode(ssl)
    if direct_tls is None:
        return tls
    if not isinstance(direct_tls, bool):
        raise ClientConfigurationError(f"direct_tls is expected to be a bool or None, got {direct_tls!r}")
    if direct_tls and _core.libpq_version() < _LIBPQ_WITH_DIRECT_TLS:
        raise UnsupportedClientFeatureError(
            f"direct_tls needs libpq 17 or newer; {_core.libpq_version() // 10000} is in use"
        )
    params = dict(tls.params)
    if _core.libpq_version() >= _LIBPQ_WITH_DIRECT_TLS:
        params["sslnegotiation"] = "direct" if direct_tls else "postgres"
    if direct_tls and params.get("sslmode") in ("disable", "allow", "prefer"):
        raise ClientConfigurationError("direct TLS requires sslmode=require, verify-ca, or verify-full")
    return TLS(params, tls.roots, tls.roots_by_default)


def _of_mode(ssl: object) -> TLS:
    if ssl is None:
        return TLS()
    if ssl is True:
        return TLS({"sslmode": "verify-full"}, roots=b"", roots_by_default=True)
    if ssl is False:
        return TLS({"sslmode": "disable"})
    mode = _mode_name(ssl)
    if mode in SSL_MODES:
        return TLS({"sslmode": mode})
    raise ClientConfigurationError(
        f"ssl is expected to be an SSLContext, a bool, None or one of {', '.join(SSL_MODES)}, got {ssl!r}"
    )


def _mode_name(ssl: object) -> str:
    if isinstance(ssl, int):
        from holisticpool.connect_utils import SSLMode

        return ssl.name.replace("_", "-") if isinstance(ssl, SSLMode) else ""
    return ssl.replace("_", "-") if isinstance(ssl, str) else ""


def _of_context(context: ssl_module.SSLContext) -> TLS:
    _refuse_what_libpq_cannot(context)
    # Empty is as if it was not given: what a DSN names is not the context's.
    params = {"sslrootcert": "", "sslcert": "", "sslkey": "", "sslcrl": ""}
    for name, version in (
        ("ssl_min_protocol_version", context.minimum_version),
        ("ssl_max_protocol_version", context.maximum_version),
    ):
        if version in _VERSIONS:
            params[name] = _VERSIONS[version]
    if context.verify_mode is ssl_module.CERT_NONE:
        return TLS({**params, "sslmode": "require"})
    mode = "verify-full" if context.check_hostname else "verify-ca"
    roots = "".join(map(ssl_module.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True)))
    return TLS({**params, "sslmode": mode}, roots=roots.encode("ascii"))


def _refuse_what_libpq_cannot(context: ssl_module.SSLContext) -> None:
    problem = None
    if context.protocol is ssl_module.PROTOCOL_TLS_SERVER:
        problem = "is a server's"
    elif context.cert_store_stats()["crl"]:
        problem = "has revocation lists, which cannot be read from it"
    elif _ciphers(context) != _usual_ciphers():
        problem = "has a choice of ciphers, which libpq cannot be told of"
    if problem is not None:
        raise UnsupportedClientFeatureError(f"ssl: this SSLContext {problem}; libpq does the TLS: {_USE_INSTEAD}")


def _ciphers(context: ssl_module.SSLContext) -> frozenset[str]:
    return frozenset(str(cipher["name"]) for cipher in context.get_ciphers())


@functools.cache
def _usual_ciphers() -> frozenset[str]:
    return _ciphers(ssl_module.SSLContext(ssl_module.PROTOCOL_TLS_CLIENT))


def _system_roots() -> str:
    """A file with the certificates that the system trusts."""
    paths = ssl_module.get_default_verify_paths()
    if paths.cafile is None:
        raise ClientConfigurationError(
            "the system's root certificates are in no file that OpenSSL knows: name them with sslrootcert in the DSN"
        )
    return paths.cafile


# ---- certificates in a file, since libpq takes no others ----

_files: dict[tuple[int, bytes], str] = {}


def _file_with(certificates: bytes) -> str:
    """The path of a file of this process that holds *certificates*; removed at its exit."""
    # Here, where few programs come: these take longer to import than all of holisticpool.
    import hashlib
    import tempfile

    # By process: what a parent made goes when the parent does.
    key = (os.getpid(), hashlib.sha256(certificates).digest())
    path = _files.get(key)
    if path is None or not os.path.exists(path):
        directory = tempfile.mkdtemp(prefix="holisticpool-")
        atexit.register(_remove, os.getpid(), directory)
        path = os.path.join(directory, "roots.pem")
        with open(path, "wb") as file:
            file.write(certificates)
        _files[key] = path
    return path


def _remove(pid: int, directory: str) -> None:
    import shutil

    if pid == os.getpid():
        shutil.rmtree(directory, ignore_errors=True)
