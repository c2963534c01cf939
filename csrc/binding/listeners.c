/*
 * listeners.c - see listeners.h.
 *
 * What is called here is code of ours that schedules callbacks. But it is Python,
 * and so the garbage collector may run finalizers of the user within it: nothing
 * of the session is looked at after a call, and references are held over it.
 */
#include "binding/listeners.h"

#include "module.h"

#include <string.h>

/* hp_conn.listeners */
typedef struct hp_listeners {
    PyObject *object;        /* owned; NULL while a lease has it */
    ConnectionObject *lease; /* borrowed, or NULL: its `listeners` is the object */
    bool logs;               /* it has query loggers */
} hp_listeners;

static PoolObject *
pool_of(const hp_conn *conn)
{
    return conn->env->user;
}

/* Borrowed, or NULL. */
static PyObject *
object_of(const hp_listeners *listeners)
{
    return listeners->lease ? listeners->lease->listeners : listeners->object;
}

static PyObject *
text_of(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace");
}

/* ---- calling ---- */

/* Ctrl-C is not for us: have it raised again where it belongs. */
static void
report(PyObject *object)
{
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        PyErr_SetInterrupt();
    } else {
        PyErr_WriteUnraisable(object);
    }
}

/* object.method(*args), where nobody can take an exception. Steals args; new
 * reference, or NULL. */
static PyObject *
call(PyObject *object, const char *method, PyObject *args)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Py_INCREF(object);
    PyObject *function = args ? PyObject_GetAttrString(object, method) : NULL;
    PyObject *result = function ? PyObject_CallObject(function, args) : NULL;
    if (result == NULL) {
        report(object);
    }
    Py_XDECREF(function);
    Py_XDECREF(args);
    Py_DECREF(object);
    PyErr_Restore(type, value, traceback);
    return result;
}

/* ... with what it schedules callbacks by: the loop, and whether this is its
 * thread. Steals `rest`, the tuple of its other arguments. */
static void
tell(PoolObject *pool, PyObject *object, const char *method, PyObject *rest)
{
    bool here = hp_wakeup_make_way(pool);
    PyObject *how = rest ? Py_BuildValue("(OO)", pool->loop, here ? Py_True : Py_False) : NULL;
    PyObject *args = how ? PySequence_Concat(how, rest) : NULL;
    Py_XDECREF(how);
    Py_XDECREF(rest);
    Py_XDECREF(call(object, method, args));
}

/* ---- what the engine tells ---- */

