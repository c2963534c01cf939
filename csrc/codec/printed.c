/*
 * printed.c - text parameters of types whose parameters are otherwise binary: for
 * attributes of composite types that go as text because another attribute does.
 *
 * A value is encoded in binary, which says whether it fits the type, and printed
 * from that or from what is read back from it. Types for which that is no text
 * form that the server reads are refused.
 */
#include "codec/families.h"
#include "codec/oids.h"
#include "codec/wire.h"

#include <stdio.h>

static const hp_codec *
base_of(const hp_codec *codec)
{
    while (codec->kind == HP_CODEC_DOMAIN) {
        codec = codec->element;
    }
    return codec;
}

static int
put_hex(hp_buf *buf, const char *data, Py_ssize_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *out = hp_buf_reserve(buf, 2 * len + 2);
    if (out == NULL) {
        return -1;
    }
    *out++ = '\\';
    *out++ = 'x';
    for (Py_ssize_t i = 0; i < len; i++) {
        *out++ = digits[(unsigned char)data[i] >> 4];
        *out++ = digits[data[i] & 0xf];
    }
    buf->len = out - buf->data;
    return 0;
}

/* 1 or -1 for the infinite dates and timestamps, which Python has not; else 0. */
static int
infinity_of(const hp_codec *codec, const hp_buf *wire)
{
    if (codec->oid == HP_OID_DATE) {
        int32_t days = hp_get_i32(wire->data);
        return (days == INT32_MAX) - (days == INT32_MIN);
    }
    if (codec->oid == HP_OID_TIMESTAMP || codec->oid == HP_OID_TIMESTAMPTZ) {
        int64_t us = hp_get_i64(wire->data);
        return (us == INT64_MAX) - (us == INT64_MIN);
    }
    return 0;
}

/* Is str() of the type's Python values a text form of the type? */
static bool
is_printable(const hp_codec *codec)
{
    switch (codec->oid) {
    case HP_OID_BOOL:
    case HP_OID_INT2:
    case HP_OID_INT4:
    case HP_OID_INT8:
    case HP_OID_OID:
    case HP_OID_XID:
    case HP_OID_CID:
    case HP_OID_XID8:
    case HP_OID_FLOAT4:
    case HP_OID_FLOAT8:
    case HP_OID_NUMERIC:
    case HP_OID_UUID:
    case HP_OID_DATE:
    case HP_OID_TIME:
    case HP_OID_TIMETZ:
    case HP_OID_TIMESTAMP:
    case HP_OID_TIMESTAMPTZ:
    case HP_OID_INTERVAL:
    case HP_OID_INET:
    case HP_OID_CIDR:
        return true;
    default:
        return false;
    }
}

static int
put_str(hp_codec_state *state, const hp_codec *codec, const hp_buf *wire, hp_buf *buf)
{
    Py_ssize_t len;
    PyObject *value = codec->decode(state, codec, wire->data, wire->len);
    PyObject *text = value != NULL ? PyObject_Str(value) : NULL;
    const char *utf8 = text != NULL ? PyUnicode_AsUTF8AndSize(text, &len) : NULL;
    int result = utf8 != NULL ? hp_buf_append(buf, utf8, len) : -1;
    Py_XDECREF(text);
    Py_XDECREF(value);
    return result;
}

static int
put_printed(hp_codec_state *state, const hp_codec *codec, const hp_buf *wire, hp_buf *buf)
{
    if (codec->param_format != 0 && codec->encode == hp_text_encode) {
        return hp_buf_append(buf, wire->data, wire->len);
    }
    if (codec->encode == hp_jsonb_encode) {
        return hp_buf_append(buf, wire->data + 1, wire->len - 1);
    }
    if (codec->oid == HP_OID_BYTEA) {
        return put_hex(buf, wire->data, wire->len);
    }
    int infinity = infinity_of(codec, wire);
    if (infinity != 0) {
        return infinity > 0 ? hp_buf_append(buf, "infinity", 8) : hp_buf_append(buf, "-infinity", 9);
    }
    if (is_printable(codec)) {
        return put_str(state, codec, wire, buf);
    }
    PyErr_Format(PyExc_ValueError, "a value of type %s cannot be sent as text, which another attribute requires",
                 codec->name);
    return -1;
}

int
hp_printed_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    const hp_codec *base = base_of(codec->element);
    hp_buf wire = {NULL, 0, 0, 0};
    int result = base->encode(state, base, obj, &wire);
    if (result == 0) {
        result = put_printed(state, hp_native_codec(base), &wire, buf);
    }
    hp_buf_free(&wire);
    return result;
}
