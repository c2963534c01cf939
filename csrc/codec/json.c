/*
 * json.c - jsonb and jsonpath: a version byte in front of text.
 *
 * json itself is plain text (text.c). Values are str on both sides, unless the pool
 * or a session was given functions that parse and serialise (custom.c).
 */
#include "codec/families.h"

#include <string.h>

enum { FORMAT_VERSION = 1 };

int
hp_jsonb_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    static const char version = FORMAT_VERSION;
    if (hp_buf_append(buf, &version, 1) < 0) {
        return -1;
    }
    return hp_text_encode(state, codec, obj, buf);
}

Py_ssize_t
hp_json_header(const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (codec->encode != hp_jsonb_encode) {
        return 0;
    }
    if (len < 1 || data[0] != FORMAT_VERSION) {
        hp_malformed(codec, "unknown format version");
        return -1;
    }
    return 1;
}

PyObject *
hp_jsonb_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    Py_ssize_t skip = hp_json_header(codec, data, len);
    return skip < 0 ? NULL : hp_text_decode(state, codec, data + skip, len - skip);
}

int
hp_json_put(hp_codec_state *state, const hp_codec *codec, PyObject *json, hp_buf *buf)
{
    static const char version = FORMAT_VERSION;
    if (PyUnicode_Check(json)) {
        return codec->encode(state, codec, json, buf);
    }
    if (!PyObject_CheckBuffer(json)) {
        return hp_refuse_type("the encoder must return str or bytes", json);
    }
    if (codec->encode == hp_jsonb_encode && hp_buf_append(buf, &version, 1) < 0) {
        return -1;
    }
    Py_ssize_t start = buf->len;
    if (hp_bytea_encode(state, codec, json, buf) < 0) {
        return -1;
    }
    if (buf->len > start && memchr(buf->data + start, '\0', (size_t)(buf->len - start)) != NULL) {
        PyErr_SetString(PyExc_ValueError, "PostgreSQL text cannot hold the NUL character");
        return -1;
    }
    return 0;
}
