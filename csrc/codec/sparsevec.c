/*
 * sparsevec.c - extension pgvector: sparsevec <-> SparseVector of holisticpool.types.
 *
 * As input also str in the text form, and whatever a vector is made of (vector.c),
 * whose zeros are left out.
 *
 * Binary form: int32 dimensions, int32 count, int32 unused, the indices (int32,
 * from 0), their numbers (float4). Text form: {1:1.5,3:2}/5, with indices from 1.
 */
#include "codec/vector.h"
#include "codec/wire.h"

enum { HEADER_BYTES = 12, ITEM_BYTES = 8 };

typedef struct sparse {
    int32_t dimensions;
    int32_t *indices; /* PyMem_Malloc'ed, as many as values.n */
    hp_numbers values;
} sparse;

static void
drop(sparse *s)
{
    PyMem_Free(s->indices);
    PyMem_Free(s->values.values);
}

static int
make_room(sparse *s, Py_ssize_t n)
{
    s->indices = PyMem_Calloc((size_t)n + 1, sizeof *s->indices);
    if (s->indices == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return hp_numbers_make_room(&s->values, n);
}

/* ---- sources ---- */

static int
take_int32(PyObject *obj, int32_t *value)
{
    unsigned long long number;
    if (hp_unsigned_of(obj, INT32_MAX, "int32", &number) < 0) {
        return -1;
    }
    *value = (int32_t)number;
    return 0;
}

static int
take_parts(hp_codec_state *state, PyObject *dimensions, PyObject *indices, PyObject *values, sparse *s)
{
    PyObject *items = PySequence_Tuple(indices);
    int result = -1;
    if (items != NULL && take_int32(dimensions, &s->dimensions) == 0 && hp_numbers_of(state, values, &s->values) == 0) {
        result = 0;
        s->indices = PyMem_Calloc((size_t)s->values.n + 1, sizeof *s->indices);
        if (s->indices == NULL) {
            PyErr_NoMemory();
            result = -1;
        } else if (PyTuple_GET_SIZE(items) != s->values.n) {
            PyErr_SetString(PyExc_ValueError, "as many indices as values are required");
            result = -1;
        }
    }
    for (Py_ssize_t i = 0; result == 0 && i < s->values.n; i++) {
        result = take_int32(PyTuple_GET_ITEM(items, i), &s->indices[i]);
    }
    Py_XDECREF(items);
    return result;
}

static int
take_vector(hp_codec_state *state, PyObject *obj, sparse *s)
{
    PyObject *parts = PySequence_Tuple(obj);
    if (parts == NULL || PyTuple_GET_SIZE(parts) != 3) {
        Py_XDECREF(parts);
        return PyErr_Occurred() ? -1 : hp_refuse_type("a SparseVector of three parts is required", obj);
    }
    int result =
        take_parts(state, PyTuple_GET_ITEM(parts, 0), PyTuple_GET_ITEM(parts, 1), PyTuple_GET_ITEM(parts, 2), s);
    Py_DECREF(parts);
    return result;
}

static int
take_dense(hp_codec_state *state, PyObject *obj, sparse *s)
{
    hp_numbers all = {NULL, 0};
    int result = hp_numbers_of(state, obj, &all);
    if (result == 0 && all.n > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "too many dimensions");
        result = -1;
    }
    if (result == 0) {
        result = make_room(s, all.n);
    }
    if (result == 0) {
        Py_ssize_t n = 0;
        for (Py_ssize_t i = 0; i < all.n; i++) {
            if (all.values[i] != 0) {
                s->indices[n] = (int32_t)i;
                s->values.values[n++] = all.values[i];
            }
        }
        s->dimensions = (int32_t)all.n;
        s->values.n = n;
    }
    PyMem_Free(all.values);
    return result;
}

/* A whole number that int32 holds. */
static int
take_index(hp_text_cursor *c, int32_t *value)
{
    double number;
    if (hp_text_take_number(c, &number) < 0) {
        return -1;
    }
    if (!(number >= 0 && number <= INT32_MAX) || number != (double)(int32_t)number) {
        return hp_text_refuse(c);
    }
    *value = (int32_t)number;
    return 0;
}

static int
take_item(hp_text_cursor *c, int32_t *index, double *value)
{
    if (take_index(c, index) < 0) {
        return -1;
    }
    if (*index < 1 || !hp_text_accept(c, ':')) {
        return hp_text_refuse(c);
    }
    --*index;
    return hp_text_take_number(c, value);
}

