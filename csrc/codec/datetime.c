/*
 * datetime.c - date, time, timetz, timestamp, timestamptz and interval in binary
 * form <-> module datetime.
 *
 * What Python has no word for follows asyncpg: infinity is date.max or
 * datetime.max and back, -infinity the .min of these; the months of an interval
 * become 30 days each and its years 365. For timestamptz a naive datetime is in
 * the process's local time zone; results are always in UTC. For timestamp an
 * aware datetime is refused. Anything outside Python's years is OverflowError.
 *
 * Uses the C API of module datetime through the pointer in hp_codec_state, not
 * through the static one of datetime.h.
 */
#include "codec/calendar.h"
#include "codec/families.h"
#include "codec/wire.h"

#include <datetime.h>

enum { EPOCH_DAYS_SINCE_1970 = 10957, EPOCH_YEAR_ZERO_SHIFT = 719468 };

static const int64_t TIMESTAMP_MIN = HP_DAYS_MIN * HP_US_PER_DAY;
static const int64_t TIMESTAMP_MAX = (HP_DAYS_MAX + 1) * HP_US_PER_DAY - 1;

static inline const PyDateTime_CAPI *
capi_of(const hp_codec_state *state)
{
    return (const PyDateTime_CAPI *)state->datetime_capi;
}

int
hp_datetime_init(hp_codec_state *state)
{
    (void)PyDateTimeAPI;
    state->datetime_capi = PyCapsule_Import(PyDateTime_CAPSULE_NAME, 0);
    state->str_utcoffset = PyUnicode_InternFromString("utcoffset");
    return state->datetime_capi == NULL || state->str_utcoffset == NULL ? -1 : 0;
}

/* ---- calendar ---- */

/* Both directions count from 1 March of year 0 in eras of 400 years, so that the
 * leap day is the last of its year. */

enum { DAYS_PER_ERA = 146097, YEARS_PER_ERA = 400 };

int64_t
hp_days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - (YEARS_PER_ERA - 1)) / YEARS_PER_ERA;
    int64_t year_of_era = year - era * YEARS_PER_ERA;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - EPOCH_YEAR_ZERO_SHIFT - EPOCH_DAYS_SINCE_1970;
}

/* `days` within Python's years. By way of the century and the position in it, in
 * 32-bit multiplications and shifts instead of divisions: C. Neri and L. Schneider,
 * "Euclidean affine functions and their application to calendar algorithms". */
static void
civil_from_days(int64_t days, int *year, int *month, int *day)
{
    const uint64_t per_year = 2939745; /* floor(2^32 / 1461) */
    uint32_t quarters = 4 * (uint32_t)(days + EPOCH_YEAR_ZERO_SHIFT + EPOCH_DAYS_SINCE_1970) + 3;
    uint32_t century = quarters / DAYS_PER_ERA;
    uint64_t in_century = per_year * (quarters % DAYS_PER_ERA | 3);
    uint32_t day_of_year = (uint32_t)in_century / (uint32_t)per_year / 4;
    uint32_t months = 2141 * day_of_year + 197913;
    bool next_year = day_of_year >= 306; /* January and February */
    *day = (int)((months & 0xFFFF) / 2141) + 1;
    *month = (int)(months >> 16) - (next_year ? 12 : 0);
    *year = (int)(100 * century + (uint32_t)(in_century >> 32)) + next_year;
}

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* What floor_div() leaves: 0 to b - 1. */
static int64_t
floor_mod(int64_t a, int64_t b)
{
    return a % b + (a % b < 0 ? b : 0);
}

static PyObject *
out_of_range(const char *what)
{
    PyErr_Format(PyExc_OverflowError, "%s out of the range of Python's datetime module", what);
    return NULL;
}

/* ---- constructors ---- */

PyObject *
hp_date_from_days(hp_codec_state *state, int64_t days)
{
    const PyDateTime_CAPI *capi = capi_of(state);
    int year;
    int month;
    int day;
    if (days < HP_DAYS_MIN || days > HP_DAYS_MAX) {
        return out_of_range("date");
    }
    civil_from_days(days, &year, &month, &day);
    return capi->Date_FromDate(year, month, day, capi->DateType);
}

