/*
 * start.c - from a call to a request: the arguments of an operation, its
 * deadlines, and its way into the engine at the first await.
 *
 * Called by operation.c; hp_operation_from_call() by pool.c and connection.c.
 */
#include "module.h"

#include "binding/listeners.h"

#include <math.h>
#include <string.h>

/* The types of a statement's parameters are taken for granted for so long, unless
 * codecs are set meanwhile: who sets some for a type may have just made it. */
static const hp_time DOUBT_TYPES_AFTER_US = HP_SECOND;

static hp_state *
state_of(OperationObject *op)
{
    return op->pool->state;
}

/* ---- calls ---- */

PyTypeObject *
hp_record_class_of(PoolObject *pool, PyObject *object)
{
    if (object == Py_None) {
        return pool->record_class;
    }
    if (!PyType_Check(object) || !PyType_IsSubtype((PyTypeObject *)object, pool->state->record.RecordType)) {
        PyErr_Format(pool->state->errors.InterfaceError,
                     "record_class is expected to be a subclass of holisticpool.Record, got %R", object);
        return NULL;
    }
    PyTypeObject *record = pool->state->record.RecordType;
    if (((PyTypeObject *)object)->tp_new != record->tp_new || ((PyTypeObject *)object)->tp_init != record->tp_init) {
        PyErr_SetString(pool->state->errors.InterfaceError, "record_class must not redefine __new__ or __init__");
        return NULL;
    }
    return (PyTypeObject *)object;
}

/* rows="dict"? 1, 0, or -1 with ValueError. */
static int
wants_dicts(PyObject *rows)
{
    bool is_str = PyUnicode_Check(rows);
    if (rows == Py_None || (is_str && PyUnicode_CompareWithASCIIString(rows, "record") == 0)) {
        return 0;
    }
    if (!is_str || PyUnicode_CompareWithASCIIString(rows, "dict") != 0) {
        PyErr_Format(PyExc_ValueError, "rows is expected to be 'record' or 'dict', got %R", rows);
        return -1;
    }
    return 1;
}

PyTypeObject *
hp_row_class_of(PoolObject *pool, PyObject *record_class, PyObject *rows)
{
    PyTypeObject *class = hp_record_class_of(pool, record_class);
    int dicts = class != NULL ? wants_dicts(rows) : -1;
    if (dicts < 0) {
        return NULL;
    }
    if (dicts && record_class != Py_None) {
        PyErr_SetString(PyExc_TypeError, "rows are of record_class= or dicts, not both");
        return NULL;
    }
    return dicts ? &PyDict_Type : class;
}

/* Keywords that the four statement methods take, besides query and arguments. */
static int
take_keyword(OperationObject *op, PyObject *name, PyObject *value, PyObject **record_class, PyObject **rows)
{
    if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
        op->timeout = Py_NewRef(value);
        return 0;
    }
    if (op->kind == HP_OP_FETCH || op->kind == HP_OP_FETCHROW) {
        if (PyUnicode_CompareWithASCIIString(name, "record_class") == 0) {
            *record_class = value;
            return 0;
        }
        if (PyUnicode_CompareWithASCIIString(name, "rows") == 0) {
            *rows = value;
            return 0;
        }
    }
    if (PyUnicode_CompareWithASCIIString(name, "params") == 0) {
        op->named = value == Py_None ? NULL : Py_NewRef(value);
        return 0;
    }
    if (PyUnicode_CompareWithASCIIString(name, "column") == 0 && op->kind == HP_OP_FETCHVAL) {
        if (PyUnicode_Check(value)) {
            Py_XSETREF(op->column_name, Py_NewRef(value));
            return 0;
        }
        op->column = PyNumber_AsSsize_t(value, PyExc_IndexError);
        return op->column == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (PyUnicode_CompareWithASCIIString(name, "query") == 0 && op->query == NULL) {
        op->query = Py_NewRef(value);
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", strchr(hp_op_name(op), '.') + 1,
                 name);
    return -1;
}

static int
take_keywords(OperationObject *op, PyObject *const *values, PyObject *names)
{
    PyObject *record_class = Py_None, *rows = Py_None;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        if (take_keyword(op, PyTuple_GET_ITEM(names, i), values[i], &record_class, &rows) < 0) {
            return -1;
        }
    }
    if (record_class == Py_None && rows == Py_None) {
        return 0;
    }
    PyTypeObject *class = hp_row_class_of(op->pool, record_class, rows);
    if (class == NULL) {
        return -1;
    }
    if (record_class != Py_None || class == &PyDict_Type) {
        Py_XSETREF(op->record_class, (PyTypeObject *)Py_NewRef((PyObject *)class));
    }
    return 0;
}

