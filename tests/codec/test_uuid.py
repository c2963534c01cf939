"""uuid <-> uuid.UUID."""

from __future__ import annotations

import copy
import pickle
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

UUID = OIDS["UUID"]


@given(st.uuids())
def test_uuid_returns_in_both_formats(value: uuid.UUID) -> None:
    wire = _core.encode(UUID, value)
    assert wire == value.bytes
    assert _core.decode(UUID, wire) == value
    assert _core.decode_text(UUID, str(value).encode()) == value


@given(st.binary(min_size=16, max_size=16))
def test_result_is_a_uuid_like_any_other(data: bytes) -> None:
    result = _core.decode(UUID, data)
    expected = uuid.UUID(bytes=data)
    assert type(result) is uuid.UUID
    assert (str(result), hash(result), result.is_safe) == (str(expected), hash(expected), expected.is_safe)
    assert pickle.loads(pickle.dumps(result)) == expected
    assert copy.deepcopy(result) == expected


@given(st.uuids())
def test_text_is_taken_with_and_without_hyphens(value: uuid.UUID) -> None:
    for text in (str(value), value.hex, str(value).upper()):
        assert _core.encode(UUID, text) == value.bytes


class LookAlike:
    bytes = b"0123456789abcdef"


class Child(uuid.UUID):
    pass


@pytest.mark.parametrize("value", [LookAlike(), Child(bytes=b"0123456789abcdef")])
def test_subclass_and_look_alike_are_taken(value: Any) -> None:
    assert _core.encode(UUID, value) == b"0123456789abcdef"


@pytest.mark.parametrize("text", ["", "x", "0" * 31, "0" * 33, "g" * 32, "0" * 32 + "-----", "é" * 16])
def test_text_that_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        _core.encode(UUID, text)
    with pytest.raises(ValueError, match="malformed uuid"):
        _core.decode_text(UUID, text.encode())


@pytest.mark.parametrize("value", [5, b"0123456789abcdef", 1.5, object()])
def test_other_objects_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="^a UUID or str is required, got "):
        _core.encode(UUID, value)


def test_wrong_bytes_attribute_is_refused() -> None:
    class Short:
        bytes = b"short"

    with pytest.raises(ValueError, match="not 16 bytes"):
        _core.encode(UUID, Short())


def test_uuid_without_its_slots_filled_is_refused() -> None:
    with pytest.raises((TypeError, AttributeError)):
        _core.encode(UUID, uuid.UUID.__new__(uuid.UUID))


@pytest.mark.parametrize("length", [0, 15, 17])
def test_field_of_another_length_is_malformed(length: int) -> None:
    with pytest.raises(ValueError, match="malformed uuid"):
        _core.decode(UUID, b"\0" * length)