PyObject *
hp_timestamp_from_us(hp_codec_state *state, int64_t us, bool aware)
{
    const PyDateTime_CAPI *capi = capi_of(state);
    int year;
    int month;
    int day;
    if (us < TIMESTAMP_MIN || us > TIMESTAMP_MAX) {
        return out_of_range("timestamp");
    }
    uint64_t since_min = (uint64_t)(us - TIMESTAMP_MIN);
    uint64_t days = since_min / HP_US_PER_DAY;
    uint64_t time = since_min - days * HP_US_PER_DAY;
    uint32_t seconds = (uint32_t)(time / HP_US_PER_SECOND);
    uint32_t minutes = seconds / 60;
    civil_from_days((int64_t)days + HP_DAYS_MIN, &year, &month, &day);
    return capi->DateTime_FromDateAndTime(year, month, day, (int)(minutes / 60), (int)(minutes % 60),
                                          (int)(seconds % 60), (int)(time - seconds * (uint64_t)HP_US_PER_SECOND),
                                          aware ? capi->TimeZone_UTC : Py_None, capi->DateTimeType);
}

static PyObject *
time_of(hp_codec_state *state, int64_t us, PyObject *tzinfo)
{
    const PyDateTime_CAPI *capi = capi_of(state);
    if (us < 0 || us >= HP_US_PER_DAY) {
        return out_of_range(us == HP_US_PER_DAY ? "time 24:00:00" : "time");
    }
    return capi->Time_FromTime((int)(us / HP_US_PER_HOUR), (int)(us / HP_US_PER_MINUTE % 60),
                               (int)(us / HP_US_PER_SECOND % 60), (int)(us % HP_US_PER_SECOND), tzinfo, capi->TimeType);
}

PyObject *
hp_time_from_us(hp_codec_state *state, int64_t us)
{
    return time_of(state, us, Py_None);
}

PyObject *
hp_timetz_from_us(hp_codec_state *state, int64_t us, int32_t offset_s)
{
    const PyDateTime_CAPI *capi = capi_of(state);
    PyObject *delta = capi->Delta_FromDelta(0, offset_s, 0, 1, capi->DeltaType);
    if (delta == NULL) {
        return NULL;
    }
    /* ValueError for an offset of a day or more. */
    PyObject *tzinfo = capi->TimeZone_FromTimeZone(delta, NULL);
    Py_DECREF(delta);
    if (tzinfo == NULL) {
        return NULL;
    }
    PyObject *time = time_of(state, us, tzinfo);
    Py_DECREF(tzinfo);
    return time;
}

PyObject *
hp_interval_from_parts(hp_codec_state *state, int64_t months, int64_t days, int64_t us)
{
    enum { DAYS_PER_YEAR = 365, DAYS_PER_MONTH = 30, MAX_DAYS = 999999999 };
    const PyDateTime_CAPI *capi = capi_of(state);
    int64_t whole_days = floor_div(us, HP_US_PER_DAY);
    int64_t rest = floor_mod(us, HP_US_PER_DAY);
    int64_t total = days + months / 12 * DAYS_PER_YEAR + months % 12 * DAYS_PER_MONTH + whole_days;
    if (total < -MAX_DAYS || total > MAX_DAYS) {
        return out_of_range("interval");
    }
    return capi->Delta_FromDelta((int)total, (int)(rest / HP_US_PER_SECOND), (int)(rest % HP_US_PER_SECOND), 0,
                                 capi->DeltaType);
}

PyObject *
hp_date_infinity(hp_codec_state *state, bool negative)
{
    return hp_date_from_days(state, negative ? HP_DAYS_MIN : HP_DAYS_MAX);
}

PyObject *
hp_timestamp_infinity(hp_codec_state *state, bool negative)
{
    return hp_timestamp_from_us(state, negative ? TIMESTAMP_MIN : TIMESTAMP_MAX, false);
}