static PyObject *
fields_dict(const char *fields)
{
    PyObject *dict = PyDict_New();
    while (dict != NULL && *fields != '\0') {
        char letter[] = {*fields++, '\0'};
        PyObject *text = text_of(fields);
        if (text == NULL || PyDict_SetItemString(dict, letter, text) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(text);
        fields += strlen(fields) + 1;
    }
    return dict;
}

/* The text of the statement that runs, or None. */
static PyObject *
running_query(const hp_conn *conn)
{
    const hp_request *req = conn->inflight.first;
    const OperationObject *op = req != NULL && req->kind != HP_REQ_INTERNAL ? req->user : NULL;
    return op != NULL && op->query != NULL ? op->query : Py_None;
}

void
hp_listeners_noticed(hp_conn *conn, const char *fields)
{
    hp_listeners *listeners = conn->listeners;
    if (listeners->lease != NULL) {
        tell(pool_of(conn), object_of(listeners), "noticed",
             Py_BuildValue("(ONO)", listeners->lease, fields_dict(fields), running_query(conn)));
    }
}

void
hp_listeners_notified(hp_conn *conn, const PGnotify *notification)
{
    hp_listeners *listeners = conn->listeners;
    if (listeners->lease != NULL) {
        tell(pool_of(conn), object_of(listeners), "notified",
             Py_BuildValue("(OiNN)", listeners->lease, notification->be_pid, text_of(notification->relname),
                           text_of(notification->extra)));
    }
}

void
hp_listeners_ended(hp_conn *conn)
{
    hp_listeners *listeners = conn->listeners;
    PoolObject *pool = pool_of(conn);
    PyObject *connection =
        listeners->lease ? Py_NewRef((PyObject *)listeners->lease) : hp_connection_new_ended(pool, conn);
    tell(pool, object_of(listeners), "ended", Py_BuildValue("(N)", connection));
}

void
hp_listeners_gone(void *user, void *what)
{
    hp_listeners *listeners = what;
    PyObject *object = listeners->object;
    (void)user;
    PyMem_Free(listeners);
    Py_XDECREF(object);
}

/* ---- leases ---- */

void
hp_listeners_take(ConnectionObject *self)
{
    hp_listeners *listeners = self->conn->listeners;
    if (listeners != NULL) {
        self->listeners = listeners->object;
        listeners->object = NULL;
        listeners->lease = self;
    }
}

/* From the lease to its session. */
static void
give_back(ConnectionObject *self)
{
    hp_listeners *listeners = self->conn->listeners;
    if (listeners != NULL && listeners->lease == self) {
        listeners->lease = NULL;
        listeners->object = self->listeners;
        self->listeners = NULL;
    }
}

void
hp_listeners_keep(ConnectionObject *self)
{
    if (self->conn != NULL) {
        give_back(self);
    }
}

static void
drop(hp_conn *conn)
{
    void *listeners = conn->listeners;
    conn->listeners = NULL;
    if (listeners != NULL) {
        hp_listeners_gone(NULL, listeners);
    }
}

/* A session of one's own ends with its lease. */
static void
end_with_lease(ConnectionObject *self, PyObject *object)
{
    if (!self->conn->end_told) {
        self->conn->end_told = true;
        tell(self->pool, object, "ended", Py_BuildValue("(O)", self));
    }
    give_back(self);
}

hp_left_listeners
hp_listeners_leave(ConnectionObject *self)
{
    hp_left_listeners left = {0, 0};
    int lasting = 0;
    PyObject *object = Py_XNewRef(self->listeners);
    if (object == NULL) {
        return left;
    }
    if (self->pool->dedicated) {
        end_with_lease(self, object);
    } else {
        PyObject *result = call(object, "leave", PyTuple_New(0));
        if (result != NULL && !PyArg_ParseTuple(result, "llp", &left.notification, &left.log, &lasting)) {
            report(object);
        }
        Py_XDECREF(result);
        give_back(self);
        if (!lasting) {
            drop(self->conn);
        }
    }
    Py_DECREF(object);
    return left;
}

static int
warn(ConnectionObject *self, long count, const char *kind)
{
    if (count == 0) {
        return 0;
    }
    return PyErr_WarnFormat(self->pool->state->errors.InterfaceWarning, 1,
                            "%R is being released to the pool but has %ld active %s listener%s", self, count, kind,
                            count > 1 ? "s" : "");
}

int
hp_listeners_warn(ConnectionObject *self, hp_left_listeners left)
{
    return warn(self, left.notification, "notification") < 0 || warn(self, left.log, "log") < 0 ? -1 : 0;
}

void
hp_listeners_forget(ConnectionObject *self)
{
    if (self->conn != NULL) { /* in a forked child: the lease is the parent's */
        give_back(self);
    }
    Py_CLEAR(self->listeners);
}

int
hp_listeners_traverse(PoolObject *pool, visitproc visit, void *arg)
{
    for (const hp_conn *conn = pool->engine ? pool->engine->all : NULL; conn != NULL; conn = conn->next) {
        const hp_listeners *listeners = conn->listeners;
        if (listeners != NULL) {
            Py_VISIT(listeners->object);
        }
    }
    return 0;
}

PyObject *
hp_listeners_listen(PyObject *object, PyObject *args)
{
    ConnectionObject *self = (ConnectionObject *)object;
    PyObject *callbacks;
    int logs;
    if (!PyArg_ParseTuple(args, "Op:_listen", &callbacks, &logs)) {
        return NULL;
    }
    hp_conn *conn = self->conn;
    if (conn == NULL || conn->state != HP_CONN_READY) {
        Py_RETURN_NONE; /* it hears nothing any more */
    }
    hp_listeners *listeners = conn->listeners;
    if (listeners == NULL) {
        listeners = PyMem_Calloc(1, sizeof *listeners);
        if (listeners == NULL) {
            return PyErr_NoMemory();
        }
        listeners->lease = self;
        conn->listeners = listeners;
    }
    listeners->logs = logs;
    Py_XSETREF(self->listeners, Py_NewRef(callbacks));
    Py_RETURN_NONE;
}

/* ---- query loggers ---- */

/* Borrowed: who logs what `op` does on this session, or NULL. */
static PyObject *
logger_of(const OperationObject *op, const hp_conn *conn)
{
    const hp_listeners *listeners = conn ? conn->listeners : NULL;
    if (listeners == NULL || !listeners->logs || op->query == NULL || op->kind == HP_OP_PREPARE) {
        return NULL; /* preparing executes nothing */
    }
    return object_of(listeners);
}

/* New reference: the timeout that held, in seconds, or None. */
static PyObject *
timeout_of(const OperationObject *op)
{
    if (op->timeout != NULL && op->timeout != Py_None) {
        return Py_NewRef(op->timeout);
    }
    if (op->pool->command_timeout == HP_NEVER) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)op->pool->command_timeout / (double)HP_SECOND);
}

static PyObject *
args_of(const OperationObject *op)
{
    if (op->in_portions) {
        Py_RETURN_NONE; /* only the last of them are still here */
    }
    if (op->args == NULL) {
        return PyTuple_New(0);
    }
    return hp_op_has_sets(op) ? PySequence_List(op->args) : Py_NewRef(op->args);
}

static void
log_statement(OperationObject *op, PyObject *logger, double elapsed, PyObject *exception)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    tell(op->pool, logger, "logged",
         Py_BuildValue("(ONNdO)", op->query, args_of(op), timeout_of(op), elapsed, exception ? exception : Py_None));
    PyErr_Restore(type, value, traceback);
}

void
hp_listeners_log(OperationObject *op, PyObject *exception)
{
    PyObject *logger = logger_of(op, op->req.conn);
    if (logger != NULL) {
        log_statement(op, logger, (double)(hp_now() - op->req.sent) / (double)HP_SECOND, exception);
    }
}

void
hp_listeners_log_left(OperationObject *op, PyObject *class)
{
    if (logger_of(op, op->req.conn) == NULL) {
        return;
    }
    PyObject *exception = PyObject_CallNoArgs(class);
    if (exception == NULL) {
        PyErr_WriteUnraisable((PyObject *)op);
        return;
    }
    hp_listeners_log(op, exception);
    Py_DECREF(exception);
}

void
hp_listeners_log_unsent(OperationObject *op, PyObject *exception)
{
    /* Where the connection itself refused, there is no statement. */
    PyObject *logger = op->connection && op->req.stmt ? logger_of(op, op->connection->conn) : NULL;
    if (logger != NULL) {
        log_statement(op, logger, 0.0, exception);
    }
}
