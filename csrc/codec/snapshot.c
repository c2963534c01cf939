/*
 * snapshot.c - places of rows and views of transactions, as tuples of int: tid is
 * (block, offset); txid_snapshot and pg_snapshot are (xmin, xmax, (xip, ...)).
 *
 * As input lists, too. Binary forms: block and offset; number of transactions in
 * progress, xmin, xmax, then these. Text forms: "(0,1)" and "10:20:11,15".
 */
#include "codec/families.h"
#include "codec/wire.h"

#include <string.h>

enum { TID_BYTES = 6, SNAPSHOT_BYTES = 20, XID_BYTES = 8 };

/* ---- encode ---- */

/* New reference: `obj` as a tuple of `n` items; NULL with an exception. */
static PyObject *
tuple_of(PyObject *obj, Py_ssize_t n)
{
    if (!PyTuple_Check(obj) && !PyList_Check(obj)) {
        hp_refuse_type("a list or tuple is required", obj);
        return NULL;
    }
    PyObject *tuple = PySequence_Tuple(obj);
    if (tuple != NULL && PyTuple_GET_SIZE(tuple) != n) {
        PyErr_Format(PyExc_ValueError, "%zd elements are required, got %zd", n, PyTuple_GET_SIZE(tuple));
        Py_CLEAR(tuple);
    }
    return tuple;
}

int
hp_tid_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    unsigned long long block;
    unsigned long long offset;
    PyObject *pair = tuple_of(obj, 2);
    int result = -1;
    if (pair != NULL && hp_unsigned_of(PyTuple_GET_ITEM(pair, 0), UINT32_MAX, "uint32", &block) == 0 &&
        hp_unsigned_of(PyTuple_GET_ITEM(pair, 1), UINT16_MAX, "uint16", &offset) == 0 &&
        hp_buf_put_int32(buf, (int32_t)(uint32_t)block) == 0) {
        result = hp_buf_put_int16(buf, (int16_t)(uint16_t)offset);
    }
    Py_XDECREF(pair);
    return result;
}

static int
put_xid(PyObject *obj, hp_buf *buf)
{
    unsigned long long xid;
    if (hp_unsigned_of(obj, UINT64_MAX, "uint64", &xid) < 0) {
        return -1;
    }
    return hp_buf_put_int64(buf, (int64_t)(uint64_t)xid);
}

int
hp_snapshot_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    PyObject *parts = tuple_of(obj, 3);
    PyObject *running = NULL;
    int result = -1;
    if (parts == NULL) {
        return -1;
    }
    int usable = hp_is_array_container(state, PyTuple_GET_ITEM(parts, 2));
    if (usable == 0) {
        hp_refuse_container(PyTuple_GET_ITEM(parts, 2));
    } else if (usable > 0) {
        running = PySequence_Tuple(PyTuple_GET_ITEM(parts, 2));
    }
    if (running != NULL && PyTuple_GET_SIZE(running) > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "too many transactions in a snapshot");
    } else if (running != NULL && hp_buf_put_int32(buf, (int32_t)PyTuple_GET_SIZE(running)) == 0 &&
               put_xid(PyTuple_GET_ITEM(parts, 0), buf) == 0) {
        result = put_xid(PyTuple_GET_ITEM(parts, 1), buf);
    }
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(running); i++) {
        result = put_xid(PyTuple_GET_ITEM(running, i), buf);
    }
    Py_XDECREF(running);
    Py_DECREF(parts);
    return result;
}

/* ---- decode ---- */

PyObject *
hp_tid_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, TID_BYTES)) {
        return NULL;
    }
    return Py_BuildValue("(kH)", (unsigned long)hp_get_u32(data), (unsigned short)hp_get_u16(data + 4));
}

/* New reference to (xmin, xmax, running); steals `running`, which may be NULL. */
static PyObject *
new_snapshot(uint64_t xmin, uint64_t xmax, PyObject *running)
{
    if (running == NULL) {
        return NULL;
    }
    return Py_BuildValue("(KKN)", (unsigned long long)xmin, (unsigned long long)xmax, running);
}

PyObject *
hp_snapshot_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    int32_t n = len >= SNAPSHOT_BYTES ? hp_get_i32(data) : -1;
    if (n < 0 || (len - SNAPSHOT_BYTES) % XID_BYTES != 0 || (len - SNAPSHOT_BYTES) / XID_BYTES != n) {
        return hp_malformed(codec, "its length does not fit its number of transactions");
    }
    PyObject *running = PyTuple_New(n);
    for (int32_t i = 0; running != NULL && i < n; i++) {
        PyObject *xid = PyLong_FromUnsignedLongLong(hp_get_u64(data + SNAPSHOT_BYTES + (Py_ssize_t)i * XID_BYTES));
        if (xid == NULL) {
            Py_CLEAR(running);
            break;
        }
        PyTuple_SET_ITEM(running, i, xid);
    }
    return new_snapshot(hp_get_u64(data + 4), hp_get_u64(data + 4 + XID_BYTES), running);
}

/* The number up to `stop`, which must occur, and *p behind it. */
static bool
take_number(const char **p, const char *end, char stop, uint64_t max, uint64_t *value)
{
    const char *at = *p < end ? memchr(*p, stop, (size_t)(end - *p)) : NULL;
    if (at == NULL || !hp_parse_digits(*p, at, max, value)) {
        return false;
    }
    *p = at + 1;
    return true;
}

PyObject *
hp_tid_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    const char *p = data + 1;
    uint64_t block;
    uint64_t offset;
    if (len < 1 || data[0] != '(' || !take_number(&p, data + len, ',', UINT32_MAX, &block) ||
        !take_number(&p, data + len, ')', UINT16_MAX, &offset) || p != data + len) {
        return hp_malformed(codec, "not a pair of numbers");
    }
    return Py_BuildValue("(kH)", (unsigned long)block, (unsigned short)offset);
}

/* New reference: a tuple of the numbers between commas. */
static PyObject *
running_from_text(const hp_codec *codec, const char *p, const char *end)
{
    PyObject *list = PyList_New(0);
    while (list != NULL && p < end) {
        uint64_t xid;
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma != NULL ? comma : end;
        if (stop + 1 == end || !hp_parse_digits(p, stop, UINT64_MAX, &xid)) {
            Py_DECREF(list);
            return hp_malformed(codec, "not a list of numbers");
        }
        PyObject *item = PyLong_FromUnsignedLongLong(xid);
        int result = item != NULL ? PyList_Append(list, item) : -1;
        Py_XDECREF(item);
        if (result < 0) {
            Py_CLEAR(list);
        }
        p = comma != NULL ? comma + 1 : end;
    }
    PyObject *tuple = list != NULL ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return tuple;
}

PyObject *
hp_snapshot_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    const char *p = data;
    const char *end = data + len;
    uint64_t xmin;
    uint64_t xmax;
    if (!take_number(&p, end, ':', UINT64_MAX, &xmin) || !take_number(&p, end, ':', UINT64_MAX, &xmax)) {
        return hp_malformed(codec, "not three parts");
    }
    return new_snapshot(xmin, xmax, running_from_text(codec, p, end));
}
