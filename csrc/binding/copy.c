/*
 * copy.c - see copy.h. The encoding of records is copy_rows.c, the bytes on the
 * wire engine/copy.c.
 */
#include "binding/copy.h"

#include <string.h>

/* What the caller gets at once; a row more at most. */
static const Py_ssize_t READ_BYTES = (Py_ssize_t)512 * 1024;

static PoolObject *
pool_of(CopyObject *self)
{
    return self->connection->pool;
}

static hp_errors_state *
errors_of(CopyObject *self)
{
    return &pool_of(self)->state->errors;
}

static hp_codec_state *
codec_of(CopyObject *self)
{
    return &pool_of(self)->state->codec;
}

/* ---- life ---- */

/* What the records are encoded with: the columns of a statement of this session. */
static int
take_columns(CopyObject *self, PyObject *columns)
{
    ConnectionObject *connection = self->connection;
    PoolObject *pool = connection->pool;
    if (!PyObject_TypeCheck(columns, pool->state->binding.PreparedType) ||
        ((PreparedObject *)columns)->connection != connection || !((PreparedObject *)columns)->stmt->described) {
        PyErr_SetString(PyExc_TypeError, "the columns are those of a prepared statement of the connection");
        return -1;
    }
    hp_plan *plan = hp_plan_of(pool, ((PreparedObject *)columns)->stmt, connection->conn->user);
    if (plan == NULL) {
        return -1;
    }
    plan->refs++;
    self->plan = plan;
    return 0;
}

