"""Every type that asyncpg has a class or a codec for: the same values as from asyncpg, both ways."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

import holisticpool

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is what is compared with")

TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (a int4, b text)",
    "CREATE TYPE nested AS (p pair, ps pair[], m mood, n positive, r int4range)",
    "CREATE DOMAIN dpair AS pair",
    "CREATE TYPE span AS RANGE (subtype = float8)",
    "CREATE DOMAIN atleast AS positive CHECK (VALUE > 1)",
    "CREATE DOMAIN positives AS int4[]",
    "CREATE TYPE deep AS (p pair, ps pair[], d positives, m mood[], s span)",
    "CREATE TYPE moods AS RANGE (subtype = mood)",
)

# Types, and literals of values of them.
LITERALS: list[tuple[str, list[str]]] = [
    ("date", ["infinity", "-infinity", "0001-01-01", "9999-12-31", "2020-02-29"]),
    ("timestamp", ["infinity", "-infinity", "0001-01-01 00:00", "9999-12-31 23:59:59.999999"]),
    ("timestamptz", ["infinity", "-infinity", "0001-01-01 00:00+00", "2000-01-01 00:00+13:45"]),
    ("time", ["00:00", "23:59:59.999999"]),
    ("timetz", ["00:00+00", "12:00+15:59", "12:00:00.000001-03:30"]),
    ("interval", ["1 year 2 mons", "-1 year -2 mons", "1 mon -1 day", "13 mons", "-13 mons", "1 day 25:00:00"]),
    ("interval", ["-00:00:00.000001", "-1 day +00:00:00.000001", "11 mons 30 days 24:00", "-1 mon", "0"]),
    ("numeric", ["NaN", "0", "-0", "0.00", "1e-300", "-12345678901234567890.123456789", "0.0001", "10001.0001"]),
    ("float4", ["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4e38", "0.1"]),
    ("float8", ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.1"]),
    ("int2", ["-32768", "32767"]),
    ("int4", ["-2147483648", "2147483647"]),
    ("int8", ["-9223372036854775808", "9223372036854775807"]),
    ("oid", ["0", "4294967295"]),
    ("xid", ["4294967295"]),
    ("cid", ["5"]),
    ("bool", ["t", "f"]),
    ("bytea", ["", "\\x00ff"]),
    ("text", [" ", "NULL", "é\u2603\U0001d11e"]),
    ("char(5)", ["a"]),
    ("name", ["x"]),
    ("uuid", ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ("json", ["null", '{"a": 1}', " 1 "]),
    ("jsonb", ["null", '{"b": 1, "a": []}']),
    ("inet", ["1.2.3.4", "1.2.3.4/24", "::1", "::1/64", "0.0.0.0/0"]),
    ("cidr", ["1.2.3.0/24", "1.2.3.4", "::/0", "::1"]),
    ("macaddr", ["08:00:2b:01:02:03"]),
    ("macaddr8", ["08:00:2b:01:02:03:04:05"]),
    ("bit", ["0", "1"]),
    ("atleast", ["5"]),
    ("deep", ['("(1,x)","{""(2,y)"",NULL}","{1,2}","{ok,NULL}","[1.5,2)")', "(,,,,)"]),
    ("moods", ["[sad,ok]", "empty"]),
    ("regclass", ["-", "12345678"]),
    ("regprocedure", ["lower(text)"]),
    ("regoperator", ["+(integer,integer)"]),
    ("regconfig", ["english"]),
    ("int2vector", ["1 2"]),
    ("bit(5)", ["10101"]),
    ("varbit", ["", "1", "11111111", "101010101"]),
    ("point", ["(1,2)", "(Infinity,-1e-300)"]),
    ("line", ["{1,2,3}"]),
    ("lseg", ["[(1,2),(3,4)]"]),
    ("box", ["(3,4),(1,2)"]),
    ("path", ["[(1,2),(3,4)]", "((1,2),(3,4))"]),
    ("polygon", ["((1,2),(3,4),(5,6))"]),
    ("circle", ["<(1,2),3>"]),
    ("tid", ["(0,1)", "(4294967295,65535)"]),
    ("txid_snapshot", ["10:20:10,14,15", "1:1:"]),
    ("int4range", ["[1,5)", "empty", "(,)", "(,5]", "[3,)"]),
    ("int8range", ["[1,5)"]),
    ("numrange", ["[1.5,2.50]", "(1.5,NaN]"]),
    ("daterange", ["[2020-01-01,2020-02-01)", "[2020-01-01,infinity]"]),
    ("tsrange", ['["2020-01-01 00:00",infinity)', '[,"2020-01-01 00:00:01")']),
    ("tstzrange", ['["2020-01-01 00:00+01","2020-02-01 00:00+00")']),
    ("span", ["[1.5,2)", "empty"]),
    ("mood", ["ok"]),
    ("positive", ["5"]),
    ("pair", ["(1,x)", "(,)", '(1,"a ""b"" \\\\,")']),
    ("dpair", ["(1,x)"]),
    ("nested", ['("(1,x)","{""(2,y)"",NULL}",ok,5,"[1,5)")', "(,{},,,)"]),
    ("money", ["$1,234.50"]),
    ("tsvector", ["'a' 'b':2A"]),
    ("tsquery", ["'a' & !'b'"]),
    ("xid8", ["18446744073709551615"]),
    ("pg_lsn", ["16/B374D848"]),
    ("jsonpath", ['$."a"[*]']),
    ('"char"', ["x"]),
    ("regclass", ["pg_class"]),
    ("regtype", ["integer"]),
    ("regproc", ["now"]),
    ("regrole", ["postgres"]),
    ("regnamespace", ["pg_catalog"]),
    ("oidvector", ["1 2"]),
    ("aclitem", ["postgres=r/postgres"]),
    ("refcursor", ["x"]),
]
SINCE = {"pg_snapshot": (13,), "xid8": (13,)}

ARRAYS = [
    "'{}'::int4[]",
    "'{1,NULL}'::int4[]",
    "'{{1,2},{3,4}}'::int4[]",
    "'[2:3]={1,2}'::int4[]",
    "'[0:1][5:5]={{1},{2}}'::int4[]",
    """'{"",NULL,"NULL","a b"}'::text[]""",
    "ARRAY['(1,1),(0,0)', '(2,2),(1,1)']::box[]",
    "ARRAY[NULL]::mood[]",
    "'{1,2}'::positives",
    "'{{1},{2}}'::positives",
    """'{"{1,2}",NULL}'::positives[]""",
]
RECORDS = ["ROW(B'101', point(1, 2), 'infinity'::date)"]
RECORDS += ["ROW(1, 'a', NULL, 1.50)", "ROW()", "ROW(ROW(1), 'x')", "ARRAY[ROW(1, 'a'), ROW(2, NULL)]"]
MULTIRANGES = ["'{}'::int4multirange", "'{[1,3),[5,)}'::int8multirange", "ARRAY['{[1.5,2]}'::nummultirange]"]
VOID = ["pg_sleep(0)"]


@pytest.fixture
async def both(dsn: str) -> AsyncIterator[tuple[Any, Any]]:
    """A connection of each driver, with the types above first in the search path."""
    theirs, ours = await asyncpg.connect(dsn), await holisticpool.connect(dsn)
    schema = f"compared_{uuid.uuid4().hex}"
    await theirs.execute(f"CREATE SCHEMA {schema}")
    for connection in (theirs, ours):
        await connection.execute(f"SET search_path = {schema}, public")
    for statement in TYPES:
        await theirs.execute(statement)
    yield theirs, ours
    await theirs.execute(f"DROP SCHEMA {schema} CASCADE")
    await theirs.close()
    await ours.close()


def shape(value: Any) -> Any:
    """What a value is, whichever driver's classes it is made of."""
    name = type(value).__name__
    if isinstance(value, (asyncpg.Path, holisticpool.Path)):
        return (name, value.is_closed, [shape(point) for point in value])
    if isinstance(value, (asyncpg.Circle, holisticpool.Circle)):
        return (name, tuple(value.center), value.radius)  # asyncpg's center is a plain tuple
    if isinstance(value, (asyncpg.Record, holisticpool.Record)):
        return (name, [(key, shape(field)) for key, field in value.items()])
    if isinstance(value, (list, tuple)):
        return (name, [shape(item) for item in value])
    return (name, repr(value))


