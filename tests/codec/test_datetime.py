"""date, time, timetz, timestamp, timestamptz, interval: values, edges, text forms, refusals."""

from __future__ import annotations

import datetime as dt
import os
import struct
import time
import zoneinfo
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

UTC = dt.timezone.utc
EPOCH = dt.datetime(2000, 1, 1)
DATE, TIME, TIMETZ = OIDS["DATE"], OIDS["TIME"], OIDS["TIMETZ"]
TIMESTAMP, TIMESTAMPTZ, INTERVAL = OIDS["TIMESTAMP"], OIDS["TIMESTAMPTZ"], OIDS["INTERVAL"]

offsets = st.integers(-86399, 86399).map(lambda s: dt.timezone(dt.timedelta(seconds=s)))


def roundtrip(oid: int, value: Any) -> Any:
    return _core.decode(oid, _core.encode(oid, value))


def fraction(microsecond: int) -> str:
    return f".{microsecond:06d}".rstrip("0") if microsecond else ""


def timestamp_text(value: dt.datetime) -> str:
    return f"{value.year:04d}-{value:%m-%d %H:%M:%S}{fraction(value.microsecond)}"


@pytest.fixture
def local_zone() -> Iterator[None]:
    """The process in New York for the time of a test."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


# ---- date ----


def test_every_first_and_last_day_of_a_month_returns() -> None:
    for year in range(1, 10000):
        for month in range(1, 13):
            first = dt.date(year, month, 1)
            assert roundtrip(DATE, first) == first
            if first > dt.date.min:
                last = first - dt.timedelta(days=1)
                assert roundtrip(DATE, last) == last


@given(st.dates())
def test_date_returns_in_both_formats(value: dt.date) -> None:
    assert roundtrip(DATE, value) == value
    assert _core.decode_text(DATE, value.isoformat().encode()) == value


@given(st.dates(dt.date(1, 1, 2), dt.date(9999, 12, 30)))
def test_date_counts_days_from_2000(value: dt.date) -> None:
    assert _core.encode(DATE, value) == struct.pack(">i", value.toordinal() - EPOCH.toordinal())


def test_ends_of_the_calendar_are_infinity() -> None:
    assert _core.encode(DATE, dt.date.max) == struct.pack(">i", 2**31 - 1)
    assert _core.encode(DATE, dt.date.min) == struct.pack(">i", -(2**31))
    assert _core.decode_text(DATE, b"infinity") == dt.date.max
    assert _core.decode_text(DATE, b"-infinity") == dt.date.min
    for oid in (TIMESTAMP, TIMESTAMPTZ):
        assert _core.encode(oid, dt.datetime.max) == struct.pack(">q", 2**63 - 1)
        assert _core.encode(oid, dt.datetime.min) == struct.pack(">q", -(2**63))
        assert roundtrip(oid, dt.datetime.max) == _core.decode_text(oid, b"infinity") == dt.datetime.max
        assert roundtrip(oid, dt.datetime.min) == _core.decode_text(oid, b"-infinity") == dt.datetime.min
    assert _core.encode(TIMESTAMPTZ, dt.datetime.max.replace(tzinfo=UTC)) == struct.pack(">q", 2**63 - 1)


def test_date_is_taken_from_a_datetime_without_its_time() -> None:
    assert roundtrip(DATE, dt.datetime(2020, 1, 2, 3, 4)) == dt.date(2020, 1, 2)


@pytest.mark.parametrize("days", [-730120, 2921940, 2**31 - 2, -(2**31) + 1])
def test_date_outside_of_pythons_years_is_an_overflow(days: int) -> None:
    with pytest.raises(OverflowError, match="^date out of the range"):
        _core.decode(DATE, struct.pack(">i", days))


@pytest.mark.parametrize("text", ["10000-01-01", "0001-12-31 BC", "0044-03-15 BC", "5874897-12-31"])
def test_date_text_outside_of_pythons_years_is_an_overflow(text: str) -> None:
    with pytest.raises(OverflowError, match="^date out of the range"):
        _core.decode_text(DATE, text.encode())


@pytest.mark.parametrize(
    "text",
    ["", "x", "12/17/1997", "17.12.1997", "12-17-1997", "2020-13-01", "2020-00-01", "2020-02-30", "2021-02-29"]
    + ["2020-01-01 ", "2020-1-1", "2020-01-01 AD", "20200101", "99999999-01-01", "2020-01-0 1"],
)
def test_date_text_that_is_not_iso_names_the_setting(text: str) -> None:
    with pytest.raises(ValueError, match="DateStyle must be ISO"):
        _core.decode_text(DATE, text.encode())


# ---- time ----


@given(st.times())
def test_time_returns_in_both_formats(value: dt.time) -> None:
    assert roundtrip(TIME, value) == value
    assert _core.decode_text(TIME, f"{value:%H:%M:%S}{fraction(value.microsecond)}".encode()) == value


@given(st.times(timezones=offsets))
def test_timetz_returns_in_both_formats(value: dt.time) -> None:
    result = roundtrip(TIMETZ, value)
    assert result == value
    assert result.utcoffset() == value.utcoffset()
    seconds = int(value.utcoffset().total_seconds())  # type: ignore[union-attr]
    sign = "-" if seconds < 0 else "+"
    offset = f"{sign}{abs(seconds) // 3600:02d}:{abs(seconds) // 60 % 60:02d}:{abs(seconds) % 60:02d}"
    text = f"{value:%H:%M:%S}{fraction(value.microsecond)}{offset}"
    assert _core.decode_text(TIMETZ, text.encode()).utcoffset() == value.utcoffset()


@pytest.mark.parametrize("text", ["10:00:00+05", "10:00:00+05:00", "10:00:00+05:00:00"])
def test_timetz_offset_may_be_short(text: str) -> None:
    assert _core.decode_text(TIMETZ, text.encode()) == dt.time(10, tzinfo=dt.timezone(dt.timedelta(hours=5)))


def test_time_leaves_out_the_zone_and_the_date() -> None:
    assert roundtrip(TIME, dt.time(1, tzinfo=UTC)) == dt.time(1)
    assert roundtrip(TIME, dt.datetime(2020, 1, 2, 3, 4)) == dt.time(3, 4)


@pytest.mark.parametrize("value", [dt.time(1), dt.time(1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"))])
def test_timetz_needs_a_fixed_offset(value: dt.time) -> None:
    with pytest.raises(TypeError, match="fixed offset"):
        _core.encode(TIMETZ, value)


def test_time_24_00_has_no_python_object() -> None:
    for data in (struct.pack(">q", 86_400_000_000), b"24:00:00"):
        decode = _core.decode if len(data) == 8 and data[0] == 0 else _core.decode_text
        with pytest.raises(OverflowError, match="^time 24:00:00 out of the range"):
            decode(TIME, data)


@pytest.mark.parametrize("text", ["", "1:2:3", "10:00", "10:60:00", "10:00:60", "10:00:00.", "10:00:00.1234567", "x"])
def test_malformed_time_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="malformed time"):
        _core.decode_text(TIME, text.encode())


# ---- timestamp ----


@given(st.datetimes())
def test_timestamp_returns_in_both_formats(value: dt.datetime) -> None:
    assert roundtrip(TIMESTAMP, value) == value
    assert _core.decode_text(TIMESTAMP, timestamp_text(value).encode()) == value


@given(st.datetimes(dt.datetime(1, 1, 1, 0, 0, 0, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999998)))
def test_timestamp_counts_microseconds_from_2000(value: dt.datetime) -> None:
    expected = struct.pack(">q", (value - EPOCH) // dt.timedelta(microseconds=1))
    assert _core.encode(TIMESTAMP, value) == expected
    assert _core.encode(TIMESTAMPTZ, value.replace(tzinfo=UTC)) == expected


def test_timestamp_is_taken_from_a_date_as_its_midnight() -> None:
    assert roundtrip(TIMESTAMP, dt.date(2020, 1, 2)) == dt.datetime(2020, 1, 2)


def test_timestamp_refuses_an_aware_datetime() -> None:
    with pytest.raises(TypeError, match="naive datetime"):
        _core.encode(TIMESTAMP, dt.datetime(2020, 1, 1, tzinfo=UTC))


@given(st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=offsets))
def test_timestamptz_returns_in_utc(value: dt.datetime) -> None:
    result = roundtrip(TIMESTAMPTZ, value)
    assert result == value
    assert result.tzinfo is UTC


@given(st.datetimes(dt.datetime(1890, 1, 1), dt.datetime(2100, 1, 1), timezones=st.timezones()))
def test_timestamptz_follows_the_rules_of_a_zone(value: dt.datetime) -> None:
    assert roundtrip(TIMESTAMPTZ, value) == value.astimezone(UTC)


@given(st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1)), st.integers(-15, 15))
def test_timestamptz_text_in_any_zone_is_read_as_utc(value: dt.datetime, hours: int) -> None:
    zone = dt.timezone(dt.timedelta(hours=hours))
    text = f"{timestamp_text(value)}{'-' if hours < 0 else '+'}{abs(hours):02d}"
    result = _core.decode_text(TIMESTAMPTZ, text.encode())
    assert (result, result.tzinfo) == (value.replace(tzinfo=zone), UTC)


def test_timestamptz_text_may_leave_pythons_years_in_local_time_only() -> None:
    assert _core.decode_text(TIMESTAMPTZ, b"0001-12-31 23:00:00-01 BC") == dt.datetime(1, 1, 1, tzinfo=UTC)
    with pytest.raises(OverflowError, match="^timestamp out of the range"):
        _core.decode_text(TIMESTAMPTZ, b"9999-12-31 23:00:00-01")


def test_naive_datetime_is_in_the_zone_of_the_process(local_zone: None) -> None:
    assert roundtrip(TIMESTAMPTZ, dt.datetime(2024, 1, 1)) == dt.datetime(2024, 1, 1, 5, tzinfo=UTC)
    assert roundtrip(TIMESTAMPTZ, dt.datetime(2024, 7, 1)) == dt.datetime(2024, 7, 1, 4, tzinfo=UTC)


def test_date_for_timestamptz_is_midnight_in_the_zone_of_the_process(local_zone: None) -> None:
    result = roundtrip(TIMESTAMPTZ, dt.date(2024, 1, 1))
    assert result in (dt.datetime(2024, 1, 1, 5, tzinfo=UTC), dt.datetime(2024, 1, 1, 4, tzinfo=UTC))


def test_zone_without_an_offset_counts_as_naive(local_zone: None) -> None:
    class NoZone(dt.tzinfo):
        def utcoffset(self, when: dt.datetime | None) -> None:
            return None

    value = dt.datetime(2024, 1, 1, tzinfo=NoZone())
    assert roundtrip(TIMESTAMPTZ, value) == dt.datetime(2024, 1, 1, 5, tzinfo=UTC)
    assert roundtrip(TIMESTAMP, value) == dt.datetime(2024, 1, 1)


def test_exception_of_a_zone_reaches_the_caller() -> None:
    class Broken(dt.tzinfo):
        def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
            raise ZeroDivisionError

    for oid in (TIMESTAMP, TIMESTAMPTZ, TIMETZ):
        with pytest.raises(ZeroDivisionError):
            _core.encode(oid, dt.datetime(2024, 1, 1, tzinfo=Broken()))


@pytest.mark.parametrize("us", [252455616000000000, -63082281600000001, 2**63 - 2, -(2**63) + 1])
def test_timestamp_outside_of_pythons_years_is_an_overflow(us: int) -> None:
    for oid in (TIMESTAMP, TIMESTAMPTZ):
        with pytest.raises(OverflowError, match="^timestamp out of the range"):
            _core.decode(oid, struct.pack(">q", us))


@pytest.mark.parametrize("text", ["294276-12-31 00:00:00", "4713-01-01 00:00:00 BC", "9999999-12-31 00:00:00"])
def test_timestamp_text_outside_of_pythons_years_is_an_overflow(text: str) -> None:
    with pytest.raises(OverflowError, match="out of the range"):
        _core.decode_text(TIMESTAMP, text.encode())


@pytest.mark.parametrize("value", ["2020-01-01", 5, None.__class__, dt.time(1), dt.timedelta(1)])
def test_timestamp_refuses_what_is_no_date(value: Any) -> None:
    for oid in (TIMESTAMP, TIMESTAMPTZ, DATE):
        with pytest.raises(TypeError, match="^expected a datetime.date or datetime.datetime instance, got "):
            _core.encode(oid, value)


@pytest.mark.parametrize("value", ["10:00", 5, dt.date(2020, 1, 1), dt.timedelta(1)])
def test_time_refuses_what_is_no_time(value: Any) -> None:
    for oid in (TIME, TIMETZ):
        with pytest.raises(TypeError, match="^expected a datetime.time instance, got "):
            _core.encode(oid, value)


class NotATime(dt.datetime):
    """As pandas.NaT: an instance of datetime that equals nothing."""

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 0


def test_datetime_that_is_no_time_is_refused() -> None:
    for oid in (DATE, TIME, TIMETZ, TIMESTAMP, TIMESTAMPTZ):
        with pytest.raises(ValueError, match="NotATime is not a time"):
            _core.encode(oid, NotATime(1, 1, 1))


def test_subclass_of_datetime_is_taken() -> None:
    class Moment(dt.datetime):
        pass

    assert roundtrip(TIMESTAMP, Moment(2024, 1, 1)) == dt.datetime(2024, 1, 1)


# ---- interval ----


@given(st.timedeltas())
def test_interval_returns(value: dt.timedelta) -> None:
    assert roundtrip(INTERVAL, value) == value


@pytest.mark.parametrize(
    ("months", "days", "us", "expected"),
    [
        (1, 0, 0, dt.timedelta(30)),
        (12, 0, 0, dt.timedelta(365)),
        (14, 3, 5, dt.timedelta(365 + 60 + 3, 0, 5)),
        (-13, 0, 0, -dt.timedelta(395)),
        (1, -1, -1, dt.timedelta(29) - dt.timedelta(microseconds=1)),
        (0, 0, -(2**63), dt.timedelta(microseconds=-(2**63))),
    ],
)
def test_months_become_days(months: int, days: int, us: int, expected: dt.timedelta) -> None:
    assert _core.decode(INTERVAL, struct.pack(">qii", us, days, months)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # postgres
        ("00:00:00", dt.timedelta(0)),
        ("1 year 2 mons 3 days 04:05:06.789", dt.timedelta(365 + 60 + 3, 4 * 3600 + 5 * 60 + 6, 789000)),
        ("-1 days +02:03:00", dt.timedelta(-1, 7380)),
        ("-1 years -2 mons +3 days -04:05:06", dt.timedelta(-365 - 60 + 3) - dt.timedelta(0, 14706)),
        ("1 day -00:00:01", dt.timedelta(1) - dt.timedelta(0, 1)),
        ("2562047788:00:54.775807", dt.timedelta(microseconds=2**63 - 1)),
        # postgres_verbose
        ("@ 0", dt.timedelta(0)),
        ("@ 1 year 2 mons -3 days 4 hours 5 mins 6.7 secs", dt.timedelta(365 + 60 - 3, 14706, 700000)),
        ("@ 1 day 2 hours ago", -dt.timedelta(1, 7200)),
        ("@ 1 day -2 hours ago", dt.timedelta(0, 7200) - dt.timedelta(1)),
        ("@ 0.5 secs ago", -dt.timedelta(0, 0, 500000)),
        # sql_standard
        ("0", dt.timedelta(0)),
        ("1-2", dt.timedelta(425)),
        ("-1-2", -dt.timedelta(425)),
        ("3 4:05:06", dt.timedelta(3, 14706)),
        ("-3 4:05:06", -dt.timedelta(3, 14706)),
        ("+1-2 -3 +4:05:06", dt.timedelta(425 - 3, 14706)),
        # iso_8601
        ("PT0S", dt.timedelta(0)),
        ("P1Y2M3DT4H5M6.789S", dt.timedelta(365 + 60 + 3, 14706, 789000)),
        ("P-1Y-2M3DT-4H-5M-6S", dt.timedelta(-365 - 60 + 3) - dt.timedelta(0, 14706)),
        ("PT-0.5S", -dt.timedelta(0, 0, 500000)),
    ],
)
def test_every_interval_style_is_read(text: str, expected: dt.timedelta) -> None:
    assert _core.decode_text(INTERVAL, text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "1", "1 ", "1 day ", "1 fortnight", "1.5 days", "P", "P1", "P1X", "PT", "P1.5Y", "1:2:3", "@", "ago"]
    + ["1 day ago", "99999999999 days", "9999999999 days", "2562047789:00:00", "2562047788:59:00", "1--2", "1-", "T1S"]
    + ["1 day\0", "days", "1days", "9999999999 years"],
)
def test_malformed_interval_text_is_refused(text: str) -> None:
    if text == "1":
        assert _core.decode_text(INTERVAL, b"1") == dt.timedelta(1)  # sql_standard: days
        return
    with pytest.raises(ValueError, match="malformed interval"):
        _core.decode_text(INTERVAL, text.encode())


def test_interval_beyond_timedelta_is_an_overflow() -> None:
    for data in (struct.pack(">qii", 0, 2**31 - 1, 0), struct.pack(">qii", 0, 0, 2**31 - 1)):
        with pytest.raises(OverflowError, match="^interval out of the range"):
            _core.decode(INTERVAL, data)
    for limits in ((2**63 - 1, 2**31 - 1, 2**31 - 1), (-(2**63), -(2**31), -(2**31))):
        with pytest.raises(OverflowError, match="^infinite interval"):
            _core.decode(INTERVAL, struct.pack(">qii", *limits))
    for text in (b"infinity", b"-infinity"):
        with pytest.raises(OverflowError, match="^infinite interval"):
            _core.decode_text(INTERVAL, text)


@pytest.mark.parametrize("value", ["1 day", 5, 1.5, dt.time(1)])
def test_interval_is_taken_from_timedelta_only(value: Any) -> None:
    with pytest.raises(TypeError, match="^expected a datetime.timedelta instance, got "):
        _core.encode(INTERVAL, value)
