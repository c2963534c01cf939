"""connect()'s keywords and the DSN -> the libpq parameters of each server to try.

asyncpg's keywords keep their names and meaning; what libpq calls otherwise is
renamed here, and what is not supported is refused by name, never ignored. Who
wins: a keyword over the DSN, the DSN over libpq's environment variables and
service file, those over our defaults.

Making a ConnectConfig is pure; only ConnectConfig.targets() reads files
(service file, password file) and therefore belongs in a thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from holisticpool import _core
from holisticpool.check import UNSET, Unset, check_seconds, check_size, check_timeout
from holisticpool.exceptions import ClientConfigurationError
from holisticpool.redact import secrets_of

if TYPE_CHECKING:
    from holisticpool.tls import TLS

DEFAULT_CONNECT_TIMEOUT_S = 60.0

# The values of connect_utils.SessionAttribute.
SESSION_ATTRIBUTES: Final = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")

Password = Callable[[], str | None | Awaitable[str | None]]

# The connection parameters of PostgreSQL 18's libpq ("Parameter Key Words" in
# its manual), and "ssl", which its URIs take for JDBC's sake. As in asyncpg, an
# unknown name in a URI's query is a server setting.
_LIBPQ_NAMES = frozenset(
    """
    application_name channel_binding client_encoding connect_timeout dbname
    fallback_application_name gssdelegation gssencmode gsslib host hostaddr
    keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname
    load_balance_hosts max_protocol_version min_protocol_version
    oauth_client_id oauth_client_secret oauth_issuer oauth_scope options
    passfile password port replication require_auth requirepeer requiressl
    scram_client_key scram_server_key service servicefile ssl ssl_max_protocol_version
    ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl
    sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword
    sslrootcert sslsni target_session_attrs tcp_user_timeout user
    """.split()
)

# What libpq sends besides `options` where the variable is set: the server lets it win.
_SENT_FROM_ENVIRONMENT = {"timezone": "PGTZ", "datestyle": "PGDATESTYLE", "geqo": "PGGEQO"}

# Settings that do not travel in `options`.
_NOT_BY_SQL = frozenset({"application_name", "client_encoding", "options"})

_UTF8_NAMES = ("utf8", "utf-8", "unicode", "auto")
# Compiled by module re at the first use, like those of redact.py.
_SETTING_NAME = r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*\Z"
_SCHEME = r"\s*([A-Za-z][A-Za-z0-9+.-]*)://"


class ConnectConfig:
    """What is needed to reach a server, checked; not to be changed. Its repr shows no password.

    ``params`` holds libpq parameters that were given by keyword, ``password`` a
    callable that gives one for each new connection, ``settings`` server settings
    by keyword, ``default_settings`` those that the DSN and libpq's environment
    may override. Timeouts are in seconds, None is for ever.
    """

    def __init__(
        self,
        *,
        dsn: str | None,
        params: Mapping[str, str],
        password: Password | None,
        settings: Mapping[str, str],
        default_settings: Mapping[str, str],
        tls: TLS | None,
        connect_timeout: float | None | Unset,
        command_timeout: float | None,
        statement_cache_size: int,
        max_cached_statement_lifetime: float,
        max_cacheable_statement_size: int,
    ) -> None:
        self.dsn: Final = dsn
        self.params: Final = params
        self.password: Final = password
        self.settings: Final = settings
        self.default_settings: Final = default_settings
        self.tls: Final = tls
        self.connect_timeout: Final = connect_timeout
        self.command_timeout: Final = command_timeout
        self.statement_cache_size: Final = statement_cache_size
        self.max_cached_statement_lifetime: Final = max_cached_statement_lifetime
        self.max_cacheable_statement_size: Final = max_cacheable_statement_size

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords that no message may show."""
        return secrets_of(self.dsn, self.params.get("password"))

    def targets(self) -> list[dict[str, str]]:
        """The libpq parameters of every host to try, in order. Blocks: reads files.

        Raises ClientConfigurationError for a DSN that libpq does not take.
        """
        dsn, dsn_settings = split_dsn(self.dsn)
        params = dict(self.params)
        defaults = dict(self.default_settings)
        application_name = defaults.pop("application_name", None)
        if application_name is not None:
            params["fallback_application_name"] = application_name
        targets = _core.resolve_conninfo(dsn, params)
        for target in targets:
            _check_host(target)
            _check_port(target)
            self._finish(target, defaults, {**dsn_settings, **self.settings})
        return targets

    def timeout_for(self, targets: Sequence[Mapping[str, str]]) -> float:
        """Seconds that one connection attempt may take; 0 is for ever.

        The keyword, else the DSN's (or PGCONNECT_TIMEOUT's) connect_timeout,
        else asyncpg's 60 s.
        """
        if self.connect_timeout is None:
            return 0.0
        if not isinstance(self.connect_timeout, Unset):
            return self.connect_timeout
        text = targets[0].get("connect_timeout") if targets else None
        if not text:
            return DEFAULT_CONNECT_TIMEOUT_S
        try:
            return max(float(int(text)), 0.0)
        except ValueError:
            raise ClientConfigurationError(f"connect_timeout is expected to be an integer, got {text!r}") from None

    def _finish(self, target: dict[str, str], defaults: Mapping[str, str], settings: Mapping[str, str]) -> None:
        # The server applies -c options in order: what comes later wins.
        options = [_as_option(name, value) for name, value in defaults.items()]
        foreign = target.get("options", "") + settings.get("options", "")
        options.append(target.get("options", ""))
        for name, value in settings.items():
            match name.lower():
                case "application_name":
                    target["application_name"] = value
                case "client_encoding":
                    pass  # UTF-8 is checked, and what the engine asks for anyway
                case "options":
                    options.append(value)
                case _:
                    options.append(_as_option(name, value))
        joined = " ".join(filter(None, options))
        if joined:
            target["options"] = joined
        if joined and not foreign:
            # For a pooler that refuses the start-up parameter `options`: the engine runs this instead, at first
            # and after each reset, which behind a pooler forgets the application's name too.
            by_name = {**defaults, **settings}
            by_sql = {name: value for name, value in by_name.items() if name.lower() not in _NOT_BY_SQL}
            if target.get("application_name"):
                by_sql["application_name"] = target["application_name"]
            target["_settings_sql"] = _as_sql(by_sql)
        overridden = {name: value for name, value in settings.items() if _is_overridden(name, value)}
        if overridden:
            target["_overridden_sql"] = _as_sql(overridden)
        if self.tls is not None:
            self.tls.finish(target)


