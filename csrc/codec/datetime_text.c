/*
 * datetime_text.c - dates, times and intervals from text results.
 *
 * Here is DateStyle ISO, whatever its field order; the other styles are read by
 * datetime_style.c, and where it cannot the error names the setting. All four
 * IntervalStyles are understood. The objects are the same as from binary fields.
 *
 * Everything reads through a cursor that never passes the end of the field.
 */
#include "codec/datetime_cursor.h"
#include "codec/families.h"
#include "codec/oids.h"

#include <string.h>

static bool
equals(const char *data, Py_ssize_t len, const char *word)
{
    return (size_t)len == strlen(word) && memcmp(data, word, (size_t)len) == 0;
}

/* YYYY-MM-DD; the year may be longer. */
static bool
take_date(cursor *c, civil_date *date)
{
    return take_digits(c, 4, 7, &date->year) && accept(c, '-') && take_digits(c, 2, 2, &date->month) &&
           accept(c, '-') && take_digits(c, 2, 2, &date->day);
}

/* +HH[:MM[:SS]] as seconds east of Greenwich. */
static bool
take_offset(cursor *c, int64_t *offset_s)
{
    int64_t hour;
    int64_t minute = 0;
    int64_t second = 0;
    bool west = accept(c, '-');
    if ((!west && !accept(c, '+')) || !take_digits(c, 2, 2, &hour) || hour > 23) {
        return false;
    }
    if (accept(c, ':') && !take_digits(c, 2, 2, &minute)) {
        return false;
    }
    if (accept(c, ':') && !take_digits(c, 2, 2, &second)) {
        return false;
    }
    if (minute > 59 || second > 59) {
        return false;
    }
    *offset_s = (hour * 60 + minute) * 60 + second;
    if (west) {
        *offset_s = -*offset_s;
    }
    return true;
}

static int
refuse_not_iso(const hp_codec *codec)
{
    hp_malformed(codec, "not in ISO format (DateStyle must be ISO)");
    return -1;
}

/* 1 or -1 for "infinity" or "-infinity", 0 for anything else. */
static int
infinity_of(const char *data, Py_ssize_t len)
{
    return equals(data, len, "infinity") - equals(data, len, "-infinity");
}

/* ---- date, time, timetz, timestamp, timestamptz ---- */

static bool
read_iso_date(const char *data, Py_ssize_t len, int64_t *days)
{
    cursor c = {data, data + len};
    civil_date date;
    if (!take_date(&c, &date)) {
        return false;
    }
    take_era(&c, &date);
    return at_end(&c) && days_of_civil(&date, days);
}

/* Of a date that is not infinite. */
static int
read_date(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *days)
{
    if (read_iso_date(data, len, days) || hp_date_read_styled(state, data, len, days) == 0) {
        return 0;
    }
    return refuse_not_iso(codec);
}

static int
read_time(const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *us)
{
    cursor c = {data, data + len};
    return take_time(&c, 2, us) && at_end(&c) ? 0 : refuse_not_iso(codec);
}

static int
read_timetz(const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *us, int64_t *offset_s)
{
    cursor c = {data, data + len};
    return take_time(&c, 2, us) && take_offset(&c, offset_s) && at_end(&c) ? 0 : refuse_not_iso(codec);
}

/* 1: it is one; 0: it is not; -1: one that is out of range, with an exception. */
static int
read_iso_timestamp(const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *us)
{
    cursor c = {data, data + len};
    civil_date date;
    int64_t days;
    int64_t time_us;
    int64_t offset_s = 0;
    bool aware = codec->oid == HP_OID_TIMESTAMPTZ;
    if (!take_date(&c, &date) || !accept(&c, ' ') || !take_time(&c, 2, &time_us) ||
        (aware && !take_offset(&c, &offset_s))) {
        return 0;
    }
    take_era(&c, &date);
    if (!at_end(&c) || !days_of_civil(&date, &days)) {
        return 0;
    }
    if (__builtin_mul_overflow(days, HP_US_PER_DAY, us) ||
        __builtin_add_overflow(*us, time_us - offset_s * HP_US_PER_SECOND, us)) {
        PyErr_SetString(PyExc_OverflowError, "timestamp out of the range of PostgreSQL");
        return -1;
    }
    return 1;
}

/* Of a timestamp that is not infinite. */
static int
read_timestamp(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *us)
{
    int found = read_iso_timestamp(codec, data, len, us);
    if (found != 0) {
        return found < 0 ? -1 : 0;
    }
    if (hp_timestamp_read_styled(state, codec, data, len, us) == 0) {
        return 0;
    }
    return PyErr_Occurred() ? -1 : refuse_not_iso(codec);
}

