/*
 * vector.c - extension pgvector: vector and halfvec <-> lists of float.
 *
 * The types have no OIDs of their own; registry.c knows them by their send
 * functions. As input a list, tuple or other sized iterable of numbers, a buffer of
 * numbers in one dimension (array.array, NumPy arrays), or str in the text form.
 *
 * Binary form: int16 dimensions, int16 unused, the numbers, float4 or of halfvec
 * IEEE 754 half precision. Text form: [1,2.5].
 */
#include "codec/vector.h"

#include "codec/wire.h"

#include <math.h>
#include <string.h>

enum { DENSE_HEADER_BYTES = 4 };

/* ---- half precision ---- */

enum { HALF_INFINITY = 0x7C00, HALF_NAN = 0x7E00, HALF_SIGN = 0x8000, HALF_BIAS = 15, HALF_FRACTION_BITS = 10 };

/* The nearest one, ties to even; infinity for what is too large. */
static uint16_t
half_of(double value)
{
    uint16_t sign = signbit(value) ? HALF_SIGN : 0;
    double size = fabs(value);
    if (isnan(value)) {
        return HALF_NAN;
    }
    if (size >= 65536.0) {
        return (uint16_t)(sign | HALF_INFINITY);
    }
    int exponent = size > 0 ? ilogb(size) : 0;
    if (size == 0 || exponent < 1 - HALF_BIAS) {
        return (uint16_t)(sign | (unsigned)nearbyint(ldexp(size, HALF_BIAS - 1 + HALF_FRACTION_BITS)));
    }
    /* A fraction that is rounded up to the next power of two carries into the exponent. */
    unsigned fraction = (unsigned)nearbyint(ldexp(size, HALF_FRACTION_BITS - exponent)) - (1U << HALF_FRACTION_BITS);
    return (uint16_t)(sign | (((unsigned)(exponent + HALF_BIAS) << HALF_FRACTION_BITS) + fraction));
}

static double
double_of_half(uint16_t half)
{
    int exponent = (half & HALF_INFINITY) >> HALF_FRACTION_BITS;
    int fraction = half & ((1 << HALF_FRACTION_BITS) - 1);
    double size;
    if (exponent == 0) {
        size = ldexp(fraction, 1 - HALF_BIAS - HALF_FRACTION_BITS);
    } else if (exponent == HALF_INFINITY >> HALF_FRACTION_BITS) {
        size = fraction != 0 ? Py_NAN : Py_HUGE_VAL;
    } else {
        size = ldexp(fraction + (1 << HALF_FRACTION_BITS), exponent - HALF_BIAS - HALF_FRACTION_BITS);
    }
    return half & HALF_SIGN ? -size : size;
}

/* ---- numbers of any source ---- */

