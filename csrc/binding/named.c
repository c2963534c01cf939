/*
 * named.c - arguments by name: fetch(query, params={"id": 5}).
 *
 * A query with :name or $name is rewritten to $1, $2, ... once and kept by the pool
 * (PoolObject.named: str -> (str, tuple of names)); from then on it is a statement
 * like any other, and the values travel as any others do.
 *
 * Called by start.c at the first await; by Pool._by_name() for cursors and streams,
 * and by prepared_stmt.c for a statement that is prepared with names.
 */
#include "module.h"

#include "engine/sqlnames.h"

#include <stdio.h>

static hp_errors_state *
errors_of(PoolObject *pool)
{
    return &pool->state->errors;
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
rewrite(PoolObject *pool, const char *sql, Py_ssize_t len, hp_buf *out, PyObject *numbers)
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
        PyErr_SetString(errors_of(pool)->InterfaceError,
                        "the query has a parameter by number ($1): with params= all of them have names");
        return -1;
    }
    return hp_buf_append(out, copied, sql + len - copied);
}

/* New reference: (text, names). */
static PyObject *
rewritten(PoolObject *pool, PyObject *query)
{
    Py_ssize_t len;
    const char *sql = PyUnicode_AsUTF8AndSize(query, &len);
    hp_buf out = {NULL, 0, 0, 0};
    PyObject *numbers = sql != NULL ? PyDict_New() : NULL;
    PyObject *pair = NULL;
    if (numbers != NULL && rewrite(pool, sql, len, &out, numbers) == 0) {
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

PyObject *
hp_named_pair(PoolObject *pool, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "the query must be a str, got %.100s", Py_TYPE(text)->tp_name);
        return NULL;
    }
    PyObject *query = PyUnicode_FromObject(text); /* without the methods of a subclass */
    PyObject *pair = query != NULL && pool->named != NULL ? PyDict_GetItemWithError(pool->named, query) : NULL;
    if (pair != NULL || PyErr_Occurred()) {
        Py_XINCREF(pair);
    } else if (query != NULL) {
        pair = rewritten(pool, query);
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
value_of(PoolObject *pool, PyObject *params, PyObject *name)
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
        PyErr_Format(errors_of(pool)->InterfaceError, "the query has a parameter %R, which params= does not have",
                     name);
    }
    return value;
}