PyObject *
hp_interval_infinity(void)
{
    return out_of_range("infinite interval");
}

/* ---- decoders ---- */

PyObject *
hp_date_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 4)) {
        return NULL;
    }
    int32_t days = hp_get_i32(data);
    if (days == INT32_MAX || days == INT32_MIN) {
        return hp_date_infinity(state, days < 0);
    }
    return hp_date_from_days(state, days);
}

PyObject *
hp_time_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 8)) {
        return NULL;
    }
    return hp_time_from_us(state, hp_get_i64(data));
}

PyObject *
hp_timetz_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    enum { SECONDS_PER_DAY = 86400 };
    if (!hp_check_length(codec, len, 12)) {
        return NULL;
    }
    int32_t west_s = hp_get_i32(data + 8);
    if (west_s <= -SECONDS_PER_DAY || west_s >= SECONDS_PER_DAY) {
        return hp_malformed(codec, "time zone offset out of range");
    }
    return hp_timetz_from_us(state, hp_get_i64(data), -west_s);
}

static PyObject *
decode_timestamp(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len, bool aware)
{
    if (!hp_check_length(codec, len, 8)) {
        return NULL;
    }
    int64_t us = hp_get_i64(data);
    if (us == INT64_MAX || us == INT64_MIN) {
        return hp_timestamp_infinity(state, us < 0);
    }
    return hp_timestamp_from_us(state, us, aware);
}

PyObject *
hp_timestamp_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_timestamp(state, codec, data, len, false);
}

PyObject *
hp_timestamptz_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_timestamp(state, codec, data, len, true);
}

PyObject *
hp_interval_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 16)) {
        return NULL;
    }
    int64_t us = hp_get_i64(data);
    int32_t days = hp_get_i32(data + 8);
    int32_t months = hp_get_i32(data + 12);
    if ((us == INT64_MAX && days == INT32_MAX && months == INT32_MAX) ||
        (us == INT64_MIN && days == INT32_MIN && months == INT32_MIN)) {
        return hp_interval_infinity();
    }
    return hp_interval_from_parts(state, months, days, us);
}

/* ---- encoders ---- */

/* PyDate_Check and friends, which go through the static pointer of datetime.h. */
static inline bool
is_date(const hp_codec_state *state, PyObject *obj)
{
    return PyObject_TypeCheck(obj, capi_of(state)->DateType);
}

static inline bool
is_datetime(const hp_codec_state *state, PyObject *obj)
{
    return PyObject_TypeCheck(obj, capi_of(state)->DateTimeType);
}

static inline bool
is_time(const hp_codec_state *state, PyObject *obj)
{
    return PyObject_TypeCheck(obj, capi_of(state)->TimeType);
}

static inline bool
is_delta(const hp_codec_state *state, PyObject *obj)
{
    return PyObject_TypeCheck(obj, capi_of(state)->DeltaType);
}

static inline int64_t
days_of(PyObject *date)
{
    return hp_days_from_civil(PyDateTime_GET_YEAR(date), PyDateTime_GET_MONTH(date), PyDateTime_GET_DAY(date));
}

static inline int64_t
time_us_of_datetime(PyObject *obj)
{
    return PyDateTime_DATE_GET_HOUR(obj) * HP_US_PER_HOUR + PyDateTime_DATE_GET_MINUTE(obj) * HP_US_PER_MINUTE +
           PyDateTime_DATE_GET_SECOND(obj) * HP_US_PER_SECOND + PyDateTime_DATE_GET_MICROSECOND(obj);
}

static inline int64_t
time_us_of_time(PyObject *obj)
{
    return PyDateTime_TIME_GET_HOUR(obj) * HP_US_PER_HOUR + PyDateTime_TIME_GET_MINUTE(obj) * HP_US_PER_MINUTE +
           PyDateTime_TIME_GET_SECOND(obj) * HP_US_PER_SECOND + PyDateTime_TIME_GET_MICROSECOND(obj);
}

/* Local time as written, whatever the time zone. */
static inline int64_t
us_of_datetime(PyObject *obj)
{
    return days_of(obj) * HP_US_PER_DAY + time_us_of_datetime(obj);
}

