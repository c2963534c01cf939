/*
 * refuse.c - how codecs say no: one wording for wrong types, ranges and
 * malformed fields. Called by every family; the binding adds which argument it was.
 */
#include "codec/families.h"

int
hp_refuse_type(const char *what, PyObject *obj)
{
    PyErr_Format(PyExc_TypeError, "%s, got %.100s", what, Py_TYPE(obj)->tp_name);
    return -1;
}

int
hp_refuse_range(const char *range)
{
    PyErr_Format(PyExc_OverflowError, "value out of %s range", range);
    return -1;
}

PyObject *
hp_malformed(const hp_codec *codec, const char *why)
{
    PyErr_Format(PyExc_ValueError, "malformed %s: %s", codec->name, why);
    return NULL;
}

bool
hp_refuse_length(const hp_codec *codec, Py_ssize_t len, Py_ssize_t expected)
{
    PyErr_Format(PyExc_ValueError, "malformed %s: %zd bytes instead of %zd", codec->name, len, expected);
    return false;
}

void
hp_refine(PyObject *where)
{
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    if (where == NULL) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    bool overflow = PyErr_GivenExceptionMatches(type, PyExc_OverflowError);
    if (!overflow && !PyErr_GivenExceptionMatches(type, PyExc_TypeError) &&
        !PyErr_GivenExceptionMatches(type, PyExc_ValueError)) {
        Py_DECREF(where);
        PyErr_Restore(type, value, traceback);
        return;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    PyErr_Format(overflow ? PyExc_OverflowError : PyExc_ValueError, "%U: %S", where, value);
    Py_DECREF(where);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}