def connect_config(
    dsn: str | None = None,
    *,
    host: str | Sequence[str] | None = None,
    port: int | str | Sequence[int | str] | None = None,
    user: str | None = None,
    password: str | Password | None = None,
    passfile: str | os.PathLike[str] | None = None,
    service: str | None = None,
    servicefile: str | os.PathLike[str] | None = None,
    database: str | None = None,
    timeout: float | None | Unset = UNSET,
    statement_cache_size: int = 100,
    max_cached_statement_lifetime: float = 0,
    max_cacheable_statement_size: int = 15 * 1024,
    command_timeout: float | None = None,
    ssl: object = None,
    direct_tls: bool | None = None,
    server_settings: Mapping[str, str] | None = None,
    default_settings: Mapping[str, str] | None = None,
    target_session_attrs: str | None = None,
    krbsrvname: str | None = None,
    gsslib: str | None = None,
) -> ConnectConfig:
    """Check connect()'s keywords; see connect() for their meaning.

    Raises ClientConfigurationError (a ValueError) for a wrong value and
    UnsupportedClientFeatureError, naming the parameter, for what is not
    supported.
    """
    params = _host_params(host, port)
    tls = _tls(ssl, direct_tls)
    named = {
        "user": user,
        "password": None if callable(password) else password,
        "passfile": None if passfile is None else os.fspath(passfile),
        "service": service,
        "servicefile": None if servicefile is None else os.fspath(servicefile),
        "dbname": database,
        "krbsrvname": krbsrvname,
        "gsslib": gsslib,
    }
    for name, value in named.items():
        if value is not None:
            params[name] = _as_parameter(name, value)
    if target_session_attrs is not None:
        params["target_session_attrs"] = _one_of("target_session_attrs", target_session_attrs, SESSION_ATTRIBUTES)
    if gsslib is not None:
        _one_of("gsslib", gsslib, ("gssapi", "sspi"))
    if tls is not None:
        params.update(tls.params)
    if dsn is not None and not isinstance(dsn, str):
        raise ClientConfigurationError(f"dsn is expected to be a string, got {type(dsn).__name__}")
    split_dsn(dsn)
    return ConnectConfig(
        dsn=dsn,
        params=params,
        password=password if callable(password) else None,
        settings=_checked_settings(server_settings),
        default_settings=_checked_settings(default_settings),
        tls=tls,
        connect_timeout=timeout if isinstance(timeout, Unset) else check_timeout("timeout", timeout),
        command_timeout=check_timeout("command_timeout", command_timeout),
        statement_cache_size=check_size("statement_cache_size", statement_cache_size, at_least=0),
        max_cached_statement_lifetime=check_seconds("max_cached_statement_lifetime", max_cached_statement_lifetime),
        max_cacheable_statement_size=check_size(
            "max_cacheable_statement_size", max_cacheable_statement_size, at_least=0
        ),
    )


def _tls(ssl: object, direct_tls: object) -> TLS | None:
    """What the two keywords say; None where neither was given, which needs no module ssl."""
    if ssl is None and direct_tls is None:
        return None
    from holisticpool.tls import tls_parameters

    return tls_parameters(ssl, direct_tls)


