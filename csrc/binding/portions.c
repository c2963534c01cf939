/*
 * portions.c - the argument sets of executemany() and fetchmany(): checked, taken
 * over, and handed on in portions where they come from an iterator.
 *
 * An operation that gets its sets in portions is awaited once for each of them: it
 * gives True where the session takes another portion (hungry), which _feed() brings,
 * and at the last its result. Between two awaits it is `dormant`: pending, with no
 * task that waits for it. holisticpool/portions.py does that; code of the user's
 * that makes the sets thus runs in the user's task.
 *
 * Called by start.c, operation.c and, through loop.c, by the engine.
 */
#include "module.h"

#include "engine/batch.h"

static hp_state *
state_of(OperationObject *op)
{
    return op->pool->state;
}

static const char *
method_of(const OperationObject *op)
{
    return op->kind == HP_OP_FETCHMANY ? "fetchmany" : "executemany";
}

/* (sequence, ...) -> tuple of tuples */
static int
freeze_sets(OperationObject *op)
{
    PyObject *sets = PySequence_Tuple(op->args);
    if (sets == NULL) {
        return -1;
    }
    Py_SETREF(op->args, sets);
    if (hp_named_apply_sets(op) < 0) {
        return -1;
    }
    sets = op->args;
    PyObject *frozen = PyTuple_New(PyTuple_GET_SIZE(sets));
    for (Py_ssize_t i = 0; frozen != NULL && i < PyTuple_GET_SIZE(sets); i++) {
        PyObject *item = PyTuple_GET_ITEM(sets, i);
        PyObject *set = NULL;
        if (PyUnicode_Check(item) || PyBytes_Check(item) || PyDict_Check(item) || !PySequence_Check(item)) {
            PyErr_Format(state_of(op)->errors.ClientDataError,
                         "invalid input in %s() sequence element #%zd: a sequence of arguments is expected, got %.100s",
                         method_of(op), op->sets_before + i, Py_TYPE(item)->tp_name);
        } else {
            set = PySequence_Tuple(item);
        }
        if (set == NULL) {
            Py_CLEAR(frozen);
            break;
        }
        PyTuple_SET_ITEM(frozen, i, set);
    }
    if (frozen == NULL) {
        return -1;
    }
    Py_SETREF(op->args, frozen);
    return 0;
}

int
hp_portions_take(OperationObject *op)
{
    op->text = op->in_portions ? Py_NewRef(op->query) : NULL;
    if (freeze_sets(op) < 0) {
        return -1;
    }
    if (PyTuple_GET_SIZE(op->args) > INT_MAX) {
        PyErr_Format(PyExc_OverflowError, "too many elements for %s()", method_of(op));
        return -1;
    }
    op->req.sets = (int)PyTuple_GET_SIZE(op->args);
    op->req.collects = op->kind == HP_OP_FETCHMANY;
    op->req.more = op->in_portions;
    return 0;
}

/* ---- from the engine ---- */

void
hp_portions_hungry(OperationObject *op)
{
    hp_operation_wake(op);
}

int
hp_portions_collect(OperationObject *op, const PGresult *result)
{
    PyObject *rows = hp_plan_result(op, result);
    if (rows == NULL) {
        return -1;
    }
    if (op->rows == NULL) {
        op->rows = rows;
        return 0;
    }
    Py_ssize_t end = PyList_GET_SIZE(op->rows);
    int rc = PyList_SetSlice(op->rows, end, end, rows);
    Py_DECREF(rows);
    return rc;
}

/* ---- from portions.py ---- */

PyObject *
hp_portions_expect(OperationObject *op)
{
    if (op->state != HP_OP_NEW) {
        PyErr_SetString(PyExc_RuntimeError, "the operation has started already");
        return NULL;
    }
    op->in_portions = true;
    Py_RETURN_NONE;
}

/* Parameters by name are of the query as it was given. */
static int
freeze_further_sets(OperationObject *op)
{
    PyObject *sent = op->query;
    op->query = Py_NewRef(op->text);
    int rc = freeze_sets(op);
    Py_SETREF(op->query, sent);
    return rc;
}

static bool
is_hungry(const OperationObject *op)
{
    return op->dormant && hp_portions_are_wanted(op);
}

PyObject *
hp_portions_feed(OperationObject *op, PyObject *args)
{
    PyObject *sets;
    int more;
    if (!PyArg_ParseTuple(args, "Op:_feed", &sets, &more)) {
        return NULL;
    }
    if (!is_hungry(op)) {
        return PyLong_FromLong(0); /* it has ended meanwhile: the next await tells how */
    }
    op->sets_before += PyTuple_GET_SIZE(op->args);
    Py_SETREF(op->args, Py_NewRef(sets));
    if (freeze_further_sets(op) < 0) {
        return NULL;
    }
    /* Code of the user's may end the operation: in taking the sets, and in encoding them. */
    if (is_hungry(op) && hp_params_bind(op, (hp_codec_set *)op->req.bound_for) < 0) {
        return NULL;
    }
    Py_ssize_t bytes = op->encoded.buf.len;
    if (is_hungry(op)) {
        hp_batch_continue(op->req.conn, &op->req, (int)PyTuple_GET_SIZE(op->args), more);
    }
    return PyLong_FromSsize_t(bytes);
}

PyObject *
hp_portions_abort(OperationObject *op)
{
    bool hungry = is_hungry(op);
    if (hungry) {
        hp_batch_abort(op->req.conn, &op->req);
    }
    return PyBool_FromLong(hungry);
}
