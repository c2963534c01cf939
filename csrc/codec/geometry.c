/*
 * geometry.c - point, line, lseg, box, path, polygon and circle <-> the classes
 * of holisticpool.types.
 *
 * As input any sequences of numbers in the same shape: a pair is a point, a pair
 * of pairs a box or a segment. Of paths, a tuple is closed and a list open.
 *
 * Binary forms are the coordinates one after another, behind a closed flag (path)
 * and a count (path, polygon). Text forms have the coordinates in the same order
 * between punctuation, which is checked against a pattern.
 */
#include "codec/families.h"
#include "codec/wire.h"

#include <string.h>

enum { DOUBLE_BYTES = 8, POINT_BYTES = 16, COUNT_BYTES = 4, MOST_COORDINATES = 4 };

int
hp_geometry_init(hp_codec_state *state)
{
    state->str_slot_points = PyUnicode_InternFromString("points");
    state->str_slot_is_closed = PyUnicode_InternFromString("_is_closed");
    return state->str_slot_points == NULL || state->str_slot_is_closed == NULL ? -1 : 0;
}

/* ---- encode ---- */

/* New reference: `obj` as a tuple, of `n` items unless that is negative. `what`
 * says what it should have been. */
static PyObject *
items_of(hp_codec_state *state, PyObject *obj, Py_ssize_t n, const char *what)
{
    int usable = hp_is_array_container(state, obj);
    if (usable <= 0) {
        if (usable == 0) {
            hp_refuse_type(what, obj);
        }
        return NULL;
    }
    PyObject *items = PySequence_Tuple(obj);
    if (items != NULL && n >= 0 && PyTuple_GET_SIZE(items) != n) {
        PyErr_Format(PyExc_ValueError, "%s, got %zd elements", what, PyTuple_GET_SIZE(items));
        Py_CLEAR(items);
    }
    return items;
}

static int
put_numbers(hp_codec_state *state, PyObject *obj, Py_ssize_t n, const char *what, hp_buf *buf)
{
    PyObject *items = items_of(state, obj, n, what);
    int result = items == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < n; i++) {
        result = hp_float8_encode(state, NULL, PyTuple_GET_ITEM(items, i), buf);
    }
    Py_XDECREF(items);
    return result;
}

static int
put_point(hp_codec_state *state, PyObject *obj, hp_buf *buf)
{
    return put_numbers(state, obj, 2, "a point of two numbers is required", buf);
}

static int
put_points(hp_codec_state *state, PyObject *items, hp_buf *buf)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        if (put_point(state, PyTuple_GET_ITEM(items, i), buf) < 0) {
            return -1;
        }
    }
    return 0;
}

int
hp_point_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    return put_point(state, obj, buf);
}

int
hp_line_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    return put_numbers(state, obj, 3, "a line of three numbers is required", buf);
}

/* box and lseg */
int
hp_point_pair_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    PyObject *items = items_of(state, obj, 2, "a pair of points is required");
    int result = items != NULL ? put_points(state, items, buf) : -1;
    Py_XDECREF(items);
    return result;
}

int
hp_circle_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    PyObject *items = items_of(state, obj, 2, "a pair of center and radius is required");
    int result = items != NULL ? put_point(state, PyTuple_GET_ITEM(items, 0), buf) : -1;
    if (result == 0) {
        result = hp_float8_encode(state, NULL, PyTuple_GET_ITEM(items, 1), buf);
    }
    Py_XDECREF(items);
    return result;
}

static int
put_counted_points(hp_codec_state *state, PyObject *obj, hp_buf *buf)
{
    PyObject *items = items_of(state, obj, -1, "a sequence of points is required");
    if (items == NULL) {
        return -1;
    }
    int result = -1;
    if (PyTuple_GET_SIZE(items) > INT32_MAX / POINT_BYTES) {
        PyErr_SetString(PyExc_ValueError, "too many points");
    } else if (hp_buf_put_int32(buf, (int32_t)PyTuple_GET_SIZE(items)) == 0) {
        result = put_points(state, items, buf);
    }
    Py_DECREF(items);
    return result;
}

