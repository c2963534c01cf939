/*
 * override.c - queries of a pool whose connection class has methods of its own.
 *
 * pool.fetch() stands for a lease and connection.fetch(): where a subclass has
 * redefined that, or an instrumentation has put a wrapper in its place, it must
 * be called. pool.c asks here before it takes the short way; what is here then
 * calls Pool._by_lease(), in Python.
 *
 * It is asked at every call, since instrumentations come and go while pools are
 * open.
 */
#include "module.h"

#include <string.h>

/* In the order of hp_op_kind. */
static const char *const NAMES[] = {"fetch", "fetchrow", "fetchval", "execute"};
enum { QUERY_METHODS = sizeof NAMES / sizeof NAMES[0] };

int
hp_override_init(hp_binding_state *state)
{
    state->query_names = PyTuple_New(QUERY_METHODS);
    state->query_methods = PyTuple_New(QUERY_METHODS);
    if (state->query_names == NULL || state->query_methods == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < QUERY_METHODS; i++) {
        PyObject *name = PyUnicode_InternFromString(NAMES[i]);
        if (name == NULL) {
            return -1;
        }
        PyTuple_SET_ITEM(state->query_names, i, name);
        PyObject *method = PyObject_GetAttr((PyObject *)state->ConnectionType, name);
        if (method == NULL) {
            return -1;
        }
        PyTuple_SET_ITEM(state->query_methods, i, method);
    }
    return 0;
}

int
hp_override_exists(PoolObject *pool, hp_op_kind kind)
{
    hp_binding_state *state = &pool->state->binding;
    PyObject *name = PyTuple_GET_ITEM(state->query_names, kind);
    PyObject *method = PyObject_GetAttr((PyObject *)pool->connection_class, name);
    if (method == NULL) {
        return -1;
    }
    bool same = method == PyTuple_GET_ITEM(state->query_methods, kind);
    Py_DECREF(method);
    return !same;
}

PyObject *
hp_override_call(PoolObject *pool, hp_op_kind kind, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    enum { BEFORE = 2 }; /* self and the method's name */
    hp_binding_state *state = &pool->state->binding;
    size_t given = (size_t)nargs + (size_t)(kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **all = PyMem_Malloc((BEFORE + given) * sizeof *all);
    if (all == NULL) {
        return PyErr_NoMemory();
    }
    all[0] = (PyObject *)pool;
    all[1] = PyTuple_GET_ITEM(state->query_names, kind);
    if (given > 0) {
        memcpy(all + BEFORE, args, given * sizeof *all);
    }
    PyObject *result = PyObject_VectorcallMethod(state->str_by_lease, all, (size_t)(BEFORE + nargs), kwnames);
    PyMem_Free(all);
    return result;
}
