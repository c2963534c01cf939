/*
 * array_text.c - arrays in text results, and int2vector and oidvector as text.
 *
 * The literal as array_out() prints it: optional bounds ("[0:1]=", dropped),
 * braces, the element type's delimiter, elements in quotes where they need them,
 * backslash before any character, NULL without quotes. An element is unescaped
 * into a scratch buffer and handed to the element's text decoder.
 */
#include "codec/families.h"
#include "codec/oids.h"
#include "codec/wire.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DIMENSIONS = 6 };

typedef struct literal_reader {
    hp_codec_state *state;
    const hp_codec *codec;
    const char *p;
    const char *end;
    hp_buf scratch; /* the element being read */
} literal_reader;

static PyObject *
malformed_literal(const literal_reader *r)
{
    return hp_malformed(r->codec, "not an array literal");
}

static bool
next_is(const literal_reader *r, char ch)
{
    return r->p < r->end && *r->p == ch;
}

/* Append one character of an element, unescaped; r->p moves past it. */
static int
take_char(literal_reader *r)
{
    if (*r->p == '\\') {
        r->p++;
        if (r->p == r->end) {
            malformed_literal(r);
            return -1;
        }
    }
    return hp_buf_append(&r->scratch, r->p++, 1);
}

/* Text up to the closing quote into scratch. */
static int
take_quoted(literal_reader *r)
{
    r->p++;
    while (!next_is(r, '"')) {
        if (r->p == r->end) {
            malformed_literal(r);
            return -1;
        }
        if (take_char(r) < 0) {
            return -1;
        }
    }
    r->p++;
    return 0;
}

static bool
ends_element(const literal_reader *r)
{
    return r->p == r->end || *r->p == r->codec->element->delim || *r->p == '{' || *r->p == '}' || *r->p == '"';
}

static PyObject *
take_element(literal_reader *r)
{
    const char *start = r->p;
    bool quoted = next_is(r, '"');
    r->scratch.len = 0;
    if (quoted && take_quoted(r) < 0) {
        return NULL;
    }
    while (!quoted && !ends_element(r)) {
        if (take_char(r) < 0) {
            return NULL;
        }
    }
    if (r->p == start) {
        return malformed_literal(r);
    }
    if (!quoted && r->p - start == 4 && memcmp(start, "NULL", 4) == 0) {
        Py_RETURN_NONE;
    }
    /* `""` leaves the buffer without an address. */
    const char *data = r->scratch.len > 0 ? r->scratch.data : "";
    return r->codec->element->decode_text(r->state, r->codec->element, data, r->scratch.len);
}

/* All items of a list are elements, or all are lists of the same length. */
static bool
fits_siblings(PyObject *list, bool nested, Py_ssize_t length, Py_ssize_t first_length)
{
    return PyList_GET_SIZE(list) == 0 || (nested ? first_length == length : first_length < 0);
}

static PyObject *take_level(literal_reader *r, int depth);

/* Items up to the closing brace, which is taken, too. */
static int
take_items(literal_reader *r, PyObject *list, int depth)
{
    Py_ssize_t first_length = -1; /* of the first sublist; -1: the items are elements */
    do {
        bool nested = next_is(r, '{');
        PyObject *item = nested ? take_level(r, depth + 1) : take_element(r);
        if (item == NULL) {
            return -1;
        }
        Py_ssize_t length = nested ? PyList_GET_SIZE(item) : -1;
        bool fits = fits_siblings(list, nested, length, first_length);
        if (PyList_GET_SIZE(list) == 0) {
            first_length = length;
        }
        int result = fits ? PyList_Append(list, item) : -1;
        Py_DECREF(item);
        if (!fits) {
            malformed_literal(r);
        }
        if (result < 0) {
            return -1;
        }
    } while (next_is(r, r->codec->element->delim) && r->p++);
    if (!next_is(r, '}')) {
        malformed_literal(r);
        return -1;
    }
    r->p++;
    return 0;
}

static PyObject *
take_level(literal_reader *r, int depth)
{
    if (depth >= MAX_DIMENSIONS || !next_is(r, '{')) {
        return malformed_literal(r);
    }
    r->p++;
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    if (next_is(r, '}')) {
        r->p++;
        return list;
    }
    if (take_items(r, list, depth) < 0) {
        Py_DECREF(list);
        return NULL;
    }
    return list;
}

PyObject *
hp_array_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    literal_reader r = {.state = state, .codec = codec, .p = data, .end = data + len};
    if (next_is(&r, '[')) {
        const char *equals = memchr(data, '=', (size_t)len);
        if (equals == NULL) {
            return malformed_literal(&r);
        }
        r.p = equals + 1;
    }
    PyObject *list = take_level(&r, 0);
    hp_buf_free(&r.scratch);
    if (list != NULL && r.p != r.end) {
        Py_DECREF(list);
        return malformed_literal(&r);
    }
    return list;
}

/* ---- int2vector, oidvector ---- */

/* One number: range-checked by the element's own encoder, then printed. */
static int
append_number(hp_codec_state *state, const hp_codec *element, PyObject *item, hp_buf *buf)
{
    char digits[16];
    Py_ssize_t start = buf->len;
    if (element->encode(state, element, item, buf) < 0) {
        return -1;
    }
    const char *wire = buf->data + start;
    long long value = element->oid == HP_OID_INT2 ? (long long)(int16_t)hp_get_u16(wire) : (long long)hp_get_u32(wire);
    buf->len = start;
    int n = snprintf(digits, sizeof(digits), "%s%lld", start > 0 ? " " : "", value);
    return hp_buf_append(buf, digits, n);
}

static int
append_numbers(hp_codec_state *state, const hp_codec *codec, PyObject *sequence, hp_buf *buf)
{
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence); i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(sequence, i);
        Py_INCREF(item);
        int result = append_number(state, codec->element, item, buf);
        Py_DECREF(item);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

int
hp_vector_encode_text(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    hp_buf numbers = {NULL, 0, 0, 0};
    int usable = hp_is_array_container(state, obj);
    if (usable <= 0) {
        return usable < 0 ? -1 : hp_refuse_container(obj);
    }
    PyObject *sequence = PySequence_Fast(obj, "a sized iterable container is required");
    if (sequence == NULL) {
        return -1;
    }
    int result = append_numbers(state, codec, sequence, &numbers);
    if (result == 0) {
        result = hp_buf_append(buf, numbers.data, numbers.len);
    }
    hp_buf_free(&numbers);
    Py_DECREF(sequence);
    return result;
}

PyObject *
hp_vector_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    const char *end = data + len;
    PyObject *list = PyList_New(0);
    while (list != NULL && data < end) {
        const char *space = memchr(data, ' ', (size_t)(end - data));
        const char *stop = space != NULL ? space : end;
        PyObject *item = codec->element->decode_text(state, codec->element, data, stop - data);
        int result = item != NULL ? PyList_Append(list, item) : -1;
        Py_XDECREF(item);
        if (result < 0) {
            Py_CLEAR(list);
        }
        data = space != NULL ? space + 1 : end;
    }
    return list;
}
