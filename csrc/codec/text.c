/*
 * text.c - character strings, bytea and void.
 *
 * The client encoding is UTF8 (the engine sees to that), so that text travels as
 * Python's own UTF-8 and binary and text fields of these types are the same
 * bytes. Every type that has no family of its own is passed as text, too.
 */
#include "codec/families.h"

#include <string.h>

int
hp_text_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    Py_ssize_t len;
    if (!PyUnicode_Check(obj)) {
        return hp_refuse_type("expected str", obj);
    }
    /* Raises UnicodeEncodeError, a ValueError, for a lone surrogate. */
    const char *utf8 = PyUnicode_AsUTF8AndSize(obj, &len);
    if (utf8 == NULL) {
        return -1;
    }
    if (memchr(utf8, '\0', (size_t)len) != NULL) {
        PyErr_SetString(PyExc_ValueError, "PostgreSQL text cannot hold the NUL character");
        return -1;
    }
    return hp_buf_append(buf, utf8, len);
}

/* `len` of at least 8. */
static bool
is_ascii(const char *data, Py_ssize_t len)
{
    const uint64_t high_bits = UINT64_C(0x8080808080808080);
    const Py_ssize_t word_bytes = (Py_ssize_t)sizeof high_bits;
    uint64_t seen;
    uint64_t word;
    memcpy(&seen, data + len - word_bytes, sizeof seen); /* overlaps the last of the others */
    for (; len > word_bytes; len -= word_bytes, data += word_bytes) {
        memcpy(&word, data, sizeof word);
        seen |= word;
    }
    return (seen & high_bits) == 0;
}

PyObject *
hp_text_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), const char *data, Py_ssize_t len)
{
    /* Shorter ones may have an object already. */
    if (len < (Py_ssize_t)sizeof(uint64_t) || !is_ascii(data, len)) {
        return PyUnicode_DecodeUTF8(data, len, NULL);
    }
    PyObject *text = PyUnicode_New(len, 127);
    if (text != NULL) {
        memcpy(PyUnicode_1BYTE_DATA(text), data, (size_t)len);
    }
    return text;
}

/* ---- bytea ---- */

int
hp_bytea_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    Py_buffer view;
    if (PyBytes_CheckExact(obj)) {
        return hp_buf_append(buf, PyBytes_AS_STRING(obj), PyBytes_GET_SIZE(obj));
    }
    if (!PyObject_CheckBuffer(obj)) {
        return hp_refuse_type("a bytes-like object is required", obj);
    }
    if (PyObject_GetBuffer(obj, &view, PyBUF_SIMPLE) < 0) {
        /* A view with strides is no row of bytes: BufferError says so. */
        if (PyErr_ExceptionMatches(PyExc_BufferError)) {
            PyErr_SetString(PyExc_ValueError, "a contiguous bytes-like object is required");
        }
        return -1;
    }
    int result = hp_buf_append(buf, view.buf, view.len);
    PyBuffer_Release(&view);
    return result;
}

PyObject *
hp_bytea_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), const char *data, Py_ssize_t len)
{
    return PyBytes_FromStringAndSize(data, len);
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* bytea_output = hex: pairs of digits after "\x". */
static PyObject *
bytea_from_hex(const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (len % 2 != 0) {
        return hp_malformed(codec, "odd number of hexadecimal digits");
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, len / 2);
    if (bytes == NULL) {
        return NULL;
    }
    char *out = PyBytes_AS_STRING(bytes);
    for (Py_ssize_t i = 0; i < len; i += 2) {
        int high = hex_digit(data[i]);
        int low = hex_digit(data[i + 1]);
        if (high < 0 || low < 0) {
            Py_DECREF(bytes);
            return hp_malformed(codec, "not a hexadecimal digit");
        }
        *out++ = (char)(high << 4 | low);
    }
    return bytes;
}

/* One byte of bytea_output = escape at `p`: itself, "\\" or "\ooo". How many
 * characters it takes, 0 if it is none of these. */
static Py_ssize_t
unescape_byte(const char *p, Py_ssize_t left, char *byte)
{
    if (p[0] != '\\') {
        *byte = p[0];
        return 1;
    }
    if (left >= 2 && p[1] == '\\') {
        *byte = '\\';
        return 2;
    }
    if (left >= 4 && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
        *byte = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
        return 4;
    }
    return 0;
}

static PyObject *
bytea_from_escape(const hp_codec *codec, const char *data, Py_ssize_t len)
{
    /* The escaped form is never shorter than the bytes. */
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, len);
    if (bytes == NULL) {
        return NULL;
    }
    char *out = PyBytes_AS_STRING(bytes);
    for (Py_ssize_t i = 0; i < len;) {
        Py_ssize_t taken = unescape_byte(data + i, len - i, out);
        if (taken == 0) {
            Py_DECREF(bytes);
            return hp_malformed(codec, "not an escape sequence");
        }
        i += taken;
        out++;
    }
    _PyBytes_Resize(&bytes, out - PyBytes_AS_STRING(bytes));
    return bytes;
}

PyObject *
hp_bytea_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (len >= 2 && data[0] == '\\' && data[1] == 'x') {
        return bytea_from_hex(codec, data + 2, len - 2);
    }
    return bytea_from_escape(codec, data, len);
}

/* ---- void: what a function without a result returns ---- */

int
hp_void_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *Py_UNUSED(obj),
               hp_buf *buf)
{
    return hp_buf_append(buf, "", 0);
}

PyObject *
hp_void_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), const char *Py_UNUSED(data),
               Py_ssize_t Py_UNUSED(len))
{
    Py_RETURN_NONE;
}