PyObject *
hp_date_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    int64_t days;
    int infinity = infinity_of(data, len);
    if (infinity != 0) {
        return hp_date_infinity(state, infinity < 0);
    }
    return read_date(state, codec, data, len, &days) < 0 ? NULL : hp_date_from_days(state, days);
}

PyObject *
hp_time_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    int64_t us;
    return read_time(codec, data, len, &us) < 0 ? NULL : hp_time_from_us(state, us);
}

PyObject *
hp_timetz_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    int64_t us;
    int64_t offset_s;
    return read_timetz(codec, data, len, &us, &offset_s) < 0 ? NULL : hp_timetz_from_us(state, us, (int32_t)offset_s);
}

PyObject *
hp_timestamp_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    int64_t us;
    int infinity = infinity_of(data, len);
    if (infinity != 0) {
        return hp_timestamp_infinity(state, infinity < 0);
    }
    bool aware = codec->oid == HP_OID_TIMESTAMPTZ;
    return read_timestamp(state, codec, data, len, &us) < 0 ? NULL : hp_timestamp_from_us(state, us, aware);
}

/* ---- interval ---- */

/* Digits of any field of an interval. PostgreSQL's largest is a number of hours,
 * 2,562,047,788. */
enum { MAX_FIELD_DIGITS = 10 };

typedef struct interval {
    int64_t months;
    int64_t days;
    int64_t us;
} interval;

static bool
within_storage(const interval *iv)
{
    return iv->months >= INT32_MIN && iv->months <= INT32_MAX && iv->days >= INT32_MIN && iv->days <= INT32_MAX;
}

/* Take an optional sign; `inherited` counts where there is none. */
static int
take_sign(cursor *c, int inherited)
{
    if (accept(c, '-')) {
        return -1;
    }
    return accept(c, '+') ? 1 : inherited;
}

static bool
take_word(cursor *c, const char **word, Py_ssize_t *len)
{
    *word = c->p;
    while (c->p < c->end && Py_ISALPHA(*c->p)) {
        c->p++;
    }
    *len = c->p - *word;
    return *len > 0;
}

/* Add `value` times `unit` microseconds; false where int64 cannot hold the sum. */
static bool
add_us(interval *iv, int64_t value, int64_t unit)
{
    int64_t product;
    return !__builtin_mul_overflow(value, unit, &product) && !__builtin_add_overflow(iv->us, product, &iv->us);
}

/* "2 mons": `value` of the unit `word`. Fractions occur in seconds only. */
static bool
add_unit(interval *iv, int64_t value, int64_t fraction_us, const char *word, Py_ssize_t len)
{
    if (len > 1 && word[len - 1] == 's') {
        len--;
    }
    if (equals(word, len, "sec")) {
        return add_us(iv, value, HP_US_PER_SECOND) && add_us(iv, fraction_us, 1);
    }
    if (fraction_us != 0) {
        return false;
    }
    if (equals(word, len, "year")) {
        iv->months += value * 12;
    } else if (equals(word, len, "mon")) {
        iv->months += value;
    } else if (equals(word, len, "day")) {
        iv->days += value;
    } else if (equals(word, len, "hour")) {
        return add_us(iv, value, HP_US_PER_HOUR);
    } else if (equals(word, len, "min")) {
        return add_us(iv, value, HP_US_PER_MINUTE);
    } else {
        return false;
    }
    return true;
}

/* H:MM:SS[.f] if that is what follows: 1, or -1 if it is out of range. 0: it is something else. */
static int
try_time(cursor *c, int sign, interval *iv)
{
    cursor ahead = *c;
    int64_t hours;
    int64_t us;
    if (!take_digits(&ahead, 1, MAX_FIELD_DIGITS, &hours) || !accept(&ahead, ':')) {
        return 0;
    }
    return take_time(c, MAX_FIELD_DIGITS, &us) && add_us(iv, sign * us, 1) ? 1 : -1;
}

/* One field: "1-2" (years-months), "04:05:06", "3 days", or "3" (days). *sign is
 * in: what a field without a sign has, out: what this one had. */
static bool
take_field(cursor *c, int *sign, interval *iv)
{
    int64_t value;
    int64_t fraction_us = 0;
    const char *word;
    Py_ssize_t len;

    *sign = take_sign(c, *sign);
    int was_time = try_time(c, *sign, iv);
    if (was_time != 0) {
        return was_time > 0;
    }
    if (!take_digits(c, 1, MAX_FIELD_DIGITS, &value)) {
        return false;
    }
    if (accept(c, '-')) {
        int64_t months;
        if (!take_digits(c, 1, 2, &months)) {
            return false;
        }
        iv->months += *sign * (value * 12 + months);
        return true;
    }
    if (accept(c, '.') && !take_fraction(c, &fraction_us)) {
        return false;
    }
    cursor ahead = *c;
    if (accept(&ahead, ' ') && take_word(&ahead, &word, &len)) {
        *c = ahead;
        return add_unit(iv, *sign * value, *sign * fraction_us, word, len);
    }
    iv->days += *sign * value;
    return fraction_us == 0;
}

