"""Values that describe a server, its types and its settings.

Plain values without behaviour of their own: connection.py makes them, the user
reads them. Nothing here talks to a server.
"""

from __future__ import annotations

import re
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

__all__ = ("Attribute", "Range", "ServerVersion", "Type")


class Type(NamedTuple):
    """A data type of the database; ``kind`` is scalar, array, composite or range."""

    oid: int
    name: str
    kind: str
    schema: str


class Attribute(NamedTuple):
    """A column of a relation or of a statement's result."""

    name: str
    type: Type


class ServerVersion(NamedTuple):
    """The server's version, shaped like ``sys.version_info``."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: int


_VERSION = re.compile(r"(?P<major>\d+)(?:\.(?P<second>\d+))?(?:\.(?P<third>\d+))?(?:(?P<level>[a-z]+)(?P<serial>\d*))?")


def parse_server_version(text: str) -> ServerVersion:
    """The version that ``server_version`` says in *text*, e.g. ``"15.4 (Debian 15.4-1)"``.

    From PostgreSQL 10 on the second number counts bug-fix releases and goes to
    ``micro``, so that ``version[:2]`` compares what users may rely on, as in
    asyncpg. Raises ValueError where *text* starts with no number.
    """
    match = _VERSION.search(text)
    if match is None:
        raise ValueError(f"no server version in {text!r}")
    major = int(match["major"])
    second = int(match["second"] or 0)
    third = int(match["third"] or 0)
    level = match["level"] or "final"
    serial = int(match["serial"] or 0)
    if major >= 10:
        return ServerVersion(major, 0, second, level, serial)
    return ServerVersion(major, second, third, level, serial)


class _Comparable(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...
    def __gt__(self, other: Any, /) -> bool: ...


_BoundT = TypeVar("_BoundT", bound=_Comparable)


class Range(Generic[_BoundT]):
    """An immutable value of a range type; a bound that is None is unbounded.

    An empty range has neither bounds nor inclusion flags, whatever it was made
    from, so that all empty ranges are equal.
    """

    __slots__ = ("_empty", "_lower", "_lower_inc", "_upper", "_upper_inc")

    def __init__(
        self,
        lower: _BoundT | None = None,
        upper: _BoundT | None = None,
        *,
        lower_inc: bool = True,
        upper_inc: bool = False,
        empty: bool = False,
    ) -> None:
        self._empty = empty
        self._lower = None if empty else lower
        self._upper = None if empty else upper
        self._lower_inc = self._lower is not None and lower_inc
        self._upper_inc = self._upper is not None and upper_inc

    @property
    def lower(self) -> _BoundT | None:
        """The lower bound, None where there is none."""
        return self._lower

    @property
    def upper(self) -> _BoundT | None:
        """The upper bound, None where there is none."""
        return self._upper

    @property
    def lower_inc(self) -> bool:
        """Whether the lower bound belongs to the range."""
        return self._lower_inc

    @property
    def upper_inc(self) -> bool:
        """Whether the upper bound belongs to the range."""
        return self._upper_inc

    @property
    def lower_inf(self) -> bool:
        """Whether the range has no lower bound."""
        return self._lower is None and not self._empty

    @property
    def upper_inf(self) -> bool:
        """Whether the range has no upper bound."""
        return self._upper is None and not self._empty

    @property
    def isempty(self) -> bool:
        """Whether the range contains nothing."""
        return self._empty

    def issubset(self, other: Range[_BoundT]) -> bool:
        """Whether every value of this range is in *other*."""
        if self._empty:
            return True
        if other._empty:
            return False
        return self._starts_within(other) and self._ends_within(other)

    def issuperset(self, other: Range[_BoundT]) -> bool:
        """Whether every value of *other* is in this range."""
        return other.issubset(self)

    def _starts_within(self, other: Range[_BoundT]) -> bool:
        if other._lower is None:
            return True
        if self._lower is None:
            return False
        if self._lower == other._lower:
            return other._lower_inc or not self._lower_inc
        return self._lower > other._lower

    def _ends_within(self, other: Range[_BoundT]) -> bool:
        if other._upper is None:
            return True
        if self._upper is None:
            return False
        if self._upper == other._upper:
            return other._upper_inc or not self._upper_inc
        return self._upper < other._upper

    def _key(self) -> tuple[Any, ...]:
        return (self._lower, self._upper, self._lower_inc, self._upper_inc, self._empty)

    def __bool__(self) -> bool:
        return not self._empty

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Range):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if self._empty:
            return "<Range empty>"
        lower = "" if self._lower is None else repr(self._lower)
        upper = "" if self._upper is None else repr(self._upper)
        opening = "[" if self._lower_inc else "("
        closing = "]" if self._upper_inc else ")"
        return f"<Range {opening}{lower}, {upper}{closing}>"
