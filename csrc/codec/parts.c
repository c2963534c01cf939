/*
 * parts.c - values as tuples of what they consist of, for codecs of format "tuple":
 * the numbers of the binary form of dates, times and intervals, whatever Python's
 * classes can hold, and the values of the attributes of composite types.
 *
 *   date                     (days since 2000-01-01,)
 *   timestamp, timestamptz   (microseconds since 2000-01-01 00:00,)
 *   time                     (microseconds,)
 *   timetz                   (microseconds, seconds west of Greenwich)
 *   interval                 (months, days, microseconds)
 *   composite types          a Record
 *
 * Infinity is the largest number of the form, -infinity the smallest.
 *
 * Called by custom.c, between the user's function and the wire.
 */
#include "codec/calendar.h"
#include "codec/families.h"
#include "codec/oids.h"
#include "codec/wire.h"

enum { MOST_PARTS = 3 };

/* The parts in the order of the tuple, and how they lie in the binary form. */
typedef struct layout {
    int n;
    struct {
        int offset;
        int bytes; /* 4 or 8 */
    } parts[MOST_PARTS];
    int size;
} layout;

static const hp_codec *
base_of(const hp_codec *codec)
{
    while (codec->kind == HP_CODEC_DOMAIN) {
        codec = codec->element;
    }
    return codec;
}

/* NULL: the type has no such form. */
static const layout *
layout_of(const hp_codec *base)
{
    static const layout date = {1, {{0, 4}}, 4};
    static const layout moment = {1, {{0, 8}}, 8};
    static const layout timetz = {2, {{0, 8}, {8, 4}}, 12};
    static const layout interval = {3, {{12, 4}, {8, 4}, {0, 8}}, 16};
    switch (base->oid) {
    case HP_OID_DATE:
        return &date;
    case HP_OID_TIME:
    case HP_OID_TIMESTAMP:
    case HP_OID_TIMESTAMPTZ:
        return &moment;
    case HP_OID_TIMETZ:
        return &timetz;
    case HP_OID_INTERVAL:
        return &interval;
    default:
        return NULL;
    }
}

bool
hp_parts_known(const hp_codec *native)
{
    const hp_codec *base = base_of(native);
    return base->kind == HP_CODEC_COMPOSITE || layout_of(base) != NULL;
}

/* ---- encode ---- */

static int
put_part(PyObject *item, int bytes, hp_buf *buf, Py_ssize_t at)
{
    PyObject *number = PyNumber_Index(item);
    if (number == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            hp_refuse_type("an integer is required", item);
        }
        return -1;
    }
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow != 0 || (bytes == 4 && (value > INT32_MAX || value < INT32_MIN))) {
        return hp_refuse_range(bytes == 4 ? "int32" : "int64");
    }
    if (bytes == 4) {
        hp_set_u32(buf->data + at, (uint32_t)value);
    } else {
        hp_set_u64(buf->data + at, (uint64_t)value);
    }
    return 0;
}

static int
put_parts(const layout *form, const hp_codec *base, PyObject *tuple, hp_buf *buf)
{
    Py_ssize_t start = buf->len;
    if (PyTuple_GET_SIZE(tuple) != form->n) {
        PyErr_Format(PyExc_ValueError, "the encoder of type %s must return a tuple of %d elements, got %zd", base->name,
                     form->n, PyTuple_GET_SIZE(tuple));
        return -1;
    }
    if (hp_buf_reserve(buf, form->size) == NULL) {
        return -1;
    }
    for (int i = 0; i < form->n; i++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        if (put_part(item, form->parts[i].bytes, buf, start + form->parts[i].offset) < 0) {
            return -1;
        }
    }
    buf->len = start + form->size;
    return 0;
}

int
hp_parts_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    const hp_codec *base = base_of(codec);
    const layout *form = layout_of(base);
    if (form == NULL) {
        return base->encode(state, base, obj, buf);
    }
    if (!PyTuple_Check(obj) && !PyList_Check(obj)) {
        return hp_refuse_type("the encoder must return a tuple", obj);
    }
    PyObject *tuple = PySequence_Tuple(obj);
    int result = tuple != NULL ? put_parts(form, base, tuple, buf) : -1;
    Py_XDECREF(tuple);
    return result;
}

/* ---- decode ---- */

static PyObject *
tuple_of(const layout *form, const int64_t *values)
{
    PyObject *tuple = PyTuple_New(form->n);
    for (int i = 0; tuple != NULL && i < form->n; i++) {
        PyObject *number = PyLong_FromLongLong(values[i]);
        if (number == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, number);
    }
    return tuple;
}

PyObject *
hp_parts_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    const hp_codec *base = base_of(codec);
    const layout *form = layout_of(base);
    int64_t values[MOST_PARTS];
    if (form == NULL) {
        return base->decode(state, base, data, len);
    }
    if (!hp_check_length(codec, len, form->size)) {
        return NULL;
    }
    for (int i = 0; i < form->n; i++) {
        const char *at = data + form->parts[i].offset;
        values[i] = form->parts[i].bytes == 4 ? hp_get_i32(at) : hp_get_i64(at);
    }
    return tuple_of(form, values);
}

PyObject *
hp_parts_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    const hp_codec *base = base_of(codec);
    const layout *form = layout_of(base);
    int64_t values[MOST_PARTS];
    if (form == NULL) {
        return base->decode_text(state, base, data, len);
    }
    return hp_datetime_parts_from_text(state, base, data, len, values) < 0 ? NULL : tuple_of(form, values);
}
