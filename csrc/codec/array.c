/*
 * array.c - arrays: encoding in both formats, decoding of binary fields.
 *
 * A value is a list or another sized iterable; lists within lists are
 * dimensions, up to PostgreSQL's six. A tuple is taken at the top only: inside it
 * is an element, as of a point or a composite value. The shape is read from the
 * first element of each level and every other element is held to it while it is
 * written, so that nothing is traversed twice.
 *
 * An array is sent as text where its element type is (codec->param_format).
 * Elements are encoded by Python objects of the caller, which may run code of
 * his: no borrowed reference and no length is trusted across that.
 *
 * Binary form: dimensions, has-NULLs flag, element type, then length and lower
 * bound of each dimension, then the elements in row-major order, each behind its
 * length (-1: NULL). Lower bounds are dropped on reading, as lists have none.
 */
#include "codec/families.h"
#include "codec/wire.h"

enum { MAX_DIMENSIONS = 6, HEADER_BYTES = 12, DIMENSION_BYTES = 8, FLAGS_AT = 4 };

int
hp_array_init(hp_codec_state *state)
{
    state->Mapping = hp_import_attr("collections.abc", "Mapping");
    return state->Mapping == NULL ? -1 : 0;
}

/* ---- what counts as an array ---- */

static bool
has_length(PyTypeObject *type)
{
    return (type->tp_as_sequence != NULL && type->tp_as_sequence->sq_length != NULL) ||
           (type->tp_as_mapping != NULL && type->tp_as_mapping->mp_length != NULL);
}

int
hp_is_array_container(hp_codec_state *state, PyObject *obj)
{
    if (PyList_Check(obj) || PyTuple_Check(obj)) {
        return 1;
    }
    if (Py_TYPE(obj)->tp_iter == NULL || !has_length(Py_TYPE(obj)) || PyUnicode_Check(obj) || PyBytes_Check(obj) ||
        PyByteArray_Check(obj) || PyMemoryView_Check(obj) || PyDict_Check(obj)) {
        return 0;
    }
    int mapping = PyObject_IsInstance(obj, state->Mapping);
    return mapping < 0 ? -1 : !mapping;
}

int
hp_refuse_container(PyObject *obj)
{
    return hp_refuse_type("a sized iterable container is required", obj);
}

/* The type below domains. */
static const hp_codec *
base_of(const hp_codec *codec)
{
    while (codec->kind == HP_CODEC_DOMAIN) {
        codec = codec->element;
    }
    return codec;
}

/* Is this list a multirange: empty, or of ranges? */
static bool
is_multirange(hp_codec_state *state, PyObject *list)
{
    PyObject *first = PyList_GET_SIZE(list) > 0 ? PyList_GET_ITEM(list, 0) : NULL;
    if (first == NULL || PyTuple_Check(first)) {
        return true;
    }
    return PyObject_TypeCheck(first, (PyTypeObject *)state->Range);
}

/* Is `obj`, inside of an array, one of its lists? Tuples and objects of our own
 * classes are elements. 1, 0, or -1 with an exception. */
static int
is_dimension(hp_codec_state *state, const hp_codec *element, PyObject *obj)
{
    if (PyList_Check(obj)) {
        return base_of(element)->kind != HP_CODEC_MULTIRANGE || !is_multirange(state, obj);
    }
    int usable = PyTuple_Check(obj) ? 0 : hp_is_array_container(state, obj);
    if (usable <= 0) {
        return usable;
    }
    /* Whatever the type: a codec of the user's may take any object for an element. */
    if (hp_own_classes_load(state) < 0) {
        return -1;
    }
    bool is_row = state->rows.type != NULL && PyObject_TypeCheck(obj, state->rows.type);
    return !is_row && !PyObject_TypeCheck(obj, (PyTypeObject *)state->Path);
}

/* Are elements of this type lists themselves (a domain over an array, vectors)?
 * Then nested lists are elements, and there is one dimension. */
static bool
is_list_type(const hp_codec *codec)
{
    const hp_codec *base = base_of(codec);
    return base->kind == HP_CODEC_ARRAY || base->encode == hp_pgvector_encode || base->encode == hp_halfvec_encode ||
           base->encode == hp_sparsevec_encode;
}

/* ---- encode ---- */

typedef struct array_writer {
    hp_codec_state *state;
    const hp_codec *element;
    hp_buf *buf;
    bool text;
    bool has_null;
    int max_ndims;
    int ndims;
    Py_ssize_t dims[MAX_DIMENSIONS];
} array_writer;

static int
refuse_ragged(void)
{
    PyErr_SetString(PyExc_ValueError, "non-homogeneous array: all sublists of a level must have the same length");
    return -1;
}