int
hp_numbers_make_room(hp_numbers *out, Py_ssize_t n)
{
    out->n = n;
    out->values = PyMem_Calloc((size_t)n + 1, sizeof *out->values);
    if (out->values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static double
half_at(const char *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return double_of_half(half);
}

/* The number of C type `format` at `p`; false: it is none that we know. */
static bool
number_at(char format, const char *p, double *value)
{
#define CASE(letter, type)                                                                                             \
    case letter: {                                                                                                     \
        type item;                                                                                                     \
        memcpy(&item, p, sizeof item);                                                                                 \
        *value = (double)item;                                                                                         \
        return true;                                                                                                   \
    }
    switch (format) {
        CASE('f', float)
        CASE('d', double)
        CASE('b', signed char)
        CASE('B', unsigned char)
        CASE('h', short)
        CASE('H', unsigned short)
        CASE('i', int)
        CASE('I', unsigned int)
        CASE('l', long)
        CASE('L', unsigned long)
        CASE('q', long long)
        CASE('Q', unsigned long long)
    case 'e':
        *value = half_at(p);
        return true;
    default:
        return false;
    }
#undef CASE
}

static Py_ssize_t
size_of(char format)
{
    static const struct {
        char format;
        size_t size;
    } sizes[] = {{'f', sizeof(float)},
                 {'d', sizeof(double)},
                 {'b', 1},
                 {'B', 1},
                 {'h', sizeof(short)},
                 {'H', sizeof(short)},
                 {'i', sizeof(int)},
                 {'I', sizeof(int)},
                 {'l', sizeof(long)},
                 {'L', sizeof(long)},
                 {'q', sizeof(long long)},
                 {'Q', sizeof(long long)},
                 {'e', sizeof(uint16_t)}};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(sizes); i++) {
        if (sizes[i].format == format) {
            return (Py_ssize_t)sizes[i].size;
        }
    }
    return 0;
}

/* One letter, in the machine's own byte order. */
static char
format_of(const Py_buffer *view)
{
    const char *format = view->format != NULL ? view->format : "B";
    format += *format == '@' || *format == '=' || *format == (PY_LITTLE_ENDIAN ? '<' : '>');
    if (format[0] == '\0' || format[1] != '\0' || size_of(format[0]) != view->itemsize) {
        return '\0';
    }
    return format[0];
}

static int
numbers_of_view(const Py_buffer *view, hp_numbers *out)
{
    char format = format_of(view);
    if (view->ndim != 1 || format == '\0') {
        PyErr_Format(PyExc_ValueError, "a buffer of numbers in one dimension is required, got %d of format %.20s",
                     view->ndim, view->format != NULL ? view->format : "B");
        return -1;
    }
    if (hp_numbers_make_room(out, view->shape[0]) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < out->n; i++) {
        number_at(format, (const char *)view->buf + i * view->strides[0], &out->values[i]);
    }
    return 0;
}

static int
numbers_of_buffer(PyObject *obj, hp_numbers *out)
{
    Py_buffer view;
    if (PyObject_GetBuffer(obj, &view, PyBUF_FORMAT | PyBUF_STRIDES) < 0) {
        if (PyErr_ExceptionMatches(PyExc_BufferError)) {
            PyErr_SetString(PyExc_ValueError, "a buffer with strides is required");
        }
        return -1;
    }
    int result = numbers_of_view(&view, out);
    PyBuffer_Release(&view);
    return result;
}

static int
numbers_of_sequence(PyObject *obj, hp_numbers *out)
{
    PyObject *items = PySequence_Tuple(obj);
    int result = items != NULL ? hp_numbers_make_room(out, PyTuple_GET_SIZE(items)) : -1;
    for (Py_ssize_t i = 0; result == 0 && i < out->n; i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        out->values[i] = PyUnicode_Check(item) ? -1.0 : PyFloat_AsDouble(item);
        if (PyUnicode_Check(item) || (out->values[i] == -1.0 && PyErr_Occurred())) {
            if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_TypeError)) {
                hp_refuse_type("a number is required", item);
            }
            hp_refine(PyUnicode_FromFormat("invalid element at index %zd", i));
            result = -1;
        }
    }
    Py_XDECREF(items);
    return result;
}

int
hp_numbers_of(hp_codec_state *state, PyObject *obj, hp_numbers *out)
{
    bool is_bytes = PyBytes_Check(obj) || PyByteArray_Check(obj);
    if (!is_bytes && PyObject_CheckBuffer(obj)) {
        return numbers_of_buffer(obj, out);
    }
    int usable = is_bytes ? 0 : hp_is_array_container(state, obj);
    if (usable == 0) {
        hp_refuse_type("a list or another sized iterable of numbers, a buffer of numbers or str is required", obj);
    }
    return usable > 0 ? numbers_of_sequence(obj, out) : -1;
}

/* ---- text ---- */

static void
skip_space(hp_text_cursor *c)
{
    while (Py_ISSPACE(*c->p)) {
        c->p++;
    }
}

bool
hp_text_accept(hp_text_cursor *c, char ch)
{
    skip_space(c);
    if (*c->p != ch) {
        return false;
    }
    c->p++;
    skip_space(c);
    return true;
}

int
hp_text_refuse(const hp_text_cursor *c)
{
    if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Format(PyExc_ValueError, "not the text form of type %s", c->codec->name);
    }
    return -1;
}

int
hp_text_take_number(hp_text_cursor *c, double *value)
{
    char *end;
    *value = PyOS_string_to_double(c->p, &end, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        return hp_text_refuse(c);
    }
    c->p = end;
    return 0;
}

Py_ssize_t
hp_text_count_items(const char *p)
{
    Py_ssize_t n = 1;
    for (; *p != '\0'; p++) {
        n += *p == ',';
    }
    return n;
}

static int
parse_dense(hp_text_cursor *c, hp_numbers *out)
{
    if (hp_numbers_make_room(out, hp_text_count_items(c->p)) < 0) {
        return -1;
    }
    out->n = 0;
    if (!hp_text_accept(c, '[')) {
        return hp_text_refuse(c);
    }
    bool more = *c->p != ']';
    while (more) {
        if (hp_text_take_number(c, &out->values[out->n]) < 0) {
            return -1;
        }
        out->n++;
        more = hp_text_accept(c, ',');
    }
    return hp_text_accept(c, ']') && *c->p == '\0' ? 0 : hp_text_refuse(c);
}

