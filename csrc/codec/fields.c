/*
 * fields.c - values inside of other values, as arrays, composite types and ranges
 * have them: behind their length in the binary form, in quotes in the text form.
 *
 * hp_literal reads the text forms of composite types and ranges. A field ends at
 * a delimiter outside of quotes. Inside and outside a backslash takes the next
 * character as it is; inside, two quotes are one. A field of nothing at all is no
 * value: NULL, or no bound.
 */
#include "codec/families.h"
#include "codec/wire.h"

#include <string.h>

/* ---- encode ---- */

int
hp_encode_field(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    if (hp_buf_put_int32(buf, 0) < 0) {
        return -1;
    }
    Py_ssize_t start = buf->len;
    if (codec->encode(state, codec, obj, buf) < 0) {
        return -1;
    }
    hp_set_u32(buf->data + start - 4, (uint32_t)(buf->len - start));
    return 0;
}

/* In quotes, always: then only quotes and backslashes need care. */
static int
append_quoted(hp_buf *buf, const char *data, Py_ssize_t len)
{
    char *out = len <= PY_SSIZE_T_MAX / 2 - 1 ? hp_buf_reserve(buf, 2 * len + 2) : NULL;
    if (out == NULL) {
        return -1;
    }
    *out++ = '"';
    for (Py_ssize_t i = 0; i < len; i++) {
        if (data[i] == '"' || data[i] == '\\') {
            *out++ = '\\';
        }
        *out++ = data[i];
    }
    *out++ = '"';
    buf->len = out - buf->data;
    return 0;
}

int
hp_encode_quoted(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    hp_buf text = {NULL, 0, 0, 0};
    int result = codec->encode(state, codec, obj, &text);
    if (result == 0) {
        result = append_quoted(buf, text.data, text.len);
    }
    hp_buf_free(&text);
    return result;
}

/* ---- decode text ---- */

/* Append the character that a quote or backslash at r->p makes, or note a change
 * between inside and outside of quotes; r->p moves past it. */
static int
take_special(hp_literal *r, bool *quoted)
{
    if (*r->p == '\\') {
        if (++r->p == r->end) {
            return -1;
        }
        return hp_buf_append(&r->field, r->p++, 1);
    }
    if (*quoted && r->end - r->p >= 2 && r->p[1] == '"') {
        r->p += 2;
        return hp_buf_append(&r->field, "\"", 1);
    }
    *quoted = !*quoted;
    r->p++;
    return 0;
}

int
hp_literal_take(hp_literal *r, const char *delimiters)
{
    const char *start = r->p;
    bool quoted = false;
    r->field.len = 0;
    while (r->p < r->end && (quoted || *r->p == '\0' || strchr(delimiters, *r->p) == NULL)) {
        int result = *r->p == '"' || *r->p == '\\' ? take_special(r, &quoted) : hp_buf_append(&r->field, r->p++, 1);
        if (result < 0) {
            if (!PyErr_Occurred()) {
                hp_malformed(r->codec, "ends in a backslash");
            }
            return -1;
        }
    }
    if (r->p == r->end) {
        hp_malformed(r->codec, "a field without an end");
        return -1;
    }
    return r->p > start;
}

PyObject *
hp_literal_decode(hp_literal *r, hp_codec_state *state, const hp_codec *codec, const char *delimiters)
{
    int has_value = hp_literal_take(r, delimiters);
    if (has_value <= 0) {
        return has_value < 0 ? NULL : Py_NewRef(Py_None);
    }
    /* Two quotes leave the buffer without an address. */
    return codec->decode_text(state, codec, r->field.len > 0 ? r->field.data : "", r->field.len);
}
