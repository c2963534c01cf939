"""BitString, the value of bit and varbit, and its codec in both formats."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import BitString, _core

VARBIT = OIDS["VARBIT"]

digits = st.text(st.sampled_from("01"), max_size=70)
orders = st.sampled_from(["big", "little"])


# ---- the value ----


@given(digits)
def test_sequence_of_the_digits_it_was_made_of(text: str) -> None:
    value = BitString(text)
    assert [value[i] for i in range(len(value))] == [int(digit) for digit in text] == list(value)
    assert [value[i] for i in range(-len(value), 0)] == list(value)
    assert value.as_string().replace(" ", "") == text
    assert (
        value == BitString(value.as_string()) == BitString(list(value)) == BitString.frombytes(value.bytes, len(text))
    )
    assert hash(value) == hash(BitString(text))
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value


@given(st.integers(0, 2**70), st.integers(0, 80), orders)
def test_unsigned_number_returns_or_is_too_big(number: int, length: int, order: Literal["big", "little"]) -> None:
    if number.bit_length() > length:
        with pytest.raises(OverflowError):
            BitString.from_int(number, length, order)
    else:
        value = BitString.from_int(number, length, order)
        assert len(value) == length
        assert value.to_int(order) == number


@given(st.integers(-(2**31), 2**31 - 1), orders)
def test_signed_number_returns(number: int, order: Literal["big", "little"]) -> None:
    assert BitString.from_int(number, 32, order, signed=True).to_int(order, signed=True) == number


def test_big_order_is_that_of_postgresqls_casts() -> None:
    assert BitString.from_int(5, 8).as_string() == "0000 0101"
    assert BitString.from_int(5, 8, "little").as_string() == "1010 0000"
    assert repr(BitString("10101")) == "<BitString 1010 1>"


@pytest.mark.parametrize("text", ["x", "012", "1-1", "1\t0"])
def test_other_characters_are_refused_by_position(text: str) -> None:
    with pytest.raises(ValueError, match="invalid bit value at position"):
        BitString(text)


@pytest.mark.parametrize(("data", "bits"), [(b"\xff", 9), (b"\xff", 0), (b"", 5), (b"\xff\xff", 8), (b"\xff\xff", 17)])
def test_bytes_that_do_not_fit_the_length_are_refused(data: bytes, bits: int) -> None:
    with pytest.raises(ValueError, match="invalid bit length"):
        BitString.frombytes(data, bits)


@pytest.mark.parametrize(
    ("data", "bits"), [(None, None), (None, 0), (None, 8), (None, 9), (b"\xf0", None), (b"\xf0", 5)]
)
def test_length_of_bytes_is_all_their_bits_unless_given(data: bytes | None, bits: int | None) -> None:
    value = BitString.frombytes(data, bits)
    assert len(value) == (8 * len(data or b"") if bits is None else bits)
    assert len(value.bytes) == (len(value) + 7) // 8


def test_what_a_bit_string_has_not() -> None:
    value: Any = BitString("101")
    with pytest.raises(NotImplementedError):
        value[0:1]
    for i in (3, -4):
        with pytest.raises(IndexError):
            value[i]
    with pytest.raises(OverflowError):
        BitString.from_int(-1, 8)
    with pytest.raises(ValueError, match="non-negative"):
        BitString.from_int(0, -1)
    with pytest.raises(ValueError, match="bitorder"):
        value.to_int("middle")
    assert value != "101"


# ---- the codec ----


@given(digits)
def test_bits_return_in_both_formats(text: str) -> None:
    value = BitString(text)
    wire = _core.encode(VARBIT, value)
    assert wire is not None and wire[:4] == len(text).to_bytes(4, "big")
    assert _core.decode(VARBIT, wire) == value == _core.decode_text(VARBIT, text.encode())


@pytest.mark.parametrize("data", [b"\xf0\x01", bytearray(b"\xf0\x01"), memoryview(b"\xf0\x01")])
def test_bytes_are_all_their_bits(data: Any) -> None:
    assert _core.decode(OIDS["BIT"], _core.encode(OIDS["BIT"], data)) == BitString.frombytes(b"\xf0\x01")


def test_array_of_bits() -> None:
    value = [BitString("1"), None, BitString("")]
    oid = OIDS["VARBIT_ARRAY"]
    assert _core.decode(oid, _core.encode(oid, value)) == value
    assert _core.decode_text(oid, b'{1,NULL,""}') == value


@pytest.mark.parametrize("value", ["101", 5, [1, 0, 1]])
def test_other_objects_are_no_bits(value: Any) -> None:
    with pytest.raises(TypeError, match="^a BitString or a bytes-like object is required, got "):
        _core.encode(VARBIT, value)


@pytest.mark.parametrize("wire", [b"", b"\0\0\0", b"\0\0\0\1", b"\0\0\0\1\0\0", b"\0\0\0\11\0", b"\xff\xff\xff\xff"])
def test_malformed_field_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed bit varying"):
        _core.decode(VARBIT, wire)


def test_malformed_text_is_refused() -> None:
    with pytest.raises(ValueError, match="malformed bit varying"):
        _core.decode_text(VARBIT, b"102")