static int64_t
us_of_delta(PyObject *delta)
{
    return PyDateTime_DELTA_GET_DAYS(delta) * HP_US_PER_DAY + PyDateTime_DELTA_GET_SECONDS(delta) * HP_US_PER_SECOND +
           PyDateTime_DELTA_GET_MICROSECONDS(delta);
}

static int
refuse_no_datetime(PyObject *obj)
{
    return hp_refuse_type("expected a datetime.date or datetime.datetime instance", obj);
}

/* obj.utcoffset(). 1: *us is set; 0: it is None, obj is naive; -1 with an exception. */
static int
utcoffset_of(hp_codec_state *state, PyObject *obj, int64_t *us)
{
    PyObject *offset = PyObject_CallMethodNoArgs(obj, state->str_utcoffset);
    int result = -1;
    if (offset == NULL) {
        return -1;
    }
    if (offset == Py_None) {
        result = 0;
    } else if (is_delta(state, offset)) {
        *us = us_of_delta(offset);
        result = 1;
    } else {
        hp_refuse_type("utcoffset() must give a timedelta or None", offset);
    }
    Py_DECREF(offset);
    return result;
}

/* Is `obj`, a date or datetime, a point in time at all? pandas.NaT is an instance
 * of datetime whose fields say year 1, but it equals nothing, not even itself. 0,
 * or -1 with an exception. */
static int
check_equals_itself(const hp_codec_state *state, PyObject *obj)
{
    const PyDateTime_CAPI *capi = capi_of(state);
    if (Py_IS_TYPE(obj, capi->DateTimeType) || Py_IS_TYPE(obj, capi->DateType)) {
        return 0;
    }
    PyObject *equal = PyObject_RichCompare(obj, obj, Py_EQ);
    int result = equal != NULL ? PyObject_IsTrue(equal) : -1;
    Py_XDECREF(equal);
    if (result == 0) {
        PyErr_Format(PyExc_ValueError, "%.100s is not a time", Py_TYPE(obj)->tp_name);
    }
    return result > 0 ? 0 : -1;
}

int
hp_date_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    if (!is_date(state, obj)) {
        return refuse_no_datetime(obj);
    }
    if (check_equals_itself(state, obj) < 0) {
        return -1;
    }
    int64_t days = days_of(obj);
    if (days == HP_DAYS_MAX) {
        return hp_buf_put_int32(buf, INT32_MAX);
    }
    if (days == HP_DAYS_MIN) {
        return hp_buf_put_int32(buf, INT32_MIN);
    }
    return hp_buf_put_int32(buf, (int32_t)days);
}

/* Time of day; of an aware time the zone is left out. -1 with TypeError. */
static int64_t
time_us_of(const hp_codec_state *state, PyObject *obj)
{
    if (is_time(state, obj)) {
        return time_us_of_time(obj);
    }
    if (is_datetime(state, obj)) {
        return check_equals_itself(state, obj) < 0 ? -1 : time_us_of_datetime(obj);
    }
    return hp_refuse_type("expected a datetime.time instance", obj);
}

int
hp_time_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    int64_t us = time_us_of(state, obj);
    return us < 0 ? -1 : hp_buf_put_int64(buf, us);
}

int
hp_timetz_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    int64_t offset_us = 0;
    int64_t us = time_us_of(state, obj);
    if (us < 0) {
        return -1;
    }
    int known = utcoffset_of(state, obj, &offset_us);
    if (known == 0) {
        PyErr_SetString(PyExc_TypeError, "expected a time with a fixed offset from UTC, got one without");
    }
    if (known <= 0) {
        return -1;
    }
    /* PostgreSQL counts seconds west of Greenwich. */
    if (hp_buf_put_int64(buf, us) < 0) {
        return -1;
    }
    return hp_buf_put_int32(buf, (int32_t)-floor_div(offset_us, HP_US_PER_SECOND));
}

