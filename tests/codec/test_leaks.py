"""Encoding and decoding the same values again and again leaves no object behind, refused ones included."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import gc
import ipaddress
import pickle
import sys
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from growth import settle
from test_malformed import SEEDS
from type_oids import OIDS

from holisticpool import BitString, Path, Polygon, Range, _core

GOOD: dict[str, Any] = {
    "BOOL": True,
    "INT4": 2**30,
    "XID8": 2**63,
    "FLOAT8": 0.1,
    "NUMERIC": Decimal("12345.678"),
    "TEXT": "é" * 50,
    "BYTEA": bytearray(b"xyz"),
    "JSONB": "{}",
    "UUID": uuid.UUID(int=2**100),
    "DATE": dt.date(2020, 1, 1),
    "TIMETZ": dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=5))),
    "TIMESTAMP": dt.datetime(2020, 1, 1),
    "TIMESTAMPTZ": dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5))),
    "INTERVAL": dt.timedelta(1, 2, 3),
    "INET": ipaddress.ip_interface("1.2.3.4/24"),
    "CIDR": ipaddress.ip_network("1.2.3.0/24"),
    "INT4_ARRAY": [[1000, 2000], [3000, None]],
    "NUMERIC_ARRAY": (Decimal("1.5"), None),
    "MONEY_ARRAY": {"a": 1}.keys(),
    "INT2VECTOR": [1000, 2000],
    "VARBIT": BitString("1010 1010 1"),
    "BOX": ((1.5, 2.5), [3.5, 4.5]),
    "LINE": (1.5, 2.5, 3.5),
    "CIRCLE": ((1.5, 2.5), 3.5),
    "PATH": Path((1.5, 2.5)),
    "POLYGON_ARRAY": [Polygon((1.5, 2.5)), None],
    "TID": [1000, 2000],
    "NUMRANGE": Range(Decimal("1.5"), Decimal("2.5")),
    "INT4MULTIRANGE": [Range(1000, 2000), (3000, None), ()],
    "PG_SNAPSHOT": (1000, 2000, [3000]),
}

BAD: list[tuple[str, Any]] = [
    ("BOOL", 1),
    ("INT4", "x"),
    ("INT4", 2**40),
    ("XID8", -1),
    ("FLOAT8", "x"),
    ("NUMERIC", "x"),
    ("NUMERIC", Decimal("1E-20000")),
    ("TEXT", b"x"),
    ("TEXT", "\0"),
    ("BYTEA", memoryview(b"abcd")[::2]),
    ("UUID", "x"),
    ("UUID", 5),
    ("TIMESTAMP", dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)),
    ("TIMETZ", dt.time(1)),
    ("INET", "x"),
    ("CIDR", "1.2.3.4/24"),
    ("INT4_ARRAY", [[1], [1, 2]]),
    ("INT4_ARRAY", [[1000, "x"]]),
    ("INT4_ARRAY", {1: 2}),
    ("MONEY_ARRAY", ["x", 1]),
    ("VARBIT", "101"),
    ("BOX", ((1.5, 2.5), (3.5, "x"))),
    ("PATH", [(1.5,)]),
    ("CIRCLE", ((1.5, 2.5), "x")),
    ("TID", (1, -1)),
    ("INT4RANGE", Range(1000, "x")),
    ("INT4RANGE", (1000, 2000, 3000)),
    ("INT4MULTIRANGE", [(1000, 2000), "x"]),
    ("PG_SNAPSHOT", (1, 2, [3000, "x"])),
]

TEXT_FORMS = [
    ("INT4_ARRAY", b"[0:1]={1000,NULL}"),
    ("TEXT_ARRAY", b'{"a\\"b",{}'),
    ("INTERVAL", b"1 day"),
    ("DATE", b"x"),
    ("VARBIT", b"101x"),
    ("PATH", b"[(1.5,2.5),(3.5,4.5)]"),
    ("POLYGON", b"((1.5,2.5),(3.5,x))"),
    ("CIRCLE", b"<(1.5,2.5),3.5>"),
    ("PG_SNAPSHOT", b"1000:2000:3000,x"),
    ("NUMRANGE", b"[1.5,2.5)"),
    ("NUMRANGE", b"[1.5,x)"),
    ("INT4MULTIRANGE", b"{[1000,2000),[3000,4000]}"),
    ("INT4MULTIRANGE", b"{[1000,2000),[3000,4000"),
]


@pytest.fixture(autouse=True, scope="module")
def quick_collections() -> Iterator[None]:
    """Keep what the rest of the test run holds out of the collections made here."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def grown_blocks(work: Any, rounds: int) -> int:
    """How many memory blocks more there are after `rounds` of work than before."""
    settle()
    before = sys.getallocatedblocks()
    for _ in range(rounds):
        work()
    settle()
    return sys.getallocatedblocks() - before


def assert_no_growth(work: Any) -> None:
    # A leak grows with every round, every time; caches and free lists fill once.
    rounds = 200
    assert min(grown_blocks(work, rounds) for _ in range(3)) < rounds / 2


@pytest.mark.parametrize("name", GOOD)
def test_roundtrip_leaves_nothing(name: str) -> None:
    oid, value = OIDS[name], GOOD[name]

    def work() -> None:
        wire = _core.encode(oid, value)
        with contextlib.suppress(LookupError, ValueError):
            _core.decode(oid, wire)

    assert_no_growth(work)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_refused_value_leaves_nothing(name: str, value: Any) -> None:
    def work() -> None:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            _core.encode(OIDS[name], value)

    assert_no_growth(work)


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_field_leaves_nothing(name: str) -> None:
    oid, good = OIDS[name], SEEDS[name]

    def work() -> None:
        for data in (good, good[:-1], good + b"x", good[:-1] + b"\xff"):
            with contextlib.suppress(ValueError, OverflowError):
                _core.decode(oid, data)

    assert_no_growth(work)


@pytest.mark.parametrize(("name", "text"), TEXT_FORMS)
def test_text_field_leaves_nothing(name: str, text: bytes) -> None:
    def work() -> None:
        with contextlib.suppress(ValueError):
            _core.decode_text(OIDS[name], text)

    assert_no_growth(work)


class MyRecord(_core.Record):
    pass


@pytest.mark.parametrize("cls", [_core.Record, MyRecord])
def test_record_leaves_nothing(cls: Any) -> None:
    def work() -> None:
        record = cls._restore(("a", "b"), (1000, [2000]))
        list(record.items()), list(record), dict(record), record[0:1], record.get("a"), repr(record)
        assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record
        with contextlib.suppress(KeyError):
            record["x"]
        with contextlib.suppress(TypeError):
            hash(record)
        record["b"].append(record)

    assert_no_growth(work)
