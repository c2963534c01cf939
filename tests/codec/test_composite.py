"""Composite types and anonymous records: Records and tuples from a real server, and what is sent for them."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import ipaddress
import struct
import sys
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from growth import settle
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

import holisticpool
from holisticpool import Range, _core

UTC = dt.timezone.utc
RECORD, RECORDS = OIDS["RECORD"], OIDS["RECORD_ARRAY"]

# A column of a type that has no binary form here makes the server send the whole result as text.
TEXT_RESULTS = ", 'pg_class'::regclass"

TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'very, \"happy\"')",
    "CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (a int4, b text)",
    "CREATE TYPE nested AS (p pair, ps pair[], m mood, n positive, r int4range, t timestamptz)",
    'CREATE TYPE odd AS ("a b" int4, "\u00e9" text, "from" bool)',
    "CREATE TYPE nothing AS ()",
    "CREATE TYPE single AS (a text)",
    "CREATE DOMAIN dpair AS pair",
    "CREATE TYPE holds AS (d dpair, ds dpair[])",
    "CREATE TABLE item (id int8, gone text, name text, price numeric)",
    "ALTER TABLE item DROP COLUMN gone",
    "CREATE TYPE span AS RANGE (subtype = float8)",
    "CREATE TYPE moods AS RANGE (subtype = mood)",
    "CREATE TYPE macs AS RANGE (subtype = macaddr)",
    "CREATE TYPE mixed AS (mac macaddr, i int8, f float8, y bool, n numeric, u uuid, d date, t time, ts timestamp,"
    " tz timestamptz, iv interval, b bytea, j jsonb, s text, k positive, ip inet, m mood, v macs)",
)


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Any]:
    """A connection with the types above in a schema of its own, first in the search path."""
    connection = await holisticpool.connect(dsn)
    name = f"composites_{uuid.uuid4().hex}"
    await connection.execute(f"CREATE SCHEMA {name}")
    await connection.execute(f"SET search_path = {name}, public")
    for statement in TYPES:
        await connection.execute(statement)
    yield connection
    await connection.execute(f"DROP SCHEMA {name} CASCADE")
    await connection.close()


def names_of(record: Any) -> list[str]:
    return list(record.keys())


# ---- from the server and back ----

RANGE = Range(1, 5)
WHEN = dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC)

VALUES: list[tuple[str, Any]] = [
    ("pair", (1, "x")),
    ("pair", (None, None)),
    ("pair", (-5, "")),
    ("pair", (1, 'a "quoted" \\ (text), with {everything}\n')),
    ("pair[]", [(1, "a b"), None, (None, "")]),
    ("pair[]", [[(1, "a")], [(2, "b")]]),
    ("nested", ((1, "x"), [(2, "y,z"), None], "ok", 5, RANGE, WHEN)),
    ("nested", (None, [], 'very, "happy"', None, Range(empty=True), None)),
    ("nested[]", [((1, 'q"'), [(2, "\\")], "sad", 1, RANGE, WHEN)]),
    ("odd", (1, "x", True)),
    ("nothing", ()),
    ("single", ("",)),
    ("single", (None,)),
    ("single[]", [("a,b",), None, ("NULL",)]),
    ("dpair", (1, "x")),
    ("dpair[]", [(1, "x"), None]),
    ("holds", ((1, "x"), [(2, "y"), None])),
    ("item", (2**40, "n", Decimal("1.50"))),
    ("span", Range(1.5, None)),
    ("span[]", [Range(None, 0.1), None]),
    ("moods", Range("sad", "ok", upper_inc=True)),
    ("macs", Range("08:00:2b:01:02:03", "08:00:2b:01:02:04")),
    ("macs[]", [Range("08:00:2b:01:02:03"), Range(empty=True)]),
]


def _id(value: Any) -> str:
    """A readable part of a test's name."""
    return str(value)[:60].encode("ascii", "backslashreplace").decode()


@pytest.mark.parametrize(("name", "value"), VALUES, ids=_id)
async def test_value_returns_from_binary_and_from_text_results(conn: Any, name: str, value: Any) -> None:
    for suffix in ("", TEXT_RESULTS):
        returned = await conn.fetchval(f"SELECT $1::{name}{suffix}", value)
        assert returned == value
        # What was read can be sent.
        assert await conn.fetchval(f"SELECT $1::{name}{suffix}", returned) == value