static bool
has_letter(const cursor *c)
{
    for (const char *p = c->p; p < c->end; p++) {
        if (Py_ISALPHA(*p)) {
            return true;
        }
    }
    return false;
}

/* IntervalStyle postgres, postgres_verbose and sql_standard: fields with spaces
 * between them. A sign holds for its own field; in sql_standard, where no unit is
 * named, also for the ones behind it: "-3 4:05:06" is all negative. */
static bool
parse_fields(cursor *c, interval *iv)
{
    int sign = 1;
    bool verbose = accept(c, '@') && accept(c, ' ');
    bool named = has_letter(c);
    do {
        if (verbose && equals(c->p, c->end - c->p, "ago")) {
            iv->months = -iv->months;
            iv->days = -iv->days;
            c->p = c->end;
            return !__builtin_mul_overflow(iv->us, -1, &iv->us);
        }
        if (named) {
            sign = 1;
        }
        if (!take_field(c, &sign, iv)) {
            return false;
        }
    } while (accept(c, ' '));
    return at_end(c);
}

/* The unit letter of ISO 8601 to the word of the other styles. */
static const char *
iso_unit(char letter, bool in_time)
{
    switch (letter) {
    case 'Y':
        return "year";
    case 'M':
        return in_time ? "min" : "mon";
    case 'D':
        return "day";
    case 'H':
        return "hour";
    case 'S':
        return "sec";
    default:
        return "";
    }
}

/* IntervalStyle iso_8601, behind the P: 1Y2M3DT4H5M6.789S, a sign at any number. */
static bool
parse_iso_8601(cursor *c, interval *iv)
{
    bool in_time = false;
    do {
        int64_t value;
        int64_t fraction_us = 0;
        in_time = accept(c, 'T') || in_time;
        int sign = take_sign(c, 1);
        if (!take_digits(c, 1, MAX_FIELD_DIGITS, &value) || (accept(c, '.') && !take_fraction(c, &fraction_us)) ||
            at_end(c)) {
            return false;
        }
        const char *unit = iso_unit(*c->p++, in_time);
        if (!add_unit(iv, sign * value, sign * fraction_us, unit, (Py_ssize_t)strlen(unit))) {
            return false;
        }
    } while (!at_end(c));
    return true;
}

/* Of an interval that is not infinite. */
static int
read_interval(const hp_codec *codec, const char *data, Py_ssize_t len, interval *iv)
{
    cursor c = {data, data + len};
    *iv = (interval){0, 0, 0};
    bool parsed = accept(&c, 'P') ? parse_iso_8601(&c, iv) : parse_fields(&c, iv);
    if (!parsed || !within_storage(iv)) {
        hp_malformed(codec, "not in an IntervalStyle that is understood");
        return -1;
    }
    return 0;
}

PyObject *
hp_interval_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    interval iv;
    if (infinity_of(data, len) != 0) {
        return hp_interval_infinity();
    }
    return read_interval(codec, data, len, &iv) < 0 ? NULL : hp_interval_from_parts(state, iv.months, iv.days, iv.us);
}

/* ---- parts ---- */

static int
interval_parts(const hp_codec *codec, const char *data, Py_ssize_t len, int infinity, int64_t *parts)
{
    interval iv = {infinity > 0 ? INT32_MAX : INT32_MIN, infinity > 0 ? INT32_MAX : INT32_MIN,
                   infinity > 0 ? INT64_MAX : INT64_MIN};
    if (infinity == 0 && read_interval(codec, data, len, &iv) < 0) {
        return -1;
    }
    parts[0] = iv.months;
    parts[1] = iv.days;
    parts[2] = iv.us;
    return 0;
}

int
hp_datetime_parts_from_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len,
                            int64_t *parts)
{
    int infinity = infinity_of(data, len);
    switch (codec->oid) {
    case HP_OID_INTERVAL:
        return interval_parts(codec, data, len, infinity, parts);
    case HP_OID_DATE:
        parts[0] = infinity > 0 ? INT32_MAX : INT32_MIN;
        return infinity != 0 ? 0 : read_date(state, codec, data, len, parts);
    case HP_OID_TIME:
        return read_time(codec, data, len, parts);
    case HP_OID_TIMETZ:
        if (read_timetz(codec, data, len, &parts[0], &parts[1]) < 0) {
            return -1;
        }
        parts[1] = -parts[1];
        return 0;
    default:
        parts[0] = infinity > 0 ? INT64_MAX : INT64_MIN;
        return infinity != 0 ? 0 : read_timestamp(state, codec, data, len, parts);
    }
}
