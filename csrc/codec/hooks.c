/*
 * hooks.c - the codecs as Python functions, for tests and fuzzing; module.c
 * exposes them.
 *
 * Other types than built-in ones come from rows as the catalogue query gives
 * them, which a test may make up: a registry is loaded with them for one call.
 */
#include "codec/families.h"

#include <string.h>

/* ---- which codec ---- */

/* A list of tuples of str or None. */
static const char *
value_of_row(void *ctx, int row, int col)
{
    PyObject *tuple = PyList_GET_ITEM((PyObject *)ctx, row);
    PyObject *value = col < PyTuple_GET_SIZE(tuple) ? PyTuple_GET_ITEM(tuple, col) : Py_None;
    return value == Py_None ? NULL : PyUnicode_AsUTF8(value);
}

static bool
are_rows(PyObject *rows)
{
    if (!PyList_Check(rows) || PyList_GET_SIZE(rows) > INT32_MAX) {
        return false;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(rows); i++) {
        PyObject *row = PyList_GET_ITEM(rows, i);
        if (!PyTuple_Check(row)) {
            return false;
        }
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(row); k++) {
            PyObject *value = PyTuple_GET_ITEM(row, k);
            if (value != Py_None && (!PyUnicode_Check(value) || PyUnicode_AsUTF8(value) == NULL)) {
                return false;
            }
        }
    }
    return true;
}

/* The registry that knows `rows`; NULL with an exception. */
static hp_registry *
registry_of(hp_codec_state *state, PyObject *rows, hp_oid wanted)
{
    if (!are_rows(rows)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "a list of tuples of str or None is required");
        }
        return NULL;
    }
    hp_registry *reg = hp_registry_new(state);
    if (reg != NULL) {
        hp_registry_read_vectors(reg);
    }
    if (reg != NULL && hp_registry_load(reg, (int)PyList_GET_SIZE(rows), value_of_row, rows, &wanted, 1) < 0) {
        hp_registry_free(reg);
        return NULL;
    }
    return reg;
}

/* The codec of `oid`, and in *reg what must live as long as it is used: NULL where
 * there are no rows. NULL with an exception. */
static const hp_codec *
find_codec(hp_codec_state *state, unsigned long oid, PyObject *rows, hp_registry **reg)
{
    const hp_codec *codec = NULL;
    *reg = NULL;
    if (oid <= UINT32_MAX && rows != NULL) {
        *reg = registry_of(state, rows, (hp_oid)oid);
        return *reg != NULL ? hp_registry_find(*reg, (hp_oid)oid) : NULL;
    }
    if (oid <= UINT32_MAX) {
        codec = hp_builtin_find((hp_oid)oid);
    }
    if (codec == NULL) {
        PyErr_Format(PyExc_LookupError, "no built-in type has OID %lu", oid);
    }
    return codec;
}

/* As find_codec(), ready for use. */
static const hp_codec *
codec_of(hp_codec_state *state, unsigned long oid, PyObject *rows, hp_registry **reg)
{
    const hp_codec *codec = find_codec(state, oid, rows, reg);
    return codec != NULL && hp_codec_make_ready(state, codec) == 0 ? codec : NULL;
}

/* ---- the functions ---- */

static PyObject *
encode_with(hp_codec_state *state, const hp_codec *codec, PyObject *obj)
{
    hp_buf buf = {NULL, 0, 0, 0};
    PyObject *bytes = NULL;
    if (obj == Py_None) {
        Py_RETURN_NONE;
    }
    if (codec->encode(state, codec, obj, &buf) == 0) {
        bytes = PyBytes_FromStringAndSize(buf.data, buf.len);
    }
    hp_buf_free(&buf);
    return bytes;
}

PyObject *
hp_codec_py_encode(hp_codec_state *state, PyObject *args)
{
    unsigned long oid;
    PyObject *obj;
    PyObject *rows = NULL;
    hp_registry *reg;
    if (!PyArg_ParseTuple(args, "kO|O:encode", &oid, &obj, &rows)) {
        return NULL;
    }
    const hp_codec *codec = codec_of(state, oid, rows, &reg);
    PyObject *bytes = codec != NULL ? encode_with(state, codec, obj) : NULL;
    hp_registry_free(reg);
    return bytes;
}

/* Decode from a copy in memory of its own size, so that a tool that watches
 * memory sees a read beyond it. */
static PyObject *
decode_copy(hp_codec_state *state, const hp_codec *codec, hp_decode_fn decode, const Py_buffer *view)
{
    char *copy = PyMem_RawMalloc((size_t)view->len);
    if (copy == NULL) {
        return PyErr_NoMemory();
    }
    if (view->len > 0) {
        memcpy(copy, view->buf, (size_t)view->len);
    }
    PyObject *result = decode(state, codec, copy, view->len);
    PyMem_RawFree(copy);
    return result;
}

static PyObject *
decode_args(hp_codec_state *state, PyObject *args, bool text)
{
    unsigned long oid;
    Py_buffer view;
    PyObject *rows = NULL;
    hp_registry *reg;
    if (!PyArg_ParseTuple(args, text ? "ky*|O:decode_text" : "ky*|O:decode", &oid, &view, &rows)) {
        return NULL;
    }
    PyObject *result = NULL;
    const hp_codec *codec = codec_of(state, oid, rows, &reg);
    hp_decode_fn decode = codec == NULL ? NULL : text ? codec->decode_text : codec->decode;
    if (decode != NULL) {
        result = decode_copy(state, codec, decode, &view);
    } else if (codec != NULL) {
        PyErr_Format(PyExc_LookupError, "%s has no binary decoder", codec->name);
    }
    hp_registry_free(reg);
    PyBuffer_Release(&view);
    return result;
}

PyObject *
hp_codec_py_decode(hp_codec_state *state, PyObject *args)
{
    return decode_args(state, args, false);
}

PyObject *
hp_codec_py_decode_text(hp_codec_state *state, PyObject *args)
{
    return decode_args(state, args, true);
}
