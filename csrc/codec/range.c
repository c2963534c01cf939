/*
 * range.c - ranges <-> holisticpool.types.Range, multiranges <-> lists of these.
 *
 * codec->element is the subtype of a range and the range type of a multirange.
 * As input also lists and tuples: of nothing (the empty range), of a lower bound,
 * or of both, which are then included.
 *
 * Binary form: flags, then each bound there is behind its length; of a
 * multirange, a count, then each range behind its length. Text form: "empty" or
 * "[lower,upper)", bounds in quotes where they need them; "{[1,3),[5,7)}".
 */
#include "codec/families.h"
#include "codec/wire.h"

#include <string.h>

/* Flags of the binary form. */
enum {
    RANGE_EMPTY = 0x01,
    RANGE_LOWER_INC = 0x02,
    RANGE_UPPER_INC = 0x04,
    RANGE_LOWER_INF = 0x08,
    RANGE_UPPER_INF = 0x10,
};

enum { SLOT_LOWER, SLOT_UPPER, SLOT_LOWER_INC, SLOT_UPPER_INC, SLOT_EMPTY };

_Static_assert(SLOT_EMPTY + 1 == HP_RANGE_SLOTS, "one name for each slot");

int
hp_range_init(hp_codec_state *state)
{
    static const char *const slots[HP_RANGE_SLOTS] = {"_lower", "_upper", "_lower_inc", "_upper_inc", "_empty"};
    for (int i = 0; i < HP_RANGE_SLOTS; i++) {
        state->range_slots[i] = PyUnicode_InternFromString(slots[i]);
        if (state->range_slots[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

/* ---- a range to be sent ---- */

typedef struct bounds {
    int flags;
    PyObject *lower; /* strong references; NULL: none */
    PyObject *upper;
} bounds;

static void
drop_bounds(bounds *b)
{
    Py_CLEAR(b->lower);
    Py_CLEAR(b->upper);
}

/* The bounds of a sequence of at most two. */
static int
bounds_of_sequence(PyObject *obj, bounds *b)
{
    PyObject *items = PySequence_Tuple(obj);
    if (items == NULL) {
        return -1;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(items);
    if (n > 2) {
        PyErr_Format(PyExc_ValueError, "expected 0, 1 or 2 elements in range (got %zd)", n);
        Py_DECREF(items);
        return -1;
    }
    PyObject *lower = n > 0 ? PyTuple_GET_ITEM(items, 0) : Py_None;
    PyObject *upper = n > 1 ? PyTuple_GET_ITEM(items, 1) : Py_None;
    b->flags = n == 0 ? RANGE_EMPTY : RANGE_LOWER_INC | RANGE_UPPER_INC;
    b->lower = Py_NewRef(lower);
    b->upper = Py_NewRef(upper);
    Py_DECREF(items);
    return 0;
}

/* `flag` if the slot is true, else 0; -1 with an exception. */
static int
flag_of_slot(hp_codec_state *state, PyObject *range, int slot, int flag)
{
    PyObject *value = PyObject_GetAttr(range, state->range_slots[slot]);
    int is_true = value != NULL ? PyObject_IsTrue(value) : -1;
    Py_XDECREF(value);
    return is_true < 0 ? -1 : is_true ? flag : 0;
}

static int
bounds_of_range(hp_codec_state *state, PyObject *range, bounds *b)
{
    int empty = flag_of_slot(state, range, SLOT_EMPTY, RANGE_EMPTY);
    int lower_inc = flag_of_slot(state, range, SLOT_LOWER_INC, RANGE_LOWER_INC);
    int upper_inc = flag_of_slot(state, range, SLOT_UPPER_INC, RANGE_UPPER_INC);
    b->lower = PyObject_GetAttr(range, state->range_slots[SLOT_LOWER]);
    b->upper = PyObject_GetAttr(range, state->range_slots[SLOT_UPPER]);
    if (empty < 0 || lower_inc < 0 || upper_inc < 0 || b->lower == NULL || b->upper == NULL) {
        drop_bounds(b);
        return -1;
    }
    b->flags = empty | lower_inc | upper_inc;
    return 0;
}

/* Fill in `b`, whose references the caller drops; 0, or -1 with an exception. */
static int
bounds_of(hp_codec_state *state, PyObject *obj, bounds *b)
{
    int is_range = PyObject_IsInstance(obj, state->Range);
    if (is_range == 0 && !PyTuple_Check(obj) && !PyList_Check(obj)) {
        return hp_refuse_type("a Range, list or tuple is required", obj);
    }
    if (is_range < 0 || (is_range ? bounds_of_range(state, obj, b) : bounds_of_sequence(obj, b)) < 0) {
        return -1;
    }
    if (b->flags & RANGE_EMPTY) {
        b->flags = RANGE_EMPTY;
        drop_bounds(b);
        return 0;
    }
    if (b->lower == Py_None) {
        b->flags = (b->flags & ~RANGE_LOWER_INC) | RANGE_LOWER_INF;
        Py_CLEAR(b->lower);
    }
    if (b->upper == Py_None) {
        b->flags = (b->flags & ~RANGE_UPPER_INC) | RANGE_UPPER_INF;
        Py_CLEAR(b->upper);
    }
    return 0;
}

/* ---- encode ---- */

int
hp_range_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    bounds b = {0, NULL, NULL};
    if (bounds_of(state, obj, &b) < 0) {
        return -1;
    }
    char flags = (char)b.flags;
    int result = hp_buf_append(buf, &flags, 1);
    if (result == 0 && b.lower != NULL) {
        result = hp_encode_field(state, codec->element, b.lower, buf);
    }
    if (result == 0 && b.upper != NULL) {
        result = hp_encode_field(state, codec->element, b.upper, buf);
    }
    drop_bounds(&b);
    return result;
}

static int
put_text_bounds(hp_codec_state *state, const hp_codec *codec, const bounds *b, hp_buf *buf)
{
    if (hp_buf_append(buf, b->flags & RANGE_LOWER_INC ? "[" : "(", 1) < 0 ||
        (b->lower != NULL && hp_encode_quoted(state, codec->element, b->lower, buf) < 0) ||
        hp_buf_append(buf, ",", 1) < 0 ||
        (b->upper != NULL && hp_encode_quoted(state, codec->element, b->upper, buf) < 0)) {
        return -1;
    }
    return hp_buf_append(buf, b->flags & RANGE_UPPER_INC ? "]" : ")", 1);
}

int
hp_range_encode_text(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    bounds b = {0, NULL, NULL};
    if (bounds_of(state, obj, &b) < 0) {
        return -1;
    }
    int result = b.flags & RANGE_EMPTY ? hp_buf_append(buf, "empty", 5) : put_text_bounds(state, codec, &b, buf);
    drop_bounds(&b);
    return result;
}

/* New reference: the ranges of a multirange as a tuple. */
static PyObject *
ranges_of(hp_codec_state *state, PyObject *obj)
{
    int usable = hp_is_array_container(state, obj);
    if (usable <= 0) {
        if (usable == 0) {
            hp_refuse_type("a sequence of ranges is required", obj);
        }
        return NULL;
    }
    PyObject *ranges = PySequence_Tuple(obj);
    if (ranges != NULL && PyTuple_GET_SIZE(ranges) > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "too many ranges");
        Py_CLEAR(ranges);
    }
    return ranges;
}

int
hp_multirange_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    PyObject *ranges = ranges_of(state, obj);
    if (ranges == NULL) {
        return -1;
    }
    int result = hp_buf_put_int32(buf, (int32_t)PyTuple_GET_SIZE(ranges));
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(ranges); i++) {
        result = hp_encode_field(state, codec->element, PyTuple_GET_ITEM(ranges, i), buf);
    }
    Py_DECREF(ranges);
    return result;
}

int
hp_multirange_encode_text(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    PyObject *ranges = ranges_of(state, obj);
    if (ranges == NULL) {
        return -1;
    }
    int result = hp_buf_append(buf, "{", 1);
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(ranges); i++) {
        result = i > 0 ? hp_buf_append(buf, ",", 1) : 0;
        if (result == 0) {
            result = codec->element->encode(state, codec->element, PyTuple_GET_ITEM(ranges, i), buf);
        }
    }
    Py_DECREF(ranges);
    return result == 0 ? hp_buf_append(buf, "}", 1) : -1;
}

