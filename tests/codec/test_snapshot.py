"""tid, txid_snapshot and pg_snapshot: tuples of numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

TID, SNAPSHOT = OIDS["TID"], OIDS["PG_SNAPSHOT"]

xids = st.integers(0, 2**64 - 1)


@given(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)))
def test_place_of_a_row_returns_in_both_formats(value: tuple[int, int]) -> None:
    assert _core.decode(TID, _core.encode(TID, value)) == value
    assert _core.decode(TID, _core.encode(TID, list(value))) == value
    assert _core.decode_text(TID, f"({value[0]},{value[1]})".encode()) == value


@pytest.mark.parametrize("name", ["TXID_SNAPSHOT", "PG_SNAPSHOT"])
@given(value=st.tuples(xids, xids, st.lists(xids).map(tuple)))
def test_snapshot_returns_in_both_formats(name: str, value: tuple[int, int, tuple[int, ...]]) -> None:
    oid = OIDS[name]
    text = f"{value[0]}:{value[1]}:{','.join(map(str, value[2]))}"
    assert _core.decode(oid, _core.encode(oid, value)) == value
    assert _core.decode_text(oid, text.encode()) == value


@pytest.mark.parametrize(
    ("oid", "value", "error", "reason"),
    [
        (TID, "(0,1)", TypeError, "a list or tuple is required, got str"),
        (TID, (1,), ValueError, "2 elements are required, got 1"),
        (TID, (2**32, 0), OverflowError, "value out of uint32 range"),
        (TID, (0, 2**16), OverflowError, "value out of uint16 range"),
        (TID, (-1, 0), OverflowError, "value out of uint32 range"),
        (TID, (0, 1.5), TypeError, "an integer is required, got float"),
        (SNAPSHOT, (1, 2), ValueError, "3 elements are required, got 2"),
        (SNAPSHOT, (1, 2, 3), TypeError, "a sized iterable container is required, got int"),
        (SNAPSHOT, (1, 2, ["x"]), TypeError, "an integer is required, got str"),
        (SNAPSHOT, (1, 2**64, []), OverflowError, "value out of uint64 range"),
    ],
)
def test_other_values_are_refused(oid: int, value: Any, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=f"^{reason}$"):
        _core.encode(oid, value)


@pytest.mark.parametrize(
    ("oid", "wire"),
    [(TID, b""), (TID, b"\0" * 7), (SNAPSHOT, b"\0" * 19), (SNAPSHOT, b"\0\0\0\1" + b"\0" * 16)]
    + [(SNAPSHOT, b"\xff\xff\xff\xff" + b"\0" * 16), (SNAPSHOT, b"\0" * 21)],
)
def test_malformed_field_is_refused(oid: int, wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed "):
        _core.decode(oid, wire)


@pytest.mark.parametrize(
    ("oid", "text"),
    [(TID, ""), (TID, "(1,2"), (TID, "(1,2)3"), (TID, "(4294967296,0)"), (TID, "(1)"), (SNAPSHOT, "1:2")]
    + [(SNAPSHOT, "1:2:3,"), (SNAPSHOT, "1:2:,3"), (SNAPSHOT, "1:x:3"), (SNAPSHOT, ":2:3")],
)
def test_malformed_text_is_refused(oid: int, text: str) -> None:
    with pytest.raises(ValueError, match="malformed "):
        _core.decode_text(oid, text.encode())
