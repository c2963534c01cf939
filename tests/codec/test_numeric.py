"""numeric <-> Decimal: exact, scale kept, limits of the server refused before anything is sent."""

from __future__ import annotations

import decimal
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

NUMERIC = OIDS["NUMERIC"]


def decimals() -> st.SearchStrategy[Decimal]:
    digits = st.lists(st.integers(0, 9), min_size=1, max_size=60)
    return st.builds(
        lambda sign, digits, exponent: Decimal((sign, tuple(digits), exponent)),
        st.integers(0, 1),
        digits,
        st.integers(-80, 40),
    )


def as_the_server_has_it(value: Decimal) -> Decimal:
    """No negative zero, no positive exponent."""
    text = format(value, "f")
    return Decimal(text) if value else Decimal(text.lstrip("-"))


def same(left: Decimal, right: Decimal) -> bool:
    return left.as_tuple() == right.as_tuple()


@given(decimals())
def test_finite_value_returns_with_its_scale(value: Decimal) -> None:
    assert same(_core.decode(NUMERIC, _core.encode(NUMERIC, value)), as_the_server_has_it(value))


@given(decimals())
def test_text_gives_the_same_object_as_binary(value: Decimal) -> None:
    expected = as_the_server_has_it(value)
    assert same(_core.decode_text(NUMERIC, format(expected, "f").encode()), expected)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_special_values_return(text: str) -> None:
    result = _core.decode(NUMERIC, _core.encode(NUMERIC, Decimal(text)))
    assert str(result) == text == str(_core.decode_text(NUMERIC, text.encode()))


@pytest.mark.parametrize("text", ["sNaN", "-NaN", "NaN123"])
def test_every_nan_is_sent_as_the_one_that_the_server_has(text: str) -> None:
    assert _core.encode(NUMERIC, Decimal(text)) == _core.encode(NUMERIC, Decimal("NaN"))


@pytest.mark.parametrize(
    ("value", "groups", "weight", "sign", "scale"),
    [
        ("0", [], 0, 0, 0),
        ("0.00", [], 0, 0, 2),
        ("1", [1], 0, 0, 0),
        ("-1.5", [1, 5000], 0, 0x4000, 1),
        ("12345.678", [1, 2345, 6780], 1, 0, 3),
        ("0.0001", [1], -1, 0, 4),
        ("0.00001", [1000], -2, 0, 5),
        ("1E+4", [1], 1, 0, 0),
        ("1E+5", [10], 1, 0, 0),
    ],
)
def test_wire_form(value: str, groups: list[int], weight: int, sign: int, scale: int) -> None:
    expected = struct.pack(f">HhHH{len(groups)}H", len(groups), weight, sign, scale, *groups)
    assert _core.encode(NUMERIC, Decimal(value)) == expected


def test_largest_values_of_the_server_return() -> None:
    for value in (Decimal("9" * 131072 + "." + "7" * 16383), Decimal("1E-16383"), Decimal("1E+131071")):
        assert _core.decode(NUMERIC, _core.encode(NUMERIC, value)) == value


@pytest.mark.parametrize("text", ["1E-16384", "0E-16384", "1E-999999", "1E-99999999999999999"])
def test_more_digits_after_the_point_than_the_server_takes_are_refused(text: str) -> None:
    with decimal.localcontext(decimal.Context(Emin=decimal.MIN_EMIN, prec=decimal.MAX_PREC)):
        with pytest.raises(ValueError, match="16383 digits after the decimal point"):
            _core.encode(NUMERIC, Decimal(text))


@pytest.mark.parametrize("text", ["1E+131072", "1E+999999", "9E+99999999999999999", "1" * 131073])
def test_more_digits_before_the_point_than_the_server_takes_are_refused(text: str) -> None:
    with pytest.raises(OverflowError, match="131072 digits before the decimal point"):
        _core.encode(NUMERIC, Decimal(text))


@pytest.mark.parametrize("value", [5, -5, True, 1.1, "1.50", (0, (1, 2), -1), Decimal("7")])
def test_whatever_decimal_takes_is_taken(value: Any) -> None:
    assert _core.decode(NUMERIC, _core.encode(NUMERIC, value)) == Decimal(value)


def test_integer_beyond_the_interpreters_limit_for_text_is_taken() -> None:
    assert _core.decode(NUMERIC, _core.encode(NUMERIC, 10**5000)) == 10**5000


@pytest.mark.parametrize("value", ["abc", "", "1,5", "--1"])
def test_text_that_is_no_number_is_a_value_error(value: str) -> None:
    with pytest.raises(ValueError, match="^not a decimal number$"):
        _core.encode(NUMERIC, value)


@pytest.mark.parametrize("value", [b"1", object(), 1j, {}])
def test_object_that_is_no_number_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="^a Decimal or another number is required, got "):
        _core.encode(NUMERIC, value)


def test_decimal_context_has_no_influence() -> None:
    value = Decimal("1234567890.1234567890")
    with decimal.localcontext(decimal.Context(prec=2, capitals=0, Emax=1, Emin=-1)):
        assert same(_core.decode(NUMERIC, _core.encode(NUMERIC, value)), value)
        assert _core.decode(NUMERIC, _core.encode(NUMERIC, Decimal("1E+3"))) == 1000


def test_subclass_is_encoded_by_value_not_by_its_str() -> None:
    class Money(Decimal):
        def __str__(self) -> str:
            return "a lot"

    assert _core.decode(NUMERIC, _core.encode(NUMERIC, Money("1.50"))) == Decimal("1.50")


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\0" * 7,
        struct.pack(">HhHH", 1, 0, 0, 0),
        struct.pack(">HhHHH", 0, 0, 0, 0, 1),
        struct.pack(">HhHHH", 1, 0, 0, 0, 10000),
        struct.pack(">HhHH", 0, 0, 0x1234, 0),
        struct.pack(">HhHH", 0, 0, 0, 0x4000),
    ],
)
def test_malformed_field_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed numeric"):
        _core.decode(NUMERIC, wire)


@given(st.integers(0, 6), st.integers(-32768, 32767), st.integers(0, 0x3FFF), st.data())
def test_any_well_formed_field_is_read(ngroups: int, weight: int, scale: int, data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.integers(0, 9999), min_size=ngroups, max_size=ngroups))
    wire = struct.pack(f">HhHH{ngroups}H", ngroups, weight, 0x4000, scale, *groups)
    result = _core.decode(NUMERIC, wire)
    assert result.as_tuple().exponent == -scale
