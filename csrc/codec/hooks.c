/*
 * hooks.c - the built-in codecs as Python functions, for tests and fuzzing;
 * module.c exposes them.
 */
#include "codec/families.h"

#include <string.h>

static const hp_codec *
codec_of(unsigned long oid)
{
    const hp_codec *codec = oid <= UINT32_MAX ? hp_builtin_find((hp_oid)oid) : NULL;
    if (codec == NULL) {
        PyErr_Format(PyExc_LookupError, "no built-in type has OID %lu", oid);
    }
    return codec;
}

PyObject *
hp_codec_py_encode(hp_codec_state *state, PyObject *args)
{
    unsigned long oid;
    PyObject *obj;
    if (!PyArg_ParseTuple(args, "kO:encode", &oid, &obj)) {
        return NULL;
    }
    const hp_codec *codec = codec_of(oid);
    if (codec == NULL) {
        return NULL;
    }
    if (obj == Py_None) {
        Py_RETURN_NONE;
    }
    hp_buf buf = {NULL, 0, 0, 0};
    PyObject *bytes = NULL;
    if (codec->encode(state, codec, obj, &buf) == 0) {
        bytes = PyBytes_FromStringAndSize(buf.data, buf.len);
    }
    hp_buf_free(&buf);
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
    if (!PyArg_ParseTuple(args, text ? "ky*:decode_text" : "ky*:decode", &oid, &view)) {
        return NULL;
    }
    PyObject *result = NULL;
    const hp_codec *codec = codec_of(oid);
    hp_decode_fn decode = codec == NULL ? NULL : text ? codec->decode_text : codec->decode;
    if (decode != NULL) {
        result = decode_copy(state, codec, decode, &view);
    } else if (codec != NULL) {
        PyErr_Format(PyExc_LookupError, "%s has no binary decoder", codec->name);
    }
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
