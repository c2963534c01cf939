/*
 * named.c - arguments by name: fetch(query, params={"id": 5}).
 *
 * A query with :name or $name is rewritten to $1, $2, ... once and kept by the pool
 * (PoolObject.named: str -> (str, tuple of names)); from then on it is a statement
 * like any other, and the values travel as any others do.
 *
 * Called by start.c at the first await.
 */
#include "module.h"

#include "engine/sqlnames.h"

#include <stdio.h>

static hp_errors_state *
errors_of(OperationObject *op)
{
    return &op->pool->state->errors;
}

/* ---- rewriting ---- */

/* The number of a name, a new one for one that is not in `numbers`; -1 with an exception. */
static Py_ssize_t
number_of(PyObject *numbers, const hp_sqlname *name)
{
    PyObject *key = PyUnicode_DecodeUTF8(name->text, (Py_ssize_t)name->len, NULL);
    PyObject *known = key != NULL ? PyDict_GetItemWithError(numbers, key) : NULL;
    Py_ssize_t number = -1;
    if (known != NULL) {
        number = PyLong_AsSsize_t(known);
    } else if (key != NULL && !PyErr_Occurred()) {
        PyObject *next = PyLong_FromSsize_t(PyDict_GET_SIZE(numbers) + 1);
        if (next != NULL && PyDict_SetItem(numbers, key, next) == 0) {
            number = PyDict_GET_SIZE(numbers);
        }
        Py_XDECREF(next);
    }
    Py_XDECREF(key);
    return number;
}

static int
append_number(hp_buf *out, Py_ssize_t number)
{
    char text[24];
    int len = snprintf(text, sizeof text, "$%zd", number);
    return hp_buf_append(out, text, len);
}

/* Fill `out` with the text and `numbers` with the names; 0, or -1 with an exception. */
static int
rewrite(OperationObject *op, const char *sql, Py_ssize_t len, hp_buf *out, PyObject *numbers)
{
    hp_sqlnames names;
    hp_sqlname name;
    const char *copied = sql;
    hp_sqlnames_start(&names, sql, (size_t)len);
    while (hp_sqlnames_next(&names, &name)) {
        Py_ssize_t number = number_of(numbers, &name);
        if (number < 0 || hp_buf_append(out, copied, name.start - copied) < 0 || append_number(out, number) < 0) {
            return -1;
        }
        copied = name.text + name.len;
    }
    if (names.positional) {
        PyErr_SetString(errors_of(op)->InterfaceError,
                        "the query has a parameter by number ($1): with params= all of them have names");
        return -1;
    }
    return hp_buf_append(out, copied, sql + len - copied);
}

/* New reference: (text, names). */
static PyObject *
rewritten(OperationObject *op, PyObject *query)
{
    Py_ssize_t len;
    const char *sql = PyUnicode_AsUTF8AndSize(query, &len);
    hp_buf out = {NULL, 0, 0, 0};
    PyObject *numbers = sql != NULL ? PyDict_New() : NULL;
    PyObject *pair = NULL;
    if (numbers != NULL && rewrite(op, sql, len, &out, numbers) == 0) {
        PyObject *text = PyUnicode_DecodeUTF8(out.data, out.len, NULL);
        PyObject *names = PySequence_Tuple(numbers); /* in the order of their numbers */
        pair = text != NULL && names != NULL ? PyTuple_Pack(2, text, names) : NULL;
        Py_XDECREF(text);
        Py_XDECREF(names);
    }
    hp_buf_free(&out);
    Py_XDECREF(numbers);
    return pair;
}

/* The oldest one goes where there are too many. */
static int
remember(PoolObject *pool, PyObject *query, PyObject *pair)
{
    PyObject *oldest, *value;
    Py_ssize_t pos = 0;
    if (pool->named == NULL && (pool->named = PyDict_New()) == NULL) {
        return -1;
    }
    if (PyDict_GET_SIZE(pool->named) >= pool->statements_max && PyDict_Next(pool->named, &pos, &oldest, &value)) {
        Py_INCREF(oldest);
        int rc = PyDict_DelItem(pool->named, oldest);
        Py_DECREF(oldest);
        if (rc < 0) {
            return -1;
        }
    }
    return PyDict_SetItem(pool->named, query, pair);
}

/* New reference: (text, names) of op's query. */
static PyObject *
pair_of(OperationObject *op)
{
    PoolObject *pool = op->pool;
    if (!PyUnicode_Check(op->query)) {
        PyErr_Format(PyExc_TypeError, "the query must be a str, got %.100s", Py_TYPE(op->query)->tp_name);
        return NULL;
    }
    PyObject *query = PyUnicode_FromObject(op->query); /* without the methods of a subclass */
    PyObject *pair = query != NULL && pool->named != NULL ? PyDict_GetItemWithError(pool->named, query) : NULL;
    if (pair != NULL || PyErr_Occurred()) {
        Py_XINCREF(pair);
    } else if (query != NULL) {
        pair = rewritten(op, query);
        bool keep =
            pair != NULL && (pool->cacheable_bytes == 0 || PyUnicode_GET_LENGTH(query) <= pool->cacheable_bytes);
        if (keep && remember(pool, query, pair) < 0) {
            Py_CLEAR(pair);
        }
    }
    Py_XDECREF(query);
    return pair;
}

