"""Keep passwords out of log lines, error messages and status pages.

Two ways, used together: patterns that find a password by the place it stands in
(connection URIs, keyword=value strings, PASSWORD '...' in SQL), and the literal
secrets of a known DSN, for texts that quote it in some other way. Both rather
hide too much than too little.
"""

from __future__ import annotations

import re

MASK = "***"

# Patterns are text that module re compiles, and keeps, at the first use: most processes never redact anything, and
# compiling them took a good part of the import. For the same reason urllib.parse is imported where it is used.

# Greedy up to the last "@" of the word: a password that should have been
# percent-encoded, and was not, may itself hold "@" or "/".
_URI = r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/?#@]*):\S*@"
_SECRET_KEYWORD = r"\w*(?:password|client_secret|scram_client_key|scram_server_key)"
_KEYWORD = rf"(?i)(\b{_SECRET_KEYWORD}\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s&'\"\\]|\\.)+)"
_SQL = r"(?is)(\bpassword\s+)(?:e?'(?:[^'\\]|''|\\.)*'?|(\$\w*\$).*?(?:\2|$))"
_SCHEME = r"(?i)\s*[a-z][a-z0-9+.-]*://"
_SECRET_NAME = rf"(?i){_SECRET_KEYWORD}\Z"


def redact(text: str, *secrets: str) -> str:
    """*text* with every password in it replaced by ``***``.

    *secrets* are literal strings to hide as well, as ``secrets_of`` returns.
    """
    # Longest first: a secret may be part of another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = re.sub(_URI, rf"\1:{MASK}@", text)
    text = re.sub(_KEYWORD, rf"\1{MASK}", text)
    return re.sub(_SQL, rf"\1{MASK}", text)


def secrets_of(dsn: str | None, password: str | None = None) -> tuple[str, ...]:
    """Every spelling of the passwords in *dsn* and of *password*, to pass to ``redact``.

    A password that is also the user's or the database's name is left out:
    hiding it would blank out most messages and hide nothing.
    """
    from urllib.parse import quote

    found: set[str] = set()
    public: set[str] = set()
    if password:
        found.add(password)
    if dsn:
        scheme = re.match(_SCHEME, dsn)
        if scheme:
            found.update(_secrets_of_uri(dsn[scheme.end() :], public))
        else:
            found.update(_unquote_value(match[2]) for match in re.finditer(_KEYWORD, dsn))
    found -= public
    return tuple((found | {quote(secret, safe="") for secret in found}) - {""})


def _secrets_of_uri(rest: str, public: set[str]) -> set[str]:
    from urllib.parse import unquote

    found: set[str] = set()
    # Where an "@" was not percent-encoded, only the last one ends the
    # password; where the query holds one, only the first does.
    for credentials in (rest.partition("@")[0], rest.rpartition("@")[0]):
        user, colon, password = credentials.partition(":")
        if colon:
            found.update((password, unquote(password)))
        public.add(unquote(user))
    path, _, query = rest.partition("?")
    public.add(unquote(path.rpartition("/")[2]))
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if re.match(_SECRET_NAME, unquote(name)):
            found.update((value, unquote(value)))
    return found


def _unquote_value(value: str) -> str:
    """A value of a keyword=value string without its quotes and backslashes."""
    if value.startswith("'"):
        value = value[1:].removesuffix("'")
    return re.sub(r"\\(.)", r"\1", value)


def describe(error: BaseException, *secrets: str) -> str:
    """What *error* says, without passwords; its class where it says nothing."""
    return redact(str(error), *secrets) or type(error).__name__