/* ---- decode ---- */

/* New reference to a Range; steals the bounds, None where there is none. Where one
 * is NULL, an exception is set already. */
static PyObject *
new_range(hp_codec_state *state, PyObject *lower, PyObject *upper, int flags)
{
    PyObject *values[HP_RANGE_SLOTS] = {
        [SLOT_LOWER] = lower,
        [SLOT_UPPER] = upper,
        [SLOT_LOWER_INC] = PyBool_FromLong(lower != Py_None && (flags & RANGE_LOWER_INC)),
        [SLOT_UPPER_INC] = PyBool_FromLong(upper != Py_None && (flags & RANGE_UPPER_INC)),
        [SLOT_EMPTY] = PyBool_FromLong(flags & RANGE_EMPTY),
    };
    return hp_new_with_slots(state->Range, state->range_slots, values, HP_RANGE_SLOTS);
}

/* New reference: the bound at *p, or None where the flags say that there is none. */
static PyObject *
read_bound(hp_codec_state *state, const hp_codec *codec, bool there, const char **p, const char *end)
{
    if (!there) {
        Py_RETURN_NONE;
    }
    int32_t len = end - *p >= 4 ? hp_get_i32(*p) : -1;
    if (len < 0 || len > end - *p - 4) {
        return hp_malformed(codec, "a bound longer than the range");
    }
    const char *data = *p + 4;
    *p = data + len;
    return codec->element->decode(state, codec->element, data, len);
}

