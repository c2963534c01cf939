/*
 * numbers.c - bool, the integers, the floats and "char".
 *
 * Integers are taken from int, from whatever has __index__ (bool included), and from
 * a float, Decimal or other number that is equal to an int: a fraction must not
 * vanish silently.
 * oid, xid and cid are unsigned 32-bit integers, xid8 is an unsigned 64-bit one,
 * pg_lsn a signed 64-bit one to Python. "char" is one byte and a bytes object.
 */
#include "codec/families.h"
#include "codec/wire.h"

#include <math.h>
#include <string.h>

/* ---- encoders ---- */

/* New reference: the int that `obj`, a number of another kind, is equal to. */
static PyObject *
equal_integer(PyObject *obj)
{
    const PyNumberMethods *methods = Py_TYPE(obj)->tp_as_number;
    bool has_int = methods != NULL && methods->nb_int != NULL;
    PyObject *integer = has_int ? PyNumber_Long(obj) : NULL;
    if (integer == NULL && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_ValueError) &&
        !PyErr_ExceptionMatches(PyExc_OverflowError)) {
        return NULL;
    }
    PyErr_Clear(); /* not a number, or infinite */
    int equal = integer != NULL ? PyObject_RichCompareBool(obj, integer, Py_EQ) : 0;
    if (equal == 0) {
        hp_refuse_type("an integer is required", obj);
    }
    if (equal <= 0) {
        Py_CLEAR(integer);
    }
    return integer;
}

/* New reference to an int: obj itself, its __index__, or what it is equal to. */
static PyObject *
integer_of(PyObject *obj)
{
    if (PyLong_Check(obj)) {
        Py_INCREF(obj);
        return obj;
    }
    return PyIndex_Check(obj) ? PyNumber_Index(obj) : equal_integer(obj);
}

static int
signed_of(PyObject *obj, long long min, long long max, const char *range, long long *value)
{
    int overflow = 0;
    PyObject *integer = integer_of(obj);
    if (integer == NULL) {
        return -1;
    }
    *value = PyLong_AsLongLongAndOverflow(integer, &overflow);
    Py_DECREF(integer);
    if (overflow != 0 || *value < min || *value > max) {
        return hp_refuse_range(range);
    }
    return 0;
}

int
hp_unsigned_of(PyObject *obj, unsigned long long max, const char *range, unsigned long long *value)
{
    PyObject *integer = integer_of(obj);
    if (integer == NULL) {
        return -1;
    }
    *value = PyLong_AsUnsignedLongLong(integer);
    Py_DECREF(integer);
    if (PyErr_Occurred() || *value > max) {
        return hp_refuse_range(range);
    }
    return 0;
}

int
hp_bool_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    if (!PyBool_Check(obj)) {
        return hp_refuse_type("a boolean is required", obj);
    }
    return hp_buf_append(buf, obj == Py_True ? "\1" : "\0", 1);
}

int
hp_int2_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    long long value;
    if (signed_of(obj, INT16_MIN, INT16_MAX, "int16", &value) < 0) {
        return -1;
    }
    return hp_buf_put_int16(buf, (int16_t)value);
}

int
hp_int4_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    long long value;
    if (signed_of(obj, INT32_MIN, INT32_MAX, "int32", &value) < 0) {
        return -1;
    }
    return hp_buf_put_int32(buf, (int32_t)value);
}

int
hp_int8_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    long long value;
    if (signed_of(obj, INT64_MIN, INT64_MAX, "int64", &value) < 0) {
        return -1;
    }
    return hp_buf_put_int64(buf, (int64_t)value);
}

int
hp_uint4_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    unsigned long long value;
    if (hp_unsigned_of(obj, UINT32_MAX, "uint32", &value) < 0) {
        return -1;
    }
    return hp_buf_put_int32(buf, (int32_t)(uint32_t)value);
}

