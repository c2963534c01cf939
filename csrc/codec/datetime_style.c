/*
 * datetime_style.c - dates and timestamps from text results in the DateStyles
 * SQL, German and Postgres, as the server writes them.
 *
 *                date         timestamp (with a time zone)
 *     SQL        12/17/1997   12/17/1997 07:37:16.5 PST
 *     German     17.12.1997   17.12.1997 07:37:16.5 PST
 *     Postgres   12-17-1997   Wed Dec 17 07:37:16.5 1997 PST
 *
 * Which of SQL's and Postgres's first two numbers is the day, and what an
 * abbreviation of a time zone means, is not in the text: hp_codec_state.text_style
 * says what the session has set. A zone without abbreviation is written as an
 * offset. An abbreviation is looked up in the session's own time zone, since no
 * other one writes it, with Python's zoneinfo.
 *
 * Called by datetime_text.c for what is not ISO.
 */
#include "codec/datetime_cursor.h"
#include "codec/families.h"
#include "codec/oids.h"

#include <pythread.h>

/* Of datetime. */
enum { MINYEAR = 1, MAXYEAR = 9999 };

bool
hp_text_style_read(const char *date_style, const char *zone, hp_text_style *style)
{
    if (date_style == NULL || zone == NULL || strncmp(date_style, "ISO", 3) == 0 ||
        strlen(zone) >= sizeof style->zone) {
        return false;
    }
    style->thread = PyThread_get_thread_ident();
    style->day_first = strstr(date_style, "DMY") != NULL;
    memcpy(style->zone, zone, strlen(zone) + 1);
    return true;
}

/* The style of the result that is being decoded; NULL: ISO, or nobody knows. User
 * code that a decoder runs may let another thread decode meanwhile. */
static const hp_text_style *
style_of(const hp_codec_state *state)
{
    const hp_text_style *style = state->text_style;
    return style != NULL && style->thread == PyThread_get_thread_ident() ? style : NULL;
}

/* ---- dates ---- */

static bool
take_date(cursor *c, const hp_text_style *style, civil_date *date)
{
    int64_t first;
    int64_t second;
    if (!take_digits(c, 2, 2, &first) || c->p == c->end) {
        return false;
    }
    char separator = *c->p;
    if ((separator != '/' && separator != '.' && separator != '-') || !accept(c, separator) ||
        !take_digits(c, 2, 2, &second) || !accept(c, separator) || !take_digits(c, 4, 7, &date->year)) {
        return false;
    }
    bool day_first = separator == '.' || style->day_first;
    date->day = day_first ? first : second;
    date->month = day_first ? second : first;
    return true;
}

int
hp_date_read_styled(hp_codec_state *state, const char *data, Py_ssize_t len, int64_t *days)
{
    const hp_text_style *style = style_of(state);
    cursor c = {data, data + len};
    civil_date date;
    if (style == NULL || !take_date(&c, style, &date)) {
        return -1;
    }
    take_era(&c, &date);
    return at_end(&c) && days_of_civil(&date, days) ? 0 : -1;
}

/* ---- Postgres timestamps ---- */

/* The server writes English names, whatever its locale. */
static bool
take_month(cursor *c, int64_t *month)
{
    static const char NAMES[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    enum { NAME_BYTES = 3, MONTHS = 12 };
    for (int i = 0; i < MONTHS && c->end - c->p >= NAME_BYTES; i++) {
        if (memcmp(c->p, NAMES + (size_t)i * NAME_BYTES, NAME_BYTES) == 0) {
            c->p += NAME_BYTES;
            *month = i + 1;
            return true;
        }
    }
    return false;
}

static bool
take_weekday(cursor *c)
{
    enum { NAME_BYTES = 3 };
    for (int i = 0; i < NAME_BYTES; i++) {
        if (c->p == c->end || !Py_ISALPHA(*c->p)) {
            return false;
        }
        c->p++;
    }
    return accept(c, ' ');
}

/* "Wed Dec 17 07:37:16 1997", or with the day before the month. */
static bool
take_postgres(cursor *c, civil_date *date, int64_t *time_us)
{
    if (!take_weekday(c)) {
        return false;
    }
    if (next_is_digit(c)) {
        if (!take_digits(c, 2, 2, &date->day) || !accept(c, ' ') || !take_month(c, &date->month)) {
            return false;
        }
    } else if (!take_month(c, &date->month) || !accept(c, ' ') || !take_digits(c, 2, 2, &date->day)) {
        return false;
    }
    return accept(c, ' ') && take_time(c, 2, time_us) && accept(c, ' ') && take_digits(c, 4, 7, &date->year);
}

/* ---- time zones ---- */

/* +HH[[:]MM[:SS]], without the colon in names such as "+0530", as seconds east. */
static bool
take_numeric_zone(cursor *c, int64_t *offset_s)
{
    int64_t parts[3] = {0, 0, 0};
    bool west = *c->p == '-';
    c->p++;
    for (int i = 0; i < 3; i++) {
        if (c->end - c->p < 2 || !Py_ISDIGIT(c->p[0]) || !Py_ISDIGIT(c->p[1])) {
            return false;
        }
        parts[i] = (c->p[0] - '0') * 10 + (c->p[1] - '0');
        c->p += 2;
        if (!accept(c, ':') && !next_is_digit(c)) {
            break;
        }
    }
    *offset_s = ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * (west ? -1 : 1);
    return parts[0] < 24 && parts[1] < 60 && parts[2] < 60;
}

/* Does the zone call itself so at this local time (datetime, aware)? 1 with the
 * offset, 0, or -1 with an exception. */
static int
offset_if_named(PyObject *local, const char *name, Py_ssize_t len, int64_t *offset_s)
{
    int rc = -1;
    PyObject *called = PyObject_CallMethod(local, "tzname", NULL);
    PyObject *wanted = PyUnicode_DecodeUTF8(name, len, NULL);
    PyObject *offset = PyObject_CallMethod(local, "utcoffset", NULL);
    PyObject *seconds = offset ? PyObject_CallMethod(offset, "total_seconds", NULL) : NULL;
    if (called != NULL && wanted != NULL && seconds != NULL) {
        rc = PyObject_RichCompareBool(called, wanted, Py_EQ);
        *offset_s = (int64_t)PyFloat_AsDouble(seconds);
    }
    Py_XDECREF(called);
    Py_XDECREF(wanted);
    Py_XDECREF(offset);
    Py_XDECREF(seconds);
    return rc;
}

/* datetime(year, ..., tzinfo=zone, fold=fold): new reference. */
static PyObject *
local_time(PyObject *class, PyObject *zone, const civil_date *date, int64_t time_us, int fold)
{
    int64_t seconds = time_us / HP_US_PER_SECOND;
    PyObject *args = Py_BuildValue("(LLLLLLL)", (long long)date->year, (long long)date->month, (long long)date->day,
                                   (long long)(seconds / 3600), (long long)(seconds / 60 % 60),
                                   (long long)(seconds % 60), (long long)(time_us % HP_US_PER_SECOND));
    PyObject *keywords = Py_BuildValue("{s:O,s:i}", "tzinfo", zone, "fold", fold);
    PyObject *local = args && keywords ? PyObject_Call(class, args, keywords) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    return local;
}

static PyObject *
attribute_of(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *attribute = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return attribute;
}

/* Python does not know the zone; out of memory is another thing. */
static void
clear_not_found(void)
{
    if (PyErr_ExceptionMatches(PyExc_LookupError) || PyErr_ExceptionMatches(PyExc_ValueError) ||
        PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_ImportError)) {
        PyErr_Clear();
    }
}

