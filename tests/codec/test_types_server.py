"""Every type to a real server and back: by binary results, by text results, and in arrays."""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import uuid
import zoneinfo
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

import holisticpool
from holisticpool import Range

UTC = dt.timezone.utc

# A column of a type that has no binary form here makes the server send the whole result as text.
TEXT_RESULTS = ", 'pg_class'::regclass"

VALUES: list[tuple[str, Any]] = [
    ("bool", True),
    ("bool", False),
    ("int2", -(2**15)),
    ("int4", 2**31 - 1),
    ("int8", -(2**63)),
    ("oid", 2**32 - 1),
    ("float4", 1.5),
    ("float4", 1.100000023841858),
    ("float8", 0.1),
    ("float8", -math.inf),
    ("float8", 5e-324),
    ("numeric", Decimal("0.00")),
    ("numeric", Decimal("-12345678901234567890.123456789")),
    ("numeric", Decimal("Infinity")),
    ("numeric", Decimal("9" * 131072 + "." + "7" * 16383)),
    ("numeric(10,4)", Decimal("1.5000")),
    ("text", ""),
    ("text", "h\u00e9llo \U0001f600 \\ ' \" NULL"),
    ("varchar", "x"),
    ("name", "pg_class"),
    ('"char"', b"z"),
    ("bytea", b""),
    ("bytea", bytes(range(256))),
    ("uuid", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ("date", dt.date(2024, 2, 29)),
    ("date", dt.date(1, 1, 2)),
    ("date", dt.date.max),
    ("date", dt.date.min),
    ("time", dt.time(23, 59, 59, 999999)),
    ("timetz", dt.time(1, 2, 3, 4, tzinfo=dt.timezone(dt.timedelta(hours=-5, minutes=-30)))),
    ("timetz", dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=1, seconds=7)))),
    ("timestamp", dt.datetime(2024, 2, 29, 1, 2, 3, 450000)),
    ("timestamp", dt.datetime(1, 1, 1, 0, 0, 0, 1)),
    ("timestamp", dt.datetime.max),
    ("timestamptz", dt.datetime(2024, 6, 1, 12, tzinfo=UTC)),
    ("timestamptz", dt.datetime(1850, 1, 1, tzinfo=UTC)),
    ("timestamptz", dt.datetime.min),
    ("interval", dt.timedelta(days=-5, seconds=86399, microseconds=999999)),
    ("interval", dt.timedelta(0)),
    ("interval", dt.timedelta.max),
    ("json", '{"a": [1, "\u00e9"]}'),
    ("jsonb", '{"a": [1, "\u00e9"]}'),
    ("jsonpath", '$."a"'),
    ("inet", ipaddress.ip_address("10.1.2.3")),
    ("inet", ipaddress.ip_interface("10.1.2.3/8")),
    ("inet", ipaddress.ip_interface("fe80::1/64")),
    ("cidr", ipaddress.ip_network("10.0.0.0/8")),
    ("cidr", ipaddress.ip_network("::/0")),
    ("macaddr", "08:00:2b:01:02:03"),
    ("macaddr8", "08:00:2b:01:02:03:04:05"),
    ("xid8", 2**64 - 1),
    ("pg_lsn", 97500059720),
    ("int2vector", [1, -2]),
    ("oidvector", [1, 2**32 - 1]),
    ("bit(3)", holisticpool.BitString("101")),
    ("varbit", holisticpool.BitString("")),
    ("varbit", holisticpool.BitString("1010 1010 1")),
    ("point", holisticpool.Point(1.5, -math.inf)),
    ("line", holisticpool.Line(1.0, 2.0, 3.0)),
    ("lseg", holisticpool.LineSegment((1, 2), (3, 4))),
    ("box", holisticpool.Box((3, 4), (1, 2))),
    ("path", holisticpool.Path((1, 2), (3, 4e300))),
    ("path", holisticpool.Path((1, 2), (3, 4), is_closed=True)),
    ("polygon", holisticpool.Polygon((1, 2), (3, 4), (5, 6.25))),
    ("circle", holisticpool.Circle(holisticpool.Point(1, 2), 3.0)),
    ("tid", (2**32 - 1, 2**16 - 1)),
    ("txid_snapshot", (10, 20, (10, 14, 15))),
    ("pg_snapshot", (1, 1, ())),
    ("int4range", Range(1, 5)),
    ("int8range", Range(None, 5)),
    ("numrange", Range(Decimal("1.50"), None, lower_inc=False)),
    ("daterange", Range(dt.date(2024, 2, 29), dt.date.max)),
    ("tsrange", Range(dt.datetime(2024, 2, 29, 1, 2, 3, 4), dt.datetime.max, upper_inc=True)),
    ("tstzrange", Range(dt.datetime.min, dt.datetime(2024, 2, 29, tzinfo=UTC), lower_inc=False)),
    ("int4range", Range(empty=True)),
    ("int4range", Range(lower_inc=False)),
    # without a codec of their own: text both ways
    ("money", "$1,234.50"),
    ("tsvector", "'a' 'b'"),
    ("tsquery", "'a' & 'b'"),
    ("regclass", "pg_class"),
]

