/*
 * connection.c - Connection: one lease of a session, as Python sees it.
 *
 * A small object for each lease; the session itself is the engine's. Released,
 * it refuses everything. One that is garbage collected while it still holds its
 * lease gives it back and warns.
 *
 * holisticpool/connection.py subclasses it; instances are made here, without
 * __init__.
 */
#include "module.h"

#include "binding/attributes.h"
#include "binding/awaitable_method.h"
#include "binding/copy.h"
#include "binding/listeners.h"
#include "engine/begin.h"

#include <string.h>
#include <structmember.h>

static hp_state *
state_of(ConnectionObject *self)
{
    return self->pool->state;
}

PyObject *
hp_connection_new(PoolObject *pool, hp_conn *conn)
{
    PyTypeObject *type = pool->connection_class;
    ConnectionObject *self = hp_attributes_object(conn);
    if (self == NULL) {
        self = (ConnectionObject *)type->tp_alloc(type, 0);
        if (self == NULL) {
            return NULL;
        }
        self->pool = (PoolObject *)Py_NewRef((PyObject *)pool);
    }
    self->conn = conn;
    self->lease = conn->lease;
    self->in_init = false;
    if (hp_attributes_take(self) < 0) {
        self->conn = NULL;
        Py_DECREF(self);
        return NULL;
    }
    hp_listeners_take(self);
    return (PyObject *)self;
}