int
hp_uint8_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    unsigned long long value;
    if (hp_unsigned_of(obj, UINT64_MAX, "uint64", &value) < 0) {
        return -1;
    }
    return hp_buf_put_int64(buf, (int64_t)(uint64_t)value);
}

static int
double_of(PyObject *obj, double *value)
{
    if (PyFloat_CheckExact(obj)) {
        *value = PyFloat_AS_DOUBLE(obj);
        return 0;
    }
    PyNumberMethods *number = Py_TYPE(obj)->tp_as_number;
    if (number == NULL || (number->nb_float == NULL && number->nb_index == NULL)) {
        return hp_refuse_type("a float is required", obj);
    }
    *value = PyFloat_AsDouble(obj);
    return *value == -1.0 && PyErr_Occurred() ? -1 : 0;
}

int
hp_float4_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    double value = 0;
    uint32_t bits;
    if (double_of(obj, &value) < 0) {
        return -1;
    }
    float narrow = (float)value;
    if (isinf(narrow) && !isinf(value)) {
        return hp_refuse_range("float32");
    }
    memcpy(&bits, &narrow, sizeof(bits));
    return hp_buf_put_int32(buf, (int32_t)bits);
}

int
hp_float8_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    double value = 0;
    uint64_t bits;
    if (double_of(obj, &value) < 0) {
        return -1;
    }
    memcpy(&bits, &value, sizeof(bits));
    return hp_buf_put_int64(buf, (int64_t)bits);
}

int
hp_char_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    Py_ssize_t before = buf->len;
    if (hp_bytea_encode(state, codec, obj, buf) < 0) {
        return -1;
    }
    if (buf->len - before != 1) {
        PyErr_Format(PyExc_ValueError, "one byte is required, got %zd", buf->len - before);
        return -1;
    }
    return 0;
}

/* ---- decoders of binary fields ---- */

PyObject *
hp_bool_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 1)) {
        return NULL;
    }
    return PyBool_FromLong(data[0] != 0);
}

PyObject *
hp_int2_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 2)) {
        return NULL;
    }
    return PyLong_FromLong((int16_t)hp_get_u16(data));
}

PyObject *
hp_int4_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 4)) {
        return NULL;
    }
    return PyLong_FromLong(hp_get_i32(data));
}

PyObject *
hp_int8_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 8)) {
        return NULL;
    }
    return PyLong_FromLongLong(hp_get_i64(data));
}

PyObject *
hp_uint4_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 4)) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(hp_get_u32(data));
}

PyObject *
hp_uint8_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 8)) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(hp_get_u64(data));
}

PyObject *
hp_float4_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    float value;
    if (!hp_check_length(codec, len, 4)) {
        return NULL;
    }
    uint32_t bits = hp_get_u32(data);
    memcpy(&value, &bits, sizeof(value));
    return PyFloat_FromDouble((double)value);
}

PyObject *
hp_float8_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    double value;
    if (!hp_check_length(codec, len, 8)) {
        return NULL;
    }
    uint64_t bits = hp_get_u64(data);
    memcpy(&value, &bits, sizeof(value));
    return PyFloat_FromDouble(value);
}

PyObject *
hp_char_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, 1)) {
        return NULL;
    }
    return PyBytes_FromStringAndSize(data, 1);
}

/* ---- decoders of text fields ---- */

bool
hp_parse_digits(const char *p, const char *end, uint64_t max, uint64_t *value)
{
    uint64_t n = 0;
    if (p == end) {
        return false;
    }
    for (; p < end; p++) {
        unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9 || n > (max - digit) / 10) {
            return false;
        }
        n = n * 10 + digit;
    }
    *value = n;
    return true;
}

/* `max`: the largest positive value; the most negative one is -max - 1. */
static PyObject *
signed_from_text(const hp_codec *codec, const char *data, Py_ssize_t len, uint64_t max)
{
    const char *end = data + len;
    bool negative = len > 0 && data[0] == '-';
    uint64_t value;
    if (!hp_parse_digits(data + negative, end, max + negative, &value)) {
        return hp_malformed(codec, "not an integer of this type");
    }
    return PyLong_FromLongLong(negative ? (long long)(0 - value) : (long long)value);
}

