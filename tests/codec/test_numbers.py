"""bool, integers, floats and "char": exact both ways, in range or refused."""

from __future__ import annotations

import enum
import ipaddress
import math
import struct
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

# name: struct format, smallest, largest, what the error calls the range
INTEGERS = {
    "INT2": (">h", -(2**15), 2**15 - 1, "int16"),
    "INT4": (">i", -(2**31), 2**31 - 1, "int32"),
    "INT8": (">q", -(2**63), 2**63 - 1, "int64"),
    "OID": (">I", 0, 2**32 - 1, "uint32"),
    "XID": (">I", 0, 2**32 - 1, "uint32"),
    "CID": (">I", 0, 2**32 - 1, "uint32"),
    "XID8": (">Q", 0, 2**64 - 1, "uint64"),
    "PG_LSN": (">q", -(2**63), 2**63 - 1, "int64"),
}


class Index:
    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class OnlyInt:
    def __int__(self) -> int:
        return 1


class Colour(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize("name", INTEGERS)
@given(data=st.data())
def test_integer_has_the_wire_form_of_its_width_and_returns(name: str, data: st.DataObject) -> None:
    form, low, high, _ = INTEGERS[name]
    value = data.draw(st.integers(low, high))
    wire = _core.encode(OIDS[name], value)
    assert wire == struct.pack(form, value)
    assert _core.decode(OIDS[name], wire) == value


@pytest.mark.parametrize("name", [name for name in INTEGERS if name != "PG_LSN"])
@given(data=st.data())
def test_integer_is_read_from_text(name: str, data: st.DataObject) -> None:
    _, low, high, _ = INTEGERS[name]
    value = data.draw(st.integers(low, high))
    assert _core.decode_text(OIDS[name], str(value).encode()) == value


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_limits_are_taken_and_one_beyond_is_refused(name: str) -> None:
    form, low, high, called = INTEGERS[name]
    for value in (low, high):
        assert _core.encode(OIDS[name], value) == struct.pack(form, value)
    for value in (low - 1, high + 1, 10**40, -(10**40)):
        with pytest.raises(OverflowError, match=f"^value out of {called} range$"):
            _core.encode(OIDS[name], value)


@pytest.mark.parametrize("name", [name for name in INTEGERS if name != "PG_LSN"])
def test_integer_text_beyond_the_limits_is_malformed(name: str) -> None:
    _, low, high, _ = INTEGERS[name]
    for text in (str(low - 1), str(high + 1), "", "-", "+1", "1.0", "0x1", " 1", "1 ", "1" * 60, "--1"):
        with pytest.raises(ValueError, match="malformed"):
            _core.decode_text(OIDS[name], text.encode())


@pytest.mark.parametrize("value", [Index(5), True, Colour.RED, 5])
def test_integer_is_taken_from_whatever_has_index(value: Any) -> None:
    assert _core.decode(OIDS["INT4"], _core.encode(OIDS["INT4"], value)) == value.__index__()


@pytest.mark.parametrize("value", [1.0, Decimal("1"), Decimal("1.00"), Decimal("0.1E1")])
def test_number_that_is_whole_is_taken_as_an_integer(value: Any) -> None:
    for name in ("INT2", "INT4", "INT8", "OID", "XID8", "PG_LSN"):
        assert _core.encode(OIDS[name], value) == _core.encode(OIDS[name], 1)


@pytest.mark.parametrize(
    "value",
    [1.5, math.nan, math.inf, Decimal("1.5"), Decimal("NaN"), Decimal("Infinity"), Fraction(1, 2), OnlyInt(), 1j]
    + ["1", b"1", [1], object(), uuid.UUID(int=1), ipaddress.ip_address(1)],
)
def test_integer_is_never_made_from_what_is_not_equal_to_one(value: Any) -> None:
    with pytest.raises(TypeError, match=f"^an integer is required, got .*{type(value).__name__}$"):
        _core.encode(OIDS["INT4"], value)


@given(st.integers(0, 2**64 - 1))
def test_lsn_is_read_from_its_two_halves(value: int) -> None:
    signed = value - 2**64 if value >= 2**63 else value
    text = f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"
    assert _core.decode_text(OIDS["PG_LSN"], text.encode()) == signed


@pytest.mark.parametrize("text", ["", "/", "1/", "/1", "1", "G/0", "123456789/0", "0/123456789", "1/2/3"])
def test_lsn_text_without_two_hexadecimal_numbers_is_malformed(text: str) -> None:
    with pytest.raises(ValueError, match="malformed pg_lsn"):
        _core.decode_text(OIDS["PG_LSN"], text.encode())


@pytest.mark.parametrize("value", [True, False])
def test_bool_returns(value: bool) -> None:
    assert _core.decode(OIDS["BOOL"], _core.encode(OIDS["BOOL"], value)) is value
    assert _core.decode_text(OIDS["BOOL"], b"t" if value else b"f") is value


@pytest.mark.parametrize("value", [0, 1, "t", 1.0])
def test_bool_is_taken_from_bool_only(value: Any) -> None:
    with pytest.raises(TypeError, match=f"^a boolean is required, got {type(value).__name__}$"):
        _core.encode(OIDS["BOOL"], value)


@given(st.floats())
def test_float8_returns_bit_for_bit(value: float) -> None:
    wire = _core.encode(OIDS["FLOAT8"], value)
    assert struct.pack(">d", _core.decode(OIDS["FLOAT8"], wire)) == wire
    if not math.isnan(value):
        assert _core.decode_text(OIDS["FLOAT8"], repr(value).encode()) == value


@given(st.floats(width=32))
def test_float4_returns(value: float) -> None:
    result = _core.decode(OIDS["FLOAT4"], _core.encode(OIDS["FLOAT4"], value))
    assert result == value or (math.isnan(result) and math.isnan(value))


def test_float_text_has_the_words_of_the_server() -> None:
    for name in ("FLOAT4", "FLOAT8"):
        assert _core.decode_text(OIDS[name], b"Infinity") == math.inf
        assert _core.decode_text(OIDS[name], b"-Infinity") == -math.inf
        assert math.isnan(_core.decode_text(OIDS[name], b"NaN"))


def test_float4_from_text_is_the_value_that_binary_gives() -> None:
    binary = _core.decode(OIDS["FLOAT4"], _core.encode(OIDS["FLOAT4"], 1.1))
    assert _core.decode_text(OIDS["FLOAT4"], b"1.1") == binary == 1.100000023841858


@pytest.mark.parametrize("value", [1, True, Index(1), Decimal("1"), Fraction(1)])
def test_float_is_taken_from_real_numbers(value: Any) -> None:
    assert _core.decode(OIDS["FLOAT8"], _core.encode(OIDS["FLOAT8"], value)) == 1.0


@pytest.mark.parametrize("value", ["1", b"1", None.__class__, 1j, [1.0]])
def test_float_refuses_what_is_no_real_number(value: Any) -> None:
    with pytest.raises(TypeError, match="^a float is required, got "):
        _core.encode(OIDS["FLOAT8"], value)


def test_float_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(OverflowError, match="^value out of float32 range$"):
        _core.encode(OIDS["FLOAT4"], 1e39)
    with pytest.raises(OverflowError):
        _core.encode(OIDS["FLOAT8"], 10**400)


@given(st.binary(min_size=1, max_size=1))
def test_char_is_one_byte_and_returns(value: bytes) -> None:
    assert _core.decode(OIDS["CHAR"], _core.encode(OIDS["CHAR"], value)) == value


def test_char_is_read_from_every_text_form() -> None:
    assert _core.decode_text(OIDS["CHAR"], b"") == b"\0"
    assert _core.decode_text(OIDS["CHAR"], b"x") == b"x"
    assert _core.decode_text(OIDS["CHAR"], b"\\377") == b"\xff"


def test_char_refuses_other_lengths_and_text() -> None:
    for value in (b"", b"ab"):
        with pytest.raises(ValueError, match=f"^one byte is required, got {len(value)}$"):
            _core.encode(OIDS["CHAR"], value)
    with pytest.raises(TypeError, match="^a bytes-like object is required, got str$"):
        _core.encode(OIDS["CHAR"], "a")


def test_exception_of_index_reaches_the_caller() -> None:
    class Broken:
        def __index__(self) -> int:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _core.encode(OIDS["INT4"], Broken())
