/*
 * custom.c - one codec of the user's choice, in place of what a type has: his own
 * functions (in which form they exchange values is hp_custom_form), or another
 * type's codec.
 *
 * A text codec of a type whose binary form is its text too (json, jsonb, text,
 * enums, ...) works on top of the native codec, so that the other columns of a
 * statement stay binary. For any other type it makes the results of a statement
 * text, since libpq has one format for all columns.
 *
 * Called by codec_set.c, for sessions, and chosen.c, for pools.
 */
#include "codec/families.h"
#include "codec/oids.h"

#include <string.h>

/* ---- what runs the user's functions ---- */

static const hp_custom *
custom_of(const hp_codec *codec)
{
    return (const hp_custom *)(const void *)codec;
}

static PyObject *
call_encoder(const hp_custom *custom, PyObject *obj)
{
    PyObject *result = PyObject_CallOneArg(custom->spec.encoder, obj);
    if (result == NULL) {
        return NULL;
    }
    if (custom->spec.form == HP_CUSTOM_TEXT && !PyUnicode_Check(result)) {
        PyErr_Format(PyExc_TypeError, "the encoder of type %s must return str, got %.100s", custom->codec.name,
                     Py_TYPE(result)->tp_name);
        Py_CLEAR(result);
    }
    return result;
}

static HP_ENCODER(encode_by_native)
{
    const hp_custom *custom = custom_of(codec);
    PyObject *text = call_encoder(custom, obj);
    if (text == NULL) {
        return -1;
    }
    int rc = custom->native->encode(state, custom->native, text, buf);
    Py_DECREF(text);
    return rc;
}

static HP_ENCODER(encode_text)
{
    PyObject *text = call_encoder(custom_of(codec), obj);
    (void)state;
    if (text == NULL) {
        return -1;
    }
    Py_ssize_t len;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &len);
    int rc = -1;
    if (utf8 != NULL && memchr(utf8, '\0', (size_t)len) != NULL) {
        PyErr_SetString(PyExc_ValueError, "the encoder returned text with a NUL character");
    } else if (utf8 != NULL) {
        rc = hp_buf_append(buf, utf8, len);
    }
    Py_DECREF(text);
    return rc;
}

static HP_ENCODER(encode_binary)
{
    PyObject *data = call_encoder(custom_of(codec), obj);
    Py_buffer view;
    (void)state;
    if (data == NULL) {
        return -1;
    }
    int rc = PyObject_GetBuffer(data, &view, PyBUF_SIMPLE);
    Py_DECREF(data);
    if (rc == 0) {
        rc = hp_buf_append(buf, view.buf, view.len);
        PyBuffer_Release(&view);
    }
    return rc;
}

static PyObject *
call_decoder(const hp_custom *custom, PyObject *arg)
{
    PyObject *result = arg ? PyObject_CallOneArg(custom->spec.decoder, arg) : NULL;
    Py_XDECREF(arg);
    return result;
}

static HP_DECODER(decode_by_native)
{
    const hp_custom *custom = custom_of(codec);
    return call_decoder(custom, custom->native->decode(state, custom->native, data, len));
}

static HP_DECODER(decode_text)
{
    (void)state;
    return call_decoder(custom_of(codec), PyUnicode_DecodeUTF8(data, len, NULL));
}

static HP_DECODER(decode_binary)
{
    (void)state;
    return call_decoder(custom_of(codec), PyBytes_FromStringAndSize(data, len));
}

static HP_DECODER(refuse_text)
{
    (void)state;
    (void)data;
    (void)len;
    PyErr_Format(PyExc_ValueError,
                 "type %s has a binary codec, but another column of the result can only be had as text, and with it "
                 "all of them",
                 codec->name);
    return NULL;
}

/* ---- JSON: the decoder gets str or bytes, the encoder may give either ---- */

static HP_ENCODER(encode_json)
{
    const hp_custom *custom = custom_of(codec);
    PyObject *json = call_encoder(custom, obj);
    int rc = json != NULL ? hp_json_put(state, custom->native, json, buf) : -1;
    Py_XDECREF(json);
    return rc;
}