int
hp_polygon_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    return put_counted_points(state, obj, buf);
}

/* 1, 0, or -1 with an exception. */
static int
is_closed_path(hp_codec_state *state, PyObject *obj)
{
    int is_path = PyObject_IsInstance(obj, state->Path);
    if (is_path <= 0) {
        return is_path < 0 ? -1 : PyTuple_Check(obj);
    }
    PyObject *closed = PyObject_GetAttr(obj, state->str_slot_is_closed);
    int result = closed != NULL ? PyObject_IsTrue(closed) : -1;
    Py_XDECREF(closed);
    return result;
}

int
hp_path_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    int closed = is_closed_path(state, obj);
    if (closed < 0 || hp_buf_append(buf, closed ? "\1" : "\0", 1) < 0) {
        return -1;
    }
    return put_counted_points(state, obj, buf);
}

/* ---- objects from coordinates ---- */

static PyObject *
new_point(hp_codec_state *state, const double *xy)
{
    PyObject *items[] = {PyFloat_FromDouble(xy[0]), PyFloat_FromDouble(xy[1])};
    return hp_new_tuple(state->Point, items, 2);
}

static PyObject *
new_line(hp_codec_state *state, const double *n)
{
    PyObject *items[] = {PyFloat_FromDouble(n[0]), PyFloat_FromDouble(n[1]), PyFloat_FromDouble(n[2])};
    return hp_new_tuple(state->Line, items, 3);
}

static PyObject *
new_lseg(hp_codec_state *state, const double *n)
{
    PyObject *items[] = {new_point(state, n), new_point(state, n + 2)};
    return hp_new_tuple(state->LineSegment, items, 2);
}

static PyObject *
new_box(hp_codec_state *state, const double *n)
{
    PyObject *items[] = {new_point(state, n), new_point(state, n + 2)};
    return hp_new_tuple(state->Box, items, 2);
}

static PyObject *
new_circle(hp_codec_state *state, const double *n)
{
    PyObject *items[] = {new_point(state, n), PyFloat_FromDouble(n[2])};
    return hp_new_tuple(state->Circle, items, 2);
}

/* New reference to a path or polygon; steals `points`, which may be NULL. */
static PyObject *
new_path(hp_codec_state *state, PyObject *type, PyObject *points, bool closed)
{
    PyObject *const slots[] = {state->str_slot_points, state->str_slot_is_closed};
    PyObject *values[] = {points, PyBool_FromLong(closed)};
    return hp_new_with_slots(type, slots, values, Py_ARRAY_LENGTH(slots));
}

/* ---- decode ---- */

typedef PyObject *(*make_fn)(hp_codec_state *state, const double *coordinates);

static double
double_at(const char *p)
{
    uint64_t bits = hp_get_u64(p);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static PyObject *
decode_fixed(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len, int n, make_fn make)
{
    double coordinates[MOST_COORDINATES];
    if (!hp_check_length(codec, len, (Py_ssize_t)n * DOUBLE_BYTES)) {
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        coordinates[i] = double_at(data + (size_t)i * DOUBLE_BYTES);
    }
    return make(state, coordinates);
}

PyObject *
hp_point_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_fixed(state, codec, data, len, 2, new_point);
}

PyObject *
hp_line_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_fixed(state, codec, data, len, 3, new_line);
}

PyObject *
hp_lseg_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_fixed(state, codec, data, len, 4, new_lseg);
}

PyObject *
hp_box_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_fixed(state, codec, data, len, 4, new_box);
}

PyObject *
hp_circle_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_fixed(state, codec, data, len, 3, new_circle);
}