/* The arguments of a call from number `first` on, and its keywords. */
static int
take_arguments(OperationObject *op, PyObject *const *args, Py_ssize_t first, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs > first) {
        op->args = PyTuple_New(nargs - first);
        if (op->args == NULL) {
            return -1;
        }
        for (Py_ssize_t i = first; i < nargs; i++) {
            PyTuple_SET_ITEM(op->args, i - first, Py_NewRef(args[i]));
        }
    }
    return kwnames != NULL ? take_keywords(op, args + nargs, kwnames) : 0;
}

/* It never came to be awaited. */
static PyObject *
discard(OperationObject *op)
{
    op->state = HP_OP_CLOSED;
    Py_DECREF(op);
    return NULL;
}

PyObject *
hp_operation_from_call(PoolObject *pool, ConnectionObject *connection, hp_op_kind kind, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames)
{
    if (pool->engine == NULL) {
        hp_pool_check(pool);
        return NULL;
    }
    OperationObject *op = hp_operation_new(pool, connection, kind);
    if (op == NULL) {
        return NULL;
    }
    op->record_class = (PyTypeObject *)Py_NewRef((PyObject *)pool->record_class);
    if (nargs > 0) {
        op->query = Py_NewRef(args[0]);
    }
    if (take_arguments(op, args, 1, nargs, kwnames) < 0) {
        return discard(op);
    }
    if (op->query == NULL) {
        PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: 'query'",
                     strchr(hp_op_name(op), '.') + 1);
        return discard(op);
    }
    return (PyObject *)op;
}

PyObject *
hp_operation_from_prepared(PreparedObject *prepared, hp_op_kind kind, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    OperationObject *op = hp_operation_new(prepared->connection->pool, prepared->connection, kind);
    if (op == NULL) {
        return NULL;
    }
    op->prepared = (PreparedObject *)Py_NewRef((PyObject *)prepared);
    op->record_class = (PyTypeObject *)Py_NewRef((PyObject *)prepared->record_class);
    op->query = Py_NewRef(prepared->query);
    return take_arguments(op, args, 0, nargs, kwnames) < 0 ? discard(op) : (PyObject *)op;
}

PyObject *
hp_operation_from_sets(ConnectionObject *connection, hp_op_kind kind, PyObject *query, PyObject *sets,
                       PyObject *timeout, PyTypeObject *record_class)
{
    OperationObject *op = hp_operation_new(connection->pool, connection, kind);
    if (op != NULL) {
        op->record_class = (PyTypeObject *)Py_NewRef((PyObject *)record_class);
        op->query = Py_NewRef(query);
        op->args = Py_NewRef(sets);
        op->timeout = Py_NewRef(timeout);
    }
    return (PyObject *)op;
}

/* ---- starting ---- */

int
hp_timeout_from_object(PyObject *object, hp_time *timeout)
{
    if (object == NULL || object == Py_None) {
        *timeout = HP_NEVER;
        return 0;
    }
    if (PyBool_Check(object)) {
        PyErr_SetString(PyExc_ValueError, "invalid timeout value: expected non-negative float (got bool)");
        return -1;
    }
    double seconds = PyFloat_AsDouble(object);
    if (seconds == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "invalid timeout value: expected non-negative float (got %R)", object);
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "invalid timeout value: expected non-negative float (got nan)");
        return -1;
    }
    /* beyond a century it is for ever */
    *timeout = seconds > 3.2e9 ? HP_NEVER : (seconds > 0 ? (hp_time)(seconds * 1e6) : 0);
    return 0;
}

/* HP_OP_OPEN and HP_OP_CLOSE: the pool as a whole. */
static int
start_pool_op(OperationObject *op)
{
    PoolObject *pool = op->pool;
    op->state = HP_OP_PENDING;
    if (op->kind == HP_OP_OPEN) {
        pool->opening = op;
        if (hp_pool_open(pool->engine) < 0) {
            pool->opening = NULL;
            PyErr_NoMemory();
            hp_operation_finish_with_error(op);
        }
        return 0;
    }
    if (pool->finished) {
        hp_operation_finish(op, Py_NewRef(Py_None), NULL);
        return 0;
    }
    if (pool->closing == NULL) {
        pool->closing = PyList_New(0);
        if (pool->closing == NULL) {
            return -1;
        }
    }
    if (PyList_Append(pool->closing, (PyObject *)op) < 0) {
        return -1;
    }
    if (op->connection != NULL) {
        hp_connection_release(op->connection);
    }
    hp_pool_close(pool->engine);
    return 0;
}

