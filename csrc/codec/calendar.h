/*
 * calendar.h - PostgreSQL's date arithmetic and the construction of Python's
 * datetime objects, shared by datetime.c (binary) and datetime_text.c.
 *
 * Days and microseconds count from 2000-01-01 00:00, PostgreSQL's epoch, in the
 * proleptic Gregorian calendar. The constructors return a new reference, or NULL
 * with OverflowError where Python's type cannot hold the value.
 */
#ifndef HP_CALENDAR_H
#define HP_CALENDAR_H

#include "codec/codec.h"

#define HP_US_PER_SECOND INT64_C(1000000)
#define HP_US_PER_MINUTE (60 * HP_US_PER_SECOND)
#define HP_US_PER_HOUR   (60 * HP_US_PER_MINUTE)
#define HP_US_PER_DAY    (24 * HP_US_PER_HOUR)

/* 0001-01-01 and 9999-12-31: the first and the last day that Python has. */
#define HP_DAYS_MIN INT64_C(-730119)
#define HP_DAYS_MAX INT64_C(2921939)

/* `month` 1 to 12; `day` may exceed the month's length. */
int64_t hp_days_from_civil(int64_t year, int month, int day);

PyObject *hp_date_from_days(hp_codec_state *state, int64_t days);
/* aware: in UTC; otherwise naive. */
PyObject *hp_timestamp_from_us(hp_codec_state *state, int64_t us, bool aware);
PyObject *hp_time_from_us(hp_codec_state *state, int64_t us);
/* `offset_s`: seconds east of Greenwich, as Python counts. */
PyObject *hp_timetz_from_us(hp_codec_state *state, int64_t us, int32_t offset_s);
/* As asyncpg does, a year is 365 days and a month 30. */
PyObject *hp_interval_from_parts(hp_codec_state *state, int64_t months, int64_t days, int64_t us);

/* date.max, date.min; datetime.max, datetime.min (naive): what 'infinity' and
 * '-infinity' are in Python. */
PyObject *hp_date_infinity(hp_codec_state *state, bool negative);
PyObject *hp_timestamp_infinity(hp_codec_state *state, bool negative);
/* What the binary form of the type consists of, in the order of the tuples of
 * parts.c, from its text form; infinity as there. 0, or -1 with ValueError. */
int hp_datetime_parts_from_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len,
                                int64_t *parts);
/* OverflowError for an infinite interval; always NULL. */
PyObject *hp_interval_infinity(void);

#endif