def theirs_for(value: Any) -> Any:
    """The value without Records, which asyncpg does not take inside of arrays."""
    if type(value) is list or isinstance(value, asyncpg.Record):
        items = [theirs_for(item) for item in value]
        return items if type(value) is list else tuple(items)
    return value


def ours_for(value: Any) -> Any:
    """The same value made of holisticpool's classes."""
    if isinstance(value, asyncpg.Range):
        bounds = (ours_for(value.lower), ours_for(value.upper))
        inclusive = {"lower_inc": value.lower_inc, "upper_inc": value.upper_inc, "empty": value.isempty}
        return holisticpool.Range(*bounds, **inclusive)
    if isinstance(value, asyncpg.BitString):
        return holisticpool.BitString.frombytes(value.bytes, len(value))
    if isinstance(value, asyncpg.Path):
        cls: Any = getattr(holisticpool, type(value).__name__)
        return cls(*value) if isinstance(value, asyncpg.Polygon) else cls(*value, is_closed=value.is_closed)
    if isinstance(value, asyncpg.Record):
        return tuple(ours_for(field) for field in value)
    if type(value) in (list, tuple):
        return type(value)(ours_for(item) for item in value)
    return value


CASES = [(name, literal) for name, literals in LITERALS for literal in literals]
SENT = [case for case in CASES if case[0] not in ("int2vector", "oidvector")]  # asyncpg sends it as an array