# Types without an operator =, or one that compares something else.
NO_EQUALITY = ("json", "jsonpath", "point", "path", "polygon", "txid_snapshot", "pg_snapshot")


MULTIRANGES: list[tuple[str, Any]] = [
    ("int4multirange", []),
    ("int8multirange", [Range(1, 5), Range(7, None)]),
    ("nummultirange", [Range(Decimal("1.50"), Decimal(2), upper_inc=True)]),
    ("datemultirange", [Range(dt.date.min, dt.date(2024, 2, 29))]),
    ("tsmultirange", [Range(dt.datetime(2024, 2, 29), dt.datetime(2024, 3, 1, 12))]),
    ("tstzmultirange", [Range(None, dt.datetime(2024, 2, 29, tzinfo=UTC))]),
]


def _id(value: Any) -> str:
    """A readable part of a test's name."""
    return str(value)[:60].encode("ascii", "backslashreplace").decode()


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Any]:
    connection = await holisticpool.connect(dsn)
    yield connection
    await connection.close()


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right) and repr(left) == repr(right)


@pytest.mark.parametrize(("name", "value"), VALUES, ids=_id)
async def test_value_returns_from_binary_and_from_text_results(conn: Any, name: str, value: Any) -> None:
    assert same(await conn.fetchval(f"SELECT $1::{name}", value), value)
    assert same(await conn.fetchval(f"SELECT $1::{name}{TEXT_RESULTS}", value), value)


@pytest.mark.parametrize(("name", "value"), VALUES, ids=_id)
async def test_value_returns_in_arrays(conn: Any, name: str, value: Any) -> None:
    array = [value, None, value]
    assert same(await conn.fetchval(f"SELECT $1::{name}[]", array), array)
    assert same(await conn.fetchval(f"SELECT $1::{name}[]{TEXT_RESULTS}", array), array)


@pytest.mark.parametrize(("name", "value"), [each for each in VALUES if each[0] not in NO_EQUALITY], ids=_id)
async def test_server_understands_the_value_as_its_own_text(conn: Any, name: str, value: Any) -> None:
    """What was sent and what the server makes of its own text form of it are equal to the server."""
    sent = await conn.fetchval(f"SELECT $1::{name}::text", value)
    assert await conn.fetchval(f"SELECT $1::{name} = $2::text::{name}", value, sent) is True


@pytest.mark.parametrize(("name", "value"), MULTIRANGES, ids=_id)
async def test_multirange_returns(conn: Any, name: str, value: Any) -> None:
    if conn.get_server_version() < (14,):
        pytest.skip("this server has no multiranges")
    for suffix in ("", TEXT_RESULTS):
        assert same(await conn.fetchval(f"SELECT $1::{name}{suffix}", value), value)
        assert same(await conn.fetchval(f"SELECT $1::{name}[]{suffix}", [value, None]), [value, None])
    assert await conn.fetchval(f"SELECT $1::{name} = $1::{name}::text::{name}", value) is True


async def test_nan_returns(conn: Any) -> None:
    for suffix in ("", TEXT_RESULTS):
        assert math.isnan(await conn.fetchval(f"SELECT $1::float8{suffix}", math.nan))
        assert (await conn.fetchval(f"SELECT $1::numeric{suffix}", Decimal("NaN"))).is_nan()