/* Borrowed from `sequence`, a list or tuple, and only until Python code runs. */
static PyObject *
first_of(PyObject *sequence)
{
    return PySequence_Fast_GET_SIZE(sequence) > 0 ? PySequence_Fast_GET_ITEM(sequence, 0) : NULL;
}

/* One level of the shape: note its length. New reference to its first element if
 * that is a level, too; NULL with no exception at the last level. */
static PyObject *
measure_level(array_writer *w, PyObject *obj)
{
    PyObject *sequence = PySequence_Fast(obj, "a sized iterable container is required");
    if (sequence == NULL) {
        return NULL;
    }
    PyObject *first = first_of(sequence);
    w->dims[w->ndims++] = PySequence_Fast_GET_SIZE(sequence);
    Py_XINCREF(first);
    Py_DECREF(sequence);
    int deeper = first != NULL && w->max_ndims > 1 ? is_dimension(w->state, w->element, first) : 0;
    if (deeper > 0 && w->ndims == w->max_ndims) {
        PyErr_Format(PyExc_ValueError, "more than %d dimensions", w->max_ndims);
        deeper = -1;
    }
    if (deeper <= 0) {
        Py_CLEAR(first);
    }
    return first;
}

/* The lengths along the first elements: dims and ndims of the writer. */
static int
find_shape(array_writer *w, PyObject *obj)
{
    Py_INCREF(obj);
    for (PyObject *level = obj; level != NULL;) {
        PyObject *deeper = measure_level(w, level);
        Py_DECREF(level);
        level = deeper;
    }
    return PyErr_Occurred() ? -1 : 0;
}

static void
say_which_element(const array_writer *w, Py_ssize_t i)
{
    hp_refine(w->ndims == 1 ? PyUnicode_FromFormat("invalid array element at index %zd", i)
                            : PyUnicode_FromString("invalid array element"));
}

static int
write_binary_element(array_writer *w, PyObject *item)
{
    if (item == Py_None) {
        w->has_null = true;
        return hp_buf_put_int32(w->buf, -1);
    }
    return hp_encode_field(w->state, w->element, item, w->buf);
}

static int
write_text_element(array_writer *w, PyObject *item)
{
    if (item == Py_None) {
        return hp_buf_append(w->buf, "NULL", 4);
    }
    return hp_encode_quoted(w->state, w->element, item, w->buf);
}

static int write_level(array_writer *w, PyObject *obj, int depth);

static int
write_item(array_writer *w, PyObject *item, Py_ssize_t i, int depth)
{
    int nested = w->max_ndims > 1 ? is_dimension(w->state, w->element, item) : 0;
    if (nested < 0) {
        return -1;
    }
    if (nested != (depth + 1 < w->ndims)) {
        return refuse_ragged();
    }
    if (nested) {
        return write_level(w, item, depth + 1);
    }
    int result = w->text ? write_text_element(w, item) : write_binary_element(w, item);
    if (result < 0) {
        say_which_element(w, i);
    }
    return result;
}