static PyObject *
decode_json_text(const hp_custom *custom, const char *data, Py_ssize_t len)
{
    return call_decoder(custom, custom->spec.form == HP_CUSTOM_JSON_BYTES ? PyBytes_FromStringAndSize(data, len)
                                                                          : PyUnicode_DecodeUTF8(data, len, NULL));
}

static HP_DECODER(decode_json)
{
    const hp_custom *custom = custom_of(codec);
    Py_ssize_t skip = hp_json_header(custom->native, data, len);
    (void)state;
    return skip < 0 ? NULL : decode_json_text(custom, data + skip, len - skip);
}

static HP_DECODER(decode_json_from_text)
{
    (void)state;
    return decode_json_text(custom_of(codec), data, len);
}

/* ---- tuples: what the native type consists of ---- */

static HP_ENCODER(encode_tuple)
{
    const hp_custom *custom = custom_of(codec);
    PyObject *parts = call_encoder(custom, obj);
    int rc = parts != NULL ? hp_parts_encode(state, custom->inner, parts, buf) : -1;
    Py_XDECREF(parts);
    return rc;
}

static HP_DECODER(decode_tuple)
{
    const hp_custom *custom = custom_of(codec);
    return call_decoder(custom, hp_parts_decode(state, custom->inner, data, len));
}

static HP_DECODER(decode_tuple_from_text)
{
    const hp_custom *custom = custom_of(codec);
    return call_decoder(custom, hp_parts_decode_text(state, custom->inner, data, len));
}

/* Is what the native codec gives and takes the text form? */
static bool
is_text_like(const hp_codec *native)
{
    switch (native->oid) {
    case HP_OID_JSON:
    case HP_OID_JSONB:
    case HP_OID_TEXT:
    case HP_OID_VARCHAR:
    case HP_OID_BPCHAR:
    case HP_OID_NAME:
    case HP_OID_XML:
        return true;
    default:
        return native->kind == HP_CODEC_ENUM;
    }
}

/* ---- making one ---- */

const hp_codec *
hp_native_codec(const hp_codec *codec)
{
    hp_encode_fn encode = codec->encode;
    bool is_custom = encode == encode_by_native || encode == encode_text || encode == encode_binary ||
                     encode == encode_json || encode == encode_tuple || encode == hp_numeric_encode_float;
    return is_custom ? custom_of(codec)->native : codec;
}

static void
fill_text(hp_codec *codec, const hp_codec *native)
{
    bool on_top = is_text_like(native);
    codec->param_format = on_top ? native->param_format : 0;
    codec->encode = on_top ? encode_by_native : encode_text;
    codec->decode = on_top ? decode_by_native : NULL;
    codec->decode_text = decode_text;
}

static void
fill_functions(hp_codec *codec, int param_format, hp_encode_fn encode, hp_decode_fn decode, hp_decode_fn decode_text)
{
    codec->param_format = param_format;
    codec->encode = encode;
    codec->decode = decode;
    codec->decode_text = decode_text;
}

void
hp_custom_fill_over(hp_custom *custom, const hp_codec *inner)
{
    custom->inner = inner;
    custom->codec.own_classes = inner->own_classes; /* of what the user's functions exchange */
    fill_functions(&custom->codec, inner->param_format, encode_tuple, inner->decode != NULL ? decode_tuple : NULL,
                   decode_tuple_from_text);
}

