"""Whatever bytes a field holds, every decoder gives an object or says why not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

# What a decoder may raise: malformed, out of Python's range, no such decoder.
REFUSALS = (ValueError, OverflowError, LookupError)

# A good field of each binary form, to damage.
SEEDS: dict[str, Any] = {
    "BOOL": b"\1",
    "INT2": b"\0\1",
    "INT4": b"\0\0\0\1",
    "INT8": b"\0" * 8,
    "FLOAT4": b"\0" * 4,
    "FLOAT8": b"\0" * 8,
    "NUMERIC": b"\0\2\0\0\0\0\0\2\0\1\23\210",
    "UUID": b"\1" * 16,
    "DATE": b"\0\0\0\1",
    "TIME": b"\0" * 8,
    "TIMETZ": b"\0" * 12,
    "TIMESTAMP": b"\0" * 8,
    "TIMESTAMPTZ": b"\0" * 8,
    "INTERVAL": b"\0" * 16,
    "JSONB": b"\1{}",
    "INET": b"\2\40\0\4\1\2\3\4",
    "CIDR": b"\2\40\1\4\1\2\3\4",
    "MACADDR": b"\1" * 6,
    "MACADDR8": b"\1" * 8,
    "CHAR": b"x",
    "VARBIT": b"\0\0\0\11\xff\x80",
    "POINT": b"\0" * 16,
    "LINE": b"\0" * 24,
    "LSEG": b"\0" * 32,
    "BOX": b"\0" * 32,
    "CIRCLE": b"\0" * 24,
    "PATH": b"\1\0\0\0\1" + b"\0" * 16,
    "POLYGON": b"\0\0\0\1" + b"\0" * 16,
    "TID": b"\0" * 6,
    "INT4RANGE": b"\2\0\0\0\4\0\0\0\1\0\0\0\4\0\0\0\5",
    "INT4MULTIRANGE": b"\0\0\0\1\0\0\0\x11\2\0\0\0\4\0\0\0\1\0\0\0\4\0\0\0\5",
    "RECORD": b"\0\0\0\2\0\0\0\27\0\0\0\4\0\0\0\1\0\0\0\31\377\377\377\377",
    "RECORD_ARRAY": b"\0\0\0\1\0\0\0\0\0\0\x08\xc9\0\0\0\1\0\0\0\1\0\0\0\4\0\0\0\0",
    "PG_SNAPSHOT": b"\0\0\0\1" + b"\1" * 24,
    "INT4_ARRAY": b"\0\0\0\2\0\0\0\1\0\0\0\27\0\0\0\1\0\0\0\1\0\0\0\2\0\0\0\1\0\0\0\4\0\0\0\1\377\377\377\377",
    "TEXT_ARRAY": b"\0\0\0\1\0\0\0\0\0\0\0\31\0\0\0\1\0\0\0\1\0\0\0\1x",
    "INT2VECTOR_ARRAY": b"\0\0\0\1\0\0\0\0\0\0\0\26\0\0\0\1\0\0\0\1\0\0\0\14" + b"\0" * 12,
}

ALPHABET = b'0123456789abcxNULP{}[]()<>"\\,;:=-+. @TYMDHS/\0\xff'


def survives(decode: Any, oid: int, data: bytes) -> None:
    try:
        decode(oid, data)
    except REFUSALS as refusal:
        assert str(refusal)


@pytest.mark.parametrize("name", OIDS)
@settings(max_examples=25)
@given(data=st.binary(max_size=80))
@example(data=b"")
def test_random_bytes_never_crash_a_decoder(name: str, data: bytes) -> None:
    survives(_core.decode, OIDS[name], data)
    survives(_core.decode_text, OIDS[name], data)


@pytest.mark.parametrize("name", OIDS)
@settings(max_examples=25)
@given(data=st.lists(st.sampled_from(ALPHABET), max_size=60).map(bytes))
def test_random_words_of_the_text_formats_never_crash_a_decoder(name: str, data: bytes) -> None:
    survives(_core.decode_text, OIDS[name], data)


@pytest.mark.parametrize("name", SEEDS)
def test_every_truncation_is_survived(name: str) -> None:
    good = SEEDS[name]
    _core.decode(OIDS[name], good)
    for length in range(len(good)):
        survives(_core.decode, OIDS[name], good[:length])


@pytest.mark.parametrize("name", SEEDS)
def test_every_changed_byte_is_survived(name: str) -> None:
    good = SEEDS[name]
    for at in range(len(good)):
        for byte in (0, 1, 0x7F, 0x80, 0xFF):
            survives(_core.decode, OIDS[name], good[:at] + bytes([byte]) + good[at + 1 :])


@pytest.mark.parametrize("name", [name for name in SEEDS if name != "JSONB"])  # text has no end of its own
def test_trailing_bytes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        _core.decode(OIDS[name], SEEDS[name] + b"\0")
