/*
 * datetime_cursor.h - the pieces that text forms of dates and times consist of,
 * whatever their style: digits, fractions, times, eras.
 *
 * Everything reads through a cursor that never passes the end of the field, and
 * answers false where something else is there. For datetime_text.c and
 * datetime_style.c.
 */
#ifndef HP_DATETIME_CURSOR_H
#define HP_DATETIME_CURSOR_H

#include "codec/calendar.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

typedef struct cursor {
    const char *p;
    const char *end;
} cursor;

static inline bool
at_end(const cursor *c)
{
    return c->p == c->end;
}

/* Take `ch` if it is next. */
static inline bool
accept(cursor *c, char ch)
{
    if (c->p < c->end && *c->p == ch) {
        c->p++;
        return true;
    }
    return false;
}

static inline bool
next_is_digit(const cursor *c)
{
    return c->p < c->end && Py_ISDIGIT(*c->p);
}

/* min to max digits (at most 18) as a number. */
static inline bool
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
static inline bool
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

/* ---- pieces of a date or time ---- */

static inline int
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

/* A closing " BC", which turns year 1 into 0. */
static inline void
take_era(cursor *c, civil_date *date)
{
    if (c->end - c->p == 3 && memcmp(c->p, " BC", 3) == 0) {
        c->p += 3;
        date->year = 1 - date->year;
    }
}

static inline bool
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
static inline bool
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

#endif