async def skip_if_missing(connection: Any, name: str) -> None:
    if connection.get_server_version() < SINCE.get(name, (0,)):
        pytest.skip(f"this server has no {name}")


@pytest.mark.parametrize(("name", "literal"), CASES)
async def test_value_is_read_as_asyncpg_reads_it(both: tuple[Any, Any], name: str, literal: str) -> None:
    theirs, ours = both
    await skip_if_missing(ours, name)
    quoted = literal.replace("'", "''")
    for sql in (f"SELECT '{quoted}'::{name}", f"SELECT ARRAY['{quoted}'::{name}, NULL]"):
        assert shape(await ours.fetchval(sql)) == shape(await theirs.fetchval(sql))


@pytest.mark.parametrize(("name", "literal"), SENT)
async def test_value_is_sent_as_asyncpg_sends_it(both: tuple[Any, Any], name: str, literal: str) -> None:
    theirs, ours = both
    await skip_if_missing(ours, name)
    quoted = literal.replace("'", "''")
    value = await theirs.fetchval(f"SELECT '{quoted}'::{name}")
    sql = f"SELECT $1::{name}::text"
    assert await ours.fetchval(sql, ours_for(value)) == await theirs.fetchval(sql, theirs_for(value))


@pytest.mark.parametrize("expression", RECORDS + VOID + ARRAYS)
async def test_expression_is_read_as_asyncpg_reads_it(both: tuple[Any, Any], expression: str) -> None:
    theirs, ours = both
    assert shape(await ours.fetchval(f"SELECT {expression}")) == shape(await theirs.fetchval(f"SELECT {expression}"))


