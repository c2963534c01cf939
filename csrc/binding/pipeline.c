/*
 * pipeline.c - the operations of conn.pipeline(), which holisticpool/pipeline.py starts in
 * the order of the calls and takes the outcome of when its answer is there.
 *
 * What goes out when, and what a failure means for the rest, is engine/pipe.h; here is
 * which request an operation makes.
 */
#include "module.h"

#include <string.h>

static hp_state *
state_of(ConnectionObject *self)
{
    return self->pool->state;
}

/* ---- for start.c ---- */

int
hp_pipeline_check(OperationObject *op)
{
    if (op->connection->conn->pipe.open) {
        return 0;
    }
    PyErr_SetString(op->pool->state->errors.InterfaceError, "the pipeline is closed");
    return -1;
}

hp_request_kind
hp_pipeline_request_kind(const OperationObject *op)
{
    if (op->lane == HP_LANE_BEGIN) {
        return HP_REQ_BEGIN;
    }
    return op->lane == HP_LANE_END ? HP_REQ_END : HP_REQ_STATEMENT;
}

int
hp_pipeline_prepare(OperationObject *op)
{
    hp_request *req = &op->req;
    req->piped = true;
    req->open_ended = op->lane == HP_LANE_TRANSACTION || op->lane == HP_LANE_BEGIN;
    if (req->kind == HP_REQ_STATEMENT) {
        return 0;
    }
    req->script = PyUnicode_AsUTF8(op->query);
    return req->script ? 1 : -1;
}

/* ---- methods of Connection ---- */

/* Passes op on, which may be NULL. */
static PyObject *
in_lane(PyObject *op, hp_lane lane)
{
    if (op != NULL) {
        ((OperationObject *)op)->lane = lane;
    }
    return op;
}

/* _pipe(method, in the pipeline's transaction?, query, *args, **keywords) -> Operation */
PyObject *
hp_pipeline_statement(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ConnectionObject *self = (ConnectionObject *)object;
    hp_op_kind kind;
    if (nargs < 2) {
        PyErr_SetString(PyExc_TypeError, "_pipe() needs the name of a method, and where it is to run");
        return NULL;
    }
    int inside = PyObject_IsTrue(args[1]);
    if (inside < 0 || hp_override_kind(state_of(self), args[0], &kind) < 0) {
        return NULL;
    }
    return in_lane(hp_operation_from_call(self->pool, self, kind, args + 2, nargs - 2, kwnames),
                   inside ? HP_LANE_TRANSACTION : HP_LANE_STATEMENT);
}

/* _pipe_control(query, begins?) -> Operation: the BEGIN of the pipeline's transaction, or its end */
PyObject *
hp_pipeline_control(PyObject *object, PyObject *args)
{
    ConnectionObject *self = (ConnectionObject *)object;
    PyObject *query;
    int begins;
    if (!PyArg_ParseTuple(args, "Up:_pipe_control", &query, &begins)) {
        return NULL;
    }
    return in_lane(hp_operation_from_call(self->pool, self, HP_OP_EXECUTE, &query, 1, NULL),
                   begins ? HP_LANE_BEGIN : HP_LANE_END);
}

PyObject *
hp_pipeline_open(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (hp_running_check(self->pool) < 0 || hp_connection_check_free(self, "pipeline") < 0) {
        return NULL;
    }
    hp_pipe_open(self->conn);
    Py_RETURN_NONE;
}

/* The lease that has the pipeline may be over, and the session another's. */
static bool
is_here(const ConnectionObject *self)
{
    return self->conn != NULL && self->conn->lease == self->lease && self->conn->state == HP_CONN_READY &&
           self->pool->generation == hp_fork_generation;
}

PyObject *
hp_pipeline_close(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (is_here(self)) {
        hp_pipe_close(self->conn);
    }
    Py_RETURN_NONE;
}

/* Have what was queued leave. */
PyObject *
hp_pipeline_flush(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (is_here(self)) {
        hp_codec_state *codec = &state_of(self)->codec;
        hp_codec_sets_hold(codec);
        hp_pipe_flush(self->conn);
        hp_codec_sets_let_go(codec);
    }
    Py_RETURN_NONE;
}