/* ---- values ---- */

/* New reference. */
static PyObject *
value_of(OperationObject *op, PyObject *params, PyObject *name)
{
    PyObject *value;
    if (PyDict_CheckExact(params)) {
        value = Py_XNewRef(PyDict_GetItemWithError(params, name));
    } else {
        value = PyObject_GetItem(params, name);
        if (value == NULL && PyErr_ExceptionMatches(PyExc_KeyError)) {
            PyErr_Clear();
        }
    }
    if (value == NULL && !PyErr_Occurred()) {
        PyErr_Format(errors_of(op)->InterfaceError, "the query has a parameter %R, which params= does not have", name);
    }
    return value;
}

static PyObject *
values_of(OperationObject *op, PyObject *params, PyObject *names)
{
    Py_ssize_t n = PyTuple_GET_SIZE(names);
    PyObject *values = PyTuple_New(n);
    for (Py_ssize_t i = 0; values != NULL && i < n; i++) {
        PyObject *value = value_of(op, params, PyTuple_GET_ITEM(names, i));
        if (value == NULL) {
            Py_CLEAR(values);
            break;
        }
        PyTuple_SET_ITEM(values, i, value);
    }
    return values;
}

/* 1, 0, or -1 with an exception. */
static int
is_mapping(OperationObject *op, PyObject *obj)
{
    return PyDict_Check(obj) ? 1 : PyObject_IsInstance(obj, op->pool->state->codec.Mapping);
}

/* What the query and the arguments of `op` are from now on: steals `args`, and
 * takes the text of `pair`. */
static void
replace(OperationObject *op, PyObject *pair, PyObject *args)
{
    Py_SETREF(op->query, Py_NewRef(PyTuple_GET_ITEM(pair, 0)));
    Py_XSETREF(op->args, args);
}

int
hp_named_apply(OperationObject *op)
{
    if (op->args != NULL || op->prepared != NULL) {
        PyErr_SetString(PyExc_TypeError, op->prepared != NULL
                                             ? "a prepared statement takes its arguments by position"
                                             : "arguments are given by position or by params=, not both");
        return -1;
    }
    int usable = is_mapping(op, op->named);
    if (usable <= 0) {
        if (usable == 0) {
            PyErr_Format(PyExc_TypeError, "params is expected to be a mapping, got %.100s",
                         Py_TYPE(op->named)->tp_name);
        }
        return -1;
    }
    PyObject *pair = pair_of(op);
    PyObject *values = pair != NULL ? values_of(op, op->named, PyTuple_GET_ITEM(pair, 1)) : NULL;
    if (values != NULL) {
        replace(op, pair, values);
    }
    Py_XDECREF(pair);
    return values != NULL ? 0 : -1;
}

/* New reference: the sets as tuples. */
static PyObject *
sets_of(OperationObject *op, PyObject *names)
{
    Py_ssize_t n = PyTuple_GET_SIZE(op->args);
    PyObject *sets = PyTuple_New(n);
    for (Py_ssize_t i = 0; sets != NULL && i < n; i++) {
        PyObject *params = PyTuple_GET_ITEM(op->args, i);
        int usable = is_mapping(op, params);
        PyObject *values = usable > 0 ? values_of(op, params, names) : NULL;
        if (usable == 0) {
            PyErr_Format(errors_of(op)->ClientDataError,
                         "invalid input in %s() sequence element #%zd: a mapping is expected, as the first one is, got "
                         "%.100s",
                         strchr(hp_op_name(op), '.') + 1, op->sets_before + i, Py_TYPE(params)->tp_name);
        }
        if (values == NULL) {
            Py_CLEAR(sets);
            break;
        }
        PyTuple_SET_ITEM(sets, i, values);
    }
    return sets;
}

int
hp_named_apply_sets(OperationObject *op)
{
    int named =
        PyTuple_GET_SIZE(op->args) > 0 && op->prepared == NULL ? is_mapping(op, PyTuple_GET_ITEM(op->args, 0)) : 0;
    if (named <= 0) {
        return named;
    }
    PyObject *pair = pair_of(op);
    if (pair == NULL && PyErr_ExceptionMatches(errors_of(op)->InterfaceError)) {
        PyErr_Clear(); /* a query with numbers takes sequences: the caller says so */
        return 0;
    }
    PyObject *sets = pair != NULL ? sets_of(op, PyTuple_GET_ITEM(pair, 1)) : NULL;
    if (sets != NULL) {
        replace(op, pair, sets);
    }
    Py_XDECREF(pair);
    return sets != NULL ? 0 : -1;
}