@pytest.mark.parametrize("expression", MULTIRANGES)
async def test_multirange_is_read_as_asyncpg_reads_it(both: tuple[Any, Any], expression: str) -> None:
    theirs, ours = both
    if ours.get_server_version() < (14,):
        pytest.skip("this server has no multiranges")
    assert shape(await ours.fetchval(f"SELECT {expression}")) == shape(await theirs.fetchval(f"SELECT {expression}"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("int4range", value) for value in [(), (1,), (1, 2), [None, 2], (None, None), [1, None]]]
    + [("pair", value) for value in [(1, "x"), [1, "x"], {"a": 1}, {"b": "x", "a": None}, {}]]
    + [("pair[]", [(1, "x"), None]), ("pair[]", [{"a": 1}]), ("varbit", b"\xf0"), ("varbit", bytearray(b"\x01\x02"))]
    + [("point", [1, 2.5]), ("path", [(1, 2)]), ("path", ((1, 2),)), ("polygon", ((1, 2),)), ("tid", [1, 2])]
    + [
        ("int4", 1.0),
        ("int8", Decimal("1E+3")),
        ("int4", True),
        ("float8", 1),
        ("float8", Decimal("1.5")),
        ("numeric", 1),
    ]
    + [("numeric", "1.5"), ("numeric", 1.1), ("numeric", Decimal("-0")), ("date", dt.datetime(2020, 1, 2, 3))]
    + [("timestamp", dt.date(2020, 1, 2)), ("timestamptz", dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc))]
    + [("timestamp", dt.datetime.max), ("timestamp", dt.datetime.min), ("date", dt.date.max), ("time", dt.time.max)]
    + [("interval", value) for value in (dt.timedelta(-1, 1, 1), dt.timedelta(days=40), dt.timedelta.max)]
    + [("uuid", "00000000000000000000000000000005"), ("inet", "1.2.3.4/24"), ("bytea", memoryview(b"ab")[::1])]
    + [("int4[]", value) for value in ((), {1, 2}, range(3), [[1], [2]], [[]], {1: 2}.values(), [True, None])]
    + [
        ("text[]", ["a", None]),
        ("point[]", [(1, 2), (3, 4)]),
        ("positives", [1, 2]),
        ("deep", ((1, "x"), [], [1], [], ())),
    ]
    + [("box", ((3, 4), (1, 2))), ("circle", ((1, 2), 3)), ("txid_snapshot", [1, 2, [1]]), ("line", (1, 2, 3))],
)
async def test_plain_value_is_sent_as_asyncpg_sends_it(both: tuple[Any, Any], name: str, value: Any) -> None:
    theirs, ours = both
    sql = f"SELECT $1::{name}::text"
    assert await ours.fetchval(sql, value) == await theirs.fetchval(sql, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("int4range", value) for value in ("[1,5)", (1, 2, 3), 5, {1: 2})]
    + [("pair", value) for value in (5, {"c": 1}, ("x", "x"), "xy")]
    + [("int4", value) for value in ("1", 2**31, float("inf"), None.__class__)]
    + [
        ("bool", 1),
        ("text", 5),
        ("text", b"x"),
        ("bytea", "x"),
        ("uuid", "x"),
        ("numeric", "x"),
        ("date", "2020-01-01"),
    ]
    + [("timestamp", dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)), ("timetz", dt.time(1)), ("interval", 5)]
    + [("inet", "x"), ("inet", ()), ("cidr", "1.2.3.4/24"), ("macaddr", 5), ("json", {"a": 1}), ("mood", 5)]
    + [("int4[]", value) for value in ("{1}", [[1], [2, 3]], {"a": 1}, ["x"], 5, b"ab")]
    + [("varbit", "101"), ("point", 5), ("point", ("x", 1)), ("tid", (1,)), ("tid", (-1, 0)), ("record", (1, 2))],
)
async def test_value_that_asyncpg_refuses_is_refused(both: tuple[Any, Any], name: str, value: Any) -> None:
    for connection, module in zip(both, (asyncpg, holisticpool), strict=True):
        with pytest.raises((module.DataError, module.UnsupportedClientFeatureError)):
            await connection.fetchval(f"SELECT $1::{name}", value)
