/*
 * override.c - connection classes with query methods of their own.
 *
 * pool.fetch() stands for a lease and connection.fetch(), and that, for those who
 * know asyncpg, for connection._execute(). Where a subclass has redefined one of
 * these, or an instrumentation has put a wrapper in its place, it must be called.
 * pool.c and connection.c ask here before they take the short way; what is here
 * then calls the method _overridden() of either, in Python.
 *
 * It is asked at every call, since instrumentations come and go while pools are
 * open: a comparison of the class's version, which CPython changes with every
 * change to it or its bases, and counts from 1.
 */
#include "module.h"

#include <string.h>

/* In the order of hp_op_kind. */
static const char *const NAMES[] = {"fetch", "fetchrow", "fetchval", "execute"};
enum { QUERY_METHODS = sizeof NAMES / sizeof NAMES[0] };

/* Bits of PoolObject.overridden: one for each of them, and this for _execute(). */
enum { EXECUTE_OVERRIDDEN = 1 << QUERY_METHODS };

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

/* 1: the attribute is another object than `own`, or than attribute `own_name`. 0: the same, or there is none. */
static int
differs(PyTypeObject *class, PyObject *name, PyObject *own, PyObject *own_name)
{
    PyObject *found = PyObject_GetAttr((PyObject *)class, name);
    PyObject *expected = found == NULL ? NULL : own ? Py_NewRef(own) : PyObject_GetAttr((PyObject *)class, own_name);
    int answer = found != expected;
    if (expected == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            answer = -1;
        } else {
            PyErr_Clear();
            answer = 0;
        }
    }
    Py_XDECREF(found);
    Py_XDECREF(expected);
    return answer;
}

static int
look(PoolObject *pool)
{
    hp_binding_state *state = &pool->state->binding;
    PyTypeObject *class = pool->connection_class;
    int bits = 0;
    for (Py_ssize_t i = 0; i < QUERY_METHODS; i++) {
        int rc =
            differs(class, PyTuple_GET_ITEM(state->query_names, i), PyTuple_GET_ITEM(state->query_methods, i), NULL);
        if (rc < 0) {
            return -1;
        }
        bits |= rc << i;
    }
    int rc = differs(class, state->str_execute, NULL, state->str_own_execute);
    return rc < 0 ? -1 : rc ? bits | EXECUTE_OVERRIDDEN : bits;
}

static int
overridden(PoolObject *pool)
{
    if (pool->class_version == 0 || pool->class_version != pool->connection_class->tp_version_tag) {
        int bits = look(pool);
        if (bits < 0) {
            return -1;
        }
        pool->overridden = bits;
        pool->class_version = pool->connection_class->tp_version_tag; /* looking gave it one, if there are any left */
    }
    return pool->overridden;
}

int
hp_override_for_pool(PoolObject *pool, hp_op_kind kind)
{
    int bits = overridden(pool);
    return bits < 0 ? -1 : (bits & (1 << kind | EXECUTE_OVERRIDDEN)) != 0;
}

int
hp_override_for_connection(PoolObject *pool)
{
    int bits = overridden(pool);
    return bits < 0 ? -1 : (bits & EXECUTE_OVERRIDDEN) != 0;
}

PyObject *
hp_override_call(hp_state *module, PyObject *self, hp_op_kind kind, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    enum { BEFORE = 2 }; /* self and the method's name */
    hp_binding_state *state = &module->binding;
    size_t given = (size_t)nargs + (size_t)(kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **all = PyMem_Malloc((BEFORE + given) * sizeof *all);
    if (all == NULL) {
        return PyErr_NoMemory();
    }
    all[0] = self;
    all[1] = PyTuple_GET_ITEM(state->query_names, kind);
    if (given > 0) {
        memcpy(all + BEFORE, args, given * sizeof *all);
    }
    PyObject *result = PyObject_VectorcallMethod(state->str_overridden, all, (size_t)(BEFORE + nargs), kwnames);
    PyMem_Free(all);
    return result;
}

int
hp_override_kind(hp_state *module, PyObject *name, hp_op_kind *kind)
{
    for (Py_ssize_t i = 0; PyUnicode_Check(name) && i < QUERY_METHODS; i++) {
        if (PyUnicode_Compare(PyTuple_GET_ITEM(module->binding.query_names, i), name) == 0) {
            *kind = (hp_op_kind)i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "%R is no method that runs a query", name);
    return -1;
}