@pytest.mark.parametrize(
    "value", [[], [1, None], [[1, 2], [3, 4]], [[[[[[1]]]]]], list(range(10_000)), [[None, 1], [2, None]]], ids=_id
)
async def test_array_of_every_shape_returns(conn: Any, value: Any) -> None:
    assert await conn.fetchval("SELECT $1::int8[]", value) == value
    assert await conn.fetchval(f"SELECT $1::int8[]{TEXT_RESULTS}", value) == value


@pytest.mark.parametrize("value", [(1, 2), range(1, 3), {1: "a", 2: "b"}.keys()], ids=_id)
async def test_sized_iterable_is_an_array_parameter(conn: Any, value: Any) -> None:
    assert await conn.fetchval("SELECT 2 = ANY($1::int4[])", value) is True


async def test_text_array_with_every_character_that_needs_care_returns(conn: Any) -> None:
    value = ["", "NULL", "null", "{", "}", '"', "\\", ",", ";", " ", "a b", "\t\n", "\u00e9", None]
    for name in ("text", "varchar"):
        assert await conn.fetchval(f"SELECT $1::{name}[]", value) == value
        assert await conn.fetchval(f"SELECT $1::{name}[]{TEXT_RESULTS}", value) == value


async def test_lower_bounds_are_dropped(conn: Any) -> None:
    for suffix in ("", TEXT_RESULTS):
        assert await conn.fetchval(f"SELECT '[2:3][-1:0]={{{{1,2}},{{3,4}}}}'::int4[]{suffix}") == [[1, 2], [3, 4]]


async def test_void_is_none(conn: Any) -> None:
    assert await conn.fetchval("SELECT pg_sleep(0)") is None


async def test_anyarray_is_understood(conn: Any) -> None:
    assert await conn.fetchval("SELECT most_common_vals FROM pg_stats LIMIT 0") is None


# ---- settings that change text results ----


@pytest.mark.parametrize("style", ["postgres", "postgres_verbose", "sql_standard", "iso_8601"])
@pytest.mark.parametrize(
    "literal",
    [
        "0",
        "1 year 2 mons 3 days 04:05:06.789",
        "-1 year -2 mons -3 days -04:05:06.789",
        "1 year -2 mons 3 days -4:05:06",
    ]
    + [
        "-13 mons",
        "1 mon -1 day",
        "-0.5 sec",
        "3 days -4:05:06",
        "-3 days -4:05:06",
        "-00:00:00.000001",
        "4000000:00:00",
    ],
)
async def test_interval_is_the_same_in_every_interval_style(conn: Any, style: str, literal: str) -> None:
    expected = await conn.fetchval(f"SELECT interval '{literal}'")
    await conn.execute(f"SET IntervalStyle = {style}")
    assert await conn.fetchval(f"SELECT interval '{literal}'{TEXT_RESULTS}") == expected


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Asia/Kathmandu", "Europe/Amsterdam"])
async def test_timestamptz_is_in_utc_in_every_zone_of_the_session(conn: Any, zone: str) -> None:
    await conn.execute(f"SET TimeZone = '{zone}'")
    for value in (dt.datetime(1850, 1, 1, 1, 2, 3, tzinfo=UTC), dt.datetime(2024, 7, 1, tzinfo=UTC)):
        result = await conn.fetchval(f"SELECT $1::timestamptz{TEXT_RESULTS}", value)
        assert (result, result.tzinfo) == (value, UTC)


@pytest.mark.parametrize("style", ["ISO, DMY", "ISO, YMD", "ISO, MDY"])
async def test_field_order_of_datestyle_does_not_matter(conn: Any, style: str) -> None:
    await conn.execute(f"SET DateStyle = '{style}'")
    assert await conn.fetchval(f"SELECT $1::date{TEXT_RESULTS}", dt.date(2024, 2, 3)) == dt.date(2024, 2, 3)