static int
put_timestamp(hp_buf *buf, int64_t us)
{
    if (us == TIMESTAMP_MAX) {
        return hp_buf_put_int64(buf, INT64_MAX);
    }
    if (us == TIMESTAMP_MIN) {
        return hp_buf_put_int64(buf, INT64_MIN);
    }
    return hp_buf_put_int64(buf, us);
}

int
hp_timestamp_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    int64_t offset_us;
    if (!is_datetime(state, obj)) {
        return is_date(state, obj) ? put_timestamp(buf, days_of(obj) * HP_US_PER_DAY) : refuse_no_datetime(obj);
    }
    if (check_equals_itself(state, obj) < 0) {
        return -1;
    }
    if (PyDateTime_DATE_GET_TZINFO(obj) != Py_None) {
        int known = utcoffset_of(state, obj, &offset_us);
        if (known > 0) {
            PyErr_SetString(PyExc_TypeError, "expected a naive datetime for a timestamp without time zone, "
                                             "got an offset-aware one");
        }
        if (known != 0) {
            return -1;
        }
    }
    return put_timestamp(buf, us_of_datetime(obj));
}

/* A naive datetime is in local time: its own astimezone() knows the rules. */
static int
encode_local(hp_codec_state *state, PyObject *obj, hp_buf *buf)
{
    PyObject *utc = PyObject_CallMethod(obj, "astimezone", "O", capi_of(state)->TimeZone_UTC);
    int result = -1;
    if (utc == NULL) {
        return -1;
    }
    if (is_datetime(state, utc)) {
        result = put_timestamp(buf, us_of_datetime(utc));
    } else {
        hp_refuse_type("astimezone() must give a datetime", utc);
    }
    Py_DECREF(utc);
    return result;
}

/* Midnight of a date, at the offset from UTC that local time has now. */
static int
encode_local_date(hp_codec_state *state, PyObject *date, hp_buf *buf)
{
    const PyDateTime_CAPI *capi = capi_of(state);
    int64_t offset_us = 0;
    PyObject *now = PyObject_CallMethod((PyObject *)capi->DateTimeType, "now", "O", capi->TimeZone_UTC);
    PyObject *local = now != NULL ? PyObject_CallMethod(now, "astimezone", NULL) : NULL;
    int known = local != NULL ? utcoffset_of(state, local, &offset_us) : -1;
    Py_XDECREF(local);
    Py_XDECREF(now);
    return known < 0 ? -1 : put_timestamp(buf, days_of(date) * HP_US_PER_DAY - offset_us);
}

int
hp_timestamptz_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    int64_t offset_us = 0;
    if (!is_datetime(state, obj)) {
        return is_date(state, obj) ? encode_local_date(state, obj, buf) : refuse_no_datetime(obj);
    }
    if (check_equals_itself(state, obj) < 0) {
        return -1;
    }
    int64_t us = us_of_datetime(obj);
    PyObject *tzinfo = PyDateTime_DATE_GET_TZINFO(obj);
    if (tzinfo == capi_of(state)->TimeZone_UTC) {
        return put_timestamp(buf, us);
    }
    if (tzinfo == Py_None && (us == TIMESTAMP_MAX || us == TIMESTAMP_MIN)) {
        return put_timestamp(buf, us);
    }
    int known = tzinfo != Py_None ? utcoffset_of(state, obj, &offset_us) : 0;
    if (known <= 0) {
        return known < 0 ? -1 : encode_local(state, obj, buf);
    }
    return put_timestamp(buf, us - offset_us);
}

int
hp_interval_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    if (!is_delta(state, obj)) {
        return hp_refuse_type("expected a datetime.timedelta instance", obj);
    }
    int64_t us = PyDateTime_DELTA_GET_SECONDS(obj) * HP_US_PER_SECOND + PyDateTime_DELTA_GET_MICROSECONDS(obj);
    if (hp_buf_put_int64(buf, us) < 0 || hp_buf_put_int32(buf, PyDateTime_DELTA_GET_DAYS(obj)) < 0) {
        return -1;
    }
    return hp_buf_put_int32(buf, 0); /* months */
}