async def test_composite_value_is_a_record_with_the_names_of_its_attributes(conn: Any) -> None:
    for suffix in ("", TEXT_RESULTS):
        pair = await conn.fetchval(f"SELECT ROW(1, 'x')::pair{suffix}")
        assert type(pair) is holisticpool.Record
        assert (pair["a"], pair["b"], names_of(pair)) == (1, "x", ["a", "b"])
        literal = "ROW(ROW(1, 'x'), ARRAY[ROW(2, 'y')::pair], 'ok', 1, NULL, NULL)"
        nested = await conn.fetchval(f"SELECT {literal}::nested{suffix}")
        assert (nested["p"]["b"], nested["ps"][0]["a"], nested["m"]) == ("x", 2, "ok")
        odd = await conn.fetchval(f"SELECT ROW(1, 'x', true)::odd{suffix}")
        assert names_of(odd) == ["a b", "\u00e9", "from"]


async def test_row_of_a_table_has_no_dropped_columns(conn: Any) -> None:
    await conn.execute("INSERT INTO item VALUES (1, 'a b', 2.50), (2, NULL, NULL)")
    for suffix in ("", TEXT_RESULTS):
        rows = [row[0] for row in await conn.fetch(f"SELECT item{suffix} FROM item ORDER BY id")]
        assert rows == [(1, "a b", Decimal("2.50")), (2, None, None)]
        assert names_of(rows[0]) == ["id", "name", "price"]
    assert await conn.fetchval("SELECT array_agg(item) FROM item WHERE id = 1") == [(1, "a b", Decimal("2.50"))]


async def test_row_of_a_system_table_is_read(conn: Any) -> None:
    row = await conn.fetchval("SELECT c FROM pg_class AS c WHERE relname = 'pg_class'")
    assert (row["oid"], row["relname"], row["relkind"]) == (1259, "pg_class", b"r")


class Named(NamedTuple):
    a: int
    b: str


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, "x"], (1, "x")),
        (Named(1, "x"), (1, "x")),
        ({"b": "x", "a": 1}, (1, "x")),
        ({"b": "x"}, (None, "x")),
        ({}, (None, None)),
        (collections.ChainMap({"a": 1}, {"b": "x"}), (1, "x")),
        (collections.defaultdict(int, b="x"), (None, "x")),
        (collections.deque([1, "x"]), (1, "x")),
    ],
)
async def test_sequences_and_mappings_are_taken(conn: Any, value: Any, expected: Any) -> None:
    assert await conn.fetchval("SELECT $1::pair", value) == expected
    if not isinstance(value, (list, collections.deque)):  # in an array these are dimensions
        assert await conn.fetchval("SELECT $1::pair[]", [value]) == [expected]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("pair", "(1,x)", "a tuple, list, Record or mapping is required, got str"),
        ("pair", 5, "a tuple, list, Record or mapping is required, got int"),
        ("pair", (1,), "composite type .*pair has 2 attributes, got 1 values"),
        ("pair", (1, "x", 2), "composite type .*pair has 2 attributes, got 3 values"),
        ("pair", {"a": 1, "c": 2}, "'c' is not an attribute of composite type .*pair"),
        ("pair", {"a": 1, 5: 2}, "5 is not an attribute of composite type .*pair"),
        ("pair", ("x", "x"), "invalid value of attribute 'a' of .*pair: an integer is required, got str"),
        ("pair[]", [(1, 2)], "at index 0: invalid value of attribute 'b' of .*pair: expected str, got int"),
        ("mixed", {"i": "x"}, "invalid value of attribute 'i' of .*mixed: an integer is required, got str"),
        ("mixed", {"i": 2**63}, "invalid value of attribute 'i' of .*mixed: value out of int64 range"),
        ("nothing", (1,), "composite type .*nothing has 0 attributes, got 1 values"),
    ],
)
async def test_other_values_are_refused(conn: Any, name: str, value: Any, reason: str) -> None:
    with pytest.raises(holisticpool.DataError, match=rf"query argument \$1: .*{reason}"):
        await conn.fetchval(f"SELECT $1::{name}", value)
    assert await conn.fetchval("SELECT 1") == 1