static int
write_items(array_writer *w, PyObject *sequence, int depth)
{
    for (Py_ssize_t i = 0; i < w->dims[depth]; i++) {
        /* An encoder may have run code that shortened the list. */
        if (PySequence_Fast_GET_SIZE(sequence) != w->dims[depth]) {
            return refuse_ragged();
        }
        PyObject *item = PySequence_Fast_GET_ITEM(sequence, i);
        Py_INCREF(item);
        int result = w->text && i > 0 ? hp_buf_append(w->buf, &w->element->delim, 1) : 0;
        if (result == 0) {
            result = write_item(w, item, i, depth);
        }
        Py_DECREF(item);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

static int
write_level(array_writer *w, PyObject *obj, int depth)
{
    PyObject *sequence = PySequence_Fast(obj, "a sized iterable container is required");
    if (sequence == NULL) {
        return -1;
    }
    int result = -1;
    if (PySequence_Fast_GET_SIZE(sequence) != w->dims[depth]) {
        refuse_ragged();
    } else if (!w->text) {
        result = write_items(w, sequence, depth);
    } else if (hp_buf_append(w->buf, "{", 1) == 0 && write_items(w, sequence, depth) == 0) {
        result = hp_buf_append(w->buf, "}", 1);
    }
    Py_DECREF(sequence);
    return result;
}

static int
write_header(array_writer *w, int ndims)
{
    if (hp_buf_put_int32(w->buf, ndims) < 0 || hp_buf_put_int32(w->buf, 0) < 0 ||
        hp_buf_put_int32(w->buf, (int32_t)w->element->oid) < 0) {
        return -1;
    }
    for (int i = 0; i < ndims; i++) {
        if (w->dims[i] > INT32_MAX) {
            PyErr_SetString(PyExc_ValueError, "too many array elements");
            return -1;
        }
        if (hp_buf_put_int32(w->buf, (int32_t)w->dims[i]) < 0 || hp_buf_put_int32(w->buf, 1) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
write_array(array_writer *w, PyObject *obj)
{
    Py_ssize_t start = w->buf->len;
    if (find_shape(w, obj) < 0 || (!w->text && write_header(w, w->ndims) < 0) || write_level(w, obj, 0) < 0) {
        return -1;
    }
    if (w->dims[w->ndims - 1] == 0) {
        /* Only the last dimension can be empty, and PostgreSQL has one empty array. */
        w->buf->len = start;
        return w->text ? hp_buf_append(w->buf, "{}", 2) : write_header(w, 0);
    }
    if (w->has_null) {
        hp_set_u32(w->buf->data + start + FLAGS_AT, 1);
    }
    return 0;
}

static int
encode_array(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf, bool text)
{
    int usable = hp_is_array_container(state, obj);
    if (usable <= 0) {
        return usable < 0 ? -1 : hp_refuse_container(obj);
    }
    array_writer w = {.state = state,
                      .element = codec->element,
                      .buf = buf,
                      .text = text,
                      .max_ndims = is_list_type(codec->element) ? 1 : MAX_DIMENSIONS};
    /* One list of it, so that shape and elements come from the same traversal. */
    PyObject *sequence = PySequence_Fast(obj, "a sized iterable container is required");
    int result = sequence != NULL ? write_array(&w, sequence) : -1;
    Py_XDECREF(sequence);
    return result;
}

int
hp_array_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    return encode_array(state, codec, obj, buf, false);
}

int
hp_array_encode_text(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    return encode_array(state, codec, obj, buf, true);
}

/* ---- decode ---- */

typedef struct array_reader {
    hp_codec_state *state;
    const hp_codec *codec;
    const char *p;
    const char *end;
    int ndims;
    Py_ssize_t dims[MAX_DIMENSIONS];
} array_reader;

static PyObject *
read_element(array_reader *r)
{
    if (r->end - r->p < 4) {
        return hp_malformed(r->codec, "truncated");
    }
    int32_t len = hp_get_i32(r->p);
    r->p += 4;
    if (len == -1) {
        Py_RETURN_NONE;
    }
    if (len < 0 || len > r->end - r->p) {
        return hp_malformed(r->codec, "element longer than the array");
    }
    const char *data = r->p;
    r->p += len;
    return r->codec->element->decode(r->state, r->codec->element, data, len);
}

static PyObject *
read_level(array_reader *r, int depth)
{
    Py_ssize_t n = r->dims[depth];
    PyObject *list = PyList_New(n);
    if (list == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = depth + 1 < r->ndims ? read_level(r, depth + 1) : read_element(r);
        if (item == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, item);
    }
    return list;
}

/* Read the dimensions. The number of elements, or -1: more of them than the field
 * has bytes for, which also keeps every list that is allocated within reason. */
static Py_ssize_t
read_dimensions(array_reader *r)
{
    Py_ssize_t total = r->ndims > 0;
    if (r->end - r->p < (Py_ssize_t)r->ndims * DIMENSION_BYTES) {
        return -1;
    }
    for (int i = 0; i < r->ndims; i++, r->p += DIMENSION_BYTES) {
        int32_t n = hp_get_i32(r->p);
        if (n < 0 || __builtin_mul_overflow(total, (Py_ssize_t)n, &total)) {
            return -1;
        }
        r->dims[i] = n;
    }
    return total <= (r->end - r->p) / 4 ? total : -1;
}

PyObject *
hp_array_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (len < HEADER_BYTES) {
        return hp_malformed(codec, "shorter than its header");
    }
    array_reader r = {.state = state, .codec = codec, .p = data + HEADER_BYTES, .end = data + len};
    r.ndims = hp_get_i32(data);
    if (r.ndims < 0 || r.ndims > MAX_DIMENSIONS) {
        return hp_malformed(codec, "impossible number of dimensions");
    }
    Py_ssize_t total = read_dimensions(&r);
    if (total < 0) {
        return hp_malformed(codec, "impossible dimensions");
    }
    PyObject *list = total == 0 ? PyList_New(0) : read_level(&r, 0);
    if (list != NULL && r.p != r.end) {
        Py_DECREF(list);
        return hp_malformed(codec, "bytes left over");
    }
    return list;
}