static int
parse(hp_text_cursor *c, sparse *s)
{
    if (make_room(s, hp_text_count_items(c->p)) < 0) {
        return -1;
    }
    s->values.n = 0;
    if (!hp_text_accept(c, '{')) {
        return hp_text_refuse(c);
    }
    bool more = *c->p != '}';
    while (more) {
        Py_ssize_t i = s->values.n++;
        if (take_item(c, &s->indices[i], &s->values.values[i]) < 0) {
            return -1;
        }
        more = hp_text_accept(c, ',');
    }
    if (!hp_text_accept(c, '}') || !hp_text_accept(c, '/') || take_index(c, &s->dimensions) < 0) {
        return hp_text_refuse(c);
    }
    hp_text_accept(c, ' ');
    return *c->p == '\0' ? 0 : hp_text_refuse(c);
}

/* ---- encode ---- */

static int
read_input(hp_codec_state *state, const hp_codec *codec, PyObject *obj, sparse *s)
{
    if (PyObject_TypeCheck(obj, (PyTypeObject *)state->SparseVector)) {
        return take_vector(state, obj, s);
    }
    if (!PyUnicode_Check(obj)) {
        return take_dense(state, obj, s);
    }
    hp_text_cursor c = {codec, PyUnicode_AsUTF8(obj)};
    return c.p != NULL ? parse(&c, s) : -1;
}

static int
put(hp_buf *buf, const sparse *s)
{
    if (hp_buf_put_int32(buf, s->dimensions) < 0 || hp_buf_put_int32(buf, (int32_t)s->values.n) < 0 ||
        hp_buf_put_int32(buf, 0) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < s->values.n; i++) {
        if (hp_buf_put_int32(buf, s->indices[i]) < 0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < s->values.n; i++) {
        if (hp_put_float4(buf, s->values.values[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

int
hp_sparsevec_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    sparse s = {0};
    int result = read_input(state, codec, obj, &s);
    if (result == 0) {
        result = put(buf, &s);
    }
    drop(&s);
    return result;
}

/* ---- decode ---- */

/* New reference: `n` numbers as a tuple, of ints or of floats. */
static PyObject *
tuple_of(const sparse *s, bool values)
{
    PyObject *tuple = PyTuple_New(s->values.n);
    for (Py_ssize_t i = 0; tuple != NULL && i < s->values.n; i++) {
        PyObject *item =
            values ? PyFloat_FromDouble((double)(float)s->values.values[i]) : PyLong_FromLong(s->indices[i]);
        if (item == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

static PyObject *
vector_of(hp_codec_state *state, const sparse *s)
{
    PyObject *parts[] = {PyLong_FromLong(s->dimensions), tuple_of(s, false), tuple_of(s, true)};
    return hp_new_tuple(state->SparseVector, parts, 3);
}

static int
read_wire(const hp_codec *codec, const char *data, Py_ssize_t len, sparse *s)
{
    int32_t n = len >= HEADER_BYTES ? hp_get_i32(data + 4) : -1;
    if (n < 0 || n != (len - HEADER_BYTES) / ITEM_BYTES || len != HEADER_BYTES + (Py_ssize_t)n * ITEM_BYTES) {
        hp_malformed(codec, "length does not match the number of values");
        return -1;
    }
    if (make_room(s, n) < 0) {
        return -1;
    }
    const char *indices = data + HEADER_BYTES;
    const char *values = indices + 4 * (Py_ssize_t)n;
    s->dimensions = hp_get_i32(data);
    for (Py_ssize_t i = 0; i < n; i++) {
        s->indices[i] = hp_get_i32(indices + 4 * i);
        s->values.values[i] = hp_float4_at(values + 4 * i);
    }
    return 0;
}

PyObject *
hp_sparsevec_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    sparse s = {0};
    PyObject *result = read_wire(codec, data, len, &s) == 0 ? vector_of(state, &s) : NULL;
    drop(&s);
    return result;
}

PyObject *
hp_sparsevec_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    sparse s = {0};
    char *text = hp_text_copy(data, len);
    hp_text_cursor c = {codec, text};
    PyObject *result = text != NULL && parse(&c, &s) == 0 ? vector_of(state, &s) : NULL;
    PyMem_Free(text);
    drop(&s);
    return result;
}