MIXED: list[tuple[Any, ...]] = [
    (
        "08:00:2b:01:02:03",
        2**63 - 1,
        0.1,
        True,
        Decimal("1.50"),
        uuid.UUID(int=5),
        dt.date(2024, 2, 29),
        dt.time(1, 2, 3, 4),
        dt.datetime(2024, 2, 29, 1, 2, 3, 4),
        WHEN,
        dt.timedelta(days=-5, seconds=3, microseconds=4),
        b"\0\\\xff",
        '{"a": "b c"}',
        "a,b\"'\\",
        5,
        ipaddress.ip_interface("10.1.2.3/8"),
        "ok",
        Range("08:00:2b:01:02:03"),
    ),
    (None, -1, float("-inf"), False, Decimal("NaN"), None, dt.date.max, None, dt.datetime.min, dt.datetime.max)
    + (dt.timedelta(days=999, hours=5), b"", None, "", None, None, None, Range(empty=True)),
    (None,) * 18,
]


@pytest.mark.parametrize("value", MIXED, ids=range(3))
async def test_type_with_an_attribute_that_goes_as_text_returns(conn: Any, value: Any) -> None:
    for suffix in ("", TEXT_RESULTS):
        returned = await conn.fetchval(f"SELECT $1::mixed{suffix}", value)
        assert [repr(field) for field in returned] == [repr(field) for field in value]
        assert await conn.fetchval(f"SELECT ($1::mixed[])[1] IS NOT DISTINCT FROM $2::mixed{suffix}", [value], value)


async def test_attribute_that_has_no_text_form_here_is_refused_where_one_is_needed(conn: Any) -> None:
    await conn.execute("CREATE TYPE pg_temp.both AS (m macaddr, p point)")
    with pytest.raises(holisticpool.DataError, match="attribute 'p' of .*both.*: a value of type point cannot be sent"):
        await conn.fetchval("SELECT $1::pg_temp.both", (None, (1, 2)))
    assert await conn.fetchval("SELECT $1::pg_temp.both", ("08:00:2b:01:02:03", None)) == ("08:00:2b:01:02:03", None)


@pytest.mark.parametrize("suffix", ["", TEXT_RESULTS])
async def test_type_that_was_altered_since_is_an_error_that_says_so_and_is_then_looked_up_again(
    conn: Any, suffix: str
) -> None:
    assert await conn.fetchval("SELECT ROW(1, 'x')::pair") == (1, "x")
    await conn.execute("ALTER TYPE pair ADD ATTRIBUTE c int4")
    with pytest.raises(holisticpool.OutdatedSchemaCacheError, match="pair: it was altered"):
        await conn.fetchval(f"SELECT ROW(1, 'x', 2)::pair{suffix}")
    assert await conn.fetchval(f"SELECT ROW(1, 'x', 2)::pair{suffix}") == (1, "x", 2)


async def test_types_are_found_whatever_the_search_path_offers(conn: Any) -> None:
    for name in ("pg_type", "pg_attribute", "pg_range"):
        await conn.execute(f"CREATE TABLE {name} (oid int4)")
    schema = await conn.fetchval("SELECT current_schema()::text")
    await conn.execute(f"SET search_path = {schema}, pg_catalog")
    assert await conn.fetchval("SELECT $1::nested", ((1, "x"), None, "ok", 1, None, None)) is not None
    assert await conn.fetchval("SELECT $1::span", Range(1.0)) == Range(1.0)


async def test_multirange_of_the_database_returns(conn: Any) -> None:
    if conn.get_server_version() < (14,):
        pytest.skip("this server has no multiranges")
    value = [Range(1.5, 2.5), Range(3.5)]
    for suffix in ("", TEXT_RESULTS):
        assert await conn.fetchval(f"SELECT $1::span_multirange{suffix}", value) == value
        assert await conn.fetchval(f"SELECT $1::macs_multirange{suffix}", [Range("08:00:2b:01:02:03")]) == [
            Range("08:00:2b:01:02:03")
        ]


# ---- anonymous records ----


async def test_anonymous_record_is_a_tuple(conn: Any) -> None:
    assert await conn.fetchval("SELECT ROW(1, 'a b', NULL, 1.50, ARRAY[1, NULL])") == (
        1,
        "a b",
        None,
        Decimal("1.50"),
        [1, None],
    )
    assert await conn.fetchval("SELECT ROW()") == ()
    assert await conn.fetchval("SELECT ROW(ROW(1), ROW(ROW(2)))") == ((1,), ((2,),))
    assert await conn.fetchval("SELECT ARRAY[ROW(1, 'x'), NULL]") == [(1, "x"), None]