static PyObject *
unsigned_from_text(const hp_codec *codec, const char *data, Py_ssize_t len, uint64_t max)
{
    uint64_t value;
    if (!hp_parse_digits(data, data + len, max, &value)) {
        return hp_malformed(codec, "not an integer of this type");
    }
    return PyLong_FromUnsignedLongLong(value);
}

PyObject *
hp_bool_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (len != 1 || (data[0] != 't' && data[0] != 'f')) {
        return hp_malformed(codec, "neither t nor f");
    }
    return PyBool_FromLong(data[0] == 't');
}

PyObject *
hp_int2_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return signed_from_text(codec, data, len, INT16_MAX);
}

PyObject *
hp_int4_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return signed_from_text(codec, data, len, INT32_MAX);
}

PyObject *
hp_int8_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return signed_from_text(codec, data, len, INT64_MAX);
}

PyObject *
hp_uint4_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return unsigned_from_text(codec, data, len, UINT32_MAX);
}

PyObject *
hp_uint8_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return unsigned_from_text(codec, data, len, UINT64_MAX);
}

/* 1 to 8 hexadecimal digits. */
static bool
parse_hex32(const char *p, const char *end, uint32_t *value)
{
    if (p == end || end - p > 8) {
        return false;
    }
    *value = 0;
    for (; p < end; p++) {
        int digit = Py_ISDIGIT(*p) ? *p - '0' : Py_ISXDIGIT(*p) ? Py_TOLOWER(*p) - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

/* "16/B374D848": the halves of the 64-bit number. */
PyObject *
hp_lsn_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    uint32_t high;
    uint32_t low;
    const char *slash = len > 0 ? memchr(data, '/', (size_t)len) : NULL;
    if (slash == NULL || !parse_hex32(data, slash, &high) || !parse_hex32(slash + 1, data + len, &low)) {
        return hp_malformed(codec, "not two hexadecimal numbers");
    }
    return PyLong_FromLongLong((int64_t)((uint64_t)high << 32 | low));
}

int
hp_double_from_text(const hp_codec *codec, const char *data, Py_ssize_t len, double *value)
{
    char copy[64];
    if (len <= 0 || len >= (Py_ssize_t)sizeof(copy) || memchr(data, '\0', (size_t)len) != NULL) {
        hp_malformed(codec, "not a floating-point number");
        return -1;
    }
    memcpy(copy, data, (size_t)len);
    copy[len] = '\0';
    *value = PyOS_string_to_double(copy, NULL, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        hp_malformed(codec, "not a floating-point number");
        return -1;
    }
    return 0;
}

PyObject *
hp_float4_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    double value;
    if (hp_double_from_text(codec, data, len, &value) < 0) {
        return NULL;
    }
    return PyFloat_FromDouble((double)(float)value);
}

PyObject *
hp_float8_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    double value;
    if (hp_double_from_text(codec, data, len, &value) < 0) {
        return NULL;
    }
    return PyFloat_FromDouble(value);
}

/* Nothing for the zero byte, \ooo for bytes above 127 (PostgreSQL 16 and later), else the byte. */
PyObject *
hp_char_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    unsigned char byte = 0;
    if (len == 1) {
        byte = (unsigned char)data[0];
    } else if (len == 4 && data[0] == '\\') {
        unsigned value = 0;
        for (int i = 1; i < 4; i++) {
            if (data[i] < '0' || data[i] > '7') {
                return hp_malformed(codec, "not an octal escape");
            }
            value = value * 8 + (unsigned)(data[i] - '0');
        }
        byte = (unsigned char)value;
    } else if (len != 0) {
        return hp_malformed(codec, "more than one byte");
    }
    return PyBytes_FromStringAndSize((const char *)&byte, 1);
}