PyObject *
hp_connection_new_ended(PoolObject *pool, const hp_conn *conn)
{
    PyTypeObject *type = pool->connection_class;
    ConnectionObject *self = (ConnectionObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->pool = (PoolObject *)Py_NewRef((PyObject *)pool);
    self->ended = true;
    if (hp_attributes_lend(self, conn) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

int
hp_connection_give_back(ConnectionObject *self)
{
    hp_conn *conn = self->conn;
    if (self->in_init) {
        return 0;
    }
    if (conn == NULL) {
        self->ended = self->ended && self->lease == 0; /* a lease that was terminated is released now */
        return 0;
    }
    if (self->pool->generation != hp_fork_generation || conn->lease != self->lease) {
        self->conn = NULL;
        return 0;
    }
    hp_left_listeners left = hp_listeners_leave(self);
    if (!self->pool->dedicated) {
        hp_attributes_keep(self);
    }
    hp_codec_state *state = &state_of(self)->codec;
    self->conn = NULL;
    hp_codec_sets_hold(state);
    hp_pool_release(conn);
    hp_codec_sets_let_go(state);
    return self->ended ? 0 : hp_listeners_warn(self, left);
}

void
hp_connection_report_transaction(ConnectionObject *self)
{
    const hp_conn *conn = self->conn;
    if (conn == NULL || self->in_init || self->pool->generation != hp_fork_generation || conn->lease != self->lease ||
        conn->state != HP_CONN_READY) {
        return;
    }
    bool started = self->started != NULL && PyList_Check(self->started) && PyList_GET_SIZE(self->started) > 0;
    if (!started && !hp_conn_in_transaction(conn)) {
        return;
    }
    PyObject *done = PyObject_CallMethod((PyObject *)self, "_report_transaction", NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_XDECREF(done);
}

void
hp_connection_release(ConnectionObject *self)
{
    if (hp_connection_give_back(self) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
}

/* A lease that was given back, not a session that is closed. */
static bool
is_released(const ConnectionObject *self)
{
    return self->conn == NULL && !self->pool->dedicated && !self->ended;
}

int
hp_connection_check(ConnectionObject *self, const char *method)
{
    hp_errors_state *errors = &state_of(self)->errors;
    if (hp_pool_check(self->pool) < 0) {
        return -1;
    }
    if (is_released(self)) {
        PyErr_Format(errors->InterfaceError,
                     "cannot call Connection.%s(): connection has been released back to the pool", method);
        return -1;
    }
    if (self->conn == NULL || self->conn->state != HP_CONN_READY) {
        PyErr_SetString(errors->InterfaceError, "connection is closed");
        return -1;
    }
    return 0;
}

int
hp_connection_check_idle(ConnectionObject *self)
{
    if (!hp_conn_is_busy(self->conn)) {
        return 0;
    }
    PyErr_SetString(state_of(self)->errors.InterfaceError,
                    self->conn->pipe.open
                        ? "cannot perform operation: a pipeline is open on this connection; use its methods"
                        : "cannot perform operation: another operation is in progress");
    return -1;
}

int
hp_connection_check_free(ConnectionObject *self, const char *method)
{
    const char *dot = strchr(method, '.');
    if (hp_connection_check(self, dot ? dot + 1 : method) < 0) {
        return -1;
    }
    return hp_connection_check_idle(self);
}

/* ---- life ---- */

static int
connection_traverse(ConnectionObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->pool);
    Py_VISIT(self->listeners);
    Py_VISIT(self->started);
    Py_VISIT(self->release_hook);
    return 0;
}

static int
connection_clear(ConnectionObject *self)
{
    /* Not the pool, which is needed to give the lease back. */
    Py_CLEAR(self->started);
    Py_CLEAR(self->release_hook);
    return 0;
}

static void
connection_finalize(PyObject *object)
{
    ConnectionObject *self = (ConnectionObject *)object;
    PyObject *type, *value, *traceback;
    if (self->conn == NULL || self->in_init || self->pool == NULL || self->pool->generation != hp_fork_generation) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    bool live = !self->pool->finished && self->conn->state == HP_CONN_READY;
    if (self->pool->dedicated) {
        hp_connection_release(self);
        hp_pool_terminate(self->pool->engine);
    } else {
        hp_connection_release(self);
    }
    if (live && PyErr_ResourceWarning(object, 1,
                                      self->pool->dedicated
                                          ? "unclosed connection %R: it was closed by the garbage collector"
                                          : "connection %R was never released: the garbage collector gave it back",
                                      object) < 0) {
        PyErr_WriteUnraisable(object);
    }
    PyErr_Restore(type, value, traceback);
}

static void
connection_dealloc(ConnectionObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->conn != NULL && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    hp_listeners_forget(self);
    connection_clear(self);
    Py_CLEAR(self->acquire_timeout);
    Py_CLEAR(self->pool);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
connection_repr(PyObject *object)
{
    ConnectionObject *self = (ConnectionObject *)object;
    const char *state = "closed";
    if (is_released(self)) {
        state = "[released]";
    } else if (self->conn != NULL && self->conn->state == HP_CONN_READY) {
        state = "open";
    }
    return PyUnicode_FromFormat("<%s %s at %p>", Py_TYPE(self)->tp_name, state, object);
}

/* ---- statements ---- */

static PyObject *
call(PyObject *self, hp_op_kind kind, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ConnectionObject *connection = (ConnectionObject *)self;
    int overridden = hp_override_for_connection(connection->pool);
    if (overridden < 0) {
        return NULL;
    }
    return overridden ? hp_override_call(state_of(connection), self, kind, args, nargs, kwnames)
                      : hp_operation_from_call(connection->pool, connection, kind, args, nargs, kwnames);
}

/* A query by the method of that name, whatever is in its place. */
static PyObject *
connection_directly(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ConnectionObject *connection = (ConnectionObject *)self;
    hp_op_kind kind;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "_directly() needs the name of a method");
        return NULL;
    }
    if (hp_override_kind(state_of(connection), args[0], &kind) < 0) {
        return NULL;
    }
    return hp_operation_from_call(connection->pool, connection, kind, args + 1, nargs - 1, kwnames);
}

static PyObject *
connection_fetch(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return call(self, HP_OP_FETCH, args, nargs, kwnames);
}

static PyObject *
connection_fetchrow(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return call(self, HP_OP_FETCHROW, args, nargs, kwnames);
}

static PyObject *
connection_fetchval(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return call(self, HP_OP_FETCHVAL, args, nargs, kwnames);
}

static PyObject *
connection_execute(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return call(self, HP_OP_EXECUTE, args, nargs, kwnames);
}

/* _copy(method, query, timeout, from_stdin, columns of records: PreparedStatement or None) -> Copy, not started */
static PyObject *
connection_copy(PyObject *self, PyObject *args)
{
    return hp_copy_new((ConnectionObject *)self, args);
}

static PyObject *
connection_executemany(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"command", "args", "timeout", NULL};
    ConnectionObject *connection = (ConnectionObject *)self;
    PyObject *command, *sets, *timeout = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|$O:executemany", names, &command, &sets, &timeout)) {
        return NULL;
    }
    return hp_operation_from_sets(connection, HP_OP_EXECUTEMANY, command, sets, timeout,
                                  connection->pool->record_class);
}

static PyObject *
connection_fetchmany(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"query", "args", "timeout", "record_class", "rows", NULL};
    ConnectionObject *connection = (ConnectionObject *)self;
    PyObject *query, *sets, *timeout = Py_None, *record_class = Py_None, *rows = Py_None;
    PyTypeObject *class;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|$OOO:fetchmany", names, &query, &sets, &timeout, &record_class,
                                     &rows)) {
        return NULL;
    }
    class = hp_row_class_of(connection->pool, record_class, rows);
    return class ? hp_operation_from_sets(connection, HP_OP_FETCHMANY, query, sets, timeout, class) : NULL;
}