/* ---- vector and halfvec ---- */

int
hp_put_float4(hp_buf *buf, double value)
{
    float narrow = (float)value;
    uint32_t bits;
    if (isinf(narrow) && !isinf(value)) {
        return hp_refuse_range("float4");
    }
    memcpy(&bits, &narrow, sizeof bits);
    return hp_buf_put_int32(buf, (int32_t)bits);
}

static int
put_half(hp_buf *buf, double value)
{
    uint16_t half = half_of(value);
    if ((half & ~HALF_SIGN) == HALF_INFINITY && !isinf(value)) {
        return hp_refuse_range("half precision float");
    }
    return hp_buf_put_int16(buf, (int16_t)half);
}

static int
put_dense(hp_buf *buf, const hp_numbers *list, int (*put)(hp_buf *buf, double value))
{
    if (list->n > INT16_MAX) {
        PyErr_Format(PyExc_ValueError, "more dimensions than %d", INT16_MAX);
        return -1;
    }
    int result = hp_buf_put_int16(buf, (int16_t)list->n) < 0 ? -1 : hp_buf_put_int16(buf, 0);
    for (Py_ssize_t i = 0; result == 0 && i < list->n; i++) {
        result = put(buf, list->values[i]);
    }
    return result;
}

/* The numbers of a dense value in whatever form it comes. */
static int
read_input(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_numbers *out)
{
    if (!PyUnicode_Check(obj)) {
        return hp_numbers_of(state, obj, out);
    }
    hp_text_cursor c = {codec, PyUnicode_AsUTF8(obj)};
    return c.p != NULL ? parse_dense(&c, out) : -1;
}

static int
encode_dense(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf,
             int (*put)(hp_buf *buf, double value))
{
    hp_numbers list = {NULL, 0};
    int result = read_input(state, codec, obj, &list);
    if (result == 0) {
        result = put_dense(buf, &list, put);
    }
    PyMem_Free(list.values);
    return result;
}

int
hp_pgvector_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    return encode_dense(state, codec, obj, buf, hp_put_float4);
}

int
hp_halfvec_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    return encode_dense(state, codec, obj, buf, put_half);
}

double
hp_float4_at(const char *p)
{
    uint32_t bits = hp_get_u32(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static double
wire_half_at(const char *p)
{
    return double_of_half(hp_get_u16(p));
}

static PyObject *
decode_dense(const hp_codec *codec, const char *data, Py_ssize_t len, Py_ssize_t bytes, double (*at)(const char *p))
{
    Py_ssize_t n = len >= DENSE_HEADER_BYTES ? (int16_t)hp_get_u16(data) : -1;
    if (n < 0 || len != DENSE_HEADER_BYTES + n * bytes) {
        return hp_malformed(codec, "length does not match the number of dimensions");
    }
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; list != NULL && i < n; i++) {
        PyObject *number = PyFloat_FromDouble(at(data + DENSE_HEADER_BYTES + i * bytes));
        if (number == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, number);
    }
    return list;
}

PyObject *
hp_pgvector_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_dense(codec, data, len, 4, hp_float4_at);
}

PyObject *
hp_halfvec_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_dense(codec, data, len, 2, wire_half_at);
}

char *
hp_text_copy(const char *data, Py_ssize_t len)
{
    char *text = PyMem_Malloc((size_t)len + 1);
    if (text == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(text, data, (size_t)len);
    text[len] = '\0';
    return text;
}

/* The server prints the shortest digits that give the number back in its own precision. */
static PyObject *
list_in_precision(const hp_numbers *numbers, bool half)
{
    PyObject *list = PyList_New(numbers->n);
    for (Py_ssize_t i = 0; list != NULL && i < numbers->n; i++) {
        double value = half ? double_of_half(half_of(numbers->values[i])) : (double)(float)numbers->values[i];
        PyObject *number = PyFloat_FromDouble(value);
        if (number == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, number);
    }
    return list;
}

static PyObject *
decode_dense_text(const hp_codec *codec, const char *data, Py_ssize_t len, bool half)
{
    char *text = hp_text_copy(data, len);
    hp_numbers list = {NULL, 0};
    hp_text_cursor c = {codec, text};
    PyObject *result = text != NULL && parse_dense(&c, &list) == 0 ? list_in_precision(&list, half) : NULL;
    PyMem_Free(list.values);
    PyMem_Free(text);
    return result;
}

PyObject *
hp_pgvector_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_dense_text(codec, data, len, false);
}

PyObject *
hp_halfvec_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_dense_text(codec, data, len, true);
}