/* New reference: a tuple of the values of these names. */
static PyObject *
values_of(PoolObject *pool, PyObject *params, PyObject *names)
{
    Py_ssize_t n = PyTuple_GET_SIZE(names);
    PyObject *values = PyTuple_New(n);
    for (Py_ssize_t i = 0; values != NULL && i < n; i++) {
        PyObject *value = value_of(pool, params, PyTuple_GET_ITEM(names, i));
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
is_mapping(PoolObject *pool, PyObject *obj)
{
    return PyDict_Check(obj) ? 1 : PyObject_IsInstance(obj, pool->state->codec.Mapping);
}

/* 0, or -1 with TypeError. */
static int
check_params(PoolObject *pool, PyObject *params)
{
    int usable = is_mapping(pool, params);
    if (usable == 0) {
        PyErr_Format(PyExc_TypeError, "params is expected to be a mapping, got %.100s", Py_TYPE(params)->tp_name);
    }
    return usable > 0 ? 0 : -1;
}

static void
refuse_both(void)
{
    PyErr_SetString(PyExc_TypeError, "arguments are given by position or by params=, not both");
}

/* New references: (text, names) of the query, and the values of these names. NULL with an exception. */
static PyObject *
pair_and_values(PoolObject *pool, PyObject *query, PyObject *params, PyObject **values)
{
    PyObject *pair = check_params(pool, params) == 0 ? hp_named_pair(pool, query) : NULL;
    *values = pair != NULL ? values_of(pool, params, PyTuple_GET_ITEM(pair, 1)) : NULL;
    if (*values == NULL) {
        Py_CLEAR(pair);
    }
    return pair;
}

/* What the query and the arguments of `op` are from now on: steals `args`, and
 * takes the text of `pair`. */
static void
replace(OperationObject *op, PyObject *pair, PyObject *args)
{
    Py_SETREF(op->query, Py_NewRef(PyTuple_GET_ITEM(pair, 0)));
    Py_XSETREF(op->args, args);
}

/* What a prepared statement with these names (NULL: without) takes; 0, or -1 with TypeError. */
static int
check_prepared(PyObject *names, bool positional, bool by_name)
{
    if (names == NULL && by_name) {
        PyErr_SetString(PyExc_TypeError,
                        "a statement that was prepared without params=True takes its arguments by position");
        return -1;
    }
    if (names != NULL && (positional || (!by_name && PyTuple_GET_SIZE(names) > 0))) {
        PyErr_SetString(PyExc_TypeError,
                        "a statement that was prepared with params=True takes its arguments by params=");
        return -1;
    }
    return 0;
}

PyObject *
hp_named_values(PreparedObject *prepared, PyObject *args, PyObject *params)
{
    PoolObject *pool = prepared->connection->pool;
    bool by_name = params != NULL && params != Py_None;
    if (check_prepared(prepared->names, args != NULL && PyTuple_GET_SIZE(args) > 0, by_name) < 0) {
        return NULL;
    }
    if (!by_name) {
        return args != NULL ? Py_NewRef(args) : PyTuple_New(0);
    }
    return check_params(pool, params) == 0 ? values_of(pool, params, prepared->names) : NULL;
}

static int
apply_to_prepared(OperationObject *op)
{
    if (hp_op_has_sets(op) || hp_op_is_cursor(op) || op->kind == HP_OP_PREPARE ||
        (op->named == NULL && op->prepared->names == NULL)) {
        return 0;
    }
    PyObject *values = hp_named_values(op->prepared, op->args, op->named);
    if (values == NULL) {
        return -1;
    }
    Py_XSETREF(op->args, values);
    return 0;
}

int
hp_named_apply(OperationObject *op)
{
    if (op->prepared != NULL) {
        return apply_to_prepared(op);
    }
    if (op->args != NULL) {
        refuse_both();
        return -1;
    }
    PyObject *values;
    PyObject *pair = pair_and_values(op->pool, op->query, op->named, &values);
    if (pair == NULL) {
        return -1;
    }
    replace(op, pair, values);
    Py_DECREF(pair);
    return 0;
}

/* Pool._by_name(query, args, params) -> (query, args) */
PyObject *
hp_named_by_name(PyObject *object, PyObject *args)
{
    PoolObject *pool = (PoolObject *)object;
    PyObject *query, *arguments, *params;
    if (!PyArg_ParseTuple(args, "OO!O:_by_name", &query, &PyTuple_Type, &arguments, &params) ||
        hp_pool_check(pool) < 0) {
        return NULL;
    }
    if (params == Py_None) {
        return PyTuple_Pack(2, query, arguments);
    }
    if (PyTuple_GET_SIZE(arguments) > 0) {
        refuse_both();
        return NULL;
    }
    PyObject *values;
    PyObject *pair = pair_and_values(pool, query, params, &values);
    if (pair == NULL) {
        return NULL;
    }
    PyObject *both = PyTuple_Pack(2, PyTuple_GET_ITEM(pair, 0), values);
    Py_DECREF(values);
    Py_DECREF(pair);
    return both;
}

/* New reference: the sets as tuples. */
static PyObject *
sets_of(OperationObject *op, PyObject *names)
{
    Py_ssize_t n = PyTuple_GET_SIZE(op->args);
    PyObject *sets = PyTuple_New(n);
    for (Py_ssize_t i = 0; sets != NULL && i < n; i++) {
        PyObject *params = PyTuple_GET_ITEM(op->args, i);
        int usable = is_mapping(op->pool, params);
        PyObject *values = usable > 0 ? values_of(op->pool, params, names) : NULL;
        if (usable == 0) {
            PyErr_Format(errors_of(op->pool)->ClientDataError,
                         "invalid input in %s() sequence element #%zd: a mapping is expected, %s, got %.100s",
                         strchr(hp_op_name(op), '.') + 1, op->sets_before + i,
                         op->prepared ? "since the statement was prepared with params=True" : "as the first one is",
                         Py_TYPE(params)->tp_name);
        }
        if (values == NULL) {
            Py_CLEAR(sets);
            break;
        }
        PyTuple_SET_ITEM(sets, i, values);
    }
    return sets;
}

static int
apply_to_prepared_sets(OperationObject *op)
{
    PyObject *names = op->prepared->names;
    PyObject *sets = names != NULL ? sets_of(op, names) : NULL;
    if (sets != NULL) {
        Py_SETREF(op->args, sets);
    }
    return names == NULL || sets != NULL ? 0 : -1;
}

int
hp_named_apply_sets(OperationObject *op)
{
    if (op->prepared != NULL) {
        return apply_to_prepared_sets(op);
    }
    int named = PyTuple_GET_SIZE(op->args) > 0 ? is_mapping(op->pool, PyTuple_GET_ITEM(op->args, 0)) : 0;
    if (named <= 0) {
        return named;
    }
    PyObject *pair = hp_named_pair(op->pool, op->query);
    if (pair == NULL && PyErr_ExceptionMatches(errors_of(op->pool)->InterfaceError)) {
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