static PyObject *
connection_prepare(PyObject *self, PyObject *args)
{
    return hp_prepared_new((ConnectionObject *)self, args);
}

static PyObject *
connection_cursor(PyObject *self, PyObject *args)
{
    return hp_cursor_operation((ConnectionObject *)self, args);
}

static PyObject *
connection_rows(PyObject *self, PyObject *type)
{
    return hp_rows_new((ConnectionObject *)self, type);
}

/* ---- the session ---- */

static PyObject *
connection_close(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    ConnectionObject *self = (ConnectionObject *)object;
    PyObject *timeout = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:close", names, &timeout)) {
        return NULL;
    }
    if (!self->pool->dedicated || self->conn == NULL || self->in_init || self->pool->finished) {
        if (hp_connection_give_back(self) < 0) {
            return NULL;
        }
        return Py_NewRef(state_of(self)->binding.finished);
    }
    return (PyObject *)hp_operation_new(self->pool, self, HP_OP_CLOSE);
}

void
hp_connection_terminate(ConnectionObject *self)
{
    if (self->conn == NULL || hp_pool_check(self->pool) < 0) {
        PyErr_Clear();
        return;
    }
    hp_error err;
    hp_codec_state *state = &state_of(self)->codec;
    hp_error_set(&err, HP_ERR_TERMINATED,
                 "the connection was closed in the middle of the operation: it was terminated");
    hp_codec_sets_hold(state);
    hp_conn_terminate(self->conn, &err);
    if (self->pool->dedicated) {
        hp_connection_release(self);
        hp_pool_terminate(self->pool->engine);
    } else if (!self->in_init) {
        /* Another session may take its place, whether or not it is ever released. */
        self->ended = true;
        hp_connection_release(self);
    }
    hp_codec_sets_let_go(state);
}

static PyObject *
connection_terminate(PyObject *object, PyObject *unused)
{
    (void)unused;
    hp_connection_terminate((ConnectionObject *)object);
    Py_RETURN_NONE;
}

static PyObject *
connection_is_closed(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (is_released(self)) {
        hp_connection_check(self, "is_closed");
        return NULL;
    }
    return PyBool_FromLong(self->conn == NULL || self->conn->state != HP_CONN_READY);
}

static PyObject *
connection_is_in_transaction(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (!is_released(self) && (self->conn == NULL || self->conn->state != HP_CONN_READY)) {
        Py_RETURN_FALSE; /* it ended with the session */
    }
    if (hp_connection_check(self, "is_in_transaction") < 0) {
        return NULL;
    }
    return PyBool_FromLong(hp_conn_in_transaction(self->conn));
}

/* Begin a transaction with the next statement. */
static PyObject *
connection_begin(PyObject *object, PyObject *sql)
{
    ConnectionObject *self = (ConnectionObject *)object;
    const char *text = PyUnicode_Check(sql) ? PyUnicode_AsUTF8(sql) : NULL;
    if (text == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "the statement must be a str");
        }
        return NULL;
    }
    if (hp_connection_check_free(self, "transaction") < 0) {
        return NULL;
    }
    if (hp_begin_set(self->conn, text) < 0) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

/* The transaction is over; was it never begun? */
static PyObject *
connection_drop_begin(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (hp_connection_check(self, "transaction") < 0) {
        return NULL;
    }
    return PyBool_FromLong(!hp_conn_is_busy(self->conn) && hp_begin_drop(self->conn));
}

static PyObject *
connection_get_server_pid(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (hp_connection_check(self, "get_server_pid") < 0) {
        return NULL;
    }
    return PyLong_FromLong(PQbackendPID(self->conn->pg));
}