PyObject *
hp_range_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    const char *p = data + 1;
    const char *end = data + len;
    if (len < 1) {
        return hp_malformed(codec, "no flags");
    }
    int flags = (unsigned char)data[0];
    PyObject *lower = read_bound(state, codec, !(flags & (RANGE_EMPTY | RANGE_LOWER_INF)), &p, end);
    if (lower == NULL) {
        return NULL;
    }
    PyObject *upper = read_bound(state, codec, !(flags & (RANGE_EMPTY | RANGE_UPPER_INF)), &p, end);
    if (upper != NULL && p != end) {
        Py_DECREF(upper);
        upper = hp_malformed(codec, "bytes left over");
    }
    if (upper == NULL) {
        Py_DECREF(lower);
        return NULL;
    }
    return new_range(state, lower, upper, flags);
}

PyObject *
hp_multirange_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    const char *p = data + 4;
    const char *end = data + len;
    int32_t n = len >= 4 ? hp_get_i32(data) : -1;
    if (n < 0 || n > (len - 4) / 4) {
        return hp_malformed(codec, "impossible number of ranges");
    }
    PyObject *list = PyList_New(n);
    for (int32_t i = 0; list != NULL && i < n; i++) {
        PyObject *range = read_bound(state, codec, true, &p, end);
        if (range == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, range);
    }
    if (list != NULL && p != end) {
        Py_DECREF(list);
        return hp_malformed(codec, "bytes left over");
    }
    return list;
}

/* ---- decode text ---- */

/* New reference: the range at r->p, up to its closing bracket. */
static PyObject *
take_range(hp_literal *r, hp_codec_state *state, const hp_codec *codec)
{
    int flags = 0;
    if (r->end - r->p >= 5 && memcmp(r->p, "empty", 5) == 0) {
        r->p += 5;
        return new_range(state, Py_NewRef(Py_None), Py_NewRef(Py_None), RANGE_EMPTY);
    }
    if (r->p == r->end || (*r->p != '[' && *r->p != '(')) {
        return hp_malformed(codec, "no opening bracket");
    }
    flags |= *r->p++ == '[' ? RANGE_LOWER_INC : 0;
    PyObject *lower = hp_literal_decode(r, state, codec->element, ",])");
    if (lower != NULL && *r->p++ != ',') {
        Py_DECREF(lower);
        return hp_malformed(codec, "no comma");
    }
    PyObject *upper = lower != NULL ? hp_literal_decode(r, state, codec->element, ",])") : NULL;
    if (upper != NULL && *r->p == ',') {
        Py_DECREF(upper);
        upper = hp_malformed(codec, "too many commas");
    }
    if (upper == NULL) {
        Py_XDECREF(lower);
        return NULL;
    }
    flags |= *r->p++ == ']' ? RANGE_UPPER_INC : 0;
    return new_range(state, lower, upper, flags);
}

PyObject *
hp_range_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    hp_literal r = {.codec = codec, .p = data, .end = data + len};
    PyObject *range = take_range(&r, state, codec);
    hp_buf_free(&r.field);
    if (range != NULL && r.p != r.end) {
        Py_DECREF(range);
        return hp_malformed(codec, "more behind the closing bracket");
    }
    return range;
}

static int
take_ranges(hp_literal *r, hp_codec_state *state, const hp_codec *codec, PyObject *list)
{
    while (r->p < r->end && *r->p != '}') {
        if (PyList_GET_SIZE(list) > 0 && *r->p++ != ',') {
            hp_malformed(codec, "no comma between ranges");
            return -1;
        }
        PyObject *range = take_range(r, state, codec->element);
        int result = range != NULL ? PyList_Append(list, range) : -1;
        Py_XDECREF(range);
        if (result < 0) {
            return -1;
        }
    }
    if (r->end - r->p != 1) {
        hp_malformed(codec, "no closing brace at the end");
        return -1;
    }
    return 0;
}

PyObject *
hp_multirange_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    hp_literal r = {.codec = codec->element, .p = data + 1, .end = data + len};
    if (len < 1 || data[0] != '{') {
        return hp_malformed(codec, "no opening brace");
    }
    PyObject *list = PyList_New(0);
    if (list != NULL && take_ranges(&r, state, codec, list) < 0) {
        Py_CLEAR(list);
    }
    hp_buf_free(&r.field);
    return list;
}