PyObject *
hp_copy_new(ConnectionObject *connection, PyObject *args)
{
    PyObject *method, *query, *timeout, *columns;
    int from_stdin;
    if (!PyArg_ParseTuple(args, "UUOpO:_copy", &method, &query, &timeout, &from_stdin, &columns)) {
        return NULL;
    }
    const char *name = PyUnicode_AsUTF8(method);
    if (name == NULL || hp_connection_check_free(connection, name) < 0) {
        return NULL;
    }
    PyTypeObject *type = connection->pool->state->binding.CopyType;
    CopyObject *self = (CopyObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->connection = (ConnectionObject *)Py_NewRef((PyObject *)connection);
    self->method = Py_NewRef(method);
    self->query = Py_NewRef(query);
    self->timeout = Py_NewRef(timeout);
    self->at_least = 1;
    self->copy.from_stdin = from_stdin;
    if (columns != Py_None && take_columns(self, columns) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
copy_traverse(CopyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->connection);
    Py_VISIT(self->timeout);
    Py_VISIT(self->on_failure);
    Py_VISIT(self->waiter);
    Py_VISIT(self->exception);
    return 0;
}

/* Not the connection, which the engine's callbacks need to the end. */
static int
copy_clear(CopyObject *self)
{
    Py_CLEAR(self->timeout);
    Py_CLEAR(self->on_failure);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->exception);
    return 0;
}

/* The engine is done with it, or never knew it: see in_engine. */
static void
copy_dealloc(CopyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    copy_clear(self);
    Py_CLEAR(self->method);
    Py_CLEAR(self->query);
    hp_plan_unref(self->plan);
    Py_CLEAR(self->status);
    Py_CLEAR(self->connection);
    hp_buf_free(&self->buf);
    hp_stmt_unref(self->req.stmt);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- what the engine tells ---- */

static bool
is_ready(const CopyObject *self)
{
    if (self->over) {
        return true;
    }
    if (!self->copy.from_stdin) {
        return self->copy.state == HP_COPY_READING && (self->buf.len >= self->at_least || self->copy.ended);
    }
    return self->copy.state == HP_COPY_FEEDING && !self->copy.full;
}

/* A future's set_result() runs no code of the user: it has the loop call it. */
void
hp_copy_wake(CopyObject *self)
{
    PyObject *waiter = self->waiter;
    if (waiter == NULL || !is_ready(self)) {
        return;
    }
    self->waiter = NULL;
    PyObject *done = PyObject_CallMethod(waiter, "done", NULL);
    PyObject *none = NULL;
    if (done == Py_False) {
        none = PyObject_CallMethod(waiter, "set_result", "O", Py_None);
    }
    if (done == NULL || (done == Py_False && none == NULL)) {
        PyErr_WriteUnraisable(waiter);
    }
    Py_XDECREF(done);
    Py_XDECREF(none);
    Py_DECREF(waiter);
}

void
hp_copy_ended(CopyObject *self, PyObject *status, PyObject *exception)
{
    bool alarm = exception != NULL && self->waiter == NULL && self->on_failure != NULL;
    self->over = true;
    Py_XSETREF(self->status, status);
    Py_XSETREF(self->exception, exception);
    hp_copy_wake(self);
    if (alarm) {
        PyObject *handle = PyObject_CallOneArg(pool_of(self)->call_soon, self->on_failure);
        if (handle == NULL) {
            PyErr_WriteUnraisable((PyObject *)self); /* the loop is closed: nobody runs in it any more */
        }
        Py_XDECREF(handle);
    }
}

void
hp_copy_released(CopyObject *self)
{
    self->in_engine = false;
    Py_DECREF(self);
}

int
hp_copy_take_row(CopyObject *self, const char *row, size_t len)
{
    self->buf.mark = self->buf.len;
    if (hp_buf_append(&self->buf, row, (Py_ssize_t)len) < 0) {
        PyErr_Clear();
        return -1;
    }
    return self->buf.len >= READ_BYTES;
}

/* ---- starting ---- */

static int
set_deadline(CopyObject *self)
{
    hp_request *req = &self->req;
    hp_time timeout;
    req->command_timeout = pool_of(self)->command_timeout;
    if (self->timeout == Py_None) {
        return 0;
    }
    if (hp_timeout_from_object(self->timeout, &timeout) < 0) {
        return -1;
    }
    req->command_timeout = HP_NEVER;
    if (timeout != HP_NEVER) {
        req->deadline = hp_now() + timeout;
        req->limit = timeout;
    }
    if (timeout == 0) {
        PyErr_SetString(errors_of(self)->QueryTimeoutError, "the timeout was over before the statement was sent");
        return -1;
    }
    return 0;
}

/* _start(on_failure): send the command. */
static PyObject *
copy_start(PyObject *object, PyObject *on_failure)
{
    CopyObject *self = (CopyObject *)object;
    const char *method = PyUnicode_AsUTF8(self->method);
    if (self->started) {
        PyErr_SetString(PyExc_RuntimeError, "the COPY was started before");
        return NULL;
    }
    if (method == NULL || hp_pool_check(pool_of(self)) < 0 || hp_running_check(pool_of(self)) < 0 ||
        hp_connection_check_free(self->connection, method) < 0) {
        return NULL;
    }
    hp_request_init(&self->req, HP_REQ_COPY);
    self->req.user = self;
    self->req.copy = &self->copy;
    if (set_deadline(self) < 0 || (self->plan != NULL && hp_copy_rows_begin(self) < 0)) {
        return NULL;
    }
    self->req.stmt = hp_statement_unnamed(self->query);
    if (self->req.stmt == NULL) {
        return NULL;
    }
    self->req.script = self->req.stmt->sql;
    self->on_failure = Py_NewRef(on_failure);
    self->started = self->in_engine = true;
    Py_INCREF(self); /* the engine's, until released */
    hp_codec_sets_hold(codec_of(self));
    hp_pool_run_leased(self->connection->conn, &self->req);
    hp_codec_sets_let_go(codec_of(self));
    Py_RETURN_NONE;
}

/* ---- going on ---- */

static void
raise_failure(CopyObject *self)
{
    const char *method = PyUnicode_AsUTF8(self->method);
    if (method != NULL) {
        hp_errors_raise(Py_NewRef(self->exception), method, pool_of(self)->state->binding.traceback_globals);
    }
}

/* Raises what the COPY has failed with. */
static int
check_failure(CopyObject *self)
{
    if (self->exception != NULL) {
        raise_failure(self);
        return -1;
    }
    if (hp_pool_check(pool_of(self)) < 0) {
        return -1; /* in a forked child: the session is the parent's */
    }
    if (!self->started || self->busy) {
        PyErr_SetString(PyExc_RuntimeError, self->busy ? "the COPY is busy with a record" : "the COPY was not started");
        return -1;
    }
    return 0;
}

int
hp_copy_check(CopyObject *self)
{
    if (check_failure(self) < 0) {
        return -1;
    }
    if (self->over || self->copy.full || self->copy.state == HP_COPY_STARTING) {
        PyErr_SetString(PyExc_RuntimeError, "the COPY takes no data now");
        return -1;
    }
    return 0;
}

static PyObject *
copy_check(PyObject *object, PyObject *unused)
{
    (void)unused;
    if (check_failure((CopyObject *)object) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* _ready() -> a future of None; None: it is. */
static PyObject *
copy_ready(PyObject *object, PyObject *unused)
{
    CopyObject *self = (CopyObject *)object;
    (void)unused;
    if (check_failure(self) < 0) {
        return NULL;
    }
    if (is_ready(self)) {
        Py_RETURN_NONE;
    }
    PyObject *waiter = PyObject_CallMethod(pool_of(self)->loop, "create_future", NULL);
    if (waiter != NULL) {
        Py_XSETREF(self->waiter, Py_NewRef(waiter));
    }
    return waiter;
}

static int
put(CopyObject *self, const char *data, Py_ssize_t len)
{
    /* ENDING: the server has refused what went before, and its error is on the way. */
    int rc = 0;
    if (self->copy.state == HP_COPY_FEEDING) {
        hp_codec_sets_hold(codec_of(self));
        rc = hp_copy_put(self->req.conn, &self->req, data, (int)len);
        hp_codec_sets_let_go(codec_of(self));
    }
    return rc < 0 ? check_failure(self) : 0;
}

/* _put(data): a slice, bytes-like. */
static PyObject *
copy_put(PyObject *object, PyObject *data)
{
    CopyObject *self = (CopyObject *)object;
    Py_buffer view;
    if (hp_copy_check(self) < 0) {
        return NULL;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int rc = -1;
    if (view.len > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "too much data for one piece");
    } else if (hp_copy_check(self) == 0) { /* the buffer's owner may have run code of the user */
        rc = put(self, view.buf, view.len);
    }
    PyBuffer_Release(&view);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* _add(data): keep a little bytes-like. True: it is time for _put_added(). */
static PyObject *
copy_add(PyObject *object, PyObject *data)
{
    CopyObject *self = (CopyObject *)object;
    Py_buffer view;
    if (check_failure(self) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    self->buf.mark = self->buf.len;
    int rc = hp_buf_append(&self->buf, view.buf, view.len);
    PyBuffer_Release(&view);
    return rc < 0 ? NULL : PyBool_FromLong(self->buf.len >= HP_COPY_SLICE_BYTES);
}

int
hp_copy_put_buffer(CopyObject *self)
{
    enum { KEPT_BYTES = 16 * HP_COPY_SLICE_BYTES };
    if (self->buf.len == 0) {
        return 0;
    }
    int rc = put(self, self->buf.data, self->buf.len);
    self->buf.len = self->buf.mark = 0;
    if (self->buf.cap > KEPT_BYTES) {
        hp_buf_free(&self->buf);
    }
    return rc;
}

/* _put_rows(iterator): encode and hand over the next records. False: there were no more. */
static PyObject *
copy_put_rows(PyObject *object, PyObject *iterator)
{
    return hp_copy_put_rows((CopyObject *)object, iterator);
}

/* _add_row(record): encode one. True: it is time for _put_added(). */
static PyObject *
copy_add_row(PyObject *object, PyObject *row)
{
    return hp_copy_add_row((CopyObject *)object, row);
}

/* _put_added(): hand over what was added. */
static PyObject *
copy_put_added(PyObject *object, PyObject *unused)
{
    CopyObject *self = (CopyObject *)object;
    (void)unused;
    if (hp_copy_check(self) < 0 || hp_copy_put_buffer(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* _end(): that was all of the data. Hands over what was added. */
static PyObject *
copy_end(PyObject *object, PyObject *unused)
{
    CopyObject *self = (CopyObject *)object;
    (void)unused;
    if (hp_copy_check(self) < 0) {
        return NULL;
    }
    if ((self->plan != NULL && hp_copy_rows_end(self) < 0) || hp_copy_put_buffer(self) < 0) {
        return NULL;
    }
    if (!self->over && self->copy.state == HP_COPY_FEEDING) {
        hp_codec_sets_hold(codec_of(self));
        hp_copy_end(self->req.conn, &self->req);
        hp_codec_sets_let_go(codec_of(self));
    }
    Py_RETURN_NONE;
}

/* _read_at_least(bytes): _read() gives no less, but at the end. */
static PyObject *
copy_read_at_least(PyObject *object, PyObject *bytes)
{
    Py_ssize_t at_least = PyNumber_AsSsize_t(bytes, PyExc_OverflowError);
    if (at_least == -1 && PyErr_Occurred()) {
        return NULL;
    }
    ((CopyObject *)object)->at_least = Py_MIN(Py_MAX(at_least, 1), READ_BYTES);
    Py_RETURN_NONE;
}

/* _read(), done with what it gave before -> the rows that are there; b"": none yet; None: there will be no more. */
static PyObject *
copy_read(PyObject *object, PyObject *unused)
{
    CopyObject *self = (CopyObject *)object;
    (void)unused;
    if (check_failure(self) < 0) {
        return NULL;
    }
    if (self->buf.len == 0 && self->copy.held && !self->over) {
        hp_codec_sets_hold(codec_of(self));
        hp_copy_taken(self->req.conn, &self->req);
        hp_codec_sets_let_go(codec_of(self));
        if (check_failure(self) < 0) {
            return NULL;
        }
    }
    if (self->buf.len == 0 && self->over) {
        Py_RETURN_NONE;
    }
    if (!is_ready(self)) {
        return PyBytes_FromStringAndSize(NULL, 0);
    }
    PyObject *rows = PyBytes_FromStringAndSize(self->buf.data, self->buf.len);
    if (rows == NULL) {
        return NULL;
    }
    self->buf.len = self->buf.mark = 0;
    if (self->buf.cap > 4 * READ_BYTES) {
        hp_buf_free(&self->buf);
    }
    if (!self->over && self->copy.paused) {
        hp_codec_sets_hold(codec_of(self));
        hp_copy_resume(self->req.conn, &self->req);
        hp_codec_sets_let_go(codec_of(self));
    }
    return rows;
}

/* _result() -> the status, or None: not over yet. */
static PyObject *
copy_result(PyObject *object, PyObject *unused)
{
    CopyObject *self = (CopyObject *)object;
    (void)unused;
    if (check_failure(self) < 0) {
        return NULL;
    }
    return Py_NewRef(self->status ? self->status : Py_None);
}

/* _abandon(): nothing of it is to be; no effect on one that is over. */
static PyObject *
copy_abandon(PyObject *object, PyObject *unused)
{
    CopyObject *self = (CopyObject *)object;
    (void)unused;
    Py_CLEAR(self->waiter);
    if (self->in_engine && !self->over && pool_of(self)->generation == hp_fork_generation) {
        self->over = true;
        hp_codec_sets_hold(codec_of(self));
        hp_request_abandon(&self->req);
        hp_codec_sets_let_go(codec_of(self));
    }
    Py_RETURN_NONE;
}

/* ---- the type ---- */

static PyMethodDef copy_methods[] = {
    {"_start", copy_start, METH_O, NULL},
    {"_ready", copy_ready, METH_NOARGS, NULL},
    {"_check", copy_check, METH_NOARGS, NULL},
    {"_put", copy_put, METH_O, NULL},
    {"_add", copy_add, METH_O, NULL},
    {"_put_rows", copy_put_rows, METH_O, NULL},
    {"_add_row", copy_add_row, METH_O, NULL},
    {"_put_added", copy_put_added, METH_NOARGS, NULL},
    {"_end", copy_end, METH_NOARGS, NULL},
    {"_read_at_least", copy_read_at_least, METH_O, NULL},
    {"_read", copy_read, METH_NOARGS, NULL},
    {"_result", copy_result, METH_NOARGS, NULL},
    {"_abandon", copy_abandon, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot copy_slots[] = {
    {Py_tp_doc, "One COPY of a leased session. Made by a Connection only."},
    {Py_tp_dealloc, copy_dealloc},
    {Py_tp_traverse, copy_traverse},
    {Py_tp_clear, copy_clear},
    {Py_tp_methods, copy_methods},
    {0, NULL},
};

static PyType_Spec copy_spec = {
    .name = "holisticpool._core.Copy",
    .basicsize = sizeof(CopyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = copy_slots,
};

int
hp_copy_type_init(PyObject *module, hp_binding_state *state)
{
    state->CopyType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &copy_spec, NULL);
    return state->CopyType ? PyModule_AddType(module, state->CopyType) : -1;
}