static PyObject *
connection_parameter_status(PyObject *object, PyObject *name)
{
    ConnectionObject *self = (ConnectionObject *)object;
    const char *parameter = PyUnicode_AsUTF8(name);
    if (parameter == NULL || hp_connection_check(self, "get_settings") < 0) {
        return NULL;
    }
    const char *value = PQparameterStatus(self->conn->pg, parameter);
    if (value == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_FromString(value);
}

/* Take a set of codecs for the session: the pool's where it is the same, so that
 * sessions prepared alike share their plans. Steals the reference. */
static void
take_codecs(ConnectionObject *self, hp_codec_set *set)
{
    PoolObject *pool = self->pool;
    hp_codec_set *of_pool = pool->codecs;
    hp_codec_set *of_session = self->conn->user;
    if (hp_codec_set_equal(set, of_pool)) {
        hp_codec_set_unref(set);
        set = of_pool;
    }
    pool->codecs = set;
    self->conn->user = hp_codec_set_ref(set);
    if (set == of_pool) {
        of_pool = NULL; /* the pool keeps its reference */
    }
    /* Only now: finalizers of the user's functions may do anything. */
    hp_codec_set_unref(of_pool);
    hp_codec_set_unref(of_session);
}

/* _set_codec(oid, form, encoder, decoder, like); form None takes the codec back */
static PyObject *
connection_set_codec(PyObject *object, PyObject *args)
{
    ConnectionObject *self = (ConnectionObject *)object;
    PyObject *encoder = Py_None, *decoder = Py_None;
    const char *form, *like = NULL;
    unsigned int oid;
    hp_custom_spec spec;
    if (!PyArg_ParseTuple(args, "Iz|OOz:_set_codec", &oid, &form, &encoder, &decoder, &like) ||
        hp_connection_check(self, "set_type_codec") < 0) {
        return NULL;
    }
    const hp_codec *native = hp_registry_find(self->pool->registry, oid);
    if (native == NULL) {
        PyErr_Format(PyExc_LookupError, "type %u is not known to the pool", oid);
        return NULL;
    }
    if (form != NULL &&
        (hp_custom_spec_parse(&spec, form, encoder, decoder, like) < 0 || hp_custom_check(native, &spec) < 0)) {
        return NULL;
    }
    hp_codec_state *state = &state_of(self)->codec;
    hp_codec_set *set = form == NULL ? hp_codec_set_without(state, self->conn->user, oid)
                                     : hp_codec_set_with(state, self->conn->user, native, &spec);
    if (set == NULL) {
        return NULL;
    }
    take_codecs(self, set);
    self->pool->codecs_set_at = hp_now();
    Py_RETURN_NONE;
}

static PyObject *
connection_forget_types(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (hp_connection_check(self, "reload_schema_state") < 0) {
        return NULL;
    }
    hp_statements_forget(self->pool);
    Py_RETURN_NONE;
}

/* (host or socket directory, port, user, database) of the session, as libpq has them. */
static PyObject *
connection_endpoint(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (hp_connection_check(self, "_endpoint") < 0) {
        return NULL;
    }
    const PGconn *pg = self->conn->pg;
    return Py_BuildValue("(zzzz)", PQhost(pg), PQport(pg), PQuser(pg), PQdb(pg));
}

static PyObject *
connection_get_settings_query(PyObject *object, void *closure)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)closure;
    const char *sql = self->conn ? hp_conn_settings(self->conn) : NULL;
    if (sql == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_FromString(sql);
}

static PyObject *
connection_server_version_num(PyObject *object, PyObject *unused)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)unused;
    if (hp_connection_check(self, "get_server_version") < 0) {
        return NULL;
    }
    return PyLong_FromLong(PQserverVersion(self->conn->pg));
}

static PyObject *
connection_get_pool(PyObject *self, void *closure)
{
    (void)closure;
    return Py_NewRef((PyObject *)((ConnectionObject *)self)->pool);
}

static PyObject *
connection_get_callbacks(PyObject *self, void *closure)
{
    PyObject *listeners = ((ConnectionObject *)self)->listeners;
    (void)closure;
    return Py_NewRef(listeners ? listeners : Py_None);
}

static PyObject *
connection_get_released(PyObject *object, void *closure)
{
    ConnectionObject *self = (ConnectionObject *)object;
    (void)closure;
    return PyBool_FromLong(is_released(self));
}