STYLES = ["SQL, DMY", "SQL, MDY", "German", "Postgres, DMY", "Postgres, MDY", "ISO, DMY"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Kathmandu"]
ZONES += ["Australia/Lord_Howe", "Europe/London", "Pacific/Apia", "<+0530>-05:30"]
# The day before, in and after the hour that comes twice in some of the zones, and others.
MOMENTS = ["2024-10-27 00:30", "2024-10-27 01:30", "2024-11-03 05:30", "2024-11-03 06:30", "2024-02-03 04:05:06.789012"]
MOMENTS += [
    "1999-12-31 23:59:59.999999",
    "0001-01-02 00:00",
    "9998-12-30 12:00",
    "1850-06-01 12:34:56",
    "2024-04-06 15:15",
]


def needs_time_zones() -> None:
    """Skips where Python has no time zones: neither the system's nor those of the package tzdata."""
    try:
        zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("Python has no time zones here")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("zone", ZONES)
async def test_timestamps_as_text_are_the_binary_ones_in_every_datestyle_and_zone(
    conn: Any, style: str, zone: str
) -> None:
    if "/" in zone:
        needs_time_zones()
    await conn.execute(f"SET DateStyle = '{style}'; SET TimeZone = '{zone}'")
    query = "SELECT t, t::timestamptz AT TIME ZONE 'UTC', (t || ' UTC')::timestamptz FROM unnest($1::text[]) t"
    binary = await conn.fetch(query, MOMENTS)
    text = await conn.fetch(query.replace("SELECT", "SELECT NULL::aclitem,"), MOMENTS)
    assert [tuple(row)[1:] for row in text] == [tuple(row) for row in binary]


@pytest.mark.parametrize("style", STYLES)
async def test_dates_inside_of_other_values_are_the_binary_ones_in_every_datestyle(conn: Any, style: str) -> None:
    needs_time_zones()
    await conn.execute(f"SET DateStyle = '{style}'; SET TimeZone = 'Europe/Berlin'")
    query = (
        "SELECT '2024-02-03'::date, 'infinity'::date, '-infinity'::timestamptz, ARRAY['2024-02-03'::date, NULL],"
        " daterange('2024-02-03', '2024-11-12'), tstzrange('2024-02-03 04:05', NULL),"
        " ARRAY['2024-07-03 04:05:06.5'::timestamptz], ROW('2024-02-03'::date, '2024-02-03 04:05'::timestamp)::text,"
        " '{[2024-02-03,2024-02-05)}'::datemultirange, '04:05:06+02'::timetz, '04:05'::time"
    )
    binary = await conn.fetchrow(query)
    text = await conn.fetchrow(query.replace("SELECT", "SELECT NULL::aclitem,", 1))
    assert tuple(text)[1:] == tuple(binary)


@pytest.mark.parametrize("style", STYLES)
async def test_datestyle_of_a_transaction_counts_for_its_results(conn: Any, style: str) -> None:
    async with conn.transaction():
        await conn.execute(f"SET LOCAL DateStyle = '{style}'")
        assert await conn.fetchval(f"SELECT $1::date{TEXT_RESULTS}", dt.date(2024, 2, 3)) == dt.date(2024, 2, 3)
    assert await conn.fetchval(f"SELECT $1::date{TEXT_RESULTS}", dt.date(2024, 2, 3)) == dt.date(2024, 2, 3)


@pytest.mark.parametrize("style", ["SQL", "German", "Postgres"])
@pytest.mark.parametrize("zone", ["XYZ-2", "-03:30"])
async def test_what_a_datestyle_cannot_tell_is_an_error_and_no_wrong_value(conn: Any, style: str, zone: str) -> None:
    """An abbreviation of a time zone that Python does not know, or an empty one."""
    await conn.execute(f"SET DateStyle = '{style}'; SET TimeZone = '{zone}'")
    with pytest.raises(ValueError, match="DateStyle must be ISO"):
        await conn.fetchval(f"SELECT now(){TEXT_RESULTS}")
    assert await conn.fetchval(f"SELECT '2024-02-03'::date{TEXT_RESULTS}") == dt.date(2024, 2, 3)
    with pytest.raises(OverflowError):
        await conn.fetchval(f"SELECT '0044-03-15 BC'::date{TEXT_RESULTS}")


async def test_bytea_is_read_in_both_output_formats(conn: Any) -> None:
    value = bytes(range(256))
    for output in ("hex", "escape"):
        await conn.execute(f"SET bytea_output = {output}")
        assert await conn.fetchval(f"SELECT $1::bytea{TEXT_RESULTS}", value) == value
        assert await conn.fetchval(f"SELECT $1::bytea[]{TEXT_RESULTS}", [value]) == [value]


# ---- values that Python cannot hold ----


@pytest.mark.parametrize(
    "sql",
    ["'10000-01-01'::date", "'0044-03-15 BC'::date", "'24:00'::time", "'294276-12-31'::timestamp"]
    + ["'4713-01-01 BC'::timestamptz", "'178000000 years'::interval"],
)
async def test_value_outside_of_pythons_range_is_an_error_and_the_connection_lives(conn: Any, sql: str) -> None:
    for suffix in ("", TEXT_RESULTS):
        with pytest.raises(Exception, match="out of the range"):
            await conn.fetchval(f"SELECT {sql}{suffix}")
    assert await conn.fetchval("SELECT 1") == 1


# ---- refused parameters ----


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("int4", "1", "an integer is required, got str"),
        ("int4", 1.5, "an integer is required, got float"),
        ("int4", 2**31, "value out of int32 range"),
        ("bool", 1, "a boolean is required, got int"),
        ("text", 1, "expected str, got int"),
        ("jsonb", {}, "expected str, got dict"),
        ("text", "a\0b", "NUL"),
        ("int4[]", [1, "x"], "invalid array element at index 1: an integer is required, got str"),
        ("int4[]", [[1], [1, 2]], "non-homogeneous array"),
        ("timestamp", dt.datetime(2020, 1, 1, tzinfo=UTC), "naive datetime"),
        ("numeric", Decimal("1E-16384"), "16383 digits"),
        ("uuid", "x", "32 hexadecimal digits"),
    ],
)
async def test_refused_value_names_its_position_and_leaves_the_connection(
    conn: Any, name: str, value: Any, reason: str
) -> None:
    with pytest.raises(holisticpool.DataError, match=rf"query argument \$2: .*{reason}".replace("[]", r"\[\]")):
        await conn.fetchval(f"SELECT $1::int4, $2::{name}", 1, value)
    assert await conn.fetchval("SELECT 1") == 1