static int
set_deadlines(OperationObject *op)
{
    PoolObject *pool = op->pool;
    hp_request *req = &op->req;
    req->acquire_timeout = op->connection ? HP_NEVER : pool->acquire_timeout;
    if (op->timeout == NULL || (op->timeout == Py_None && op->kind != HP_OP_ACQUIRE)) {
        req->command_timeout = pool->command_timeout;
        return 0;
    }
    hp_time timeout;
    if (hp_timeout_from_object(op->timeout, &timeout) < 0) {
        return -1;
    }
    req->command_timeout = HP_NEVER;
    if (op->kind == HP_OP_ACQUIRE) {
        req->acquire_timeout = timeout;
    } else if (timeout != HP_NEVER) {
        req->deadline = hp_now() + timeout;
        req->limit = timeout;
    }
    return 0;
}

/* An idle connection is had without asking the engine to queue anything. */
static int
acquire_now(OperationObject *op)
{
    hp_conn *conn = hp_pool_try_acquire(op->pool->engine);
    if (conn == NULL) {
        return 0;
    }
    PyObject *connection = hp_connection_new(op->pool, conn);
    if (connection == NULL) {
        hp_pool_release(conn);
        return -1;
    }
    hp_operation_finish(op, connection, NULL);
    return 1;
}

static hp_request_kind
request_kind(const OperationObject *op)
{
    if (op->kind == HP_OP_ACQUIRE) {
        return HP_REQ_LEASE;
    }
    if (hp_op_is_cursor(op)) {
        return HP_REQ_CURSOR;
    }
    if (hp_op_has_sets(op)) {
        return HP_REQ_BATCH;
    }
    if (op->lane != HP_LANE_NONE) {
        return hp_pipeline_request_kind(op);
    }
    /* As in asyncpg: without arguments execute() takes a script. */
    return op->kind == HP_OP_EXECUTE && op->args == NULL ? HP_REQ_SCRIPT : HP_REQ_STATEMENT;
}

static int
check_connection(OperationObject *op)
{
    if (op->connection == NULL) {
        return 0;
    }
    const char *method = strchr(hp_op_name(op), '.') + 1;
    if (op->prepared != NULL && op->kind != HP_OP_PREPARE ? hp_prepared_check(op->prepared, method) < 0
                                                          : hp_connection_check(op->connection, method) < 0) {
        return -1;
    }
    return op->lane != HP_LANE_NONE ? hp_pipeline_check(op) : hp_connection_check_idle(op->connection);
}

/* A value that the types of the parameters refuse is refused without asking the
 * server. But they may be those of before an ALTER TABLE, which nothing else
 * tells where the result is the same: if they have been known for a while, have
 * the statement described anew and let that decide. */
static int
bind_known(OperationObject *op, hp_codec_set *codecs)
{
    hp_request *req = &op->req;
    if (hp_params_bind(op, codecs) == 0) {
        req->bound = true;
        return 0;
    }
    hp_time described_at = req->stmt->described_at;
    if (!PyErr_ExceptionMatches(state_of(op)->errors.ClientDataError) ||
        (hp_now() - described_at < DOUBT_TYPES_AFTER_US && described_at > op->pool->codecs_set_at)) {
        return -1;
    }
    PyErr_Clear();
    hp_stmt *fresh = hp_operation_renew(op);
    if (fresh == NULL) {
        return -1;
    }
    hp_stmt_unref(req->stmt);
    req->stmt = fresh;
    req->script = fresh->sql;
    if (!fresh->described) {
        return 0;
    }
    req->bound = true;
    return hp_params_bind(op, codecs);
}

/* A subclass of str may come with methods of its own, __eq__ for example, which
 * must not run in the middle of what the engine does. */
static int
take_plain_text(OperationObject *op)
{
    if (!PyUnicode_Check(op->query) || PyUnicode_CheckExact(op->query)) {
        return 0;
    }
    PyObject *text = PyUnicode_FromObject(op->query);
    if (text == NULL) {
        return -1;
    }
    Py_SETREF(op->query, text);
    return 0;
}

hp_stmt *
hp_operation_renew(OperationObject *op)
{
    return op->prepared ? hp_prepared_renew(op->prepared, op->req.stmt)
                        : hp_statement_renew(op->pool, op->query, op->req.stmt);
}

