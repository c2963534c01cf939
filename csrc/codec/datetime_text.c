/*
 * datetime_text.c - dates, times and intervals from text results.
 *
 * DateStyle must be ISO, whatever its field order; the other styles are
 * ambiguous and refused with an error that names the setting. All four
 * IntervalStyles are understood. The objects are the same as from binary fields.
 *
 * Everything reads through a cursor that never passes the end of the field.
 */
#include "codec/calendar.h"
#include "codec/families.h"
#include "codec/oids.h"

#include <string.h>

typedef struct cursor {
    const char *p;
    const char *end;
} cursor;

static bool
at_end(const cursor *c)
{
    return c->p == c->end;
}

/* Take `ch` if it is next. */
static bool
accept(cursor *c, char ch)
{
    if (c->p < c->end && *c->p == ch) {
        c->p++;
        return true;
    }
    return false;
}

static bool
next_is_digit(const cursor *c)
{
    return c->p < c->end && Py_ISDIGIT(*c->p);
}

/* min to max digits (at most 18) as a number. */
static bool
take_digits(cursor *c, int min, int max, int64_t *value)
{
    int n = 0;
    *value = 0;
    while (n < max && next_is_digit(c)) {
        *value = *value * 10 + (*c->p++ - '0');
        n++;
    }
    return n >= min && !next_is_digit(c);
}

/* The digits after a decimal point as microseconds; more than six are refused. */
static bool
take_fraction(cursor *c, int64_t *us)
{
    int64_t scale = HP_US_PER_SECOND;
    *us = 0;
    if (!next_is_digit(c)) {
        return false;
    }
    while (next_is_digit(c) && scale > 1) {
        scale /= 10;
        *us += (*c->p++ - '0') * scale;
    }
    return !next_is_digit(c);
}

static bool
equals(const char *data, Py_ssize_t len, const char *word)
{
    return (size_t)len == strlen(word) && memcmp(data, word, (size_t)len) == 0;
}

/* ---- pieces of a date or time ---- */

static int
days_in_month(int64_t year, int64_t month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

typedef struct civil_date {
    int64_t year;
    int64_t month;
    int64_t day;
} civil_date;

/* YYYY-MM-DD; the year may be longer. */
static bool
take_date(cursor *c, civil_date *date)
{
    return take_digits(c, 4, 7, &date->year) && accept(c, '-') && take_digits(c, 2, 2, &date->month) &&
           accept(c, '-') && take_digits(c, 2, 2, &date->day);
}

/* A closing " BC", which turns year 1 into 0. */
static void
take_era(cursor *c, civil_date *date)
{
    if (c->end - c->p == 3 && memcmp(c->p, " BC", 3) == 0) {
        c->p += 3;
        date->year = 1 - date->year;
    }
}

static bool
days_of_civil(const civil_date *date, int64_t *days)
{
    if (date->month < 1 || date->month > 12 || date->day < 1 || date->day > days_in_month(date->year, date->month)) {
        return false;
    }
    *days = hp_days_from_civil(date->year, (int)date->month, (int)date->day);
    return true;
}

/* More hours than these are more microseconds than int64 holds. */
#define MAX_HOURS (INT64_MAX / HP_US_PER_HOUR)

/* HH:MM:SS[.ffffff] as microseconds; the hours of an interval may be many. */
static bool
take_time(cursor *c, int max_hour_digits, int64_t *us)
{
    int64_t hour;
    int64_t minute;
    int64_t second;
    int64_t fraction = 0;
    if (!take_digits(c, 1, max_hour_digits, &hour) || !accept(c, ':') || !take_digits(c, 2, 2, &minute) ||
        !accept(c, ':') || !take_digits(c, 2, 2, &second) || hour > MAX_HOURS || minute > 59 || second > 59) {
        return false;
    }
    if (accept(c, '.') && !take_fraction(c, &fraction)) {
        return false;
    }
    int64_t within_hour = minute * HP_US_PER_MINUTE + second * HP_US_PER_SECOND + fraction;
    return !__builtin_add_overflow(hour * HP_US_PER_HOUR, within_hour, us);
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

/* Of a date that is not infinite. */
static int
read_date(const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *days)
{
    cursor c = {data, data + len};
    civil_date date;
    if (!take_date(&c, &date)) {
        return refuse_not_iso(codec);
    }
    take_era(&c, &date);
    return at_end(&c) && days_of_civil(&date, days) ? 0 : refuse_not_iso(codec);
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

/* Of a timestamp that is not infinite. */
static int
read_timestamp(const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *us)
{
    cursor c = {data, data + len};
    civil_date date;
    int64_t days;
    int64_t time_us;
    int64_t offset_s = 0;
    bool aware = codec->oid == HP_OID_TIMESTAMPTZ;
    if (!take_date(&c, &date) || !accept(&c, ' ') || !take_time(&c, 2, &time_us) ||
        (aware && !take_offset(&c, &offset_s))) {
        return refuse_not_iso(codec);
    }
    take_era(&c, &date);
    if (!at_end(&c) || !days_of_civil(&date, &days)) {
        return refuse_not_iso(codec);
    }
    if (__builtin_mul_overflow(days, HP_US_PER_DAY, us) ||
        __builtin_add_overflow(*us, time_us - offset_s * HP_US_PER_SECOND, us)) {
        PyErr_SetString(PyExc_OverflowError, "timestamp out of the range of PostgreSQL");
        return -1;
    }
    return 0;
}

PyObject *
hp_date_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    int64_t days;
    int infinity = infinity_of(data, len);
    if (infinity != 0) {
        return hp_date_infinity(state, infinity < 0);
    }
    return read_date(codec, data, len, &days) < 0 ? NULL : hp_date_from_days(state, days);
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
    return read_timestamp(codec, data, len, &us) < 0 ? NULL : hp_timestamp_from_us(state, us, aware);
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
hp_datetime_parts_from_text(const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *parts)
{
    int infinity = infinity_of(data, len);
    switch (codec->oid) {
    case HP_OID_INTERVAL:
        return interval_parts(codec, data, len, infinity, parts);
    case HP_OID_DATE:
        parts[0] = infinity > 0 ? INT32_MAX : INT32_MIN;
        return infinity != 0 ? 0 : read_date(codec, data, len, parts);
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
        return infinity != 0 ? 0 : read_timestamp(codec, data, len, parts);
    }
}