# ---- types of a database ----


@pytest.fixture
async def schema(conn: Any) -> AsyncIterator[str]:
    """A schema with one type of each kind, first in the search path."""
    name = f"types_{uuid.uuid4().hex}"
    await conn.execute(f"CREATE SCHEMA {name}")
    await conn.execute(f"SET search_path = {name}, public")
    for statement in (
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'very, \"happy\"')",
        "CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)",
        "CREATE DOMAIN small AS positive CHECK (VALUE < 100)",
        "CREATE DOMAIN numbers AS int4[]",
        "CREATE DOMAIN feeling AS mood",
        "CREATE DOMAIN place AS point",
    ):
        await conn.execute(statement)
    yield name
    await conn.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mood", "ok"),
        ("mood[]", ["sad", None, 'very, "happy"']),
        ("positive", 5),
        ("positive[]", [5, None]),
        ("small", 5),
        ("small[]", [[5], [6]]),
        ("numbers", [1, 2]),
        ("numbers[]", [[1, 2], [3, 4, 5], None]),
        ("feeling", "ok"),
        ("feeling[]", ["ok"]),
        ("place", holisticpool.Point(1, 2)),
        ("place[]", [holisticpool.Point(1, 2), None]),
        ("information_schema.sql_identifier", "x"),
    ],
    ids=_id,
)
async def test_type_of_the_database_returns(conn: Any, schema: str, name: str, value: Any) -> None:
    assert await conn.fetchval(f"SELECT $1::{name}", value) == value
    assert await conn.fetchval(f"SELECT $1::{name}{TEXT_RESULTS}", value) == value


async def test_types_of_the_database_are_found_whatever_the_search_path_offers(conn: Any, schema: str) -> None:
    await conn.execute("CREATE TABLE pg_type (oid int4)")
    await conn.execute(f"SET search_path = {schema}, pg_catalog")
    assert await conn.fetchval("SELECT $1::mood", "ok") == "ok"


async def test_wrong_value_for_a_domain_is_refused_like_one_for_its_base(conn: Any, schema: str) -> None:
    with pytest.raises(holisticpool.DataError, match="an integer is required, got str"):
        await conn.fetchval("SELECT $1::small", "x")


async def test_wide_row_of_every_type_returns(conn: Any) -> None:
    columns = [(name, value) for name, value in VALUES if len(str(value)) < 1000]
    names = ", ".join(f"${i}::{name} AS c{i}" for i, (name, _) in enumerate(columns, 1))
    record = await conn.fetchrow(f"SELECT {names}", *[value for _, value in columns])
    assert list(record.values()) == [value for _, value in columns]