/* What an abbreviation means in the zone of the session. An hour that comes twice
 * is told apart by it: 0, or -1, perhaps with an exception. */
static int
offset_of_name(const char *zone_name, const char *name, Py_ssize_t len, const civil_date *date, int64_t time_us,
               int64_t *offset_s)
{
    if (len == 3 && (memcmp(name, "UTC", 3) == 0 || memcmp(name, "GMT", 3) == 0)) {
        *offset_s = 0;
        return 0;
    }
    if (date->year < MINYEAR || date->year > MAXYEAR) {
        *offset_s = 0; /* no datetime can hold it in any zone */
        return 0;
    }
    int found = -1;
    PyObject *zone_class = attribute_of("zoneinfo", "ZoneInfo");
    PyObject *class = attribute_of("datetime", "datetime");
    PyObject *zone = zone_class && class ? PyObject_CallFunction(zone_class, "s", zone_name) : NULL;
    for (int fold = 0; zone != NULL && fold < 2 && found <= 0; fold++) {
        PyObject *local = local_time(class, zone, date, time_us, fold);
        found = local ? offset_if_named(local, name, len, offset_s) : -1;
        Py_XDECREF(local);
        if (found < 0) {
            break;
        }
    }
    if (found < 0) {
        clear_not_found();
    }
    Py_XDECREF(zone);
    Py_XDECREF(class);
    Py_XDECREF(zone_class);
    return found > 0 ? 0 : -1;
}

/* ---- timestamps ---- */

int
hp_timestamp_read_styled(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len, int64_t *us)
{
    const hp_text_style *style = style_of(state);
    cursor c = {data, data + len};
    civil_date date;
    int64_t time_us;
    int64_t days;
    int64_t offset_s = 0;
    const char *name = NULL;
    Py_ssize_t name_len = 0;
    if (style == NULL || len == 0) {
        return -1;
    }
    bool read = Py_ISALPHA(data[0]) ? take_postgres(&c, &date, &time_us)
                                    : take_date(&c, style, &date) && accept(&c, ' ') && take_time(&c, 2, &time_us);
    if (!read) {
        return -1;
    }
    if (codec->oid == HP_OID_TIMESTAMPTZ) {
        accept(&c, ' ');
        if (c.p < c.end && (*c.p == '+' || *c.p == '-')) {
            if (!take_numeric_zone(&c, &offset_s)) {
                return -1;
            }
        } else {
            name = c.p;
            while (c.p < c.end && *c.p != ' ') {
                c.p++;
            }
            name_len = c.p - name;
        }
    }
    take_era(&c, &date);
    if (!at_end(&c) || !days_of_civil(&date, &days) ||
        (name != NULL && offset_of_name(style->zone, name, name_len, &date, time_us, &offset_s) < 0)) {
        return -1;
    }
    if (__builtin_mul_overflow(days, HP_US_PER_DAY, us) ||
        __builtin_add_overflow(*us, time_us - offset_s * HP_US_PER_SECOND, us)) {
        PyErr_SetString(PyExc_OverflowError, "timestamp out of the range of PostgreSQL");
        return -1;
    }
    return 0;
}