def split_dsn(dsn: str | None) -> tuple[str | None, dict[str, str]]:
    """*dsn* as libpq takes it, and the server settings that its query held.

    asyncpg takes server settings, and ``database`` for ``dbname``, in a URI's
    query. Raises ClientConfigurationError for a scheme that is not PostgreSQL's;
    every other check is libpq's.
    """
    match = re.match(_SCHEME, dsn) if dsn is not None else None
    if dsn is None or match is None:
        return dsn, {}
    if match[1].lower() not in ("postgres", "postgresql"):
        raise ClientConfigurationError(
            f'invalid DSN: scheme is expected to be either "postgresql" or "postgres", got {match[1]!r}'
        )
    rest = dsn[match.end() :]
    authority = re.match(r"[^@/]*@", rest)  # a password may hold a bare "?"
    question = rest.find("?", authority.end() if authority else 0)
    if question < 0:
        return dsn, {}
    from urllib.parse import unquote

    kept, settings = [], {}
    for pair in rest[question + 1 :].split("&"):
        raw_name, equals, value = pair.partition("=")
        name = unquote(raw_name)
        if name == "database":
            kept.append(f"dbname={value}")
        elif name in _LIBPQ_NAMES or not equals or not re.match(_SETTING_NAME, name):
            kept.append(pair)
        else:
            settings[name] = unquote(value)
    query = "?" + "&".join(kept) if kept else ""
    return dsn[: match.end()] + rest[:question] + query, settings


def has_application_name(dsn: str | None) -> bool:
    """Whether *dsn* itself says what application_name is."""
    return dsn is not None and re.search(r"(?<![A-Za-z_])application_name\s*=", dsn) is not None


def _host_params(host: str | Sequence[str] | None, port: int | str | Sequence[int | str] | None) -> dict[str, str]:
    hosts = [] if host is None else [host] if isinstance(host, str) else list(host)
    ports = [] if port is None else [port] if isinstance(port, (int, str)) else list(port)
    if len(ports) > 1 and hosts and len(ports) != len(hosts):
        raise ClientConfigurationError(f"could not match {len(ports)} port numbers to {len(hosts)} hosts")
    for i, name in enumerate(hosts):
        # asyncpg takes the socket file itself, libpq its directory.
        directory, file = os.path.split(_as_parameter("host", name))
        if file.startswith(".s.PGSQL."):
            hosts[i] = directory
            ports = ports or [file.rpartition(".")[2]]
    params = {}
    if hosts:
        params["host"] = ",".join(hosts)
    if ports:
        params["port"] = ",".join(_port_text(p) for p in ports)
    return params


def _port_text(port: int | str) -> str:
    if isinstance(port, bool) or not str(port).strip().replace(",", "").isdecimal():
        raise ClientConfigurationError(f"port is expected to be a number, got {port!r}")
    return str(port)


def _check_host(target: Mapping[str, str]) -> None:
    # Behind the last unescaped @ of a URI's password libpq sees a host; as the first character it means an
    # abstract Unix socket. What the host seems to be is not shown: it is a part of the password.
    if "@" in target.get("host", "")[1:]:
        raise ClientConfigurationError(
            "the host must not hold an @ (in a URI, characters such as @ : / ? # % of a user name or password must "
            "be percent-encoded)"
        )


def _check_port(target: Mapping[str, str]) -> None:
    # The text is not shown: where a password was not percent-encoded, it may be a part of it.
    port = target.get("port", "5432")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ClientConfigurationError(
            "the port is expected to be a number from 1 to 65535 (in a URI, characters such as @ : / ? # % of a user "
            "name or password must be percent-encoded)"
        )


def _checked_settings(settings: Mapping[str, str] | None) -> dict[str, str]:
    if settings is None:
        return {}
    if not isinstance(settings, Mapping) or not all(
        isinstance(item, str) for pair in settings.items() for item in pair
    ):
        raise ClientConfigurationError("server_settings is expected to be None or a Dict[str, str]")
    for name, value in settings.items():
        if not re.match(_SETTING_NAME, name):
            raise ClientConfigurationError(f"server_settings: {name!r} is not the name of a setting")
        _as_parameter(f"server_settings[{name!r}]", value)
        if name.lower() == "client_encoding" and value.lower() not in _UTF8_NAMES:
            raise ClientConfigurationError(f"server_settings: client_encoding can only be UTF8, got {value!r}")
    return dict(settings)


def _is_overridden(name: str, value: str) -> bool:
    """Whether libpq's environment would take the place of a setting that was asked for."""
    sent = os.environ.get(_SENT_FROM_ENVIRONMENT.get(name.lower(), ""))
    return sent is not None and sent.lower() != "default" and sent != value


def _as_option(name: str, value: str) -> str:
    """One ``-c name=value`` as the server splits options: at unescaped white space."""
    escaped = re.sub(r"([\\\s])", r"\\\1", value)
    return f"-c {name}={escaped}"


def _as_sql(settings: Mapping[str, str]) -> str:
    calls = (f"pg_catalog.set_config({_literal(name)}, {_literal(value)}, false)" for name, value in settings.items())
    return "SELECT " + ", ".join(calls)


def _literal(value: str) -> str:
    # An escape string means the same whatever standard_conforming_strings is.
    doubled = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{doubled}'"


def _as_parameter(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ClientConfigurationError(f"{name} is expected to be a string, got {type(value).__name__}")
    if "\0" in value:
        raise ClientConfigurationError(f"{name} must not hold a zero byte")
    return value


def _one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ClientConfigurationError(f"{name} is expected to be one of {', '.join(allowed)}, got {value!r}")
    return allowed[allowed.index(value)]  # a plain str, where the value is an enumeration's