#define FAST(function)     (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS
#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef connection_methods[] = {
    {"fetch", FAST(connection_fetch),
     "fetch($self, query, *args, timeout=None, record_class=None, rows=None, params=None)\n--\n\nRun a query; a list "
     "of "
     "Record."},
    {"fetchrow", FAST(connection_fetchrow),
     "fetchrow($self, query, *args, timeout=None, record_class=None, rows=None, params=None)\n--\n\nRun a query; its "
     "first row, or None."},
    {"fetchval", FAST(connection_fetchval),
     "fetchval($self, query, *args, column=0, timeout=None, params=None)\n--\n\nRun a query; one value of its first "
     "row, or None."},
    {"execute", FAST(connection_execute),
     "execute($self, query, *args, timeout=None, params=None)\n--\n\nRun a command, or without arguments a script; the "
     "last status "
     "tag."},
    {"executemany", KEYWORDS(connection_executemany),
     "executemany($self, command, args, *, timeout=None)\n--\n\nRun a command for each sequence of arguments: all or "
     "none."},
    {"fetchmany", KEYWORDS(connection_fetchmany),
     "fetchmany($self, query, args, *, timeout=None, record_class=None, rows=None)\n--\n\nRun a query for each "
     "sequence of arguments, all or none; a list of Record."},
    {"close", KEYWORDS(connection_close),
     "close($self, *, timeout=None)\n--\n\nClose the session, or release the lease."},
    {"terminate", connection_terminate, METH_NOARGS,
     "terminate($self, /)\n--\n\nClose the session at once, without waiting for the server."},
    {"is_closed", connection_is_closed, METH_NOARGS, "is_closed($self, /)\n--\n\nIs the session closed?"},
    {"is_in_transaction", connection_is_in_transaction, METH_NOARGS,
     "is_in_transaction($self, /)\n--\n\nIs a transaction open?"},
    {"get_server_pid", connection_get_server_pid, METH_NOARGS,
     "get_server_pid($self, /)\n--\n\nThe process id of the server's session."},
    {"_begin", connection_begin, METH_O, NULL},
    {"_pipe", FAST(hp_pipeline_statement), NULL},
    {"_pipe_control", hp_pipeline_control, METH_VARARGS, NULL},
    {"_pipe_open", hp_pipeline_open, METH_NOARGS, NULL},
    {"_pipe_close", hp_pipeline_close, METH_NOARGS, NULL},
    {"_pipe_flush", hp_pipeline_flush, METH_NOARGS, NULL},
    {"_drop_begin", connection_drop_begin, METH_NOARGS, NULL},
    {"_copy", connection_copy, METH_VARARGS, NULL},
    {"_parameter_status", connection_parameter_status, METH_O, NULL},
    {"_rows", connection_rows, METH_O, NULL},
    {"_cursor", connection_cursor, METH_VARARGS, NULL},
    {"_prepare", connection_prepare, METH_VARARGS, NULL},
    {"_set_codec", connection_set_codec, METH_VARARGS, NULL},
    {"_forget_types", connection_forget_types, METH_NOARGS, NULL},
    {"_directly", FAST(connection_directly), NULL},
    {"_endpoint", connection_endpoint, METH_NOARGS, NULL},
    {"_server_version_num", connection_server_version_num, METH_NOARGS, NULL},
    {"_listen", hp_listeners_listen, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef connection_getset[] = {
    {"_pool", connection_get_pool, NULL, NULL, NULL},
    {"_released", connection_get_released, NULL, NULL, NULL},
    {"_settings_query", connection_get_settings_query, NULL, NULL, NULL},
    {"_callbacks", connection_get_callbacks, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef connection_members[] = {
    {"_started", T_OBJECT, offsetof(ConnectionObject, started), 0, NULL},
    {"_release_hook", T_OBJECT, offsetof(ConnectionObject, release_hook), 0, NULL},
    {"_acquire_timeout", T_OBJECT, offsetof(ConnectionObject, acquire_timeout), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot connection_slots[] = {
    {Py_tp_doc, "One lease of a server session. Made by a Pool only."},
    {Py_tp_dealloc, connection_dealloc},
    {Py_tp_traverse, connection_traverse},
    {Py_tp_clear, connection_clear},
    {Py_tp_finalize, connection_finalize},
    {Py_tp_repr, connection_repr},
    {Py_tp_methods, connection_methods},
    {Py_tp_getset, connection_getset},
    {Py_tp_members, connection_members},
    {0, NULL},
};

static PyType_Spec connection_spec = {
    .name = "holisticpool._core.Connection",
    .basicsize = sizeof(ConnectionObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = connection_slots,
};

/* ... that stand for coroutine functions. */
static const char *const AWAITED[] = {"fetch",       "fetchrow",  "fetchval", "execute",
                                      "executemany", "fetchmany", "close",    NULL};

int
hp_connection_type_init(PyObject *module, hp_binding_state *state)
{
    state->ConnectionType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &connection_spec, NULL);
    if (state->ConnectionType == NULL || hp_awaitable_methods(state, state->ConnectionType, AWAITED) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->ConnectionType);
}
