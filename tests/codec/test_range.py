"""Ranges and multiranges: what is accepted for them, both formats, arrays of them."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import Range, _core

UTC = dt.timezone.utc
RANGE, MULTIRANGE = OIDS["INT4RANGE"], OIDS["INT4MULTIRANGE"]

BOUNDS: dict[str, st.SearchStrategy[Any]] = {
    "INT4": st.integers(-(2**31), 2**31 - 1),
    "INT8": st.integers(-(2**63), 2**63 - 1),
    "NUM": st.integers(-(10**20), 10**20).map(lambda n: Decimal(n).scaleb(-3)) | st.just(Decimal("Infinity")),
    "DATE": st.dates(),
    "TS": st.datetimes().map(lambda value: value.replace(fold=0)),
    "TSTZ": st.datetimes(dt.datetime(2, 1, 1)).map(lambda value: value.replace(tzinfo=UTC, fold=0)),
}


def ranges(bounds: st.SearchStrategy[Any]) -> st.SearchStrategy[Range[Any]]:
    some = st.none() | bounds
    made = st.builds(Range, some, some, lower_inc=st.booleans(), upper_inc=st.booleans())
    return made | st.just(Range(empty=True))


def literal(value: Range[Any]) -> str:
    """As range_out() prints it, with every bound in quotes."""
    if value.isempty:
        return "empty"
    lower = "" if value.lower is None else f'"{value.lower}"'
    upper = "" if value.upper is None else f'"{value.upper}"'
    return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right) and repr(left) == repr(right)


@pytest.mark.parametrize("name", BOUNDS)
@given(data=st.data())
def test_range_returns_in_binary_form_and_in_arrays(name: str, data: st.DataObject) -> None:
    value = data.draw(ranges(BOUNDS[name]))
    oid, array = OIDS[f"{name}RANGE"], OIDS[f"{name}RANGE_ARRAY"]
    assert same(_core.decode(oid, _core.encode(oid, value)), value)
    assert same(_core.decode(array, _core.encode(array, [[value], [None]])), [[value], [None]])


@pytest.mark.parametrize("name", BOUNDS)
@given(data=st.data())
def test_multirange_returns_in_binary_form_and_in_arrays(name: str, data: st.DataObject) -> None:
    value = data.draw(st.lists(ranges(BOUNDS[name])))
    oid, array = OIDS[f"{name}MULTIRANGE"], OIDS[f"{name}MULTIRANGE_ARRAY"]
    assert same(_core.decode(oid, _core.encode(oid, value)), value)
    assert same(_core.decode(oid, _core.encode(oid, tuple(value))), value)
    assert same(_core.decode(array, _core.encode(array, [value, None])), [value, None])


@pytest.mark.parametrize("name", ["INT4", "INT8", "NUM"])
@given(data=st.data())
def test_text_forms_are_read(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(ranges(BOUNDS[name])))
    for value in values:
        assert same(_core.decode_text(OIDS[f"{name}RANGE"], literal(value).encode()), value)
    text = "{" + ",".join(map(literal, values)) + "}"
    assert same(_core.decode_text(OIDS[f"{name}MULTIRANGE"], text.encode()), values)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1,5)", Range(1, 5)),
        ("(1,5]", Range(1, 5, lower_inc=False, upper_inc=True)),
        ("(,)", Range(None, None, lower_inc=False)),
        ("[,5)", Range(None, 5)),
        ('["1",\\5)', Range(1, 5)),
        ('[1"2"3,"4"5)', Range(123, 45)),
        ("empty", Range(empty=True)),
    ],
)
def test_literal_is_read(text: str, value: Range[int]) -> None:
    assert same(_core.decode_text(RANGE, text.encode()), value)


def test_wire_form() -> None:
    assert _core.encode(RANGE, Range(1, 5)) == b"\2" + struct.pack(">iiii", 4, 1, 4, 5)
    assert _core.encode(RANGE, Range(None, 5, upper_inc=True)) == b"\x0c" + struct.pack(">ii", 4, 5)
    assert _core.encode(RANGE, Range(empty=True)) == b"\1"
    assert _core.encode(MULTIRANGE, [Range(empty=True)]) == struct.pack(">iib", 1, 1, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((), Range(empty=True)),
        ((1,), Range(1)),
        ([1, 5], Range(1, 5, upper_inc=True)),
        ((None, 5), Range(None, 5, upper_inc=True)),
        ([1, None], Range(1)),
        ((None, None), Range(lower_inc=False)),
    ],
)
def test_sequence_of_bounds_includes_them(value: Any, expected: Range[int]) -> None:
    assert same(_core.decode(RANGE, _core.encode(RANGE, value)), expected)
    assert same(_core.decode(MULTIRANGE, _core.encode(MULTIRANGE, [value])), [expected])


@pytest.mark.parametrize(
    ("oid", "value", "error", "reason"),
    [
        (RANGE, "[1,5)", TypeError, "a Range, list or tuple is required, got str"),
        (RANGE, {1, 2}, TypeError, "a Range, list or tuple is required, got set"),
        (RANGE, (1, 2, 3), ValueError, r"expected 0, 1 or 2 elements in range \(got 3\)"),
        (RANGE, Range(1, 2**31), OverflowError, "value out of int32 range"),
        (RANGE, Range("a", "b"), TypeError, "an integer is required, got str"),
        (MULTIRANGE, "{}", TypeError, "a sequence of ranges is required, got str"),
        (MULTIRANGE, Range(1, 2), TypeError, "a sequence of ranges is required, got Range"),
        (MULTIRANGE, [None], TypeError, "a Range, list or tuple is required, got NoneType"),
    ],
)
def test_other_values_are_refused(oid: int, value: Any, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=f"^{reason}$"):
        _core.encode(oid, value)


def test_array_of_multiranges_takes_lists_of_ranges_for_its_elements() -> None:
    oid = OIDS["INT4MULTIRANGE_ARRAY"]
    flat: list[Any] = [[Range(1, 2), Range(3, 4)], [], None, [Range(5, 6)]]
    deep: list[Any] = [[[Range(1, 2)], [Range(3, 4)]], [None, []]]
    for value in (flat, deep):
        assert _core.decode(oid, _core.encode(oid, value)) == value


@pytest.mark.parametrize(
    ("oid", "wire"),
    [
        (RANGE, b""),
        (RANGE, b"\2"),
        (RANGE, b"\2\0\0\0\4\0\0\0\1"),
        (RANGE, b"\1x"),
        (RANGE, b"\2" + struct.pack(">iiii", 4, 1, 5, 5)),
        (RANGE, b"\2" + struct.pack(">ii", -1, -1)),
        (MULTIRANGE, b""),
        (MULTIRANGE, struct.pack(">i", -1)),
        (MULTIRANGE, struct.pack(">i", 2**31 - 1)),
        (MULTIRANGE, struct.pack(">ii", 1, 5)),
        (MULTIRANGE, struct.pack(">ii", 1, -1)),
        (MULTIRANGE, struct.pack(">i", 0) + b"x"),
    ],
)
def test_malformed_field_is_refused(oid: int, wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed int4"):
        _core.decode(oid, wire)


@pytest.mark.parametrize(
    ("oid", "text"),
    [(RANGE, text) for text in ["", "1,5", "[1,5", "[1)", "[1,2,3)", "[1,5)x", '["1,5)', "[1,5\\", "emptyx", "[x,5)"]]
    + [
        (MULTIRANGE, text)
        for text in ["", "[1,5)", "{", "{[1,5)", "{[1,5),}", "{[1,5)[6,7)}", "{}x", "{[1,5)}}", "{,}"]
    ],
)
def test_malformed_text_is_refused(oid: int, text: str) -> None:
    with pytest.raises(ValueError, match="malformed "):
        _core.decode_text(oid, text.encode())