async def test_anonymous_record_has_values_of_types_that_are_known(conn: Any) -> None:
    with pytest.raises(ValueError, match="cast the record to a composite type, or the field to text"):
        await conn.fetchval("SELECT ROW('ok'::mood)")
    assert await conn.fetchval("SELECT 'ok'::mood") == "ok"
    assert await conn.fetchval("SELECT ROW('ok'::mood, NULL::pair)") == ("ok", None)
    with pytest.raises(ValueError, match="type regclass, which comes as text only"):
        await conn.fetchval("SELECT ROW('pg_class'::regclass)")


async def test_anonymous_record_in_a_text_result_is_refused(conn: Any) -> None:
    with pytest.raises(ValueError, match="have no types in text results"):
        await conn.fetchval(f"SELECT ROW(1){TEXT_RESULTS}")
    assert await conn.fetchval(f"SELECT ROW(1)::text{TEXT_RESULTS}") == "(1)"


async def test_anonymous_record_cannot_be_sent(conn: Any) -> None:
    with pytest.raises(holisticpool.UnsupportedClientFeatureError, match="cast the argument"):
        await conn.fetchval("SELECT $1::record", (1, 2))


def record_of(*fields: tuple[int, bytes | None]) -> bytes:
    wire = struct.pack(">i", len(fields))
    for oid, data in fields:
        wire += struct.pack(">Ii", oid, -1 if data is None else len(data)) + (data or b"")
    return wire


@given(st.lists(st.none() | st.integers(-(2**31), 2**31 - 1) | st.text(st.characters(exclude_categories=["Cs"]))))
def test_binary_record_is_read_by_the_types_it_names(values: list[Any]) -> None:
    fields: list[tuple[int, bytes | None]] = [
        (OIDS["INT4"], struct.pack(">i", value))
        if isinstance(value, int)
        else (OIDS["TEXT"], None if value is None else value.encode())
        for value in values
    ]
    assert _core.decode(RECORD, record_of(*fields)) == tuple(values)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\0\0\0",
        struct.pack(">i", -1),
        struct.pack(">i", 2**31 - 1),
        struct.pack(">iI", 1, 23),
        struct.pack(">iIi", 1, 23, 4),
        struct.pack(">iIi", 1, 23, -2),
        struct.pack(">iIi", 1, 23, 2**31 - 1),
        record_of((23, b"\0\0\0\1")) + b"x",
    ],
)
def test_malformed_record_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed record"):
        _core.decode(RECORD, wire)


def test_records_nested_without_end_are_refused() -> None:
    wire = record_of()
    depth = 20_000
    wire = b"".join(struct.pack(">iIi", 1, RECORD, 4 + 12 * (depth - 1 - i)) for i in range(depth)) + wire
    with pytest.raises(RecursionError):
        _core.decode(RECORD, wire)


# ---- nothing is left behind ----


async def grown_blocks(work: Any, rounds: int) -> int:
    """How many memory blocks more there are after `rounds` of work than before."""
    settle()
    before = sys.getallocatedblocks()
    for _ in range(rounds):
        await work()
    settle()
    return sys.getallocatedblocks() - before


async def assert_no_growth(work: Any, rounds: int = 200) -> None:
    # A leak grows with every round, every time; caches and free lists fill once.
    assert min([await grown_blocks(work, rounds) for _ in range(4)]) < rounds / 2


LEFT = [("nested", VALUES[6][1]), ("nested[]", [VALUES[6][1], None]), ("mixed", MIXED[0]), ("macs", Range("x", 5))]


@pytest.mark.parametrize("name_and_value", [*LEFT, ("pair", {"a": 1, "c": 1}), ("pair", ("x", "x"))], ids=_id)
async def test_values_and_refusals_leave_nothing(conn: Any, name_and_value: Any) -> None:
    name, value = name_and_value

    async def work() -> None:
        for suffix in ("", TEXT_RESULTS):
            with contextlib.suppress(holisticpool.DataError, ValueError):
                await conn.fetchval(f"SELECT $1::{name}{suffix}", value)

    await assert_no_growth(work)


async def test_types_that_were_looked_up_leave_nothing_with_their_pool(conn: Any, dsn: str) -> None:
    schema = await conn.fetchval("SELECT current_schema()::text")
    name = f"{schema}.nested"

    async def work() -> None:
        other = await holisticpool.connect(dsn)
        await other.set_type_codec("mood", schema=schema, encoder=str, decoder=str)
        assert await other.fetchval(f"SELECT $1::{name}", VALUES[6][1]) == VALUES[6][1]
        assert await other.fetchval("SELECT ROW(1)") == (1,)
        await other.close()

    await work()
    await assert_no_growth(work, rounds=20)