void
hp_custom_fill(hp_custom *custom, const hp_codec *native, const hp_custom_spec *spec)
{
    native = hp_native_codec(native);
    hp_codec *codec = &custom->codec;
    *codec = *native;
    codec->element = NULL;
    codec->composite = NULL;
    codec->own_classes = false; /* the user's functions make the values */
    codec->kind = HP_CODEC_BASE;
    custom->native = custom->inner = native;
    custom->spec = *spec;
    Py_XINCREF(spec->encoder);
    Py_XINCREF(spec->decoder);
    switch (spec->form) {
    case HP_CUSTOM_TEXT:
        fill_text(codec, native);
        break;
    case HP_CUSTOM_BINARY:
        fill_functions(codec, 1, encode_binary, decode_binary, refuse_text);
        break;
    case HP_CUSTOM_TUPLE:
        hp_custom_fill_over(custom, native);
        break;
    case HP_CUSTOM_JSON:
    case HP_CUSTOM_JSON_BYTES:
        fill_functions(codec, 1, encode_json, decode_json, decode_json_from_text);
        break;
    case HP_CUSTOM_FLOAT:
        fill_functions(codec, 1, hp_numeric_encode_float, hp_numeric_decode_float, hp_numeric_decode_text_float);
        break;
    case HP_CUSTOM_LIKE:
        *codec = hp_derived_codec(HP_CODEC_DOMAIN, native->oid, native->name, spec->like);
        codec->delim = native->delim;
        break;
    }
}

void
hp_custom_clear(hp_custom *custom)
{
    Py_CLEAR(custom->spec.encoder);
    Py_CLEAR(custom->spec.decoder);
}

bool
hp_custom_spec_equal(const hp_custom_spec *a, const hp_custom_spec *b)
{
    return a->form == b->form && a->encoder == b->encoder && a->decoder == b->decoder && a->like == b->like;
}

int
hp_custom_spec_parse(hp_custom_spec *spec, const char *form, PyObject *encoder, PyObject *decoder, const char *like)
{
    static const char *const forms[] = {"text", "binary", "tuple", "json", "json-bytes", "float", "like"};
    *spec = (hp_custom_spec){.encoder = encoder == Py_None ? NULL : encoder,
                             .decoder = decoder == Py_None ? NULL : decoder};
    size_t i = 0;
    while (i < Py_ARRAY_LENGTH(forms) && strcmp(forms[i], form) != 0) {
        i++;
    }
    if (i == Py_ARRAY_LENGTH(forms)) {
        PyErr_Format(PyExc_ValueError, "unknown form of a codec: %.50s", form);
        return -1;
    }
    spec->form = (hp_custom_form)i;
    bool has_functions = spec->encoder != NULL && spec->decoder != NULL;
    if (!has_functions && spec->form != HP_CUSTOM_FLOAT && spec->form != HP_CUSTOM_LIKE) {
        PyErr_SetString(PyExc_TypeError, "a codec needs an encoder and a decoder");
        return -1;
    }
    if (spec->form == HP_CUSTOM_LIKE) {
        spec->like = like != NULL ? hp_codec_by_name(like) : NULL;
        if (spec->like == NULL) {
            PyErr_Format(PyExc_LookupError, "there is no codec named %.100s", like != NULL ? like : "");
            return -1;
        }
    }
    return 0;
}

/* InterfaceError; always -1. */
static int
refuse_codec(const hp_codec *native, const char *why)
{
    PyObject *error = hp_import_attr("holisticpool.exceptions", "InterfaceError");
    if (error != NULL) {
        PyErr_Format(error, "cannot use custom codec on type %s: %s", native->name, why);
        Py_DECREF(error);
    }
    return -1;
}

int
hp_custom_check(const hp_codec *native, const hp_custom_spec *spec)
{
    native = hp_native_codec(native);
    if (spec->form == HP_CUSTOM_TUPLE) {
        return hp_parts_known(native) ? 0 : refuse_codec(native, "it has no tuple format");
    }
    switch (native->kind) {
    case HP_CODEC_BASE:
    case HP_CODEC_DOMAIN:
    case HP_CODEC_ENUM:
    case HP_CODEC_UNKNOWN:
        return 0;
    case HP_CODEC_COMPOSITE:
        return refuse_codec(native, "composite types take codecs of format 'tuple' only");
    default:
        return refuse_codec(native, "it is no base type, enum, domain or composite type");
    }
}
