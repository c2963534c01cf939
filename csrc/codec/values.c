/*
 * values.c - the classes that codecs make objects of: found by name, and made
 * without running their __init__.
 *
 * Called by every family that keeps a class in hp_codec_state. Classes of
 * holisticpool.types name what they consist of in __slots__; an object is filled
 * through these, which runs no Python code.
 */
#include "codec/families.h"

PyObject *
hp_import_attr(const char *module, const char *name)
{
    PyObject *mod = PyImport_ImportModule(module);
    if (mod == NULL) {
        return NULL;
    }
    PyObject *attr = PyObject_GetAttrString(mod, name);
    Py_DECREF(mod);
    return attr;
}

int
hp_import_into(PyObject **member, const char *module, const char *name)
{
    if (*member != NULL) {
        return 0;
    }
    PyObject *attr = hp_import_attr(module, name);
    if (attr == NULL) {
        return -1;
    }
    if (*member != NULL) {
        /* another thread, while this one waited for the import */
        Py_DECREF(attr);
    } else {
        *member = attr;
    }
    return 0;
}

int
hp_own_classes_load(hp_codec_state *state)
{
    const struct {
        PyObject **member;
        const char *name;
    } imports[] = {
        {&state->BitString, "BitString"},       {&state->Point, "Point"},   {&state->Line, "Line"},
        {&state->LineSegment, "LineSegment"},   {&state->Box, "Box"},       {&state->Path, "Path"},
        {&state->Polygon, "Polygon"},           {&state->Circle, "Circle"}, {&state->Range, "Range"},
        {&state->SparseVector, "SparseVector"},
    };
    if (state->SparseVector != NULL) {
        return 0; /* the last */
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(imports); i++) {
        if (hp_import_into(imports[i].member, "holisticpool.types", imports[i].name) < 0) {
            return -1;
        }
    }
    return 0;
}

int
hp_codec_make_ready(hp_codec_state *state, const hp_codec *codec)
{
    return codec->own_classes ? hp_own_classes_load(state) : 0;
}

/* New reference: an object of `type` as object.__new__() makes it. */
static PyObject *
new_instance(PyObject *type)
{
    PyObject *nothing = PyTuple_New(0);
    PyObject *self = nothing != NULL ? PyBaseObject_Type.tp_new((PyTypeObject *)type, nothing, NULL) : NULL;
    Py_XDECREF(nothing);
    return self;
}

PyObject *
hp_new_with_slots(PyObject *type, PyObject *const *slots, PyObject *const *values, size_t n)
{
    PyObject *self = NULL;
    size_t set = 0;
    for (size_t i = 0; i < n; i++) {
        set += values[i] != NULL;
    }
    if (set == n) {
        self = new_instance(type);
    }
    for (size_t i = 0; i < n && self != NULL; i++) {
        if (PyObject_SetAttr(self, slots[i], values[i]) < 0) {
            Py_CLEAR(self);
        }
    }
    for (size_t i = 0; i < n; i++) {
        Py_XDECREF(values[i]);
    }
    return self;
}

PyObject *
hp_new_tuple(PyObject *type, PyObject *const *items, Py_ssize_t n)
{
    PyObject *plain = PyTuple_New(n);
    bool complete = plain != NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        complete = complete && items[i] != NULL;
        if (plain != NULL) {
            PyTuple_SET_ITEM(plain, i, items[i]);
        } else {
            Py_XDECREF(items[i]);
        }
    }
    PyObject *args = complete ? PyTuple_Pack(1, plain) : NULL;
    PyObject *self = args != NULL ? PyTuple_Type.tp_new((PyTypeObject *)type, args, NULL) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(plain);
    return self;
}