/* New reference: the counted points that `data` holds, and nothing else, as a tuple. */
static PyObject *
read_points(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    int32_t n = len >= COUNT_BYTES ? hp_get_i32(data) : -1;
    if (n < 0 || (len - COUNT_BYTES) % POINT_BYTES != 0 || (len - COUNT_BYTES) / POINT_BYTES != n) {
        return hp_malformed(codec, "its length does not fit its number of points");
    }
    PyObject *points = PyTuple_New(n);
    for (int32_t i = 0; points != NULL && i < n; i++) {
        const char *p = data + COUNT_BYTES + (Py_ssize_t)i * POINT_BYTES;
        PyObject *point = new_point(state, (double[]){double_at(p), double_at(p + DOUBLE_BYTES)});
        if (point == NULL) {
            Py_CLEAR(points);
            break;
        }
        PyTuple_SET_ITEM(points, i, point);
    }
    return points;
}

PyObject *
hp_polygon_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return new_path(state, state->Polygon, read_points(state, codec, data, len), true);
}

PyObject *
hp_path_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (len < 1) {
        return hp_malformed(codec, "empty");
    }
    return new_path(state, state->Path, read_points(state, codec, data + 1, len - 1), data[0] != 0);
}

/* ---- decode text ---- */

/* Read `pattern`, in which each # stands for a number and any other character
 * for itself, from *p on. false: it is not there. */
static bool
take_pattern(const hp_codec *codec, const char **p, const char *end, const char *pattern, double *numbers)
{
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '#') {
            if (*p == end || *(*p)++ != *pattern) {
                return false;
            }
            continue;
        }
        const char *stop = *p;
        while (stop < end && strchr(",(){}[]<>", *stop) == NULL) {
            stop++;
        }
        if (hp_double_from_text(codec, *p, stop - *p, numbers++) < 0) {
            PyErr_Clear();
            return false;
        }
        *p = stop;
    }
    return true;
}

static PyObject *
decode_pattern(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len, const char *pattern,
               make_fn make)
{
    double numbers[MOST_COORDINATES];
    const char *p = data;
    if (!take_pattern(codec, &p, data + len, pattern, numbers) || p != data + len) {
        return hp_malformed(codec, "not the text form of this type");
    }
    return make(state, numbers);
}

PyObject *
hp_point_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_pattern(state, codec, data, len, "(#,#)", new_point);
}

PyObject *
hp_line_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_pattern(state, codec, data, len, "{#,#,#}", new_line);
}

PyObject *
hp_lseg_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_pattern(state, codec, data, len, "[(#,#),(#,#)]", new_lseg);
}

PyObject *
hp_box_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_pattern(state, codec, data, len, "(#,#),(#,#)", new_box);
}

PyObject *
hp_circle_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decode_pattern(state, codec, data, len, "<(#,#),#>", new_circle);
}

/* New reference: the points of `open`(x,y),(x,y)...`close` as a tuple. */
static PyObject *
points_from_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len, char open, char close)
{
    const char *p = data + 1;
    const char *end = data + len;
    double xy[2];
    if (len < 2 || data[0] != open || end[-1] != close) {
        return hp_malformed(codec, "not the text form of this type");
    }
    PyObject *list = PyList_New(0);
    end--;
    while (list != NULL && p < end) {
        if (!take_pattern(codec, &p, end, PyList_GET_SIZE(list) == 0 ? "(#,#)" : ",(#,#)", xy)) {
            Py_DECREF(list);
            return hp_malformed(codec, "not a list of points");
        }
        PyObject *point = new_point(state, xy);
        int result = point != NULL ? PyList_Append(list, point) : -1;
        Py_XDECREF(point);
        if (result < 0) {
            Py_CLEAR(list);
        }
    }
    PyObject *points = list != NULL ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return points;
}

PyObject *
hp_polygon_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return new_path(state, state->Polygon, points_from_text(state, codec, data, len, '(', ')'), true);
}

PyObject *
hp_path_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    bool closed = len > 0 && data[0] == '(';
    PyObject *points = points_from_text(state, codec, data, len, closed ? '(' : '[', closed ? ')' : ']');
    return new_path(state, state->Path, points, closed);
}
