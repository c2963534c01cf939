/*
 * hstore.c - extension hstore <-> dict from str to str or None, for types that are
 * given this codec by its name, "pg_contrib.hstore": the type has no OID of its own.
 *
 * As input also an iterable of pairs. Binary form: number of pairs, then length
 * and bytes of each key and value (-1: NULL). Text form: "a"=>"1", "b"=>NULL.
 */
#include "codec/families.h"
#include "codec/wire.h"

#include <string.h>

/* ---- encode ---- */

static int
put_string(hp_codec_state *state, const hp_codec *codec, PyObject *text, hp_buf *buf)
{
    const hp_codec as_text = {.oid = codec->oid, .name = codec->name, .encode = hp_text_encode};
    return hp_encode_field(state, &as_text, text, buf);
}

static int
put_pair(hp_codec_state *state, const hp_codec *codec, PyObject *item, hp_buf *buf)
{
    PyObject *pair = PyTuple_Check(item) || PyList_Check(item) ? PySequence_Tuple(item) : NULL;
    if (pair == NULL || PyTuple_GET_SIZE(pair) != 2) {
        if (!PyErr_Occurred()) {
            hp_refuse_type("a pair of key and value is required", item);
        }
        Py_XDECREF(pair);
        return -1;
    }
    PyObject *key = PyTuple_GET_ITEM(pair, 0);
    PyObject *value = PyTuple_GET_ITEM(pair, 1);
    int result = -1;
    if (key == Py_None) {
        PyErr_SetString(PyExc_ValueError, "null value not allowed in hstore key");
    } else if (put_string(state, codec, key, buf) == 0) {
        result = value == Py_None ? hp_buf_put_int32(buf, -1) : put_string(state, codec, value, buf);
    }
    Py_DECREF(pair);
    return result;
}

/* New reference: the pairs as a list or tuple. */
static PyObject *
pairs_of(hp_codec_state *state, PyObject *obj)
{
    int mapping = PyDict_Check(obj) ? 1 : PyObject_IsInstance(obj, state->Mapping);
    if (mapping != 0) {
        return mapping < 0 ? NULL : PyMapping_Items(obj);
    }
    int usable = hp_is_array_container(state, obj);
    if (usable == 0) {
        hp_refuse_type("a mapping or an iterable of pairs is required", obj);
    }
    return usable > 0 ? PySequence_Tuple(obj) : NULL;
}

int
hp_hstore_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    PyObject *found = pairs_of(state, obj);
    PyObject *pairs = found != NULL ? PySequence_Tuple(found) : NULL;
    Py_XDECREF(found);
    if (pairs == NULL) {
        return -1;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(pairs);
    int result = -1;
    if (n > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "too many pairs");
    } else {
        result = hp_buf_put_int32(buf, (int32_t)n);
    }
    for (Py_ssize_t i = 0; result == 0 && i < n; i++) {
        result = put_pair(state, codec, PyTuple_GET_ITEM(pairs, i), buf);
    }
    Py_DECREF(pairs);
    return result;
}

/* ---- decode ---- */

typedef struct reader {
    const hp_codec *codec;
    const char *p;
    const char *end;
} reader;

/* New reference: the next string, or None where it may be NULL and is. */
static PyObject *
take_string(reader *r, bool nullable)
{
    int32_t len = r->end - r->p >= 4 ? hp_get_i32(r->p) : INT32_MAX;
    if (len == -1 && nullable) {
        r->p += 4;
        Py_RETURN_NONE;
    }
    if (len < 0 || len > r->end - r->p - 4) {
        return hp_malformed(r->codec, "a string longer than the value");
    }
    const char *data = r->p + 4;
    r->p = data + len;
    return PyUnicode_DecodeUTF8(data, len, NULL);
}

/* Steals both; 0, or -1 with an exception, also where one is NULL. */
static int
set_item(PyObject *dict, PyObject *key, PyObject *value)
{
    int result = key != NULL && value != NULL ? PyDict_SetItem(dict, key, value) : -1;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return result;
}

PyObject *
hp_hstore_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (len < 4) {
        return hp_malformed(codec, "shorter than its header");
    }
    reader r = {.codec = codec, .p = data + 4, .end = data + len};
    int32_t n = hp_get_i32(data);
    PyObject *dict = PyDict_New();
    for (int32_t i = 0; dict != NULL && i < n; i++) {
        PyObject *key = take_string(&r, false);
        PyObject *value = key != NULL ? take_string(&r, true) : NULL;
        if (set_item(dict, key, value) < 0) {
            Py_CLEAR(dict);
        }
    }
    if (dict != NULL && (n < 0 || r.p != r.end)) {
        Py_DECREF(dict);
        return hp_malformed(codec, "length does not match the number of pairs");
    }
    return dict;
}

static bool
accept(hp_literal *r, const char *text)
{
    size_t len = strlen(text);
    if ((size_t)(r->end - r->p) < len || memcmp(r->p, text, len) != 0) {
        return false;
    }
    r->p += len;
    return true;
}

/* New reference: the string in quotes that is next. */
static PyObject *
take_quoted(hp_literal *r)
{
    r->field.len = 0;
    if (!accept(r, "\"")) {
        return hp_malformed(r->codec, "no opening quote");
    }
    while (r->p < r->end && *r->p != '"') {
        r->p += *r->p == '\\';
        if (r->p == r->end) {
            break;
        }
        if (hp_buf_append(&r->field, r->p++, 1) < 0) {
            return NULL;
        }
    }
    if (!accept(r, "\"")) {
        return hp_malformed(r->codec, "no closing quote");
    }
    return PyUnicode_DecodeUTF8(r->field.len > 0 ? r->field.data : "", r->field.len, NULL);
}

static int
take_pair(hp_literal *r, PyObject *dict)
{
    PyObject *key = take_quoted(r);
    PyObject *value = NULL;
    if (key != NULL && !accept(r, "=>")) {
        hp_malformed(r->codec, "no arrow behind a key");
    } else if (key != NULL) {
        value = accept(r, "NULL") ? Py_NewRef(Py_None) : take_quoted(r);
    }
    return set_item(dict, key, value);
}

PyObject *
hp_hstore_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    hp_literal r = {.codec = codec, .p = data, .end = data + len};
    PyObject *dict = PyDict_New();
    bool more = len > 0;
    while (dict != NULL && more) {
        if (take_pair(&r, dict) < 0) {
            Py_CLEAR(dict);
        }
        more = accept(&r, ", ");
    }
    hp_buf_free(&r.field);
    if (dict != NULL && r.p != r.end) {
        Py_DECREF(dict);
        return hp_malformed(codec, "more behind a pair");
    }
    return dict;
}
