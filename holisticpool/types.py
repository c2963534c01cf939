"""Values that describe a server and its types, and values of types that Python has no class for.

Plain values: connection.py makes the first kind and the codecs in csrc/codec/ the
second (by their slots, so that names and order of those are known there, too); the
user reads them and passes them as arguments. Nothing here talks to a server. It
is imported when the first of its classes is asked for, here or by a codec.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, SupportsFloat, SupportsIndex, TypeVar, overload

__all__ = (
    "Attribute",
    "BitString",
    "Box",
    "Circle",
    "Line",
    "LineSegment",
    "Path",
    "Point",
    "Polygon",
    "Range",
    "ServerVersion",
    "SparseVector",
    "Type",
)


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


# Compiled by module re at the first use.
_VERSION = r"(?P<major>\d+)(?:\.(?P<second>\d+))?(?:\.(?P<third>\d+))?(?:(?P<level>[a-z]+)(?P<serial>\d*))?"


def parse_server_version(text: str) -> ServerVersion:
    """The version that ``server_version`` says in *text*, e.g. ``"15.4 (Debian 15.4-1)"``.

    From PostgreSQL 10 on the second number counts bug-fix releases and goes to
    ``micro``, so that ``version[:2]`` compares what users may rely on, as in
    asyncpg. Raises ValueError where *text* starts with no number.
    """
    match = re.search(_VERSION, text)
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


# ---- bit strings ----


class SparseVector(NamedTuple):
    """A value of pgvector's type ``sparsevec``: its numbers that are not zero, and where they are.

    Indices count from 0, in ascending order, and there are as many values.
    """

    dimensions: int
    indices: tuple[int, ...]
    values: tuple[float, ...]

    @classmethod
    def from_dict(cls, elements: Mapping[int, float], dimensions: int) -> SparseVector:
        """Made from numbers by their index from 0; zeros are left out."""
        items = sorted((index, value) for index, value in elements.items() if value)
        return cls(dimensions, tuple(index for index, _ in items), tuple(value for _, value in items))

    def to_list(self) -> list[float]:
        """All numbers, with the zeros."""
        numbers = [0.0] * self.dimensions
        for index, value in zip(self.indices, self.values, strict=True):
            numbers[index] = value
        return numbers


class BitString:
    """An immutable value of type ``bit`` or ``bit varying``: a sequence of zeros and ones.

    Made from text such as ``"1010 0001"``, whose spaces do not count, or from any
    iterable of 0 and 1.
    """

    __slots__ = ("_bitlength", "_bytes")

    def __init__(self, bitstring: Iterable[str | int] | None = None) -> None:
        digits = []
        for position, bit in enumerate(bitstring or ()):
            if bit == " ":
                continue
            if bit not in ("0", "1", 0, 1):
                raise ValueError(f"invalid bit value at position {position}")
            digits.append(str(int(bit)))
        self._bitlength = len(digits)
        padded = "".join(digits) + "0" * (-len(digits) % 8)
        self._bytes = int(padded or "0", 2).to_bytes(len(padded) // 8, "big")

    @classmethod
    def frombytes(cls, bytes_: bytes | None = None, bitlength: int | None = None) -> BitString:
        """The first *bitlength* bits of *bytes_*, all of them by default.

        Without *bytes_*, that many zeros. Raises ValueError unless *bytes_* has just
        as many bytes as the bits take.
        """
        if bitlength is None:
            bitlength = 8 * len(bytes_ or b"")
        if bytes_ is None:
            bytes_ = bytes((bitlength + 7) // 8)
        if len(bytes_) != (bitlength + 7) // 8:
            raise ValueError(f"invalid bit length specified: {bitlength} bits do not take {len(bytes_)} bytes")
        result = cls()
        result._bytes = bytes_
        result._bitlength = bitlength
        return result

    @classmethod
    def from_int(
        cls, x: int, length: int, bitorder: Literal["big", "little"] = "big", *, signed: bool = False
    ) -> BitString:
        """The *length* lowest bits of *x*; of a negative number, if *signed*, in two's complement.

        With *bitorder* ``"big"``, as PostgreSQL casts integers, the most significant
        bit comes first. Raises OverflowError where *x* takes more bits or is negative
        without *signed*.
        """
        if length < 0:
            raise ValueError("length argument must be non-negative")
        if x.bit_length() > length:
            raise OverflowError("int too big to convert")
        if x < 0 and not signed:
            raise OverflowError("can't convert negative int to unsigned")
        if bitorder not in ("big", "little"):
            raise ValueError("bitorder must be either 'big' or 'little'")
        digits = f"{x & ((1 << length) - 1):0{length}b}" if length else ""
        return cls(digits if bitorder == "big" else digits[::-1])

    def to_int(self, bitorder: Literal["big", "little"] = "big", *, signed: bool = False) -> int:
        """The number that the bits stand for, in two's complement if *signed*."""
        if bitorder not in ("big", "little"):
            raise ValueError("bitorder must be either 'big' or 'little'")
        digits = self._digits()
        if bitorder == "little":
            digits = digits[::-1]
        value = int(digits or "0", 2)
        if signed and digits.startswith("1"):
            value -= 1 << self._bitlength
        return value

    @property
    def bytes(self) -> bytes:
        """The bits, eight in a byte, the last byte filled up."""
        return self._bytes

    def as_string(self) -> str:
        """Zeros and ones, with a space after each four."""
        digits = self._digits()
        return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))

    def _digits(self) -> str:
        return "".join(str(self[i]) for i in range(self._bitlength))

    def __len__(self) -> int:
        return self._bitlength

    def __getitem__(self, i: int) -> int:
        if isinstance(i, slice):
            raise NotImplementedError("BitString does not support slices")
        at = i + self._bitlength if i < 0 else i
        if not 0 <= at < self._bitlength:
            raise IndexError("index out of range")
        return self._bytes[at // 8] >> (7 - at % 8) & 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BitString):
            return NotImplemented
        return (self._bytes, self._bitlength) == (other._bytes, other._bitlength)

    def __hash__(self) -> int:
        return hash((self._bytes, self._bitlength))

    def __repr__(self) -> str:
        return f"<BitString {self.as_string()}>"


# ---- geometric values ----

_Coordinate = SupportsFloat | SupportsIndex | str
_Coordinates = Sequence[float]


def _repr_of(value: tuple[Any, ...]) -> str:
    cls = type(value)
    return f"{cls.__module__}.{cls.__name__}({tuple.__repr__(value)})"


class Point(tuple[float, float]):
    """A value of type ``point``."""

    __slots__ = ()

    def __new__(cls, x: _Coordinate, y: _Coordinate) -> Point:
        return tuple.__new__(cls, (float(x), float(y)))

    @property
    def x(self) -> float:
        """The first coordinate."""
        return self[0]

    @property
    def y(self) -> float:
        """The second coordinate."""
        return self[1]

    def __getnewargs__(self) -> tuple[float, float]:
        return (self[0], self[1])

    __repr__ = _repr_of


class Box(tuple[Point, Point]):
    """A value of type ``box``: two opposite corners, the upper right one first."""

    __slots__ = ()

    def __new__(cls, high: _Coordinates, low: _Coordinates) -> Box:
        return tuple.__new__(cls, (Point(*high), Point(*low)))

    @property
    def high(self) -> Point:
        """The upper right corner."""
        return self[0]

    @property
    def low(self) -> Point:
        """The lower left corner."""
        return self[1]

    def __getnewargs__(self) -> tuple[Point, Point]:
        return (self[0], self[1])

    __repr__ = _repr_of


class Line(tuple[float, float, float]):
    """A value of type ``line``: the points where Ax + By + C = 0."""

    __slots__ = ()

    def __new__(cls, A: float, B: float, C: float) -> Line:  # noqa: N803
        return tuple.__new__(cls, (A, B, C))

    @property
    def A(self) -> float:  # noqa: N802
        """The factor of x."""
        return self[0]

    @property
    def B(self) -> float:  # noqa: N802
        """The factor of y."""
        return self[1]

    @property
    def C(self) -> float:  # noqa: N802
        """The constant."""
        return self[2]

    def __getnewargs__(self) -> tuple[float, float, float]:
        return (self[0], self[1], self[2])


class LineSegment(tuple[Point, Point]):
    """A value of type ``lseg``: two end points."""

    __slots__ = ()

    def __new__(cls, p1: _Coordinates, p2: _Coordinates) -> LineSegment:
        return tuple.__new__(cls, (Point(*p1), Point(*p2)))

    @property
    def p1(self) -> Point:
        """The first end point."""
        return self[0]

    @property
    def p2(self) -> Point:
        """The second end point."""
        return self[1]

    def __getnewargs__(self) -> tuple[Point, Point]:
        return (self[0], self[1])

    __repr__ = _repr_of


class Path:
    """A value of type ``path``: points in a row, whose ends are joined if it is closed."""

    __slots__ = ("_is_closed", "points")

    points: tuple[Point, ...]

    def __init__(self, *points: _Coordinates, is_closed: bool = False) -> None:
        self.points = tuple(Point(*point) for point in points)
        self._is_closed = is_closed

    @property
    def is_closed(self) -> bool:
        """Whether the last point is joined to the first."""
        return self._is_closed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Path):
            return NotImplemented
        return (self.points, self._is_closed) == (other.points, other._is_closed)

    def __hash__(self) -> int:
        return hash((self.points, self._is_closed))

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    @overload
    def __getitem__(self, i: int) -> Point: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Point, ...]: ...
    def __getitem__(self, i: int | slice) -> Point | tuple[Point, ...]:
        return self.points[i]

    def __contains__(self, point: object) -> bool:
        return point in self.points

    def __repr__(self) -> str:
        kind = "closed" if self._is_closed else "open"
        return f"<{type(self).__name__} {kind}: {', '.join(tuple.__repr__(point) for point in self.points)}>"


class Polygon(Path):
    """A value of type ``polygon``: a closed path."""

    __slots__ = ()

    def __init__(self, *points: _Coordinates) -> None:
        super().__init__(*points, is_closed=True)


class Circle(tuple[Point, float]):
    """A value of type ``circle``."""

    __slots__ = ()

    def __new__(cls, center: Point, radius: float) -> Circle:
        return tuple.__new__(cls, (center, radius))

    @property
    def center(self) -> Point:
        """Its middle."""
        return self[0]

    @property
    def radius(self) -> float:
        """The distance of its points from the middle."""
        return self[1]

    def __getnewargs__(self) -> tuple[Point, float]:
        return (self[0], self[1])
