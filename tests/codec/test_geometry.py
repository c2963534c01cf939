"""The geometric types: classes, what is accepted for them, both formats."""

from __future__ import annotations

import copy
import pickle
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import Box, Circle, Line, LineSegment, Path, Point, Polygon, _core

numbers = st.floats(allow_nan=False)
pairs = st.tuples(numbers, numbers)
points = pairs.map(lambda pair: Point(*pair))

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "POINT": points,
    "LINE": st.builds(Line, numbers, numbers, numbers),
    "LSEG": st.builds(LineSegment, points, points),
    "BOX": st.builds(Box, points, points),
    "PATH": st.builds(
        lambda items, closed: Path(*items, is_closed=closed), st.lists(points, min_size=1), st.booleans()
    ),
    "POLYGON": st.builds(lambda items: Polygon(*items), st.lists(points)),
    "CIRCLE": st.builds(Circle, points, numbers),
}


def shown(point: Any) -> str:
    return f"({point[0]!r},{point[1]!r})"


def literal(value: Any) -> str:
    """As the server prints it."""
    if isinstance(value, Point):
        return shown(value)
    if isinstance(value, Line):
        return f"{{{value.A!r},{value.B!r},{value.C!r}}}"
    if isinstance(value, LineSegment):
        return f"[{shown(value.p1)},{shown(value.p2)}]"
    if isinstance(value, Box):
        return f"{shown(value.high)},{shown(value.low)}"
    if isinstance(value, Circle):
        return f"<{shown(value.center)},{value.radius!r}>"
    inner = ",".join(map(shown, value))
    return f"({inner})" if value.is_closed else f"[{inner}]"


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right) and repr(left) == repr(right)


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_value_returns_in_both_formats_and_in_arrays(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    oid, array = OIDS[name], OIDS[f"{name}_ARRAY"]
    assert same(_core.decode(oid, _core.encode(oid, value)), value)
    assert same(_core.decode_text(oid, literal(value).encode()), value)
    assert same(_core.decode(array, _core.encode(array, [value, None])), [value, None])


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_value_can_be_copied_pickled_and_hashed(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert same(other, value)
        assert hash(other) == hash(value)


@pytest.mark.parametrize(
    ("name", "given_", "value"),
    [
        ("POINT", [True, 2], Point(1, 2)),
        ("POINT", (1, 2.5), Point(1, 2.5)),
        ("LINE", [1, 2, 3], Line(1.0, 2.0, 3.0)),
        ("LSEG", ((1, 2), [3, 4]), LineSegment((1, 2), (3, 4))),
        ("BOX", [(3, 4), (1, 2)], Box((3, 4), (1, 2))),
        ("CIRCLE", ((1, 2), 3), Circle(Point(1, 2), 3.0)),
        ("PATH", ((1, 2), (3, 4)), Path((1, 2), (3, 4), is_closed=True)),
        ("PATH", [(1, 2), (3, 4)], Path((1, 2), (3, 4))),
        ("PATH", Polygon((1, 2)), Path((1, 2), is_closed=True)),
        ("POLYGON", [(1, 2), (3, 4)], Polygon((1, 2), (3, 4))),
        ("POLYGON", Path((1, 2)), Polygon((1, 2))),
        ("POLYGON", (), Polygon()),
    ],
)
def test_sequences_of_numbers_are_taken(name: str, given_: Any, value: Any) -> None:
    assert same(_core.decode(OIDS[name], _core.encode(OIDS[name], given_)), value)


@pytest.mark.parametrize(
    ("name", "value", "error", "reason"),
    [
        ("POINT", "(1,2)", TypeError, "a point of two numbers is required, got str"),
        ("POINT", 5, TypeError, "a point of two numbers is required, got int"),
        ("POINT", {1: 2, 3: 4}, TypeError, "a point of two numbers is required, got dict"),
        ("POINT", (1, 2, 3), ValueError, "a point of two numbers is required, got 3 elements"),
        ("POINT", (1, "2"), TypeError, "a float is required, got str"),
        ("LINE", (1, 2), ValueError, "a line of three numbers is required, got 2 elements"),
        ("BOX", (1, 2), TypeError, "a point of two numbers is required, got int"),
        ("LSEG", ((1, 2),), ValueError, "a pair of points is required, got 1 elements"),
        ("CIRCLE", (1, 2, 3), ValueError, "a pair of center and radius is required, got 3 elements"),
        ("PATH", 5, TypeError, "a sequence of points is required, got int"),
        ("POLYGON", [(1, 2), None], TypeError, "a point of two numbers is required, got NoneType"),
    ],
)
def test_other_shapes_are_refused(name: str, value: Any, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=f"^{reason}$"):
        _core.encode(OIDS[name], value)


def test_array_of_paths_takes_its_lists_for_dimensions() -> None:
    oid = OIDS["PATH_ARRAY"]
    value = [[Path((1, 2)), Path((3, 4))], [Path((5, 6)), None]]
    assert _core.decode(oid, _core.encode(oid, value)) == value


def test_values_know_their_parts() -> None:
    box, segment, circle = Box((3, 4), (1, 2)), LineSegment((1, 2), (3, 4)), Circle(Point(1, 2), 3.0)
    assert (box.high.x, box.high.y, box.low) == (3, 4, (1, 2))
    assert (segment.p1, segment.p2) == ((1, 2), (3, 4))
    assert (circle.center, circle.radius) == ((1, 2), 3)
    assert (Line(1, 2, 3).A, Line(1, 2, 3).B, Line(1, 2, 3).C) == (1, 2, 3)
    path = Path((1, 2), (3, 4))
    assert list(path) == [path[0], path[1]] == list(path[:]) and len(path) == 2 and (1, 2) in path
    assert not path.is_closed and Polygon((1, 2)).is_closed
    assert path != Path((1, 2), (3, 4), is_closed=True)
    assert path != ((1, 2), (3, 4))


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("POINT", b"\0" * 15),
        ("LINE", b"\0" * 25),
        ("BOX", b"\0" * 31),
        ("LSEG", b""),
        ("CIRCLE", b"\0" * 16),
        ("POLYGON", struct.pack(">i", 1)),
        ("POLYGON", struct.pack(">i", -1)),
        ("POLYGON", struct.pack(">idd", 0, 1, 2)),
        ("POLYGON", struct.pack(">i", 2**31 - 1)),
        ("PATH", b""),
        ("PATH", b"\1\0\0\0"),
        ("PATH", struct.pack(">bidd", 1, 1, 1, 2) + b"x"),
    ],
)
def test_malformed_field_is_refused(name: str, wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed "):
        _core.decode(OIDS[name], wire)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("POINT", "(1,2"),
        ("POINT", "1,2"),
        ("POINT", "(1,2)x"),
        ("POINT", "(1,)"),
        ("POINT", "(1,2,3)"),
        ("LINE", "{1,2}"),
        ("BOX", "(1,2);(3,4)"),
        ("LSEG", "[(1,2)]"),
        ("CIRCLE", "<(1,2),x>"),
        ("PATH", "[(1,2))"),
        ("PATH", "[(1,2),]"),
        ("PATH", "[(1,2)(3,4)]"),
        ("PATH", "["),
        ("PATH", ""),
        ("POLYGON", "[(1,2)]"),
    ],
)
def test_malformed_text_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="malformed "):
        _core.decode_text(OIDS[name], text.encode())
