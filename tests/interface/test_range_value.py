"""Range, the value of a range type: asyncpg's properties, and the order of sets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holisticpool import Range

BOUNDS = st.none() | st.integers(-3, 3)
# Between and beyond all bounds, so that ranges with the same points are the same set.
POINTS = [n / 2 for n in range(-9, 10)]


@st.composite
def ranges(draw: st.DrawFn) -> Range[Any]:
    lower, upper = draw(BOUNDS), draw(BOUNDS)
    if lower is not None and upper is not None and lower > upper:
        lower, upper = upper, lower
    if draw(st.booleans()) and draw(st.booleans()):
        return Range(empty=True)
    lower_inc, upper_inc = draw(st.booleans()), draw(st.booleans())
    if lower is not None and lower == upper:
        lower_inc = upper_inc = True
    return Range(lower, upper, lower_inc=lower_inc, upper_inc=upper_inc)


def points(value: Range[Any]) -> set[float]:
    def inside(point: float) -> bool:
        if value.isempty:
            return False
        above = value.lower is None or point > value.lower or (value.lower_inc and point == value.lower)
        below = value.upper is None or point < value.upper or (value.upper_inc and point == value.upper)
        return above and below

    return {point for point in POINTS if inside(point)}


@given(ranges(), ranges())
def test_subset_and_superset_are_those_of_the_points(one: Range[Any], other: Range[Any]) -> None:
    assert one.issubset(other) == (points(one) <= points(other))
    assert one.issuperset(other) == (points(one) >= points(other))


@given(ranges(), ranges())
def test_equal_ranges_have_equal_hashes(one: Range[Any], other: Range[Any]) -> None:
    assert (one == other) == (repr(one) == repr(other))
    if one == other:
        assert hash(one) == hash(other)


def test_default_bounds_are_those_of_postgresql() -> None:
    value = Range(1, 5)
    assert (value.lower, value.upper, value.lower_inc, value.upper_inc) == (1, 5, True, False)
    assert not (value.lower_inf or value.upper_inf or value.isempty)


def test_missing_bound_is_infinite_and_not_included() -> None:
    value: Range[int] = Range(None, None, lower_inc=True, upper_inc=True)
    assert value.lower_inf and value.upper_inf
    assert not value.lower_inc and not value.upper_inc


def test_empty_range_forgets_its_bounds() -> None:
    value = Range(1, 5, empty=True)
    assert value == Range(empty=True)
    assert value.isempty and not value
    assert value.lower is None and value.upper is None
    assert not value.lower_inf and not value.upper_inf


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Range(1, 5), "<Range [1, 5)>"),
        (Range(1, 5, lower_inc=False, upper_inc=True), "<Range (1, 5]>"),
        (Range(None, 5), "<Range (, 5)>"),
        (Range(1), "<Range [1, )>"),
        (Range(empty=True), "<Range empty>"),
    ],
)
def test_repr_is_postgresqls_notation(value: Range[Any], text: str) -> None:
    assert repr(value) == text


def test_range_is_no_other_value() -> None:
    assert Range(1, 5) != (1, 5)


def test_range_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Range(1, 5).lower = 3  # type: ignore[misc]