/* New reference, or NULL with an exception. */
static hp_stmt *
find_statement(OperationObject *op)
{
    if (op->prepared != NULL) {
        hp_stmt_ref(op->prepared->stmt);
        return op->prepared->stmt;
    }
    return take_plain_text(op) == 0 ? hp_statement_get(op->pool, op->query) : NULL;
}

static int
take_cursor_texts(OperationObject *op)
{
    op->req.declare = op->declare ? PyUnicode_AsUTF8(op->declare) : NULL;
    op->req.fetch = op->fetch ? PyUnicode_AsUTF8(op->fetch) : NULL;
    return PyErr_Occurred() ? -1 : 0;
}

static int
prepare_request(OperationObject *op)
{
    hp_request *req = &op->req;
    if ((op->named != NULL || op->prepared != NULL) && hp_named_apply(op) < 0) {
        return -1;
    }
    hp_request_init(req, request_kind(op));
    req->user = op;
    if (set_deadlines(op) < 0) {
        return -1;
    }
    if (op->kind == HP_OP_ACQUIRE) {
        return 0;
    }
    if (hp_op_has_sets(op) && hp_portions_take(op) < 0) {
        return -1;
    }
    if (!hp_op_has_sets(op) && op->args != NULL && PyTuple_GET_SIZE(op->args) > HP_MAX_PARAMS) {
        PyErr_Format(state_of(op)->errors.InterfaceError, "a query takes at most %d arguments, %zd were passed",
                     HP_MAX_PARAMS, PyTuple_GET_SIZE(op->args));
        return -1;
    }
    req->describe_only = op->kind == HP_OP_PREPARE;
    req->ahead = op->ahead;
    if (op->lane != HP_LANE_NONE) {
        int rc = hp_pipeline_prepare(op);
        if (rc != 0) {
            return rc < 0 ? -1 : 0;
        }
    }
    if (take_cursor_texts(op) < 0) {
        return -1;
    }
    req->stmt = find_statement(op);
    if (req->stmt == NULL) {
        return -1;
    }
    req->script = req->stmt->sql;
    if (req->kind != HP_REQ_SCRIPT && req->stmt->described) {
        if (check_connection(op) < 0) {
            return -1; /* code of the user has run since */
        }
        hp_codec_set *codecs = op->connection ? op->connection->conn->user : op->pool->codecs;
        return bind_known(op, codecs);
    }
    return 0;
}

static int
submit(OperationObject *op)
{
    op->state = HP_OP_PENDING;
    op->in_engine = true;
    Py_INCREF(op); /* the engine's, until released */
    hp_codec_sets_hold(&state_of(op)->codec);
    if (op->connection == NULL) {
        hp_pool_submit(op->pool->engine, &op->req);
    } else {
        hp_pool_run_leased(op->connection->conn, &op->req);
    }
    hp_codec_sets_let_go(&state_of(op)->codec);
    return 0;
}

/* 0: started, or finished already; -1: an exception is set, nothing was started. */
int
hp_operation_start(OperationObject *op)
{
    if (hp_pool_check(op->pool) < 0 || hp_running_check(op->pool) < 0) {
        return -1;
    }
    if (op->kind == HP_OP_OPEN || op->kind == HP_OP_CLOSE) {
        return start_pool_op(op);
    }
    if (op->kind == HP_OP_ACQUIRE) {
        int rc = acquire_now(op);
        if (rc != 0) {
            return rc < 0 ? -1 : 0;
        }
    }
    if (check_connection(op) < 0 || prepare_request(op) < 0) {
        return -1;
    }
    if (op->state != HP_OP_PENDING) {
        return 0; /* cancelled or closed by code of the user that prepare_request() ran */
    }
    if (check_connection(op) < 0) {
        return -1; /* that code has released it, or uses it */
    }
    if (op->req.deadline != HP_NEVER && op->req.deadline <= hp_now()) {
        PyErr_SetString(state_of(op)->errors.QueryTimeoutError, "the timeout was over before the statement was sent");
        return -1;
    }
    if (op->req.kind == HP_REQ_BATCH && op->req.sets == 0) {
        hp_listeners_log_unsent(op, NULL);
        PyObject *nothing = op->kind == HP_OP_FETCHMANY ? PyList_New(0) : Py_NewRef(Py_None);
        if (nothing == NULL) {
            return -1;
        }
        hp_operation_finish(op, nothing, NULL);
        return 0;
    }
    return submit(op);
}
