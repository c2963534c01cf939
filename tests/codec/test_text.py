"""Character strings, bytea, json and what is passed as text."""

from __future__ import annotations

import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

TEXT_LIKE = ["TEXT", "VARCHAR", "BPCHAR", "NAME", "XML", "JSON", "UNKNOWN", "REFCURSOR", "CSTRING"]
AS_TEXT = ["MONEY", "TSVECTOR", "TSQUERY", "REGCLASS", "REGTYPE"]
AS_TEXT += ["ACLITEM", "ANYARRAY"]

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize("name", TEXT_LIKE)
@given(value=texts)
def test_text_returns_in_both_formats(name: str, value: str) -> None:
    wire = _core.encode(OIDS[name], value)
    assert wire == value.encode()
    assert _core.decode(OIDS[name], wire) == _core.decode_text(OIDS[name], wire) == value


@pytest.mark.parametrize("odd", ["\x7f", "\x80", "é", "€", "\U0001f600"])
def test_a_character_beside_ascii_is_found_at_every_place(odd: str) -> None:
    for length in range(20):
        for place in range(length + 1):
            value = "x" * place + odd + "y" * (length - place)
            assert _core.decode(OIDS["TEXT"], value.encode()) == value


@pytest.mark.parametrize("name", AS_TEXT + ["MACADDR", "MACADDR8"])
@given(value=texts)
def test_type_without_a_codec_of_its_own_comes_and_goes_as_text(name: str, value: str) -> None:
    wire = _core.encode(OIDS[name], value)
    assert wire == value.encode()
    assert _core.decode_text(OIDS[name], wire) == value


@pytest.mark.parametrize("name", AS_TEXT)
def test_type_without_a_codec_of_its_own_has_no_binary_decoder(name: str) -> None:
    with pytest.raises(LookupError, match="no binary decoder"):
        _core.decode(OIDS[name], b"x")


@pytest.mark.parametrize("name", ["JSONB", "JSONPATH"])
@given(value=texts)
def test_versioned_text_returns(name: str, value: str) -> None:
    wire = _core.encode(OIDS[name], value)
    assert wire == b"\1" + value.encode()
    assert _core.decode(OIDS[name], wire) == value
    assert _core.decode_text(OIDS[name], value.encode()) == value


@pytest.mark.parametrize("wire", [b"", b"\2{}", b"{}"])
def test_unknown_version_of_jsonb_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed jsonb: unknown format version"):
        _core.decode(OIDS["JSONB"], wire)


@pytest.mark.parametrize("name", TEXT_LIKE + AS_TEXT + ["JSONB", "JSONPATH", "MACADDR"])
@pytest.mark.parametrize("value", [1, b"x", {}, 1.5])
def test_anything_but_str_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^expected str, got {type(value).__name__}$"):
        _core.encode(OIDS[name], value)


def test_subclass_of_str_is_taken() -> None:
    class Name(str):
        pass

    assert _core.encode(OIDS["TEXT"], Name("x")) == b"x"


@pytest.mark.parametrize("name", ["TEXT", "JSONB", "MONEY"])
def test_nul_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        _core.encode(OIDS[name], "a\0b")


@pytest.mark.parametrize("name", ["TEXT", "JSONB", "MONEY"])
def test_lone_surrogate_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        _core.encode(OIDS[name], "a\ud800b")


def test_field_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        _core.decode(OIDS["TEXT"], b"\xff")


def test_none_is_null() -> None:
    assert _core.encode(OIDS["TEXT"], None) is None


def test_void_is_none() -> None:
    assert _core.decode(OIDS["VOID"], b"") is None
    assert _core.decode_text(OIDS["VOID"], b"") is None


def test_oid_that_is_not_built_in_is_a_lookup_error() -> None:
    for oid in (0, 1, 9999, 2**32 - 1, 2**40):
        with pytest.raises(LookupError):
            _core.encode(oid, "x")


@given(st.binary())
def test_bytea_returns(value: bytes) -> None:
    oid = OIDS["BYTEA"]
    assert _core.decode(oid, _core.encode(oid, value)) == value
    assert _core.decode_text(oid, b"\\x" + value.hex().encode()) == value


@given(st.binary())
def test_bytea_is_read_from_escape_format(value: bytes) -> None:
    text = "".join("\\\\" if byte == 0x5C else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}" for byte in value)
    assert _core.decode_text(OIDS["BYTEA"], text.encode()) == value


@pytest.mark.parametrize("value", [b"ab", bytearray(b"ab"), memoryview(b"ab"), memoryview(b"xaby")[1:3]])
def test_bytea_is_taken_from_every_row_of_bytes(value: Any) -> None:
    assert _core.encode(OIDS["BYTEA"], value) == b"ab"


def test_bytea_is_taken_from_an_array_of_numbers_as_its_memory() -> None:
    assert _core.encode(OIDS["BYTEA"], array.array("B", [1, 2])) == b"\1\2"


def test_bytea_refuses_text_and_memory_with_gaps() -> None:
    with pytest.raises(TypeError, match="^a bytes-like object is required, got str$"):
        _core.encode(OIDS["BYTEA"], "ab")
    with pytest.raises(ValueError, match="contiguous"):
        _core.encode(OIDS["BYTEA"], memoryview(b"abcd")[::2])


@pytest.mark.parametrize("text", [b"\\x0", b"\\xzz", b"\\", b"\\1", b"\\08", b"\\400", b"a\\"])
def test_malformed_bytea_text_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="malformed bytea"):
        _core.decode_text(OIDS["BYTEA"], text)
